//! What operators copy from `examples/` and from the operator's guide: Kubernetes' objects are judged by the published schemas of their
//! kinds, policies by the filter's own parser, and configurations of Envoy by Envoys that run them.

use std::io::Write;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};
use std::{fs, thread};

use portcullis_core::config;
use portcullis_envoy::peer::backend::{Backend, Mode};
use portcullis_envoy::peer::client::{Client, Upgrade};
use portcullis_envoy::{binary, module};
use serde_json::{Value, json};

const KEY: &str = "an example of thirty-two octets.";
/// HS256 with [`KEY`], of the issuer of the examples, until 2100.
const TOKEN: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJpc3MiOiJodHRwczovL2FwcC5leGFtcGxlLmNvbS8iLCJhdWQiOiJjaGF0Iiwic3ViIjoiYW5uIiwiZXhwIjo0MTAyNDQ0ODAwfQ.qDTRNN9BFQVD1dd8wUoOKoT_bN5-gtej19v8kir0YV0";
/// The module compiles in two seconds on an idle machine; this is for a busy one.
const PATIENCE: Duration = Duration::from_secs(60);

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn yaml(text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[track_caller]
fn output(command: &mut Command) -> Output {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

/// The objects that `kubectl apply -k` would send for a folder of `examples/kubernetes`.
fn rendered(folder: &str) -> Vec<Value> {
    let path = root().join("examples/kubernetes").join(folder);
    let output = output(Command::new("kubectl").arg("kustomize").arg(path));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{folder}: kustomize warns");
    let text = String::from_utf8(output.stdout).unwrap();
    text.split("\n---\n").map(yaml).collect()
}

const FOLDERS: [&str; 4] = ["envoy", "envoy-gateway", "istio", "sidecar"];

/// Where the schemas are: in the target folder, installed once for each lock file.
static SCHEMAS: LazyLock<PathBuf> = LazyLock::new(|| {
    let sources = root().join("envoy/tests/schemas");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("schemas");
    fs::create_dir_all(&folder).unwrap();
    for name in ["envoy-gateway.json", "package.json", "package-lock.json", "validate.mjs"] {
        fs::copy(sources.join(name), folder.join(name)).unwrap();
    }
    let lock = fs::read(folder.join("package-lock.json")).unwrap();
    let stamp = folder.join("node_modules/installed");
    if fs::read(&stamp).ok().as_ref() != Some(&lock) {
        let mut npm = Command::new("npm");
        output(npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]).current_dir(&folder));
        fs::write(&stamp, lock).unwrap();
    }
    folder
});

/// What the schemas have to say about these objects, which they judge under this name.
fn faults(name: &str, objects: &[Value]) -> String {
    let folder = SCHEMAS.join(name);
    fs::create_dir_all(&folder).unwrap();
    let mut node = Command::new("node");
    node.arg("validate.mjs").arg(&folder).current_dir(&*SCHEMAS).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut node = node.spawn().unwrap();
    let lines: String = objects.iter().map(|object| format!("{object}\n")).collect();
    node.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    let output = node.wait_with_output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.success(), said.is_empty(), "{said}");
    said
}

#[test]
fn every_object_is_taken_by_the_schema_of_its_kind() {
    let mut objects: Vec<Value> = FOLDERS.iter().flat_map(|folder| rendered(folder)).collect();
    objects.push(yaml(&read("examples/monitoring/dashboard.json")));
    assert_eq!(faults("all", &objects), "");
    let folders = fs::read_dir(root().join("examples/kubernetes")).unwrap().count();
    assert_eq!(folders, FOLDERS.len() + 2, "the others are `application` and `namespace`, which these bring");
}

