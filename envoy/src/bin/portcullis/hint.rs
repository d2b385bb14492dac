//! What an operator may have meant.

use crate::document::{Content, Found};

/// How a variable gets a value here.
pub(crate) const GIVE_VARIABLE: &str = "give it with --env NAME=VALUE or --env-file, or say --allow-missing-env";

/// A hint to a fault, where there is one: it tells the form of what was written, and none of its text.
pub(crate) fn hint(path: &str, problem: &str, found: Found<'_>) -> Option<String> {
    if let Some(known) = problem.strip_prefix("unknown field, expected one of ") {
        return nearest(last_key(path), known.split(", "), 3).map(|key| format!("did you mean `{key}`?"));
    }
    if problem.starts_with("no such variable") {
        return Some(GIVE_VARIABLE.to_owned());
    }
    if !found.is_whole {
        return None;
    }
    let expected = problem.strip_prefix("expected ")?;
    let written = match &found.node.content {
        Content::Scalar(value) => value,
        Content::List(_) if expected.starts_with("a string") => {
            return Some("it is a list: write one string".to_owned());
        }
        Content::List(_) | Content::Map(_) => return None,
    };
    let is_text = |text: &str| written.as_str().is_some_and(|own| own.eq_ignore_ascii_case(text));
    match expected {
        _ if expected.starts_with("a duration") && written.is_number() => {
            Some("durations are strings with a unit, such as \"30s\"".to_owned())
        }
        "true or false" if ["true", "false", "yes", "no", "on", "off"].iter().any(|word| is_text(word)) => {
            Some("write true or false, without quotes".to_owned())
        }
        _ if (expected.starts_with("a whole number") || expected == "a number") && written.is_string() => {
            Some("write a number, without quotes and without a unit".to_owned())
        }
        "a string" if written.is_number() || written.is_boolean() => Some("put it in quotes".to_owned()),
        "a list" => Some("write it as a list, [in brackets], even if there is one".to_owned()),
        _ if expected.contains(" or ") => {
            let word = written.as_str().map(str::to_ascii_lowercase)?;
            nearest(&word, expected.split(" or "), 3).map(|word| format!("did you mean `{word}`?"))
        }
        _ => None,
    }
}

/// The key at the end of a path.
fn last_key(path: &str) -> &str {
    path.rsplit(['.', '[', '"']).find(|part| !part.is_empty() && *part != "]").unwrap_or(path)
}

/// The one of `words` that the fewest changes make of `word`, if there are at most so many and it keeps half of its letters.
pub(crate) fn nearest<'a>(word: &str, words: impl Iterator<Item = &'a str>, changes_max: usize) -> Option<&'a str> {
    let near = words.map(|known| (distance(word, known), known));
    let near = near.filter(|(changes, known)| *changes <= changes_max && changes.saturating_mul(2) <= known.len());
    near.min_by_key(|(changes, _)| *changes).map(|(_, known)| known)
}

/// How many letters have to be changed, put in, left out or swapped with their neighbour (optimal string alignment).
fn distance(one: &str, other: &str) -> usize {
    let (one, other): (Vec<char>, Vec<char>) = (one.chars().take(64).collect(), other.chars().take(64).collect());
    let mut rows = vec![(0..=other.len()).collect::<Vec<usize>>()];
    for (i, a) in one.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, b) in other.iter().enumerate() {
            let mut least = (rows[i][j] + usize::from(a != b)).min(rows[i][j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *a == other[j - 1] && one[i - 1] == *b {
                least = least.min(rows[i - 1][j - 1] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[one.len()][other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_the_one_that_was_meant() {
        for (word, expected) in [
            ("moed", Some("mode")),
            ("audience", Some("audiences")),
            ("Mode", Some("mode")),
            ("issuers", Some("issuer")),
            ("completely_else", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, ["mode", "audiences", "issuer", "fail"].into_iter(), 3), expected, "{word}");
        }
        assert_eq!((distance("ab", "ba"), distance("", "abc"), distance("kitten", "sitting")), (1, 3, 3));
        assert_eq!(
            (last_key("a.b"), last_key("a[0]"), last_key("[\"x y\"]"), last_key("mode")),
            ("b", "0]", "x y", "mode")
        );
    }
}
