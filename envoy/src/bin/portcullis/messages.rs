//! The typed API around a policy: the fields of the messages and objects that it is deployed in, and what may stand in them.
//!
//! What is not the policy's business, such as what a selector selects, is left to the API itself.

use crate::check::{Placed, Report};
use crate::deployment::{Kind, Plugin};
use crate::document::{Content, Node, camel, join};
use crate::hint::nearest;

/// A message: the names of its fields, and what they take.
type Message = &'static [(&'static str, Takes)];

/// What a field takes.
#[derive(Clone, Copy)]
enum Takes {
    /// Not judged here.
    Anything,
    Each(Message),
    /// A flag that opens the filter where it fails.
    FailOpen,
    Flag,
    One(Message),
    Text,
    Texts,
    /// Names of an enumeration. `FAIL_OPEN` opens the filter.
    Word(&'static [&'static str]),
}

use Takes::{Anything, Each, FailOpen, Flag, One, Text, Texts, Word};

/// `envoy.extensions.wasm.v3.PluginConfig`.
const PLUGIN: Message = &[
    ("name", Text),
    ("root_id", Text),
    ("vm_config", One(MACHINE)),
    ("configuration", Anything),
    ("fail_open", FailOpen),
    ("failure_policy", Word(&["UNSPECIFIED", "FAIL_RELOAD", "FAIL_CLOSED", "FAIL_OPEN"])),
    ("reload_config", Anything),
    ("capability_restriction_config", Anything),
    ("allow_on_headers_stop_iteration", Flag),
];

/// `envoy.extensions.wasm.v3.VmConfig`.
const MACHINE: Message = &[
    ("vm_id", Text),
    ("runtime", Text),
    ("code", One(&[("local", One(LOCAL)), ("remote", Anything)])),
    ("configuration", Anything),
    ("allow_precompiled", Flag),
    ("nack_on_code_cache_miss", Flag),
    ("environment_variables", One(&[("host_env_keys", Texts), ("key_values", Anything)])),
];

/// `envoy.config.core.v3.DataSource`.
const LOCAL: Message = &[
    ("filename", Text),
    ("inline_bytes", Text),
    ("inline_string", Text),
    ("environment_variable", Text),
    ("watched_directory", Anything),
];

/// `WasmPlugin.spec` of `extensions.istio.io/v1alpha1`.
const WASM_PLUGIN: Message = &[
    ("selector", Anything),
    ("targetRef", Anything),
    ("targetRefs", Anything),
    ("url", Text),
    ("sha256", Text),
    ("imagePullPolicy", Word(&["UNSPECIFIED_POLICY", "IfNotPresent", "Always"])),
    ("imagePullSecret", Text),
    ("verificationKey", Text),
    ("pluginConfig", Anything),
    ("pluginName", Text),
    ("phase", Word(&["UNSPECIFIED_PHASE", "AUTHN", "AUTHZ", "STATS"])),
    ("priority", Anything),
    ("failStrategy", Word(&["FAIL_CLOSE", "FAIL_OPEN", "FAIL_RELOAD"])),
    ("vmConfig", One(&[("env", Each(&[("name", Text), ("value", Text), ("valueFrom", Word(&["INLINE", "HOST"]))]))])),
    ("match", Each(&[("mode", Word(&["UNDEFINED", "CLIENT", "SERVER", "CLIENT_AND_SERVER"])), ("ports", Anything)])),
    ("type", Word(&["UNSPECIFIED_PLUGIN_TYPE", "HTTP", "NETWORK"])),
];

/// An item of `EnvoyExtensionPolicy.spec.wasm` of `gateway.envoyproxy.io/v1alpha1`.
const EXTENSION: Message = &[
    ("name", Text),
    ("rootID", Text),
    ("code", One(CODE)),
    ("config", Anything),
    ("failOpen", FailOpen),
    ("env", One(&[("hostKeys", Texts)])),
];

const CODE: Message = &[
    ("type", Word(&["HTTP", "Image"])),
    ("http", Anything),
    ("image", Anything),
    ("sha256", Text),
    ("pullPolicy", Word(&["IfNotPresent", "Always"])),
];