#[test]
fn a_wrong_value_and_a_member_that_does_not_exist_are_faults() {
    let broken = |folder: &str, kind: &str, pointer: &str, value: Value| {
        let mut object = rendered(folder).into_iter().find(|object| object["kind"] == kind).unwrap();
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        object.pointer_mut(parent).unwrap()[name] = value;
        object
    };
    let container = "/spec/template/spec/containers/0";
    let objects = [
        broken("istio", "WasmPlugin", "/spec/phase", json!("AUTH")),
        broken("istio", "WasmPlugin", "/spec/failStrategi", json!("FAIL_CLOSE")),
        broken("istio", "EnvoyFilter", "/spec/configPatches/0/applyTo", json!("LISTENERS")),
        broken("envoy-gateway", "Gateway", "/spec/listeners/0/tls/mode", json!("Terminated")),
        broken("envoy-gateway", "BackendTrafficPolicy", "/spec/connection/bufferLimt", json!("128Ki")),
        broken("envoy-gateway", "EnvoyExtensionPolicy", "/spec/wasm/0/failOpen", json!("no")),
        broken("envoy", "Deployment", &format!("{container}/ports"), json!("8443")),
        broken("envoy", "Deployment", &format!("{container}/volumeMount"), json!([])),
    ];
    // Each has a name of its own, by which its fault is told from the others'.
    let mut objects: Vec<Value> = objects.into();
    for (index, object) in objects.iter_mut().enumerate() {
        object["metadata"]["name"] = format!("broken-{index}").into();
    }
    let count = objects.len();
    let mut dashboard = yaml(&read("examples/monitoring/dashboard.json"));
    dashboard["panels"][1]["fieldConfig"]["default"] = json!({});
    objects.push(dashboard);
    let said = faults("broken", &objects);
    for index in 0..count {
        assert!(said.contains(&format!(" broken-{index}: ")), "{index}: {said}");
    }
    assert!(said.contains("Dashboard Portcullis: "), "{said}");
    assert_eq!(said.lines().count(), objects.len(), "{said}");
}

/// The policies in an object.
fn policies(object: &Value) -> Vec<Value> {
    let of_file = |text: &str| {
        let mut file = yaml(text);
        match file.pointer_mut("/resources/0/typed_config/config/configuration/value").unwrap().take() {
            Value::String(text) => serde_json::from_str(&text).unwrap(),
            policy => policy,
        }
    };
    match object["kind"].as_str().unwrap() {
        "ConfigMap" => vec![of_file(object["data"]["portcullis.yaml"].as_str().unwrap())],
        "EnvoyExtensionPolicy" => vec![object["spec"]["wasm"][0]["config"].clone()],
        "WasmPlugin" => vec![object["spec"]["pluginConfig"].clone()],
        _ => Vec::new(),
    }
}

#[test]
fn every_policy_is_accepted_without_a_warning_and_fits_the_buffers_beside_it() {
    for folder in FOLDERS {
        let objects = rendered(folder);
        let policies: Vec<Value> = objects.iter().flat_map(policies).collect();
        assert_eq!(policies.len(), 1, "{folder}");
        let variable = |name: &str| (name == "PORTCULLIS_SESSION_KEY").then(|| KEY.to_owned());
        let parsed = config::parse(policies[0].to_string().as_bytes(), &variable);
        let parsed = parsed.unwrap_or_else(|error| panic!("{folder}: {error}"));
        assert!(parsed.warnings.is_empty(), "{folder}: {:?}", parsed.warnings);
        assert_eq!(policies[0]["buffer_limits"], "halved", "{folder}");
        let text = serde_json::to_string(&objects).unwrap();
        // In each one's own unit: the listener's, the cluster's, the route's.
        let limits =
            if folder == "envoy-gateway" { ["256Ki", "128Ki", "524288"] } else { ["262144", "131072", "524288"] };
        assert!(limits.iter().all(|limit| text.contains(limit)), "{folder}");
    }
}

#[test]
fn compose_takes_its_file() {
    let mut compose = Command::new("docker-compose");
    compose.current_dir(root().join("examples/compose")).args(["-f", "compose.yaml", "config", "--quiet"]);
    output(compose.env("PORTCULLIS_SESSION_KEY", KEY).env("APPLICATION_IMAGE", "application"));
}

/// An Envoy that runs a configuration as it stands in a file, in a folder in place of `/etc/envoy`; stopped when it is dropped.
struct Gate {
    process: Child,
    folder: PathBuf,
    port: u16,
    admin: u16,
}

