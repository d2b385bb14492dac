//! Every target over its corpus, and over some thousand changes of it: always the same ones.

use std::fs;
use std::path::{Path, PathBuf};

use portcullis_fuzz::{TARGETS, Target};

/// How many changed inputs each target sees.
const MUTATIONS: u32 = 3_000;

/// The longest input, in bytes: long ones only cost time.
const LEN_MAX: usize = 4_096;

#[test]
fn properties_hold_over_the_corpora() {
    for (name, property) in TARGETS {
        for (file, bytes) in corpus(name) {
            hold((name, property), &file, &bytes);
        }
    }
}

#[test]
fn properties_hold_over_changed_corpora() {
    for (name, property) in TARGETS {
        let corpus = corpus(name);
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        for round in 0..MUTATIONS {
            let (file, mut bytes) = corpus[random.below(corpus.len())].clone();
            for _ in 0..=random.below(4) {
                let (_, other) = &corpus[random.below(corpus.len())];
                change(&mut bytes, other, &mut random);
            }
            bytes.truncate(LEN_MAX);
            hold((name, property), &format!("{file}, change {round}"), &bytes);
        }
    }
}

#[test]
fn every_target_has_its_binary_and_nothing_else_has_a_corpus() {
    let names = |folder: &str| {
        let entries = fs::read_dir(root().join(folder)).expect("a folder");
        let name = |path: PathBuf| path.file_stem().expect("a name").to_string_lossy().into_owned();
        let mut names: Vec<String> = entries.map(|entry| name(entry.expect("an entry").path())).collect();
        names.sort();
        names
    };
    let expected = TARGETS.map(|(name, _)| name.to_owned());
    assert_eq!(names("corpus"), expected);
    assert_eq!(names("fuzz_targets"), expected);
    let workflow = fs::read_to_string(root().join("../../../.github/workflows/verify.yml")).expect("a workflow");
    let jobs = format!("target: [{}]", expected.join(", "));
    assert!(workflow.contains(&jobs), "the workflow does not fuzz {jobs}");
    let manifest = fs::read_to_string(root().join("Cargo.toml")).expect("a manifest");
    for name in expected {
        assert!(manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")), "{name} is not in Cargo.toml");
    }
}

/// Calls the property; where it does not hold, the input is shown.
fn hold((name, property): Target, what: &str, bytes: &[u8]) {
    struct Shown<'a>(&'a str, &'a str, &'a [u8]);
    impl Drop for Shown<'_> {
        fn drop(&mut self) {
            if std::thread::panicking() {
                eprintln!("{}, {}: b\"{}\"", self.0, self.1, self.2.escape_ascii());
            }
        }
    }
    let _shown = Shown(name, what, bytes);
    property(bytes);
}

/// The files of a corpus, by name.
fn corpus(name: &str) -> Vec<(String, Vec<u8>)> {
    let folder = root().join("corpus").join(name);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let read = |path: PathBuf| {
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        (name, fs::read(path).expect("a readable file"))
    };
    let mut files: Vec<_> = entries.map(|entry| read(entry.expect("an entry").path())).collect();
    assert!(!files.is_empty(), "{} is empty", folder.display());
    files.sort();
    files
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// One change, of the kinds that libFuzzer makes.
fn change(bytes: &mut Vec<u8>, other: &[u8], random: &mut Random) {
    let place = random.below(bytes.len() + 1);
    let end = (place + 1 + random.below(8)).min(bytes.len());
    match random.below(8) {
        0 => bytes.insert(place, random.byte()),
        1 => drop(bytes.drain(place..end)),
        2 => bytes.truncate(place),
        3 => {
            let copy = bytes[place..end].to_vec();
            bytes.splice(place..place, copy);
        }
        4 => {
            let start = random.below(other.len() + 1);
            let len = random.below(other.len() - start + 1);
            bytes.splice(place..end, other[start..start + len].iter().copied());
        }
        5 => bytes[place..end].fill(b"\x00\x01\x7d\x7e\x7f\x80\xff\n"[random.below(8)]),
        6 => bytes.splice(place..end, [random.byte(), random.byte()]).for_each(drop),
        _ => {
            if let Some(byte) = bytes.get_mut(place) {
                *byte ^= 1 << random.below(8);
            }
        }
    }
}

/// xorshift64*: good enough to choose changes, and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn byte(&mut self) -> u8 {
        self.next().to_be_bytes()[0]
    }

    /// A number below `end`; 0 when that is 0.
    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() >> 33).expect("31 bits").checked_rem(end).unwrap_or_default()
    }
}