/// Judges what a policy is deployed in.
pub(crate) fn judge(plugin: &Plugin<'_>, report: &mut Report) {
    let Some((path, node)) = plugin.node() else { return };
    let message = match plugin.kind {
        Kind::Bare => return,
        Kind::Envoy => PLUGIN,
        Kind::EnvoyGateway => EXTENSION,
        Kind::Istio => WASM_PLUGIN,
    };
    fields(node, path, message, report);
    if plugin.policy.is_none() {
        let key = plugin.kind.policy();
        report.faults.push(Placed::new(node.position, &join(path, key), "is required: it is the policy"));
    }
    if plugin.kind == Kind::Envoy
        && let Some(any) = node.field("configuration")
    {
        configuration(any, &join(path, "configuration"), report);
    }
}

fn fields(node: &Node, path: &str, message: Message, report: &mut Report) {
    if !node.is_map() {
        return report.faults.push(Placed::new(node.position, path, "expected an object"));
    }
    for (key, value) in node.members() {
        let path = join(path, &portcullis_core::config::step(&key.name));
        match message.iter().find(|(name, _)| *name == key.name || camel(name) == key.name) {
            None => {
                let known: Vec<&str> = message.iter().map(|(name, _)| *name).collect();
                let hint = nearest(&key.name, known.iter().copied(), 3).map(|name| format!("did you mean `{name}`?"));
                let problem = format!("unknown field, expected one of {}", known.join(", "));
                report.faults.push(Placed { hint, ..Placed::new(key.position, &path, &problem) });
            }
            // Null is what is not there.
            Some(_) if value.is(()) => {}
            Some((_, takes)) => takes.judge(value, &path, report),
        }
    }
}

impl Takes {
    fn judge(self, node: &Node, path: &str, report: &mut Report) {
        let expected = match self {
            Anything => return,
            One(message) => return fields(node, path, message, report),
            Each(message) if node.is_list() => {
                for (step, item) in node.children() {
                    fields(item, &join(path, &step), message, report);
                }
                return;
            }
            Texts if node.is_list() && node.items().iter().all(|item| item.text().is_some()) => return,
            Each(_) => "a list of objects".to_owned(),
            Texts => "a list of strings".to_owned(),
            FailOpen | Flag if node.is(true) || node.is(false) => {
                if matches!(self, FailOpen) && node.is(true) {
                    opens(node, path, report);
                }
                return;
            }
            FailOpen | Flag => "true or false".to_owned(),
            Text if node.text().is_some() => return,
            Text => "a string".to_owned(),
            Word(words) => match words.iter().enumerate().find(|(index, word)| node.is(**word) || node.is(*index)) {
                Some((_, word)) => {
                    if *word == "FAIL_OPEN" {
                        opens(node, path, report);
                    }
                    return;
                }
                None => words.join(" or "),
            },
        };
        let words = if let Word(words) = self { words } else { &[] };
        let near = node.text().and_then(|text| nearest(text, words.iter().copied(), 3));
        let hint = near.map(|word| format!("did you mean `{word}`?"));
        let fault = Placed::new(node.position, path, &format!("expected {expected}"));
        report.faults.push(Placed { hint, ..fault });
    }
}

fn opens(node: &Node, path: &str, report: &mut Report) {
    let problem = "fails open: where the module is missing or has trapped, every request passes unjudged";
    report.warnings.push(Placed::new(node.position, path, problem));
}

/// A `google.protobuf.Any` with the policy.
fn configuration(any: &Node, path: &str, report: &mut Report) {
    let (kind, value) = (any.get("@type"), any.get("value"));
    let name = kind.and_then(Node::text).and_then(|text| text.rsplit('/').next());
    let is_text = value.is_some_and(|value| value.text().is_some());
    let is_map = value.is_some_and(Node::is_map);
    let problem = match name {
        _ if value.is_none() => "needs a `value`: the policy",
        Some("google.protobuf.StringValue") if !is_text => "a StringValue has a string for its `value`",
        Some("google.protobuf.Struct") if !is_map => "a Struct has an object for its `value`",
        Some("google.protobuf.StringValue" | "google.protobuf.Struct") => return,
        _ => "needs an `@type`: type.googleapis.com/google.protobuf.Struct, or StringValue for a string",
    };
    let position = kind.filter(|_| value.is_some()).map_or(any.position, |kind| kind.position);
    report.faults.push(Placed::new(position, path, problem));
}

impl Node {
    pub(crate) const fn is_map(&self) -> bool {
        matches!(self.content, Content::Map(_))
    }

    const fn is_list(&self) -> bool {
        matches!(self.content, Content::List(_))
    }
}
