//! Envoy itself judges every configuration that is shipped, and those that the documents show.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use portcullis_envoy::{binary, module};
use serde_json::Value;
#[cfg(feature = "tool")]
use serde_json::json;

/// A folder of this test run with what the shipped bootstrap names: a certificate and its key.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::create_dir_all(folder.join("tls")).unwrap();
    fs::create_dir_all(folder.join("portcullis")).unwrap();
    let certificate = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    fs::write(folder.join("tls/tls.crt"), certificate.cert.pem()).unwrap();
    fs::write(folder.join("tls/tls.key"), certificate.signing_key.serialize_pem()).unwrap();
    folder
}

/// Whether Envoy takes a bootstrap, and what it has to say.
fn validate(bootstrap: &Path) -> (bool, String) {
    let mut envoy = Command::new(binary::find().unwrap());
    envoy.args(["--mode", "validate", "-c"]).arg(bootstrap).env("SESSION_KEY", "x".repeat(64));
    let output = envoy.output().unwrap();
    (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn envoy_takes_every_shipped_bootstrap() {
    let folder = folder("shipped");
    let moved = |text: &str| text.replace("/etc/envoy", folder.to_str().unwrap());
    fs::write(folder.join("portcullis/portcullis.yaml"), moved(portcullis_envoy::config::FILTER)).unwrap();

    let mut judged = 0;
    for entry in fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/config")).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        if !text.contains("static_resources:") {
            continue;
        }
        let file = folder.join(path.file_name().unwrap());
        fs::write(&file, moved(&text)).unwrap();
        let (taken, log) = validate(&file);
        assert!(taken, "{}: {log}", path.display());
        for complaint in ["[warning]", "[error]", "deprecated"] {
            assert!(!log.contains(complaint), "{}: {log}", path.display());
        }
        judged += 1;
    }
    assert!(judged > 0);
}

/// The first block of YAML in a document that has `key` at its top.
fn shown(document: &str, key: &str) -> Value {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(document)).unwrap();
    let blocks = text.split("```yaml\n").skip(1).map(|block| block.split("```").next().unwrap());
    let mut blocks = blocks.map(|block| serde_saphyr::from_str::<Value>(block).unwrap());
    blocks.find_map(|mut block| block.get_mut(key).map(Value::take)).unwrap()
}

/// README's filters in the shipped listener, and the cluster of the operator's guide beside the shipped one. In this mode Envoy loads the
/// module, which reads the policy.
#[test]
fn envoy_takes_what_the_documents_show() {
    let folder = folder("shown");
    let module = module::build().unwrap();
    let check = |filters: &Value| {
        let mut bootstrap: Value = serde_saphyr::from_str(portcullis_envoy::config::EDGE).unwrap();
        let listener = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config/http_filters";
        *bootstrap.pointer_mut(listener).unwrap() = filters.clone();
        let clusters = bootstrap.pointer_mut("/static_resources/clusters").and_then(Value::as_array_mut).unwrap();
        clusters.extend(shown("envoy/OPERATIONS.md", "clusters").as_array().unwrap().clone());
        let text = bootstrap.to_string().replace("/etc/envoy/portcullis.wasm", module.to_str().unwrap());
        let file = folder.join("bootstrap.json");
        fs::write(&file, text.replace("/etc/envoy", folder.to_str().unwrap())).unwrap();
        validate(&file)
    };
    let mut filters = shown("README.md", "http_filters");
    let (taken, log) = check(&filters);
    assert!(taken && !log.contains("deprecated"), "{log}");
    assert!(log.contains("portcullis: a worker needs at most"), "the module has been configured: {log}");

    filters[0]["typed_config"]["config"]["configuration"]["value"]["mode"] = "enforced".into();
    let (taken, log) = check(&filters);
    assert!(!taken && log.contains("portcullis: policy refused: mode: expected enforce or monitor"), "{log}");
}

/// Where the filters of the shipped configuration stand.
#[cfg(feature = "tool")]
const FILTERS: &str = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config/http_filters";

/// The shipped configuration with README's filter, which runs the module from where it was built.
#[cfg(feature = "tool")]
fn with_readmes_filter(folder: &Path) -> Value {
    let module = module::build().unwrap();
    let mut bootstrap: Value = serde_saphyr::from_str(portcullis_envoy::config::EDGE).unwrap();
    *bootstrap.pointer_mut(FILTERS).unwrap() = shown("README.md", "http_filters");
    let text = bootstrap.to_string().replace("/etc/envoy/portcullis.wasm", module.to_str().unwrap());
    serde_json::from_str(&text.replace("/etc/envoy", folder.to_str().unwrap())).unwrap()
}

