//! What a policy is deployed in: a `WasmPlugin`, an `EnvoyExtensionPolicy`, a configuration of Envoy, or nothing.

use std::collections::BTreeMap;

use portcullis_core::config;

use crate::document::{self, Content, Node, Unreadable, join};
use crate::envoy_yaml;
use crate::hint::nearest;

/// The API that a plugin is an object or message of.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    /// The policy alone.
    Bare,
    Envoy,
    EnvoyGateway,
    Istio,
}

impl Kind {
    /// Where variables are passed on that the policy reads.
    pub(crate) const fn variables(self) -> &'static str {
        match self {
            Self::Bare | Self::Envoy => "vm_config.environment_variables",
            Self::EnvoyGateway => "env.hostKeys",
            Self::Istio => "vmConfig.env",
        }
    }

    /// What to do where one is not.
    pub(crate) const fn variable_hint(self) -> &'static str {
        match self {
            Self::Bare | Self::Envoy => {
                "add its name to host_env_keys there: Envoy shows the filter no other variables"
            }
            Self::EnvoyGateway => "add its name there: Envoy shows the filter no other variables",
            Self::Istio => "add {name: …, valueFrom: HOST} there: Envoy shows the filter no other variables",
        }
    }

    /// Where the policy stands.
    pub(crate) const fn policy(self) -> &'static str {
        match self {
            Self::Bare => "",
            Self::Envoy => "configuration",
            Self::EnvoyGateway => "config",
            Self::Istio => "pluginConfig",
        }
    }
}

/// A filter of a file.
#[derive(Debug)]
pub(crate) struct Plugin<'a> {
    pub(crate) kind: Kind,
    /// What it stands in, from the document on, each with its path; the last one is the plugin itself.
    pub(crate) trail: Vec<(String, &'a Node)>,
    /// As it is written: in Envoy it may be a string.
    pub(crate) policy: Option<&'a Node>,
}

/// The documents of a file, and those of its `ConfigMap`s in the places of their strings.
///
/// # Errors
/// [`Unreadable`], for the file itself.
pub(crate) fn documents(text: &str) -> Result<Vec<Node>, Unreadable> {
    let mut documents = document::documents(text)?;
    let lines: Vec<&str> = text.lines().collect();
    for map in documents.iter_mut().filter(|document| document.get("kind").is_some_and(|kind| kind.is("ConfigMap"))) {
        let Content::Map(members) = &mut map.content else { continue };
        let Some((_, data)) = members.iter_mut().find(|(key, _)| key.name == "data") else { continue };
        let Content::Map(files) = &mut data.content else { continue };
        for (_, file) in files {
            // A file may be of any kind.
            if let Ok(inner) = document::unquoted(&lines, file) {
                *file = inner;
            }
        }
    }
    Ok(documents)
}

/// The filters of a file. Where some are called Portcullis, the others are somebody else's.
pub(crate) fn plugins(documents: &[Node]) -> Vec<Plugin<'_>> {
    let mut found = Vec::new();
    documents.iter().for_each(|document| read(document, "", &mut found));
    if found.iter().any(Plugin::is_named) {
        found.retain(Plugin::is_named);
    }
    found
}

/// The files that Envoy reads filters from (ECDS), as a configuration names them.
pub(crate) fn sources(documents: &[Node]) -> Vec<&str> {
    let (mut discoveries, mut paths) = (Vec::new(), Vec::new());
    documents.iter().for_each(|document| document.every("config_discovery", &mut discoveries));
    discoveries.into_iter().for_each(|discovery| discovery.every("path", &mut paths));
    let mut paths: Vec<&str> = paths.into_iter().filter_map(Node::text).collect();
    // Once a listener, and a watched directory is no file.
    paths.sort_unstable();
    paths.dedup();
    let is_folder =
        |path: &str| paths.iter().any(|other| other.strip_prefix(path).is_some_and(|rest| rest.starts_with('/')));
    paths.iter().copied().filter(|path| !is_folder(path)).collect()
}

fn read<'a>(document: &'a Node, path: &str, found: &mut Vec<Plugin<'a>>) {
    let kind = document.get("kind").and_then(Node::text).unwrap_or_default();
    let spec = document.get("spec");
    if kind.ends_with("List")
        && let Some(items) = document.get("items")
    {
        for (step, item) in items.children() {
            read(item, &join(path, &join("items", &step)), found);
        }
    } else if let Some(spec) = spec.filter(|spec| kind == "WasmPlugin" || spec.get("pluginConfig").is_some()) {
        let trail = vec![(path.to_owned(), document), (join(path, "spec"), spec)];
        found.push(Plugin { kind: Kind::Istio, trail, policy: spec.get("pluginConfig") });
    } else if let Some(filter) = spec.and_then(|spec| spec.get("wasm")).filter(|filter| filter.is_map()) {
        let trail = vec![(path.to_owned(), document), (join(path, "spec.wasm"), filter)];
        found.push(Plugin { kind: Kind::EnvoyGateway, trail, policy: filter.get("config") });
    } else if let Some(list) = spec.and_then(|spec| spec.get("wasm")).filter(|list| !list.items().is_empty()) {
        for (step, filter) in list.children() {
            let trail = vec![(path.to_owned(), document), (join(path, &format!("spec.wasm{step}")), filter)];
            found.push(Plugin { kind: Kind::EnvoyGateway, trail, policy: filter.get("config") });
        }
    } else if kind == "ConfigMap" {
        for (step, file) in document.get("data").map(Node::children).unwrap_or_default() {
            read(file, &join(path, &join("data", &step)), found);
        }
    } else if is_policy(document) {
        let trail = vec![(path.to_owned(), document)];
        found.push(Plugin { kind: Kind::Bare, trail, policy: Some(document) });
    } else {
        of_envoy(document, path, &mut Vec::new(), found);
    }
}

