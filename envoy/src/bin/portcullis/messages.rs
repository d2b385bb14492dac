//! The typed API around a policy: the fields of the messages and objects that it is deployed in, and what may stand in them.
//!
//! What is not the policy's business, such as what a selector selects, is left to the API itself.

use portcullis_core::config::step;

use crate::check::{Placed, Report};
use crate::deployment::{Kind, Plugin};
use crate::document::{Node, Position, camel, join};
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
    /// An object with any members.
    Object,
    One(Message),
    Text,
    Texts,
    /// Names of an enumeration. `FAIL_OPEN` opens the filter.
    Word(&'static [&'static str]),
}

use Takes::{Anything, Each, FailOpen, Flag, Object, One, Text, Texts, Word};

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
    ("environment_variables", One(&[("host_env_keys", Texts), ("key_values", Object)])),
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
    ("selector", One(&[("matchLabels", Object)])),
    ("targetRef", One(TARGET)),
    ("targetRefs", Each(TARGET)),
    ("url", Text),
    ("sha256", Text),
    ("imagePullPolicy", Word(&["UNSPECIFIED_POLICY", "IfNotPresent", "Always"])),
    ("imagePullSecret", Text),
    ("verificationKey", Text),
    ("pluginConfig", Object),
    ("pluginName", Text),
    ("phase", Word(&["UNSPECIFIED_PHASE", "AUTHN", "AUTHZ", "STATS"])),
    ("priority", Anything),
    ("failStrategy", Word(&["FAIL_CLOSE", "FAIL_OPEN", "FAIL_RELOAD"])),
    ("vmConfig", One(&[("env", Each(&[("name", Text), ("value", Text), ("valueFrom", Word(&["INLINE", "HOST"]))]))])),
    ("match", Each(&[("mode", Word(&["UNDEFINED", "CLIENT", "SERVER", "CLIENT_AND_SERVER"])), ("ports", Anything)])),
    ("type", Word(&["UNSPECIFIED_PLUGIN_TYPE", "HTTP", "NETWORK"])),
];

/// What a policy of Kubernetes' Gateway API is attached to.
const TARGET: Message = &[("group", Text), ("kind", Text), ("name", Text), ("namespace", Text), ("sectionName", Text)];

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
    ("http", One(&[("url", Text), ("sha256", Text), ("tls", Anything)])),
    ("image", One(&[("url", Text), ("sha256", Text), ("pullSecretRef", Anything), ("tls", Anything)])),
    ("sha256", Text),
    ("pullPolicy", Word(&["IfNotPresent", "Always"])),
];

/// Judges what a policy is deployed in.
pub(crate) fn judge(plugin: &Plugin<'_>, report: &mut Report) {
    let Some((path, node)) = plugin.node() else { return };
    let (message, module) = match plugin.kind {
        Kind::Bare => return,
        Kind::Envoy => (PLUGIN, "vm_config.code"),
        Kind::EnvoyGateway => (EXTENSION, "code"),
        Kind::Istio => (WASM_PLUGIN, "url"),
    };
    let mut reader = Reader { kind: plugin.kind, report };
    if let Some((path, object)) = plugin.trail.first().filter(|_| plugin.kind != Kind::Envoy) {
        reader.object(object, path);
        let filters = object.find("spec.wasm");
        if filters.is_whole && filters.node.is_map() {
            return reader.fault(node.position, &join(path, "spec.wasm"), "expected a list of objects");
        }
    }
    reader.fields(node, path, message);
    if module.split('.').try_fold(node, |node, name| node.field(name).filter(|own| !own.is(()))).is_none() {
        reader.fault(node.position, &join(path, module), "is required: it is the module");
    }
    if plugin.policy.is_none() {
        reader.fault(node.position, &join(path, plugin.kind.policy()), "is required: it is the policy");
    }
    match (plugin.kind, node.get("code")) {
        (Kind::Envoy, _) => reader.envoy(node, path),
        (Kind::EnvoyGateway, Some(code)) => reader.code(code, &join(path, "code")),
        (Kind::Bare | Kind::EnvoyGateway | Kind::Istio, _) => {}
    }
}

struct Reader<'r> {
    kind: Kind,
    report: &'r mut Report,
}

