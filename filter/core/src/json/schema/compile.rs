//! From a schema to a [`Program`].
//!
//! The document is walked once, which finds every resource (`$id`) and anchor; references are followed when all are known. Places that no
//! keyword leads to are compiled when a reference does.

mod keywords;

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::fault::SchemaFault;
use super::format::Formats;
use super::program::{DynamicReference, FALSE, Node, Place, Program, TRUE};
use super::uri;
use crate::regex::Builder;

/// How deep schemas may stand in each other: reading them takes stack.
const NESTING_MAX: usize = 64;

/// How many schemas one document may have: more than any published schema, and a few megabytes.
const NODE_COUNT_MAX: usize = 65_536;

/// How many schemas may apply to one value in a row, each because of the one before.
const IN_PLACE_DEPTH_MAX: usize = 100;

/// Which keywords there are, and what they mean.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Draft {
    V2020,
    V7,
}

impl Draft {
    fn from_uri(uri: &str) -> Option<Self> {
        match uri.trim_end_matches('#') {
            "https://json-schema.org/draft/2020-12/schema" => Some(Self::V2020),
            "http://json-schema.org/draft-07/schema" | "https://json-schema.org/draft-07/schema" => Some(Self::V7),
            _ => None,
        }
    }
}

type Compiled<T> = Result<T, SchemaFault>;

/// A part of the document with a URI of its own (2020-12 Core §4.3.5).
struct Resource {
    uri: String,
    pointer: String,
    draft: Draft,
    anchors: BTreeMap<String, Place>,
    dynamic_anchors: BTreeMap<String, Place>,
}

/// Where a schema stands.
#[derive(Clone)]
struct Position {
    /// From the root of the document.
    pointer: String,
    resource: usize,
    nesting: usize,
}

/// A reference that has been read and not followed.
struct Reference {
    node: Place,
    /// Where it stands.
    pointer: String,
    resource: usize,
    text: String,
    is_dynamic: bool,
}

struct Compiler<'a> {
    document: &'a Value,
    formats: Formats,
    program: Program,
    resources: Vec<Resource>,
    places: BTreeMap<String, Place>,
    references: Vec<Reference>,
    builder: &'a mut Builder,
}

/// Compiles a whole document.
pub(super) fn compile(document: &Value, formats: Formats, builder: &mut Builder) -> Compiled<Program> {
    let root = Resource {
        uri: String::new(),
        pointer: String::new(),
        draft: Draft::V2020,
        anchors: BTreeMap::new(),
        dynamic_anchors: BTreeMap::new(),
    };
    let mut compiler = Compiler {
        document,
        formats,
        program: Program { nodes: vec![Node::default(), Node::default()], ..Program::default() },
        resources: vec![root],
        places: BTreeMap::new(),
        references: Vec::new(),
        builder,
    };
    let position = Position { pointer: String::new(), resource: 0, nesting: 0 };
    compiler.program.root = compiler.schema(document, position)?;
    compiler.follow_references()?;
    compiler.check_ends()?;
    Ok(compiler.program)
}

impl Position {
    fn fault(&self, keyword: &str, problem: impl Into<String>) -> SchemaFault {
        SchemaFault { pointer: self.at(keyword), problem: problem.into() }
    }

    fn at(&self, token: &str) -> String {
        if token.is_empty() {
            return self.pointer.clone();
        }
        format!("{}/{}", self.pointer, token.replace('~', "~0").replace('/', "~1"))
    }

    fn below(&self, token: &str) -> Self {
        Self { pointer: self.at(token), resource: self.resource, nesting: self.nesting.saturating_add(1) }
    }
}

