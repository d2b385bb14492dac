//! Every fault of a file is named in one run, at its line and column.

use std::cell::Cell;
use std::fs;
use std::path::Path;

use super::*;

/// Policies in which `«path»` stands before each place that is at fault, and nowhere else.
const BROKEN: [&str; 44] = [
    // Keys that there are not.
    "«moed»moed: monitor\n«hsots»hsots: [a.example]\nauth: {required: false}",
    "auth:\n  required: false\n  «auth.expirygrace»expirygrace: 5s\nlimits:\n    per_address:\n        «limits.per_address.conections»conections: 5",
    "auth: {required: false}\norigin: {«origin.alow»alow: ['*'], missing: allow, «origin.oqaque»oqaque: allow}",
    "auth: {required: false}\n«[\"a.b\"]»a.b: 1\n«[\"x y\"]»x y: 2\n«_z»_z: 3",
    "auth:\n  required: false\n  sources:\n    - query: a\n    - {cookie: b, «auth.sources[1].domain»domain: c}",
    // Values of another type.
    "mode: «mode»1\n«fail»fail: [closed]\nrequire_tls: «require_tls»'yes'\nauth: {required: false}",
    "auth: {required: «auth.required»maybe}\nhosts: «hosts»a.example",
    "auth: {required: false}\nhosts: [a.example, «hosts[1]»5, b.example, «hosts[3]»{}]",
    "auth: {required: false}\nliveness:\n  ping_interval: «liveness.ping_interval»25\n  jitter: «liveness.jitter»'0.1'\n  idle_timeout: «liveness.idle_timeout»30min",
    "auth: {required: false}\nmessages:\n  from_client:\n    max_message_bytes: «messages.from_client.max_message_bytes»64KiB\n    max_frame_bytes: «messages.from_client.max_frame_bytes»-1\n    max_fragments: «messages.from_client.max_fragments»1.5",
    "«auth»auth: [required]\n«limits»limits: []\nlog: «log»off",
    "auth: {required: false}\ncompression: «compression»gzip\nnon_websocket: «non_websocket»deny\nbuffer_limits: «buffer_limits»half",
    "auth: {required: false}\nroutes:\n  - «routes[0]»/a\n  - «routes[1]»/b",
    // Values that mean nothing.
    "auth: {required: false}\nhosts: [«hosts[0]»'https://a', ok.example, «hosts[2]»'a b']",
    "auth: {required: false}\norigin:\n  allow:\n    - https://ok.example\n    - «origin.allow[1]»https://a/b\n    - «origin.allow[2]»a",
    "auth: {required: false}\nsubprotocols: {allow: [«subprotocols.allow[0]»'a b', c, «subprotocols.allow[2]»'']}",
    "revision: «revision»''\nauth: {required: false}\nlimits: {held_bytes: «limits.held_bytes»0, connections: «limits.connections»0}",
    "auth: {required: false}\nlimits:\n  per_address:\n    ipv6_prefix: «limits.per_address.ipv6_prefix»129\n    failures: {count: «limits.per_address.failures.count»0, ban: «limits.per_address.failures.ban»1ms}",
    "auth: {required: false}\nlimits:\n  per_connection:\n    messages: {per_second: «limits.per_connection.messages.per_second»0, burst: «limits.per_connection.messages.burst»0}\n    «limits.per_connection.bytes.per_second»bytes: {burst: 5}",
    "auth: {required: false}\nlimits:\n  «limits.global.cluster»global: {timeout: «limits.global.timeout»11m, message_batch: «limits.global.message_batch»0}",
    "auth: {required: false}\nliveness: {jitter: «liveness.jitter»0.6, pong_timeout: «liveness.pong_timeout»11m, message_timeout: «liveness.message_timeout»1ms}",
    // Providers.
    "«auth.providers»{}",
    "auth:\n  providers:\n    - «auth.providers[0].name»«auth.providers[0].algorithms»«auth.providers[0].jwks»issuer: i\n    - «auth.providers[1].jwks»name: b\n      algorithms: [«auth.providers[1].algorithms[0]»none, HS256]",
    "auth:\n  providers:\n    - {name: a, audiences: [x], algorithms: [HS256], jwks: {secret: {env: KEY}}, clock_skew: «auth.providers[0].clock_skew»6m}\n    - {name: «auth.providers[1].name»a, audiences: [x], algorithms: [HS256], jwks: {secret: {env: «auth.providers[1].jwks.secret.env»NONE}}}",
    "auth:\n  providers:\n    - name: a\n      «auth.providers[0].algorithms»algorithms: [HS256, RS256]\n      jwks:\n        secret: {env: KEY}\n        refresh: «auth.providers[0].jwks.refresh»5m",
    "auth:\n  providers:\n    - name: a\n      algorithms: [RS256]\n      jwks: {cluster: idp, url: «auth.providers[0].jwks.url»idp, refresh: «auth.providers[0].jwks.refresh»1s, timeout: «auth.providers[0].jwks.timeout»1m}",
    "auth:\n  providers:\n    - name: a\n      algorithms: [HS256]\n      jwks: {secret: {env: KEY}}\n      require: {«auth.providers[0].require.a»a: [], b: «auth.providers[0].require.b»null, c: 1}",
    "auth:\n  providers:\n    - name: a\n      «auth.providers[0].introspection.client»introspection:\n        cluster: «auth.providers[0].introspection.cluster»''\n        path: «auth.providers[0].introspection.path»x",
    // What a client brings.
    "auth:\n  required: false\n  sources:\n    - {header: «auth.sources[0].header»cookie}\n    - {cookie: b, prefix: «auth.sources[1].prefix»JWT}\n    - «auth.sources[2]»{}\n    - {query: «auth.sources[3].query»''}",
    "auth:\n  required: false\n  claim_headers: {sub: «auth.claim_headers.sub»Host, role: «auth.claim_headers.role»x-role, /a~: «auth.claim_headers[\"/a~\"]»x-a, other: X_Role}",
    "auth:\n  cookie:\n    name: «auth.cookie.name»a b\n    hmac: {algorithm: «auth.cookie.hmac.algorithm»RS256, secret: {env: «auth.cookie.hmac.secret.env»NONE}}",
    "auth:\n  cookie: {name: sid, hmac: {algorithm: HS256, secret: {env: KEY}}}\n  tickets:\n    path: «auth.tickets.path»ticket\n    ttl: «auth.tickets.ttl»6m\n    keys: [{env: KEY}, «auth.tickets.keys[1]»{env: KEY}, {env: «auth.tickets.keys[2].env»NONE}]",
    "auth:\n  cookie: {name: sid, hmac: {algorithm: HS256, secret: {env: KEY}}}\n  revocation: {cluster: «auth.revocation.cluster»'a b', path: «auth.revocation.path»x, refresh: «auth.revocation.refresh»2h}\n  back_channel_logout: {path: «auth.back_channel_logout.path»/a?b, provider: «auth.back_channel_logout.provider»nobody}",
    // Messages.
    "auth: {required: false}\nmessages:\n  from_client:\n    json:\n      schema:\n        type: «messages.from_client.json.schema/type»text",
    "auth: {required: false}\nmessages:\n  from_client:\n    json:\n      discriminator: /type\n      schemas:\n        a: {properties: {b: {minimum: «messages.from_client.json.schemas.a/properties/b/minimum»'1'}}}\n        b: {type: «messages.from_client.json.schemas.b/type»5}\n        c: {}",
    "auth: {required: false}\nmessages:\n  from_server:\n    deny_patterns:\n      - {name: «messages.from_server.deny_patterns[0].name»A, regex: a}\n      - {name: b, regex: «messages.from_server.deny_patterns[1].regex»'('}\n      - {name: c, regex: «messages.from_server.deny_patterns[2].regex»'(?=c)'}",
    "auth: {required: false}\nmessages:\n  from_client:\n    rule_sets: [sql_injection, «messages.from_client.rule_sets[1]»xss]\n    json: {max_depth: «messages.from_client.json.max_depth»0, max_keys: «messages.from_client.json.max_keys»0}",
    "auth: {required: false}\nmessages:\n  from_client:\n    json: {}\n    authorize:\n      - «messages.from_client.authorize[0]»when: {type: «messages.from_client.authorize[0].when.type»a}\n      - equals: {user: «messages.from_client.authorize[1].equals.user»sub}",
    "auth: {required: false}\ncompression: «compression»pass\nmessages: {from_client: {utf8: false, tunnels: refuse}, from_server: {tunnels: allow}}",
    // Routes.
    "auth: {required: false}\nroutes:\n  - match: {path: «routes[0].match.path»a}\n  - match: {host: «routes[1].match.host»a b}\n    policy: {mode: «routes[1].policy.mode»on}\n  - «routes[2].match»policy: {limits: {held_bytes: «routes[2].policy.limits.held_bytes»0}}",
    "auth: {required: false}\nhosts: [«hosts[0]»'https://a']\nroutes:\n  - match: {path: /a}\n    policy: {mode: monitor}\n  - match: {path: /b}\n    policy: {hosts: [«routes[1].policy.hosts[0]»'https://a']}",
    // JSON, aliases and merge keys.
    "{\n  \"auth\": {\"required\": false},\n  \"mode\": «mode»\"off\",\n  \"hosts\": [\"a.example\", «hosts[1]»\"a b\"]\n}",
    "auth: {required: false}\nlimits:\n  per_subject: {messages: &rate {per_second: 5, burst: 9}}\n  per_connection: {messages: {<<: *rate, burst: «limits.per_connection.messages.burst»0}}",
    "log: {connections: true, spikes: «log.spikes»1}\nauth: {required: false}\nmode: «mode»Enforce",
];