/// Whether a document is a policy, if only one with its keys misspelt.
fn is_policy(document: &Node) -> bool {
    const OTHERS: [&str; 7] =
        ["apiVersion", "kind", "resources", "static_resources", "http_filters", "typed_config", "config"];
    if !document.is_map() || OTHERS.iter().any(|key| document.get(key).is_some()) {
        return false;
    }
    let schema = config::schema();
    let known: Vec<&str> =
        schema["properties"].as_object().into_iter().flatten().map(|(key, _)| key.as_str()).collect();
    let members = document.members();
    let near = members.iter().filter(|(key, _)| nearest(&key.name, known.iter().copied(), 2).is_some()).count();
    near.saturating_mul(2) >= members.len() || members.iter().any(|(key, _)| known.contains(&key.name.as_str()))
}

fn of_envoy<'a>(node: &'a Node, path: &str, trail: &mut Vec<(String, &'a Node)>, found: &mut Vec<Plugin<'a>>) {
    trail.push((path.to_owned(), node));
    let configuration = node.field("configuration");
    let machine = node.field("vm_config");
    if machine.is_some_and(|machine| configuration.is_some() || machine.field("code").is_some()) {
        let policy = configuration.map(|any| any.get("value").unwrap_or(any));
        found.push(Plugin { kind: Kind::Envoy, trail: trail.clone(), policy });
    } else {
        for (step, child) in node.children() {
            of_envoy(child, &join(path, &step), trail, found);
        }
    }
    trail.pop();
}

impl<'a> Plugin<'a> {
    /// The plugin itself, with its path.
    pub(crate) fn node(&self) -> Option<(&str, &'a Node)> {
        self.trail.last().map(|(path, node)| (path.as_str(), *node))
    }

    /// The policy at `policy`, as Envoy reads it: where that is a string, it hands it to the filter as it is, which reads JSON.
    ///
    /// # Errors
    /// [`Unreadable`] with the place in the file of these lines.
    pub(crate) fn read(&self, lines: &[&str], policy: &Node) -> Result<Node, Unreadable> {
        match self.kind {
            Kind::Envoy if policy.text().is_some() => document::unquoted_json(lines, policy),
            Kind::Envoy => Ok(envoy_yaml::read(lines, policy)),
            Kind::Bare | Kind::EnvoyGateway | Kind::Istio => document::unquoted(lines, policy),
        }
    }

    /// Whether Envoy hands the policy over as a `google.protobuf.Struct`.
    pub(crate) fn is_struct(&self) -> bool {
        self.kind == Kind::Envoy && self.policy.is_some_and(Node::is_map)
    }

    /// Whether its name, its image or its file is that of this filter.
    fn is_named(&self) -> bool {
        let is_it = |text: &str| text.to_ascii_lowercase().contains("portcullis");
        let names = self.trail.iter().flat_map(|(_, node)| [node.get("metadata").and_then(|own| own.get("name"))]);
        self.kind == Kind::Bare
            || names.flatten().filter_map(Node::text).any(is_it)
            || self.node().is_some_and(|(_, node)| has(node, self.kind.policy(), &is_it))
    }

    /// The variables that the policy finds, with the values that are written here; `None` where the file does not say.
    pub(crate) fn variables(&self) -> Option<BTreeMap<String, Option<String>>> {
        let (_, node) = self.node().filter(|_| self.kind != Kind::Bare)?;
        let value = |node: Option<&Node>| Some(node.and_then(Node::text).unwrap_or_default().to_owned());
        let of_host = |list: Option<&Node>| {
            list.map(Node::texts)
                .unwrap_or_default()
                .into_iter()
                .map(|name| (name.to_owned(), None))
                .collect::<Vec<_>>()
        };
        let mut carried = BTreeMap::new();
        match self.kind {
            Kind::Bare => {}
            Kind::Envoy => {
                let variables = node.field("vm_config").and_then(|own| own.field("environment_variables"));
                let keys = variables.and_then(|own| own.field("host_env_keys"));
                carried.extend(of_host(keys));
                let values = variables.and_then(|own| own.field("key_values"));
                let values = values.into_iter().flat_map(Node::members);
                carried.extend(values.map(|(key, node)| (key.name.clone(), value(Some(node)))));
            }
            Kind::EnvoyGateway => {
                let keys = node.get("env").and_then(|own| own.get("hostKeys"));
                carried.extend(of_host(keys));
            }
            Kind::Istio => {
                let list = node.get("vmConfig").and_then(|own| own.get("env")).into_iter().flat_map(Node::items);
                carried.extend(list.filter_map(|own| {
                    let written =
                        value(own.get("value")).filter(|_| own.get("valueFrom").is_none_or(|from| from.is("INLINE")));
                    Some((own.get("name")?.text()?.to_owned(), written))
                }));
            }
        }
        Some(carried)
    }
}

/// Whether a text in `node` is one of those that are looked for, outside the member `but`.
fn has(node: &Node, but: &str, is_it: &dyn Fn(&str) -> bool) -> bool {
    let mut others = node.children().into_iter().filter(|(step, _)| step != but);
    node.text().is_some_and(is_it) || others.any(|(_, child)| has(child, but, is_it))
}