impl Gate {
    /// `bootstrap` with `policy`, a file of a filter, its ports replaced by free ones and its application by `backend`.
    fn start(name: &str, bootstrap: &Value, policy: &str, backend: &Backend) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(folder.join("module")).unwrap();
        fs::copy(module::build().unwrap(), folder.join("module/plugin.wasm")).unwrap();
        let mut gate =
            Self { process: Command::new("true").spawn().unwrap(), folder, port: free_port(), admin: free_port() };
        gate.put_policy(policy, "first");

        let mut bootstrap = bootstrap.clone();
        let address = |port: u16| json!({"socket_address": {"address": "127.0.0.1", "port_value": port}});
        bootstrap["admin"]["address"] = address(gate.admin);
        let listeners = bootstrap["static_resources"]["listeners"].as_array_mut().unwrap();
        listeners.iter_mut().for_each(|listener| listener["address"] = address(free_port()));
        listeners[0]["address"] = address(gate.port);
        let cluster = &mut bootstrap["static_resources"]["clusters"][0];
        cluster["type"] = json!("STATIC");
        cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]["address"] =
            address(backend.address().port());
        let file = gate.folder.join("bootstrap.json");
        fs::write(&file, bootstrap.to_string().replace("/etc/envoy", gate.folder.to_str().unwrap())).unwrap();

        let mut envoy = Command::new(binary::find().unwrap());
        envoy
            .arg("-c")
            .arg(&file)
            .args(["--concurrency", "1", "--use-dynamic-base-id"])
            .env("PORTCULLIS_SESSION_KEY", KEY);
        envoy.stdin(Stdio::null()).stdout(Stdio::null()).stderr(fs::File::create(gate.folder.join("log")).unwrap());
        gate.process = envoy.spawn().unwrap();
        gate.wait("all dependencies initialized. starting workers");
        gate.wait("a worker needs at most");
        for complaint in ["[warning]", "[error]", "deprecated"] {
            assert!(!gate.log().contains(complaint), "{}", gate.log());
        }
        gate
    }

    /// As a kubelet fills the mount of a ConfigMap: files are links into a folder that is a link itself, and this one is exchanged.
    fn put_policy(&self, policy: &str, version: &str) {
        let mount = self.folder.join("portcullis");
        fs::create_dir_all(mount.join(version)).unwrap();
        let text = policy.replace("/etc/envoy", self.folder.to_str().unwrap());
        fs::write(mount.join(version).join("portcullis.yaml"), text).unwrap();
        _ = symlink("..data/portcullis.yaml", mount.join("portcullis.yaml"));
        symlink(version, mount.join("..data_tmp")).unwrap();
        fs::rename(mount.join("..data_tmp"), mount.join("..data")).unwrap();
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap()
    }

    fn wait(&self, text: &str) {
        let start = Instant::now();
        while !self.log().contains(text) {
            assert!(start.elapsed() < PATIENCE, "no `{text}`: {}", self.log());
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn client(&self) -> Client {
        Client::plain((Ipv4Addr::LOCALHOST, self.port).into())
    }

    /// What Envoy counts of the filter that it finds by discovery.
    fn discovered(&self, name: &str) -> u64 {
        let name = format!("extension_config_discovery.http_filter.portcullis.{name}");
        let request = format!("GET /stats?filter={name} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        let answer =
            Client::plain((Ipv4Addr::LOCALHOST, self.admin).into()).ask_raw(request.as_bytes()).unwrap().text();
        answer.trim().strip_prefix(&format!("{name}: ")).unwrap().parse().unwrap()
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        _ = self.process.kill();
        _ = self.process.wait();
    }
}

fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

/// A good client, as a proxy passes its request on: `forged` is what it wrote into `X-Forwarded-For` itself.
fn forwarded(address: &str, forged: &str) -> Upgrade {
    Upgrade::to("/")
        .host("chat.example.com")
        .origin("https://app.example.com")
        .header("Authorization", format!("Bearer {TOKEN}"))
        .header("X-Forwarded-For", format!("{forged}, {address}"))
        .header("X-Forwarded-Proto", "https")
}

#[test]
fn the_sidecar_counts_by_the_address_that_its_ingress_wrote_and_takes_a_new_config_map() {
    let backend = Backend::start(Mode::Echo).unwrap();
    let policy = read("examples/kubernetes/sidecar/portcullis.yaml");
    let bootstrap = yaml(&read("examples/kubernetes/sidecar/sidecar.yaml"));
    // Of one subject too; here only addresses matter.
    let with = |connections: u32| {
        let limit = format!("{{per_subject: null, per_address: {{connections: {connections}}}");
        policy.replace("{per_address: {connections: 10}", &limit)
    };
    assert_ne!(with(10), policy);
    let gate = Gate::start("sidecar", &bootstrap, &with(10), &backend);
    let plain = forwarded("203.0.113.7", "198.51.100.1").with("X-Forwarded-Proto", "http");
    assert_eq!(gate.client().ask(&plain).unwrap().status(), 403, "tls_required");
    let open = |index: u32| gate.client().open(&forwarded("203.0.113.7", &format!("198.51.100.{index}")));
    let mut connections: Vec<_> = (0..10).map(|index| open(index).unwrap()).collect();
    let eleventh = gate.client().ask(&forwarded("203.0.113.7", "198.51.100.99")).unwrap();
    assert_eq!(eleventh.status(), 429, "what it made up does not make it another client: {}", eleventh.text());
    assert_eq!(gate.client().ask(&forwarded("203.0.113.8", "203.0.113.7")).unwrap().status(), 101);

    // A file cut short is nothing to Envoy, a policy with a fault is nothing to the filter: `config_fail` counts both.
    let counts = || ["config_fail", "update_failure", "update_rejected"].map(|name| gate.discovered(name));
    assert_eq!(counts(), [0, 0, 0]);
    let cut = &policy[..policy.len() / 2];
    for (text, version, expected) in
        [(cut, "cut", [1, 1, 0]), (&*policy.replace("per_address", "per_adress"), "misspelt", [2, 1, 1])]
    {
        gate.put_policy(text, version);
        let start = Instant::now();
        while counts() != expected {
            assert!(start.elapsed() < PATIENCE, "{version}: {:?}, {}", counts(), gate.log());
            thread::sleep(Duration::from_millis(50));
        }
    }

    gate.put_policy(&with(11), "second");
    let start = Instant::now();
    while gate.client().ask(&forwarded("203.0.113.7", "198.51.100.1")).unwrap().status() != 101 {
        assert!(start.elapsed() < PATIENCE, "{}", gate.log());
        thread::sleep(Duration::from_millis(50));
    }
    for connection in &mut connections {
        let answer = connection.exchange("still here", Duration::from_secs(5)).unwrap();
        assert!(format!("{answer:?}").contains("Frame"), "{answer:?}");
    }
}

/// Protobuf's merge, as far as the examples need it: messages member by member, all else replaced.
fn merge(into: &mut Value, from: &Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from.clone(),
    }
}

/// Whether an edge with what the objects of Istio or Envoy Gateway patch is one that Envoy runs, with their policy.
#[test]
fn what_is_patched_into_istio_and_envoy_gateway_is_taken_by_an_envoy() {
    let backend = Backend::start(Mode::Echo).unwrap();
    let http = "/static_resources/listeners/0/filter_chains/0/filters/0";
    let routes = format!("{http}/typed_config/route_config");
    for folder in ["istio", "envoy-gateway"] {
        let objects = rendered(folder);
        let (mut bootstrap, policy) = edge();
        let mut count = 0;
        let of_kind = |kind: &str| objects.iter().find(|object| object["kind"] == kind);
        if let Some(filter) = of_kind("EnvoyFilter") {
            for patch in filter["spec"]["configPatches"].as_array().unwrap() {
                assert_eq!(patch["patch"]["operation"], "MERGE");
                let place = match patch["applyTo"].as_str().unwrap() {
                    "CLUSTER" => "/static_resources/clusters/0",
                    "HTTP_ROUTE" => &format!("{routes}/virtual_hosts/0/routes/0"),
                    "LISTENER" => "/static_resources/listeners/0",
                    "NETWORK_FILTER" => http,
                    other => panic!("{other}"),
                };
                merge(bootstrap.pointer_mut(place).unwrap(), &patch["patch"]["value"]);
                count += 1;
            }
        }
        if let Some(patches) = of_kind("EnvoyPatchPolicy") {
            for patch in patches["spec"]["jsonPatches"].as_array().unwrap() {
                let (parent, key) = patch["operation"]["path"].as_str().unwrap().rsplit_once('/').unwrap();
                let parent = bootstrap.pointer_mut(&format!("{routes}{parent}")).unwrap();
                parent[key] = patch["operation"]["value"].clone();
                count += 1;
            }
        }
        assert_eq!(count, if folder == "istio" { 4 } else { 1 });
        let mut filter = yaml(&policy);
        let own = objects.iter().flat_map(policies).next().unwrap().to_string();
        filter["resources"][0]["typed_config"]["config"]["configuration"]["value"] = own.into();
        let gate = Gate::start(folder, &bootstrap, &filter.to_string(), &backend);
        assert_eq!(gate.client().ask(&forwarded("203.0.113.7", "")).unwrap().status(), 403, "plain text: tls_required");
    }
}

/// As the guide rotates a shared secret: with two providers of one issuer, a token of either secret is good.
#[test]
fn while_a_secret_is_rotated_tokens_of_the_old_one_are_good() {
    let backend = Backend::start(Mode::Echo).unwrap();
    let (bootstrap, policy) = edge();
    let mut filter = yaml(&policy);
    let config = &mut filter["resources"][0]["typed_config"]["config"];
    config["vm_config"]["environment_variables"]["key_values"] =
        json!({"NEXT_KEY": "the next example of thirty-two octets"});
    let provider = |name: &str, variable: &str| {
        let jwks = json!({"secret": {"env": variable}});
        json!({"name": name, "issuer": "https://app.example.com/", "audiences": ["chat"], "algorithms": ["HS256"], "jwks": jwks})
    };
    let with = |providers: Value| {
        let origin = json!({"allow": ["https://app.example.com"]});
        json!({"require_tls": false, "origin": origin, "auth": {"providers": providers}}).to_string()
    };
    let (next, last) = (provider("next", "NEXT_KEY"), provider("session", "PORTCULLIS_SESSION_KEY"));
    for (providers, status) in [(json!([next, last]), 101), (json!([last, next]), 101), (json!([next]), 401)] {
        filter["resources"][0]["typed_config"]["config"]["configuration"]["value"] = with(providers).into();
        let gate = Gate::start(&format!("rotated-{status}"), &bootstrap, &filter.to_string(), &backend);
        assert_eq!(gate.client().ask(&forwarded("203.0.113.7", "")).unwrap().status(), status);
    }
}

/// The block of YAML in the operator's guide that has `key` at its top.
fn shown(key: &str) -> Value {
    let text = read("envoy/OPERATIONS.md");
    let blocks = text.split("```yaml\n").skip(1).map(|block| block.split("```").next().unwrap());
    blocks.map(yaml).find(|block| block.get(key).is_some()).unwrap_or_else(|| panic!("no block of {key}"))
}

/// `envoy/config/edge.yaml` without TLS, which is not what is judged here.
fn edge() -> (Value, String) {
    let mut bootstrap = yaml(portcullis_envoy::config::EDGE);
    let chain = &mut bootstrap["static_resources"]["listeners"][0]["filter_chains"][0];
    chain.as_object_mut().unwrap().remove("transport_socket");
    let origin = json!({"allow": ["https://app.example.com"]});
    let limits = json!({"per_address": {"connections": 1}, "per_subject": null});
    let policy = json!({"require_tls": false, "auth": {"required": false}, "origin": origin, "limits": limits});
    let mut filter = yaml(portcullis_envoy::config::FILTER);
    filter["resources"][0]["typed_config"]["config"]["configuration"]["value"] = policy.to_string().into();
    (bootstrap, filter.to_string())
}

/// What the guide adds to the listener and to its connection manager.
fn add(bootstrap: &mut Value, block: Value) {
    let listener = &mut bootstrap["static_resources"]["listeners"][0];
    for (key, value) in block.as_object().unwrap().clone() {
        let is_of_listener = key == "listener_filters";
        let place = if is_of_listener {
            &mut *listener
        } else {
            &mut listener["filter_chains"][0]["filters"][0]["typed_config"]
        };
        place[key] = value;
    }
}

#[test]
fn behind_a_proxy_that_appends_to_x_forwarded_for_its_word_counts() {
    let backend = Backend::start(Mode::Echo).unwrap();
    let (mut bootstrap, policy) = edge();
    let status =
        |gate: &Gate, address: &str, forged: &str| gate.client().ask(&forwarded(address, forged)).unwrap().status();
    let without = |upgrade: Upgrade| upgrade.without("Authorization");
    {
        // The edge as it is shipped believes none of it: all clients of the proxy are one.
        let gate = Gate::start("hops-none", &bootstrap, &policy, &backend);
        let _open = gate.client().open(&without(forwarded("203.0.113.7", "198.51.100.1"))).unwrap();
        assert_eq!(status(&gate, "203.0.113.8", "198.51.100.2"), 429);
    }
    add(&mut bootstrap, shown("xff_num_trusted_hops"));
    let gate = Gate::start("hops-one", &bootstrap, &policy, &backend);
    let _open = gate.client().open(&without(forwarded("203.0.113.7", "198.51.100.1"))).unwrap();
    assert_eq!(status(&gate, "203.0.113.7", "198.51.100.2"), 429);
    assert_eq!(gate.client().ask(&without(forwarded("203.0.113.8", "203.0.113.7"))).unwrap().status(), 101);
}

#[test]
fn with_envoys_defaults_a_client_is_who_it_says_it_is() {
    let backend = Backend::start(Mode::Echo).unwrap();
    let (mut bootstrap, policy) = edge();
    add(&mut bootstrap, json!({"use_remote_address": false}));
    let gate = Gate::start("hops-default", &bootstrap, &policy, &backend);
    let ask = |forged: &str| {
        let upgrade = forwarded(forged, "198.51.100.1").without("Authorization");
        gate.client().open(&upgrade)
    };
    let _open: Vec<_> =
        (0..20).map(|index| ask(&format!("203.0.113.{index}")).expect("another client each time")).collect();
    // Nothing in the request tells who the peer was; with `use_remote_address` Envoy appends it.
    let silent = Upgrade::to("/").host("chat.example.com").origin("https://app.example.com");
    assert_eq!(gate.client().ask(&silent).unwrap().status(), 101);
    assert_eq!(backend.requests().last().unwrap().head.value("x-forwarded-for"), None);
    let gate = Gate::start("hops-edge", &edge().0, &policy, &backend);
    assert_eq!(gate.client().ask(&silent).unwrap().status(), 101);
    assert!(backend.requests().last().unwrap().head.value("x-forwarded-for").is_some());
}

#[test]
fn behind_a_proxy_that_sends_proxy_protocol_its_word_counts() {
    let backend = Backend::start(Mode::Echo).unwrap();
    let (mut bootstrap, policy) = edge();
    add(&mut bootstrap, shown("listener_filters"));
    let gate = Gate::start("proxy-protocol", &bootstrap, &policy, &backend);
    let ask = |head: &str, forged: &str| {
        let upgrade = forwarded(forged, "198.51.100.1").without("Authorization");
        gate.client().ask_raw(&[head.as_bytes(), &upgrade.bytes()].concat()).unwrap()
    };
    let head = |address: &str| format!("PROXY TCP4 {address} 192.0.2.1 40000 443\r\n");
    let open = ask(&head("203.0.113.7"), "198.51.100.2");
    assert_eq!(open.status(), 101);
    assert_eq!(ask(&head("203.0.113.7"), "198.51.100.3").status(), 429, "X-Forwarded-For says nothing");
    assert_eq!(ask(&head("203.0.113.8"), "198.51.100.2").status(), 101);
    assert_eq!(ask("", "198.51.100.2").status(), 0, "who comes around the load balancer is cut");
}
