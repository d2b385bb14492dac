//! Writes a value as a peer might: with escapes, white space and numbers that are spelled in other ways, members in any order.

use serde_json::Value;

use crate::random::Random;

/// A text that says `value`.
pub(crate) fn write(value: &Value, random: &mut Random) -> String {
    let mut text = String::new();
    write_value(value, random, &mut text);
    text
}

fn write_value(value: &Value, random: &mut Random, text: &mut String) {
    space(random, text);
    match value {
        Value::Null | Value::Bool(_) => text.push_str(&value.to_string()),
        Value::Number(number) => text.push_str(&spell(&number.to_string(), random)),
        Value::String(string) => write_string(string, random, text),
        Value::Array(items) => {
            text.push('[');
            for (index, item) in items.iter().enumerate() {
                text.push_str(if index > 0 { "," } else { "" });
                write_value(item, random, text);
            }
            text.push(']');
        }
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            random.shuffle(&mut members);
            text.push('{');
            for (index, (name, member)) in members.into_iter().enumerate() {
                text.push_str(if index > 0 { "," } else { "" });
                space(random, text);
                write_string(name, random, text);
                space(random, text);
                text.push(':');
                write_value(member, random, text);
            }
            text.push('}');
        }
    }
    space(random, text);
}

fn space(random: &mut Random, text: &mut String) {
    if random.one_in(12) {
        text.push_str(random.pick(&[" ", "\t", "\n", "\r\n", "  "]));
    }
}

/// The same number with a fraction or an exponent, within the digits that a double keeps.
fn spell(number: &str, random: &mut Random) -> String {
    if number.len() > 12 || number.contains(['e', 'E']) || !random.one_in(4) {
        return number.to_owned();
    }
    match (number.split_once('.'), random.below(4)) {
        (None, 0) => format!("{number}.0"),
        (None, 1) => format!("{number}e0"),
        (None, 2) if !number.ends_with('0') => format!("{number}00E-2"),
        (None, _) => match number.strip_suffix("00") {
            Some(hundreds) if !hundreds.trim_start_matches('-').is_empty() => format!("{hundreds}e+2"),
            _ => number.to_owned(),
        },
        (Some(("0" | "-0", _)), 0 | 1) => format!("{number}0"),
        (Some((whole, fraction)), 0 | 1) => format!("{whole}{fraction}e-{}", fraction.len()),
        (Some(_), _) => format!("{number}00"),
    }
}

fn write_string(string: &str, random: &mut Random, text: &mut String) {
    let escapes = random.one_in(3);
    text.push('"');
    for character in string.chars() {
        let must = matches!(character, '"' | '\\' | '\0'..' ');
        if !(must || escapes && random.one_in(2)) {
            text.push(character);
            continue;
        }
        match character {
            '"' | '\\' | '/' if random.one_in(2) => text.extend(['\\', character]),
            '\n' if random.one_in(2) => text.push_str("\\n"),
            _ => {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    let digits = if random.one_in(2) { format!("{unit:04x}") } else { format!("{unit:04X}") };
                    text.push_str("\\u");
                    text.push_str(&digits);
                }
            }
        }
    }
    text.push('"');
}
