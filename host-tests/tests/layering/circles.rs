//! Files that import one another.
//!
//! A file imports another when its code names something in it, in a `use` or by a path on the spot; `mod` alone is no import. A name
//! that is re-exported leads to where it is defined.

use std::collections::{BTreeMap, BTreeSet};

use super::source::Source;

/// What each file of a crate imports, by module.
struct Graph<'a>(BTreeMap<&'a [String], BTreeSet<&'a [String]>>);

/// The groups of files each of which leads, import by import, to all others of its group: their modules.
pub(crate) fn circles(sources: &[Source]) -> Vec<Vec<String>> {
    let graph = Graph::new(sources);
    let reached: BTreeMap<_, _> = graph.0.keys().map(|module| (*module, graph.reached(module))).collect();
    let mut circles: Vec<Vec<String>> = Vec::new();
    for (module, others) in &reached {
        let circle = others.iter().filter(|other| reached[**other].contains(module));
        let circle: Vec<String> = circle.map(|module| name(module)).collect();
        if !circle.is_empty() && !circles.contains(&circle) {
            circles.push(circle);
        }
    }
    circles
}

/// `a/b` of `["a", "b"]`.
fn name(module: &[String]) -> String {
    if module.is_empty() { "the root".into() } else { module.join("/") }
}

impl<'a> Graph<'a> {
    fn new(sources: &'a [Source]) -> Self {
        let modules: BTreeSet<&[String]> = sources.iter().map(|source| source.module.as_slice()).collect();
        let is_module = |path: &[String]| modules.contains(path);
        let reexports: BTreeMap<_, BTreeMap<_, _>> = sources
            .iter()
            .map(|source| (source.module.as_slice(), source.reexports(&is_module).into_iter().collect()))
            .collect();
        let target = |path: &[String]| {
            let mut path = path.to_vec();
            loop {
                let len = (0..=path.len()).rev().find(|len| is_module(&path[..*len]))?;
                let module = *modules.get(&path[..len])?;
                match path.get(len).and_then(|name| reexports[module].get(name)) {
                    Some(behind) => path = [behind.as_slice(), &path[len + 1..]].concat(),
                    None => return Some(module),
                }
            }
        };
        let imports = |source: &'a Source| {
            let paths = source.paths(&is_module);
            let targets = paths.iter().filter_map(|path| target(path));
            targets.filter(|module| *module != source.module.as_slice()).collect()
        };
        Self(sources.iter().map(|source| (source.module.as_slice(), imports(source))).collect())
    }

    /// All that a module leads to by one import or more.
    fn reached(&self, module: &[String]) -> BTreeSet<&'a [String]> {
        let mut reached = BTreeSet::new();
        let mut ahead: Vec<&[String]> = self.0[module].iter().copied().collect();
        while let Some(next) = ahead.pop() {
            if reached.insert(next) {
                ahead.extend(&self.0[next]);
            }
        }
        reached
    }
}