impl Reader<'_> {
    fn fault(&mut self, position: Position, path: &str, problem: &str) {
        self.report.faults.push(Placed::new(position, path, problem));
    }

    fn fields(&mut self, node: &Node, path: &str, message: Message) {
        if !node.is_map() {
            return self.fault(node.position, path, "expected an object");
        }
        for (key, value) in node.members() {
            let path = join(path, &step(&key.name));
            let is_it = |name: &str| name == key.name || (self.kind == Kind::Envoy && camel(name) == key.name);
            match message.iter().find(|(name, _)| is_it(name)) {
                None => {
                    let known: Vec<&str> = message.iter().map(|(name, _)| *name).collect();
                    let hint = nearest(&key.name, known.iter().copied(), 3);
                    let problem = format!("unknown field, expected one of {}", known.join(", "));
                    self.fault(key.position, &path, &problem);
                    self.suggest(hint);
                }
                // Null is what is not there.
                Some(_) if value.is(()) => {}
                Some((_, takes)) => self.value(*takes, value, &path),
            }
        }
    }

    fn value(&mut self, takes: Takes, node: &Node, path: &str) {
        // Envoy reads ProtoJSON, and takes some more than it says.
        let is_lenient = self.kind == Kind::Envoy;
        let flag = node.flag().filter(|flag| is_lenient || node.is(*flag));
        let (is_taken, expected) = match takes {
            Anything => return,
            One(message) => return self.fields(node, path, message),
            Each(message) if node.is_list() => {
                for (step, item) in node.children() {
                    self.fields(item, &join(path, &step), message);
                }
                return;
            }
            Each(_) => (false, "a list of objects".to_owned()),
            FailOpen | Flag => (flag.is_some(), "true or false".to_owned()),
            Object => (node.is_map(), "an object".to_owned()),
            Text => (node.text().is_some(), "a string".to_owned()),
            Texts => {
                let is_list = node.is_list() && node.items().iter().all(|item| item.text().is_some());
                (is_list || (is_lenient && node.text().is_some()), "a list of strings".to_owned())
            }
            Word(words) => (word(words, node, is_lenient).is_some(), words.join(" or ")),
        };
        let fails_open = match takes {
            FailOpen => flag == Some(true),
            Word(words) => word(words, node, is_lenient) == Some("FAIL_OPEN"),
            Anything | Each(_) | Flag | Object | One(_) | Text | Texts => false,
        };
        if fails_open {
            let problem = "fails open: where the module is missing or has trapped, every request passes unjudged";
            self.report.warnings.push(Placed::new(node.position, path, problem));
        }
        if !is_taken {
            self.fault(node.position, path, &format!("expected {expected}"));
            let words = if let Word(words) = takes { words } else { &[] };
            self.suggest(node.text().and_then(|text| nearest(text, words.iter().copied(), 3)));
        }
    }

    /// What may have been meant at the last fault.
    fn suggest(&mut self, word: Option<&str>) {
        if let Some(fault) = self.report.faults.last_mut() {
            fault.hint = word.map(|word| format!("did you mean `{word}`?"));
        }
    }

    /// The object of Kubernetes that a plugin is in.
    fn object(&mut self, object: &Node, path: &str) {
        let (kind, version) = match self.kind {
            Kind::Bare | Kind::Envoy => return,
            Kind::EnvoyGateway => ("EnvoyExtensionPolicy", "gateway.envoyproxy.io/v1alpha1"),
            Kind::Istio => ("WasmPlugin", "extensions.istio.io/v1alpha1"),
        };
        for (key, expected) in [("kind", kind), ("apiVersion", version)] {
            if let Some(own) = object.get(key).filter(|own| !own.is(expected)) {
                self.fault(own.position, &join(path, key), &format!("expected {expected}"));
            }
        }
        let targets = object.find("spec.targetRefs");
        if self.kind == Kind::EnvoyGateway && targets.is_whole {
            let path = join(path, "spec.targetRefs");
            self.value(Each(TARGET), targets.node, &path);
            if targets.node.is_list() && targets.node.items().is_empty() {
                self.fault(targets.node.position, &path, "must have at least one");
            }
        }
    }

    /// A module is where its type says.
    fn code(&mut self, code: &Node, path: &str) {
        for (kind, source) in [("HTTP", "http"), ("Image", "image")] {
            if code.get("type").is_some_and(|own| own.is(kind)) && code.get(source).is_none() {
                self.fault(code.position, path, &format!("type {kind} needs `{source}`"));
            }
        }
    }

    /// What Envoy asks for beyond types.
    fn envoy(&mut self, node: &Node, path: &str) {
        let machine = node.field("vm_config").and_then(|own| own.field("environment_variables"));
        let [keys, values] = ["host_env_keys", "key_values"].map(|name| machine.and_then(|own| own.field(name)));
        let keys = keys.map(Node::texts).unwrap_or_default();
        for (index, key) in keys.iter().enumerate() {
            if keys.iter().take(index).any(|before| before == key) {
                let own = format!("vm_config.environment_variables.host_env_keys[{index}]");
                self.fault(node.find(&own).position, &join(path, &own), "stands twice");
            }
        }
        let is_open = node.field("fail_open").filter(|own| own.flag() == Some(true));
        let is_set = |own: &Node| !own.is(()) && word(&["UNSPECIFIED"], own, true).is_none();
        if let Some(open) = is_open.filter(|_| node.field("failure_policy").is_some_and(is_set)) {
            self.fault(open.position, &join(path, "fail_open"), "does not go with failure_policy: leave it out");
        }
        for (key, _) in values.into_iter().flat_map(Node::members).filter(|(key, _)| keys.contains(&key.name.as_str()))
        {
            let path = join(path, &join("vm_config.environment_variables.key_values", &step(&key.name)));
            self.fault(key.position, &path, "stands in host_env_keys too");
        }
        if let Some(any) = node.field("configuration") {
            self.configuration(any, &join(path, "configuration"));
        }
    }

    /// A `google.protobuf.Any` with the policy.
    fn configuration(&mut self, any: &Node, path: &str) {
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
        self.fault(position, path, problem);
    }
}