/// The tool's word against Envoy's, of what Envoy's reader makes of a policy in its YAML.
#[cfg(feature = "tool")]
#[test]
fn portcullis_check_reads_a_policy_as_envoys_reader_of_yaml_does() {
    let folder = folder("yaml");
    let mut bootstrap = with_readmes_filter(&folder);
    let policy = format!("{FILTERS}/0/typed_config/config/configuration/value");
    *bootstrap.pointer_mut(&policy).unwrap() = json!("HERE");
    let text = bootstrap.to_string();
    let side = |rule: &str| format!("messages: {{from_client: {rule}}}");
    for (policy, is_taken) in [
        ("liveness: {jitter: 0.2}".to_owned(), true),
        ("liveness: {jitter: 1_0}".into(), false),
        ("log: {spikes: {factor: 2.5, window: 10s}}".into(), true),
        ("limits: {per_connection: {messages: {per_second: 0.5, burst: 5}}}".into(), true),
        ("limits: {connections: 4294967296}".into(), true),
        ("limits: {connections: 10.5}".into(), false),
        ("limits: {connections: 0o20}".into(), false),
        ("limits: {connections: 08}".into(), false),
        ("limits: &l {connections: 5}\nroutes: [{match: {path_prefix: /a}, policy: {limits: *l}}]".into(), true),
        ("limits: &l {connections: 5}\nroutes: [{match: {path_prefix: /a}, policy: {limits: {<<: *l}}}]".into(), false),
        (side("{max_message_bytes: 010}"), true),
        (side("{max_message_bytes: 00}"), false),
        (side("{utf8: Yes}"), true),
        (side("{utf8: yES}"), false),
        (side("{json: {schema: {minimum: -1.5}}}"), false),
        (side("{json: {schema: {maximum: 12345678901}}}"), false),
        (side("{json: {schema: {const: 1.5}}}"), true),
        ("revision: 5".into(), false),
        ("revision: 1.10".into(), true),
        ("revision: on".into(), false),
    ] {
        let members = format!("auth: {{required: false}}\n{policy}").replace('\n', ",\n  ");
        let file = folder.join("bootstrap.yaml");
        fs::write(&file, format!("# YAML\n{}", text.replace("\"HERE\"", &format!("{{{members}}}")))).unwrap();
        let (taken, log) = validate(&file);
        let mut tool = Command::new(env!("CARGO_BIN_EXE_portcullis"));
        let told = tool.arg("check").arg("--allow-missing-env").arg(&file).output().unwrap();
        assert_eq!(taken, is_taken, "{policy}: {log}");
        assert_eq!(told.status.success(), is_taken, "{policy}: {}", String::from_utf8_lossy(&told.stdout));
    }
}

/// The tool's word against Envoy's, of what is around the policy.
#[cfg(feature = "tool")]
#[test]
fn portcullis_check_refuses_what_envoy_refuses_and_takes_what_it_takes() {
    let folder = folder("judged");
    let bootstrap = with_readmes_filter(&folder);
    let variables = "/vm_config/environment_variables";
    let keys = format!("{variables}/host_env_keys");
    let secret = "k".repeat(64);
    for (pointer, value, is_taken) in [
        ("/name", json!("portcullis"), true),
        ("/nmae", json!("portcullis"), false),
        ("/root_id", json!(5), false),
        ("/failure_policy", json!("FAIL_CLOSE"), false),
        ("/failure_policy", json!("fail_closed"), true),
        ("/failure_policy", json!(2), true),
        ("/failure_policy", json!(9), false),
        ("/allow_on_headers_stop_iteration", json!("true"), true),
        ("/allow_on_headers_stop_iteration", json!("Yes"), true),
        ("/allow_on_headers_stop_iteration", json!("on"), false),
        ("/fail_open", json!(0), false),
        ("/fail_open", json!(true), false),
        ("/fail_open", json!(false), true),
        ("/vm_config/code", json!(null), false),
        (&keys, json!(["SESSION_KEY", "SESSION_KEY"]), false),
        ("/vm_config/code/local/filname", json!("a"), false),
        (&keys, json!(["OTHER_KEY"]), false),
        (&keys, json!("SESSION_KEY"), true),
        (&keys, json!(["SESSION_KEY", 5]), false),
        (variables, json!({"hostEnvKeys": ["SESSION_KEY"]}), true),
        (variables, json!({"key_values": {"SESSION_KEY": &secret}}), true),
        (variables, json!({"key_values": {"SESSION_KEY": &secret}, "host_env_keys": ["SESSION_KEY"]}), false),
        (variables, json!(null), false),
        ("/configuration/@type", json!("type.googleapis.com/google.protobuf.StringValue"), false),
        ("/configuration", json!({}), false),
    ] {
        let mut changed = bootstrap.clone();
        let plugin = changed.pointer_mut(&format!("{FILTERS}/0/typed_config/config")).unwrap();
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        plugin.pointer_mut(parent).unwrap()[name] = value;
        let file = folder.join("bootstrap.json");
        fs::write(&file, changed.to_string()).unwrap();
        let (taken, log) = validate(&file);
        let mut tool = Command::new(env!("CARGO_BIN_EXE_portcullis"));
        let told = tool.arg("check").arg("--env").arg(format!("SESSION_KEY={secret}")).arg(&file).output().unwrap();
        assert_eq!(taken, is_taken, "{pointer}: {log}");
        assert_eq!(told.status.success(), is_taken, "{pointer}: {}", String::from_utf8_lossy(&told.stdout));
    }
}
