//! Letters that some reader takes for each other: in names of members, and in paths.

/// One character for all that differ by case: simple folding, as Go has it, in which `ſ` is an s and `K` (U+212A) a k; and the two
/// letters i of Turkish, which Java takes for that of English. For Latin, Greek and Cyrillic as languages of today write them: the tables
/// for all scripts are 24 KB of module.
#[inline(never)]
pub(crate) const fn fold(character: char) -> char {
    let code_point = character as u32;
    let folded = match character {
        '\0'..='\x7f' => return character.to_ascii_lowercase(),
        'ı' | 'İ' => return 'i',
        'ſ' => return 's',
        '\u{212a}' => return 'k',
        'µ' => return 'μ',
        'ς' => return 'σ',
        'Ό' => return 'ό',
        'Ά' => return 'ά',
        'Έ'..='Ί' => code_point.saturating_add(0x25),
        'Ύ' | 'Ώ' => code_point.saturating_add(0x3f),
        '×' => return character,
        'À'..='Þ' | 'Α'..='Ϋ' | 'А'..='Я' => code_point.saturating_add(0x20),
        'Ѐ'..='Џ' => code_point.saturating_add(0x50),
        'Ā'..='ķ' | 'Ŋ'..='ŷ' => code_point | 1,
        'Ĺ'..='ň' | 'Ź'..='ž' => code_point.saturating_add(1) & !1,
        'Ÿ' => return 'ÿ',
        _ => return character,
    };
    match char::from_u32(folded) {
        Some(folded) => folded,
        None => character,
    }
}

/// A text in which each letter is folded.
pub(crate) fn folded(text: &str) -> String {
    text.chars().map(fold).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_of_latin_greek_and_cyrillic_fold_as_unicode_says() {
        for character in ('\u{80}'..='\u{17f}').chain('\u{386}'..='\u{3ce}').chain('\u{400}'..='\u{45f}') {
            for other in character.to_lowercase().chain(character.to_uppercase()) {
                let is_one = character.to_lowercase().count() == 1 && character.to_uppercase().count() == 1;
                assert!(!is_one || fold(character) == fold(other), "{character} {other}");
            }
        }
        let small = |character: &char| fold(*character) == *character;
        assert!(('a'..='z').chain('ß'..='ÿ').chain('α'..='ρ').chain('а'..='џ').all(|character| small(&character)));
    }
}
