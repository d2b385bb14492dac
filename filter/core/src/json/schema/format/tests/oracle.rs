//! Every format but `regex`, which is the engine's, against the crate `jsonschema`, on texts a few edits away from valid ones.

use jsonschema::{Draft, Validator};
use serde_json::{Value, json};

use super::super::Format;

const TEXT_COUNT: usize = 20_000;

/// The formats with the texts that are edited.
const SEEDS: [(&str, &[&str]); 16] = [
    ("date", &["1963-06-19", "2020-02-29", "1900-02-28", "2000-12-31", "0000-04-30"]),
    ("date-time", &["1963-06-19T08:30:06.283185Z", "1998-12-31T15:59:60.1-08:00", "2020-02-29t23:59:60z"]),
    ("duration", &["P4DT12H30M5S", "P1Y2M3DT4H5M6S", "P2W", "PT36H", "P1YT1M"]),
    ("email", &["joe.bloggs@example.com", "\"joe \\\"b\"@a.b-c", "a@[127.0.0.1]", "a@[IPv6:::1]", "te~st@xn--fiqs8s"]),
    ("hostname", &["www.example.com", "a-b.c--d.1e", "xn--4gbwdl.xn--wgbh1c", "xn--bcher-kva.example"]),
    ("ipv4", &["192.168.0.1", "255.255.255.255", "0.0.0.0", "127.10.249.99"]),
    ("ipv6", &["::1", "1:2:3:4:5:6:7:8", "2001:db8::ff00:42:8329", "::ffff:192.168.0.1", "1:2:3:4:5:6:1.2.3.4"]),
    ("iri", &["http://ƒøø.ßår/?∂éœ=πîx#πîüx", "http://é@[::1]:80/\u{a0}%20", "urn:a:\u{10000}?\u{e000}"]),
    ("iri-reference", &["//ƒøø.ßår/?∂éœ=πîx#πîüx", "âππ/b:c", "?\u{f0000}", "./a:b"]),
    ("json-pointer", &["", "/foo/bar~0/baz~1/%a", "/~01/~10", "//é"]),
    ("relative-json-pointer", &["1", "0/foo/bar", "120#", "2/0/baz~1/1/zip"]),
    ("time", &["08:30:06.283185Z", "23:59:60z", "15:59:60-08:00", "01:29:60+01:30", "00:00:00+23:59"]),
    ("uri", &["http://u:p@foo.bar:80/a%20b/?baz=qux#quux", "ldap://[2001:db8::7]/c=GB?a?b", "urn:a:b", "a://[v1.fe]"]),
    ("uri-reference", &["//foo.bar/?baz=qux#quux", "abc/d:e", "#fragment", "?a=%41", "//[::1.2.3.4]:8"]),
    ("uri-template", &["http://a.b/{term:12}/{term*}", "{+a,b.c,%41}", "{?x,y_z*}x%20", "a'b{#c}é"]),
    ("uuid", &["2eb8aa08-AA98-11ea-B4Aa-73B441D16380", "00000000-0000-0000-0000-000000000000"]),
];

/// Beside the characters of the text itself, what edits write.
const ALPHABET: &str =
    "0123456789abfgtvxzABFTVZ-_.:/?#[]@!$&'()*+,;=%~\"\\ <>{}|^`\n\0\u{7f}\u{80}é৪\u{fdd0}\u{e000}\u{1fffe}";

fn oracle(name: &str) -> Validator {
    jsonschema::options()
        .with_draft(Draft::Draft202012)
        .should_validate_formats(true)
        .build(&json!({ "format": name }))
        .unwrap()
}

fn below(state: &mut u64, bound: usize) -> usize {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    (*state >> 16) as usize % bound
}

fn edited(state: &mut u64, seeds: &[&str], alphabet: &[char]) -> String {
    let mut text: Vec<char> = seeds[below(state, seeds.len())].chars().collect();
    for _ in 0..=below(state, 3) {
        let index = below(state, text.len() + 1);
        let character = match below(state, 2) {
            0 => alphabet[below(state, alphabet.len())],
            _ => *text.get(below(state, text.len() + 1)).unwrap_or(&'0'),
        };
        match below(state, 5) {
            0 => text.insert(index, character),
            1 if index < text.len() => drop(text.remove(index)),
            2 => {
                let other: Vec<char> = seeds[below(state, seeds.len())].chars().collect();
                text.truncate(index);
                text.extend(&other[below(state, other.len() + 1)..]);
            }
            3 if index < text.len() => {
                let count = 1 + below(state, (text.len() - index).min(8));
                let copy = text[index..index + count].to_vec();
                text.splice(index..index, copy);
            }
            _ if index < text.len() => text[index] = character,
            _ => text.push(character),
        }
    }
    text.into_iter().collect()
}

/// Where the oracle says something else, and by which rule we do not follow it.
struct Difference {
    names: &'static [&'static str],
    why: &'static str,
    /// What we say, and the oracle does not.
    valid: bool,
    samples: &'static [(&'static str, &'static str)],
    /// Which texts may differ for this reason.
    concerns: fn(&str) -> bool,
}