impl Compiler<'_> {
    fn draft(&self, position: &Position) -> Draft {
        self.resources.get(position.resource).map_or(Draft::V2020, |resource| resource.draft)
    }

    fn schema(&mut self, schema: &Value, mut position: Position) -> Compiled<Place> {
        if let Some(place) = self.places.get(&position.pointer) {
            return Ok(*place);
        }
        if position.nesting > NESTING_MAX || self.program.nodes.len() >= NODE_COUNT_MAX {
            return Err(position.fault("", "more schemas, or deeper in each other, than are taken"));
        }
        let members = match schema {
            Value::Bool(true) => return Ok(self.place(&position, TRUE)),
            Value::Bool(false) => return Ok(self.place(&position, FALSE)),
            Value::Object(members) => members,
            _ => return Err(position.fault("", "expected a schema: an object, true or false")),
        };
        let place = self.program.nodes.len();
        self.program.nodes.push(Node::default());
        self.place(&position, place);
        self.identify(members, &mut position, place)?;
        let node = self.keywords(members, &position, place)?;
        if let Some(own) = self.program.nodes.get_mut(place) {
            *own = node;
        }
        Ok(place)
    }

    fn place(&mut self, position: &Position, place: Place) -> Place {
        self.places.insert(position.pointer.clone(), place);
        place
    }

    /// `$schema`, `$id`, `$anchor`, `$dynamicAnchor`.
    fn identify(&mut self, members: &Map<String, Value>, position: &mut Position, place: Place) -> Compiled<()> {
        let mut draft = self.draft(position);
        if let Some(dialect) = text(members, position, "$schema")? {
            draft = Draft::from_uri(dialect)
                .ok_or_else(|| position.fault("$schema", "an unknown dialect: expected 2020-12 or draft-07"))?;
        }
        let is_hidden = draft == Draft::V7 && members.contains_key("$ref");
        if let Some(id) = text(members, position, "$id")?.filter(|_| !is_hidden) {
            let (uri, fragment) = id.split_once('#').unwrap_or((id, ""));
            if !fragment.is_empty() && draft == Draft::V2020 {
                return Err(position.fault("$id", "has a fragment: use $anchor"));
            }
            if !uri.is_empty() {
                let base = self.resources.get(position.resource).map(|resource| resource.uri.as_str());
                let uri = uri::resolve(base.unwrap_or_default(), uri);
                if self.resources.iter().any(|resource| resource.uri == uri) {
                    return Err(position.fault("$id", "stands twice"));
                }
                self.enter(uri, position, draft);
            }
            if !fragment.is_empty() {
                self.anchor(fragment, position, "$id", place)?;
            }
        }
        if position.pointer.is_empty()
            && let Some(root) = self.resources.first_mut()
        {
            root.draft = draft;
        }
        if draft == Draft::V2020 {
            if let Some(name) = text(members, position, "$anchor")? {
                self.anchor(name, position, "$anchor", place)?;
            }
            if let Some(name) = text(members, position, "$dynamicAnchor")? {
                self.anchor(name, position, "$dynamicAnchor", place)?;
                if let Some(resource) = self.resources.get_mut(position.resource) {
                    resource.dynamic_anchors.insert(name.to_owned(), place);
                }
            }
        }
        Ok(())
    }

    /// A new resource begins at `position`; the document itself only gets a name.
    fn enter(&mut self, uri: String, position: &mut Position, draft: Draft) {
        if position.pointer.is_empty() {
            if let Some(root) = self.resources.first_mut() {
                root.uri = uri;
                root.draft = draft;
            }
            return;
        }
        position.resource = self.resources.len();
        self.resources.push(Resource {
            uri,
            pointer: position.pointer.clone(),
            draft,
            anchors: BTreeMap::new(),
            dynamic_anchors: BTreeMap::new(),
        });
    }

    fn anchor(&mut self, name: &str, position: &Position, keyword: &str, place: Place) -> Compiled<()> {
        let is_first = |first: char| first.is_ascii_alphabetic() || first == '_';
        let is_rest = |rest: char| rest.is_ascii_alphanumeric() || matches!(rest, '-' | '_' | '.' | ':');
        if !name.starts_with(is_first) || !name.chars().all(is_rest) {
            return Err(position.fault(keyword, "no name of an anchor"));
        }
        let Some(resource) = self.resources.get_mut(position.resource) else { return Ok(()) };
        match resource.anchors.insert(name.to_owned(), place) {
            Some(other) if other != place => Err(position.fault(keyword, "stands twice")),
            Some(_) | None => Ok(()),
        }
    }

    /// Following one may compile what has others.
    fn follow_references(&mut self) -> Compiled<()> {
        while let Some(reference) = self.references.pop() {
            let fault = |problem: &str| SchemaFault { pointer: reference.pointer.clone(), problem: problem.to_owned() };
            let (place, anchor) = self.find(&reference).map_err(|problem| match problem {
                Unfound::Fault(fault) => fault,
                Unfound::Problem(problem) => fault(problem),
            })?;
            let Some(node) = self.program.nodes.get_mut(reference.node) else { continue };
            let in_place = node.in_place.get_or_insert_default();
            if reference.is_dynamic {
                in_place.dynamic_reference = Some(DynamicReference { place, anchor: None });
                if let Some(name) = anchor {
                    let index = self.dynamic_anchors(&name);
                    let node = self.program.nodes.get_mut(reference.node);
                    let in_place = node.and_then(|node| node.in_place.as_mut());
                    if let Some(dynamic) = in_place.and_then(|in_place| in_place.dynamic_reference.as_mut()) {
                        dynamic.anchor = Some(index);
                    }
                }
            } else {
                in_place.reference = Some(place);
            }
        }
        // Resources that were found late have their anchors too.
        for (name, places) in &mut self.program.dynamic_anchors {
            let anchored = |(index, resource): (usize, &Resource)| Some((index, *resource.dynamic_anchors.get(name)?));
            *places = self.resources.iter().enumerate().filter_map(anchored).collect();
        }
        Ok(())
    }

    /// The index of `name` in the program's list.
    fn dynamic_anchors(&mut self, name: &str) -> usize {
        let known = self.program.dynamic_anchors.iter().position(|(own, _)| own == name);
        known.unwrap_or_else(|| {
            self.program.dynamic_anchors.push((name.to_owned(), Vec::new()));
            self.program.dynamic_anchors.len().saturating_sub(1)
        })
    }

    /// Where a reference leads, and the name of the dynamic anchor there.
    fn find(&mut self, reference: &Reference) -> Result<(Place, Option<String>), Unfound> {
        let (target, fragment) = reference.text.split_once('#').unwrap_or((&reference.text, ""));
        let base = self.resources.get(reference.resource).map(|resource| resource.uri.clone()).unwrap_or_default();
        let target = uri::resolve(&base, target);
        let index = self.resources.iter().position(|resource| resource.uri == target);
        let index = index.ok_or(Unfound::Problem("leads out of this document, which nothing is fetched for"))?;
        let fragment = uri::decode(fragment).ok_or(Unfound::Problem("its fragment is no text"))?;
        let Some(resource) = self.resources.get(index) else { return Err(Unfound::Problem("leads nowhere")) };
        if !fragment.is_empty() && !fragment.starts_with('/') {
            let place = resource.anchors.get(&fragment).ok_or(Unfound::Problem("no such anchor"))?;
            let is_dynamic = reference.is_dynamic && resource.dynamic_anchors.contains_key(&fragment);
            return Ok((*place, is_dynamic.then_some(fragment)));
        }
        let pointer = format!("{}{fragment}", resource.pointer);
        let schema = self.document.pointer(&pointer).ok_or(Unfound::Problem("leads nowhere"))?;
        let position = Position { pointer: normal(&pointer), resource: index, nesting: 0 };
        Ok((self.schema(schema, position).map_err(Unfound::Fault)?, None))
    }

    /// No schema may apply to one value again because of itself.
    fn check_ends(&self) -> Compiled<()> {
        let mut depths: Vec<Depth> = self.program.nodes.iter().map(|_| Depth::Unknown).collect();
        for start in 0..self.program.nodes.len() {
            let mut path = vec![start];
            while let Some(&place) = path.last() {
                let next = self.in_place(place);
                let unknown = next.iter().copied().find(|next| !matches!(depths.get(*next), Some(Depth::Known(_))));
                let Some(depth) = depths.get_mut(place) else { break };
                match (unknown, &depth) {
                    (_, Depth::Known(_)) => drop(path.pop()),
                    (Some(next), _) => {
                        *depth = Depth::Open;
                        if matches!(depths.get(next), Some(Depth::Open)) {
                            return Err(
                                self.fault_at(next, "goes round: it applies to a value because it applies to it")
                            );
                        }
                        path.push(next);
                    }
                    (None, _) => {
                        let deepest = next.iter().filter_map(|next| match depths.get(*next) {
                            Some(Depth::Known(depth)) => Some(*depth),
                            Some(Depth::Open | Depth::Unknown) | None => None,
                        });
                        let own = deepest.max().map_or(0, |deepest| deepest.saturating_add(1));
                        if own > IN_PLACE_DEPTH_MAX {
                            return Err(self.fault_at(place, "too many schemas apply to one value in a row"));
                        }
                        if let Some(depth) = depths.get_mut(place) {
                            *depth = Depth::Known(own);
                        }
                        path.pop();
                    }
                }
            }
        }
        Ok(())
    }

    fn in_place(&self, place: Place) -> Vec<Place> {
        let in_place = self.program.nodes.get(place).and_then(|node| node.in_place.as_ref());
        in_place.map(|in_place| in_place.places(&self.program).collect()).unwrap_or_default()
    }

    fn fault_at(&self, place: Place, problem: &str) -> SchemaFault {
        let pointer = self.places.iter().find(|(_, own)| **own == place).map(|(pointer, _)| pointer.clone());
        SchemaFault { pointer: pointer.unwrap_or_default(), problem: problem.to_owned() }
    }
}

/// How many schemas apply in a row behind one.
enum Depth {
    Known(usize),
    Open,
    Unknown,
}

/// Why a reference leads nowhere.
enum Unfound {
    Fault(SchemaFault),
    Problem(&'static str),
}

/// A pointer as the walk writes it: `~` and `/` escaped, nothing else.
fn normal(pointer: &str) -> String {
    let tokens = pointer.split('/').map(|token| token.replace("~1", "/").replace("~0", "~"));
    let tokens: Vec<String> = tokens.map(|token| token.replace('~', "~0").replace('/', "~1")).collect();
    tokens.join("/")
}

fn text<'a>(members: &'a Map<String, Value>, position: &Position, keyword: &str) -> Compiled<Option<&'a str>> {
    match members.get(keyword) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(position.fault(keyword, "expected a string")),
    }
}
