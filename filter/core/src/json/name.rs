//! Names of members that some reader takes for each other.
//!
//! JSON compares names as they are (RFC 8259 §8.3). Many of its readers do not: Go's `encoding/json` takes `Type` for `type`, and so do
//! readers in Java, C# and others where they are configured to. Where a message has both, each reader picks one of them.

use crate::letter::fold;

/// Whether some reader takes the two names for the same: they differ by the case of letters only, or behind a NUL, where a name ends
/// in C.
#[must_use]
pub fn is_same(one: &str, other: &str) -> bool {
    let [one, other] = [one, other].map(|name| name.chars().take_while(|character| *character != '\0').map(fold));
    one.eq(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_differ_by_case_are_the_same() {
        for (one, other) in [
            ("type", "type"),
            ("type", "TyPE"),
            ("user", "u\u{17f}er"),
            ("kind", "\u{212a}ind"),
            ("title", "tıtle"),
            ("title", "TİTLE"),
            ("größe", "GRÖßE"),
            ("тип", "ТИП"),
            ("λόγος", "ΛΌΓΟΣ"),
            ("\u{b5}", "\u{3bc}"),
            ("type", "Type\0x"),
        ] {
            assert!(is_same(one, other) && is_same(other, one), "{one} {other}");
        }
    }

    #[test]
    fn other_names_are_not() {
        for (one, other) in
            [("type", "typ"), ("type", "types"), ("", "a"), ("тип", "имя"), ("类型", "名称"), ("a", "á")]
        {
            assert!(!is_same(one, other) && !is_same(other, one), "{one} {other}");
        }
    }
}