const DIFFERENCES: [Difference; 7] = [
    Difference {
        names: &["hostname", "email"],
        why: "RFC 1123 §2.1, RFC 5321 §4.1.2: hyphens may stand third and fourth; only IDNA reserves such labels",
        valid: true,
        samples: &[("hostname", "ab--cd.example"), ("hostname", "r3---sn.example"), ("email", "a@ab--cd")],
        concerns: |text| labels(text).any(|label| label.get(2..4) == Some("--") && !has_prefix(label)),
    },
    Difference {
        names: &["hostname", "email"],
        why: "RFC 5890 §2.3.2.1: the prefix of an A-label is so in any case of letters",
        valid: true,
        samples: &[("hostname", "XN--BCHER-KVA"), ("hostname", "Xn--fiqs8s"), ("email", "a@xN--fiqs8s")],
        concerns: |text| labels(text).any(|label| has_prefix(label) && !label.starts_with("xn--")),
    },
    Difference {
        names: &["hostname", "email"],
        why: "RFC 5892 is left out for its tables, which disallow a character of this label: here the oracle is right",
        valid: true,
        samples: &[("hostname", "xn--a"), ("hostname", "xn--4ample"), ("email", "a@xn--fsiqs8s")],
        concerns: |text| labels(text).any(|label| label.starts_with("xn--")),
    },
    Difference {
        names: &["hostname", "email"],
        why: "RFC 5891 §4.2.3.1: no hyphens at the ends of what an A-label stands for, nor third and fourth",
        valid: false,
        samples: &[("hostname", "xn---bcher-kva"), ("hostname", "xn--bcher--kva"), ("email", "a@xn--bcher--kva")],
        concerns: |text| labels(text).any(has_prefix),
    },
    Difference {
        names: &["email"],
        why: "RFC 5321 §4.1.2: quoted-pairSMTP may be of a space",
        valid: true,
        samples: &[("email", "\"a\\ b\"@c")],
        concerns: |text| text.contains("\\ "),
    },
    Difference {
        names: &["relative-json-pointer"],
        why: "draft-bhutton-relative-json-pointer-00 §3: index-manipulation",
        valid: true,
        samples: &[
            ("relative-json-pointer", "0+1"),
            ("relative-json-pointer", "12-0/a"),
            ("relative-json-pointer", "1-2#"),
        ],
        concerns: |text| text.split('/').next().is_some_and(|steps| steps.contains(['+', '-'])),
    },
    Difference {
        names: &["uri-template"],
        why: "RFC 6570 §2.1: controls and noncharacters are neither ucschar nor iprivate",
        valid: false,
        samples: &[("uri-template", "a\u{80}"), ("uri-template", "\u{fdd0}{a}"), ("uri-template", "\u{1fffe}")],
        concerns: |text| text.contains(['\u{80}', '\u{fdd0}', '\u{1fffe}']),
    },
];

fn labels(text: &str) -> impl Iterator<Item = &str> {
    text.rsplit('@').next().unwrap_or_default().split('.')
}

fn has_prefix(label: &str) -> bool {
    label.get(..4).is_some_and(|prefix| prefix.eq_ignore_ascii_case("xn--"))
}

#[test]
fn edited_texts_are_judged_as_the_oracle_judges_them() {
    let alphabet: Vec<char> = ALPHABET.chars().collect();
    for (index, (name, seeds)) in SEEDS.iter().enumerate() {
        let (format, oracle) = (Format::from_name(name).unwrap(), oracle(name));
        let mut state = 0x9e37_79b9_7f4a_7c15 ^ index as u64;
        let mut valid = 0;
        for _ in 0..TEXT_COUNT {
            let text = edited(&mut state, seeds, &alphabet);
            let ours = format.is_valid(&text);
            let agreed = ours == oracle.is_valid(&Value::from(text.as_str()));
            let explained = |difference: &Difference| {
                difference.valid == ours && difference.names.contains(name) && (difference.concerns)(&text)
            };
            assert!(agreed || DIFFERENCES.iter().any(explained), "{name} {text:?}: {ours} here");
            valid += usize::from(ours);
        }
        // Neither all nor nothing: the edits reach both sides of the rules.
        assert!((TEXT_COUNT / 50..TEXT_COUNT).contains(&valid), "{name}: {valid} valid");
    }
}

#[test]
fn the_oracle_differs_where_we_say_so() {
    for Difference { names, why, valid, samples, concerns } in DIFFERENCES {
        for (name, text) in samples {
            assert!(names.contains(name) && concerns(text), "{name} {text:?}: {why}");
            assert_eq!(Format::from_name(name).unwrap().is_valid(text), valid, "{name} {text:?}: {why}");
            assert_eq!(oracle(name).is_valid(&Value::from(*text)), !valid, "{name} {text:?}: {why}");
        }
    }
}
