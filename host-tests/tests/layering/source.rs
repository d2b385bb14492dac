//! Files of Rust that are shipped, and the paths that their code names.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// A file of Rust that is shipped.
pub(crate) struct Source {
    pub(crate) file: PathBuf,
    /// The module: `["wire", "header"]` of `wire/header.rs`; empty for the root of a crate.
    pub(crate) module: Vec<String>,
    text: String,
}

impl Source {
    pub(crate) fn new(file: &str, text: &str) -> Self {
        let parts = Path::new(file).with_extension("");
        let mut module: Vec<String> = parts.iter().map(|part| part.to_string_lossy().into_owned()).collect();
        module.retain(|part| !["lib", "main", "mod"].contains(&part.as_str()));
        Self { file: file.into(), module, text: text.into() }
    }

    /// The text line by line without its comments and without the tests at its foot.
    pub(crate) fn code(&self) -> String {
        let shipped = self.text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        shipped.lines().map(|line| format!("{}\n", line.split("//").next().unwrap_or_default())).collect()
    }

    /// The paths that the code names, each from the root of the crate on. Not those that lead out of the crate: a path
    /// begins with `crate`, `self`, `super`, or a child of this module.
    pub(crate) fn paths(&self, is_module: &dyn Fn(&[String]) -> bool) -> Vec<Vec<String>> {
        named(&self.code()).into_iter().filter_map(|path| self.absolute(path, is_module)).collect()
    }

    fn absolute(&self, path: Vec<String>, is_module: &dyn Fn(&[String]) -> bool) -> Option<Vec<String>> {
        let mut from = self.module.clone();
        let mut rest = path.as_slice();
        match rest.first()?.as_str() {
            "crate" => {
                from.clear();
                rest = &rest[1..];
            }
            "self" => rest = &rest[1..],
            "super" => {
                while let Some(("super", above)) = rest.split_first().map(|(first, above)| (first.as_str(), above)) {
                    from.pop();
                    rest = above;
                }
            }
            child => {
                from.push(child.to_owned());
                if !is_module(&from) {
                    return None;
                }
                rest = &rest[1..];
            }
        }
        // A word alone is a variable or a visibility.
        (!rest.is_empty()).then(|| [from, rest.to_vec()].concat())
    }

    /// What `pub use` makes a name of this module: the name and the path behind it.
    pub(crate) fn reexports(&self, is_module: &dyn Fn(&[String]) -> bool) -> Vec<(String, Vec<String>)> {
        let code = self.code();
        let lines = code.match_indices("pub use ").map(|(index, word)| &code[index + word.len()..]);
        let paths = lines.flat_map(|line| named(line.split(';').next().unwrap_or_default()));
        let absolute = paths.filter_map(|path| self.absolute(path, is_module));
        absolute.filter_map(|path| Some((path.last()?.clone(), path))).collect()
    }
}

/// Every file below `folder` but what is for tests and the crates in `bin`.
pub(crate) fn sources(folder: &str) -> Vec<Source> {
    let root = workspace().join(folder);
    let mut folders = vec![root.clone()];
    let mut sources = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder of sources") {
            let file = entry.expect("an entry").path();
            let name = file.strip_prefix(&root).expect("a file below its root");
            if file.is_dir() {
                if !file.ends_with("tests") && !file.ends_with("bin") {
                    folders.push(file);
                }
            } else if file.extension().is_some_and(|extension| extension == "rs")
                && !["tests.rs", "testing.rs"].iter().any(|name| file.ends_with(name))
            {
                let text = fs::read_to_string(&file).expect("a readable file");
                sources.push(Source { file: file.clone(), ..Source::new(&name.to_string_lossy(), &text) });
            }
        }
    }
    assert!(!sources.is_empty(), "no source in {folder}");
    sources
}

pub(crate) fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a folder above")
}

/// Every path in some code, a group as one path for each of its members; a visibility (`pub(in …)`) is none.
fn named(code: &str) -> Vec<Vec<String>> {
    let mut paths = Vec::new();
    let mut rest = code;
    while let Some(start) = rest.find(is_word) {
        let is_visibility = code[..code.len() - rest.len() + start].ends_with("pub(in ");
        let (mut found, after) = path(&rest[start..]);
        if !is_visibility {
            paths.append(&mut found);
        }
        rest = after;
    }
    paths
}

/// The paths that begin here, and what stands behind them.
fn path(code: &str) -> (Vec<Vec<String>>, &str) {
    if let Some(mut rest) = code.strip_prefix('{') {
        let mut members = Vec::new();
        while !rest.is_empty() {
            rest = rest.trim_start_matches(|character: char| character == ',' || character.is_whitespace());
            if let Some(after) = rest.strip_prefix('}') {
                return (members, after);
            }
            let (mut found, after) = path(rest);
            members.append(&mut found);
            // `as` and the new name.
            rest = after.find([',', '}']).map_or("", |end| &after[end..]);
        }
        return (members, rest);
    }
    let (word, after) = code.split_at(code.find(|character| !is_word(character)).unwrap_or(code.len()));
    match after.strip_prefix("::") {
        Some(behind) if behind.starts_with(|first| is_word(first) || first == '{') => {
            let (found, after) = path(behind);
            (found.into_iter().map(|rest| [vec![word.to_owned()], rest].concat()).collect(), after)
        }
        // `::*` is all of it.
        Some(behind) if behind.starts_with('*') => (vec![vec![word.to_owned(), "*".into()]], &behind[1..]),
        _ => (vec![vec![word.to_owned()]], after),
    }
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}