/// The one of these names that a value is, or whose number it is in ProtoJSON.
fn word(words: &[&'static str], node: &Node, is_lenient: bool) -> Option<&'static str> {
    let is_it = |(index, word): &(usize, &&str)| {
        node.is(**word)
            || (is_lenient && (node.is(*index) || node.text().is_some_and(|own| own.eq_ignore_ascii_case(word))))
    };
    words.iter().enumerate().find(is_it).map(|(_, word)| *word)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::check::{Variables, check};

    #[track_caller]
    fn faults(manifest: &Value, changes: &[(&str, Value, &[&str])]) {
        let told = |manifest: &Value| {
            let report = check(&manifest.to_string(), &Variables::default()).unwrap();
            report.faults.into_iter().map(|placed| placed.path).collect::<Vec<_>>()
        };
        assert_eq!(told(manifest), [""; 0]);
        for (pointer, value, paths) in changes {
            let mut changed = manifest.clone();
            let (parent, name) = pointer.rsplit_once('/').unwrap();
            changed.pointer_mut(parent).unwrap()[name] = value.clone();
            assert_eq!(told(&changed), *paths, "{pointer}: {value}");
        }
    }

    #[test]
    fn what_the_api_of_istio_refuses_is_a_fault() {
        let policy = json!({"origin": {"missing": "allow"}, "auth": {"required": false}});
        let manifest = json!({
            "apiVersion": "extensions.istio.io/v1alpha1", "kind": "WasmPlugin", "metadata": {"name": "portcullis"},
            "spec": {"selector": {"matchLabels": {"app": "chat"}}, "url": "oci://a", "pluginConfig": policy},
        });
        faults(
            &manifest,
            &[
                ("/spec/selector", json!({"labels": {"app": "chat"}}), &["spec.selector.labels"]),
                ("/spec/selector", json!({"matchLabels": ["app"]}), &["spec.selector.matchLabels"]),
                (
                    "/spec/targetRefs",
                    json!([{"kind": "Gateway", "gruop": "a", "name": "b"}]),
                    &["spec.targetRefs[0].gruop"],
                ),
                ("/apiVersion", json!("extensions.istio.io/v1"), &["apiVersion"]),
                ("/kind", json!("WasmPlugn"), &["kind"]),
            ],
        );
    }

    #[test]
    fn what_the_api_of_envoy_gateway_refuses_is_a_fault() {
        let policy = json!({"origin": {"missing": "allow"}, "auth": {"required": false}});
        let filter = json!({"name": "portcullis", "code": {"type": "Image", "image": {"url": "a"}}, "config": policy});
        let target = json!({"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "edge"});
        let manifest = json!({
            "apiVersion": "gateway.envoyproxy.io/v1alpha1", "kind": "EnvoyExtensionPolicy", "metadata": {"name": "portcullis"},
            "spec": {"targetRefs": [target], "wasm": [filter]},
        });
        faults(
            &manifest,
            &[
                ("/spec/wasm", filter, &["spec.wasm"]),
                ("/spec/wasm/0/code/image", json!({"urls": "a"}), &["spec.wasm[0].code.image.urls"]),
                ("/spec/wasm/0/code/type", json!("HTTP"), &["spec.wasm[0].code"]),
                ("/spec/targetRefs", json!([]), &["spec.targetRefs"]),
                ("/spec/targetRefs/0/gruop", json!("a"), &["spec.targetRefs[0].gruop"]),
                ("/apiVersion", json!("gateway.envoyproxy.io/v1"), &["apiVersion"]),
                ("/kind", json!("EnvoyExtensionPolcy"), &["kind"]),
            ],
        );
    }
}