/// The text without its marks, and what they say.
fn unmarked(marked: &str) -> (String, Vec<(u64, u64, String)>) {
    let (mut text, mut expected) = (String::new(), Vec::new());
    let mut rest = marked;
    while let Some((before, path)) = rest.split_once('«') {
        let (path, behind) = path.split_once('»').unwrap();
        text.push_str(before);
        let line = text.matches('\n').count() as u64 + 1;
        let column = text.rsplit('\n').next().unwrap().chars().count() as u64 + 1;
        expected.push((line, column, path.to_owned()));
        rest = behind;
    }
    text.push_str(rest);
    expected.sort();
    (text, expected)
}

fn variables() -> Variables {
    let known = [("KEY".to_owned(), "k".repeat(64))].into_iter().collect();
    Variables { known, allow_missing: false }
}

fn found(text: &str) -> Vec<(u64, u64, String)> {
    let report = check(text, &variables()).expect("a policy");
    let place = |placed: &Placed| (placed.position.line, placed.position.column, placed.path.clone());
    let mut found: Vec<_> = report.faults.iter().map(place).collect();
    found.sort();
    found
}

#[test]
fn every_fault_of_a_policy_is_at_its_line_and_column() {
    let mut wrong = String::new();
    for marked in BROKEN {
        let (text, expected) = unmarked(marked);
        let found = found(&text);
        if found != expected {
            let _ = writeln!(wrong, "{text}\nfound    {found:?}\nexpected {expected:?}\n");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn no_policy_begins_with_a_byte_order_mark() {
    let policy = "{\"auth\": {\"required\": false}}";
    let faults = |text: &str| check(text, &variables()).expect("a policy").faults.len();
    assert_eq!((faults(policy), faults(&format!("\u{feff}{policy}"))), (0, 1));
}

#[test]
fn a_string_is_json_and_nothing_else() {
    let check_string = |value: &str| {
        let text = format!(
            "config:\n  vm_config: {{code: {{local: {{}}}}}}\n  configuration:\n    '@type': type.googleapis.com/google.protobuf.StringValue\n    value: {value}\n"
        );
        let report = check(&text, &Variables::default()).unwrap();
        report.faults.iter().map(|fault| (fault.position.line, fault.problem.contains("not JSON"))).collect::<Vec<_>>()
    };
    assert_eq!(check_string(r#"'{"auth": {"required": false}, "origin": {"missing": "allow"}}'"#), []);
    for other in [
        "'auth: {required: false}'",
        r#"'{"auth": {"required": false},}'"#,
        r#""\uFEFF{\"auth\": {\"required\": false}}""#,
        "'{auth: {required: false}}'",
    ] {
        assert_eq!(check_string(other), [(5, true)], "{other}");
    }
    assert_eq!(check_string("|\n      {\"auth\": {\"required\": false},\n       \"mode\": off}"), [(7, true)]);
}

#[test]
fn a_policy_is_found_in_what_it_is_deployed_with() {
    let policy = "auth: {required: false}\nmode: «mode»off";
    let indented = |by: usize| policy.lines().map(|line| format!("\n{}{line}", " ".repeat(by))).collect::<String>();
    let plugin = "config:\n  vm_config: {runtime: v8, code: {}}\n  configuration:\n    '@type': type.googleapis.com/google.protobuf";
    for marked in [
        format!("apiVersion: extensions.istio.io/v1alpha1\nkind: WasmPlugin\nspec:\n  url: x\n  pluginConfig:{}", indented(4)),
        format!("kind: Gateway\n---\napiVersion: extensions.istio.io/v1alpha1\nkind: WasmPlugin\nspec:\n  url: x\n  pluginConfig:{}", indented(6)),
        format!("kind: EnvoyExtensionPolicy\nspec:\n  wasm:\n  - name: p\n    code: {{type: Image, image: {{}}}}\n    config:{}", indented(6)),
        format!("kind: List\nitems:\n- kind: ConfigMap\n- kind: WasmPlugin\n  spec:\n    url: x\n    pluginConfig:{}", indented(6)),
        format!("kind: ConfigMap\ndata:\n  a: text\n  p.yaml: |{}\n  b: '{{'", indented(4)),
        format!("{plugin}.Struct\n    value:{}", indented(6)),
        format!("{plugin}.StringValue\n    value: |\n      {{\"auth\": {{\"required\": false}},\n       \"mode\": «mode»\"off\"}}"),
        "typed_config:\n  config:\n    vm_config: {code: {}}\n    configuration: {'@type': a/google.protobuf.StringValue, value: «mode»'{\"auth\": {\"required\": false}, \"mode\": 1}'}".to_owned(),
    ] {
        let (text, expected) = unmarked(&marked);
        assert_eq!(found(&text), expected, "{text}");
    }
    for text in [
        "kind: Gateway\nspec: {}",
        "[]",
        "",
        "resources: []",
        "services: {a: {image: b}}",
        "configMapGenerator: []",
        "tests: 1\nrule_files: 2\na: 3",
    ] {
        assert!(check(text, &variables()).is_err(), "{text}");
    }
}

#[test]
fn what_is_not_yaml_is_a_fault_at_its_place() {
    for (text, line) in [("mode: [a", 1), ("auth:\n  required: false\n required: true", 3), ("a: 1\nb: 2\na: 3", 3)] {
        let report = check(text, &variables()).expect("a report");
        let [only] = report.faults.as_slice() else { panic!("{report:?}") };
        assert!(only.position.line.abs_diff(line) <= 1, "{text}: {only:?}");
    }
}

#[test]
fn hints_say_what_may_have_been_meant() {
    for (text, hint) in [
        ("moed: monitor", Some("did you mean `mode`?")),
        ("mode: monitoring", Some("did you mean `monitor`?")),
        ("require_tls: 'false'", Some("write true or false, without quotes")),
        ("liveness: {idle_timeout: 30}", Some("durations are strings with a unit, such as \"30s\"")),
        ("limits: {held_bytes: '5'}", Some("write a number, without quotes and without a unit")),
        ("hosts: a.example", Some("write it as a list, [in brackets], even if there is one")),
        ("revision: 5", Some("put it in quotes")),
        ("something_else_entirely: 5", None),
    ] {
        let report = check(&format!("auth: {{required: false}}\n{text}"), &variables()).unwrap();
        let hints: Vec<_> = report.faults.iter().map(|placed| placed.hint.as_deref()).collect();
        assert_eq!(hints, [hint], "{text}");
    }
}

/// In place of every scalar in turn, at each of its places, the canary is not told.
pub(crate) fn check_untold(text: &str, canary: &str, variables: &Variables) {
    for (index, _) in text.match_indices(": ") {
        let (before, behind) = text.split_at(index + 2);
        for planted in
            [format!("{before}{canary} {behind}"), format!("{before}[{canary}] {behind}"), format!("{before}'{canary}")]
        {
            let Ok(report) = check(&planted, variables) else { continue };
            let told = report.text("f") + &report.json("f").to_string();
            assert!(!told.contains(canary), "{planted}\n{told}");
        }
    }
}

#[test]
fn no_value_is_repeated() {
    const CANARY: &str = "hunter2";
    for marked in BROKEN {
        let (text, _) = unmarked(marked);
        check_untold(&text, CANARY, &variables());
    }
}

#[test]
fn a_variable_without_a_value_has_a_placeholder_only_where_that_is_said() {
    let text = "auth:\n  cookie: {name: sid, hmac: {algorithm: HS512, secret: {env: A}}}\n  tickets: {path: /t, keys: [{env: A}, {env: B}]}";
    assert_eq!(check(text, &Variables::default()).unwrap().faults.len(), 3);
    let report = check(text, &Variables { allow_missing: true, ..Variables::default() }).unwrap();
    assert!(report.is_good(), "{report:?}");
}

#[test]
fn everything_that_is_shipped_holds_without_a_warning() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let held = Cell::new(0);
    let hold = |name: &str, text: &str| {
        let Ok(report) = check(text, &Variables { allow_missing: true, ..Variables::default() }) else { return };
        assert!(report.is_good() && report.warnings.is_empty(), "{}", report.text(name));
        held.set(held.get() + 1);
    };
    let mut folders: Vec<_> = ["envoy/config", "examples"].map(|folder| Path::new(root).join(folder)).into();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "yaml") {
                hold(&path.display().to_string(), &fs::read_to_string(&path).unwrap());
            }
        }
    }
    assert_eq!(held.get(), 4, "those of Envoy at the edge and beside the application, of Istio and of Envoy Gateway");
    let readme = fs::read_to_string(Path::new(root).join("README.md")).unwrap();
    let blocks = readme.split("\n```yaml\n").skip(1).filter_map(|block| block.split("\n```").next());
    blocks.for_each(|block| hold("README.md", block));
    assert_eq!(held.get(), 6, "README has an Envoy and an Istio");
}

#[test]
fn a_file_without_a_policy_names_the_files_that_envoy_reads_filters_from() {
    for (text, expected) in [
        (portcullis_envoy::config::EDGE, ": Envoy reads the filter from /etc/envoy/portcullis/portcullis.yaml"),
        ("kind: Service", ""),
    ] {
        let absent = check(text, &variables()).unwrap_err();
        assert_eq!(absent.to_string(), format!("there is no policy in it{expected}"));
    }
}

#[test]
fn a_variable_without_a_value_is_named_unless_it_may_be_a_secret() {
    for (name, expected) in [
        ("SESSION_KEY", "SESSION_KEY has no value here"),
        ("hunter_2", "the variable has no value here"),
        ("HUNTER2", "the variable has no value here"),
    ] {
        let text = format!("auth: {{cookie: {{name: sid, hmac: {{algorithm: HS256, secret: {{env: {name}}}}}}}}}");
        let report = check(&text, &Variables::default()).unwrap();
        assert_eq!(report.faults[0].problem, expected);
        let told = parsed(&written(&text).unwrap(), &Variables::default()).unwrap_err();
        assert!(told.starts_with(expected) && told.contains("--env"), "{told}");
    }
}

#[test]
fn a_report_is_a_line_for_each_fault_or_json() {
    let report = check("auth: {required: false}\nmode: on\n", &variables()).unwrap();
    assert_eq!(report.text("p.yaml"), "p.yaml:2:7: mode: expected enforce or monitor\n");
    let json = report.json("p.yaml");
    assert_eq!(json["faults"][0]["path"], "mode");
    assert_eq!(
        (&json["faults"][0]["line"], &json["faults"][0]["column"], &json["holds"]),
        (&2.into(), &7.into(), &false.into())
    );
    let report = check("auth: {required: false}\norigin: {same_host: allow}", &variables()).unwrap();
    assert!(report.is_good());
    assert!(
        report.text("p").starts_with("p:2:21: warning: origin.same_host: a page whose name"),
        "{}",
        report.text("p")
    );
    assert!(report.text("p").ends_with("\np: the policy holds\n"));
}

#[test]
fn the_operators_guide_shows_what_is_printed() {
    let guide = include_str!("../../../../OPERATIONS.md");
    let (_, block) = guide.split_once("```console\n$ cat policy.yaml\n").expect("the block");
    let (shown, _) = block.split_once("```").unwrap();
    let (policy, printed) = shown.split_once("$ portcullis check --allow-missing-env policy.yaml\n").unwrap();
    let report = check(policy, &Variables { allow_missing: true, ..Variables::default() }).unwrap();
    assert_eq!(report.text("policy.yaml"), printed);
}
