//! A deployment that holds, and what each change to it leads to.

use crate::check::tests::check_untold;
use crate::check::{Placed, Report, Variables, check};

const ENVOY: &str = r#"
static_resources:
  listeners:
  - name: edge
    per_connection_buffer_limit_bytes: 262144
    filter_chains:
    - transport_socket: {name: tls, typed_config: {"@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext}}
      filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          upgrade_configs: [{upgrade_type: websocket}]
          use_remote_address: true
          route_config:
            virtual_hosts:
            - domains: ["*"]
              routes:
              - {match: {prefix: /}, request_body_buffer_limit: "524288", route: {cluster: application}}
          http_filters:
          - name: portcullis
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm
              config:
                name: portcullis
                failure_policy: FAIL_CLOSED
                vm_config: {runtime: envoy.wasm.runtime.v8, code: {local: {filename: /plugin.wasm}}, environment_variables: {host_env_keys: [SESSION_KEY]}}
                configuration:
                  "@type": type.googleapis.com/google.protobuf.Struct
                  value:
                    buffer_limits: halved
                    origin: {missing: allow}
                    auth: {cookie: {name: sid, hmac: {algorithm: HS256, secret: {env: SESSION_KEY}}}}
  clusters:
  - {name: application, per_connection_buffer_limit_bytes: 131072}
  - {name: other}
"#;

const ISTIO: &str = "
apiVersion: extensions.istio.io/v1alpha1
kind: WasmPlugin
metadata: {name: portcullis}
spec:
  url: oci://registry.example.com/portcullis:0.1.0
  phase: AUTHN
  failStrategy: FAIL_CLOSE
  match: [{mode: SERVER}]
  vmConfig: {env: [{name: SESSION_KEY, valueFrom: HOST}]}
  pluginConfig:
    auth: {cookie: {name: sid, hmac: {algorithm: HS256, secret: {env: SESSION_KEY}}}}
";

const GATEWAY: &str = "
apiVersion: gateway.envoyproxy.io/v1alpha1
kind: EnvoyExtensionPolicy
metadata: {name: portcullis}
spec:
  wasm:
  - name: portcullis
    code: {type: Image, image: {url: 'registry.example.com/portcullis:0.1.0'}}
    failOpen: false
    env: {hostKeys: [SESSION_KEY]}
    config:
      auth: {cookie: {name: sid, hmac: {algorithm: HS256, secret: {env: SESSION_KEY}}}}
";

fn variables() -> Variables {
    let known = ["SESSION_KEY", "OTHER_KEY"].map(|name| (name.to_owned(), "k".repeat(64)));
    Variables { known: known.into_iter().collect(), allow_missing: false }
}

fn found(text: &str) -> Report {
    check(text, &variables()).unwrap_or_else(|absent| panic!("{absent}: {text}"))
}

/// `text` with one change leads to this fault or warning, by the end of its path, and to no other; each stands where it is said to.
#[track_caller]
fn changed(text: &str, (from, to): (&str, &str), faults: &[&str], warnings: &[&str]) {
    assert_eq!(text.matches(from).count(), 1, "{from}");
    let report = found(&text.replace(from, to));
    let ends = |list: &[Placed], ends: &[&str]| {
        list.len() == ends.len()
            && list.iter().zip(ends).all(|(placed, end)| placed.path.ends_with(end) && placed.position.line > 1)
    };
    assert!(ends(&report.faults, faults) && ends(&report.warnings, warnings), "{from} -> {to}: {report:?}");
}

#[test]
fn what_holds_has_no_warning() {
    for text in [ENVOY, ISTIO, GATEWAY] {
        let report = found(text);
        assert!(report.is_good() && report.warnings.is_empty(), "{report:?}");
    }
    let camel = [
        ("vm_config", "vmConfig"),
        ("environment_variables", "environmentVariables"),
        ("use_remote_address", "useRemoteAddress"),
    ];
    let text = camel.iter().fold(ENVOY.to_owned(), |text, (from, to)| text.replace(from, to));
    let report = found(&text);
    assert!(report.is_good() && report.warnings.is_empty(), "{report:?}");
}

#[test]
fn a_filter_alone_has_no_warnings_about_what_is_not_there() {
    let (_, filter) = ENVOY.split_once("            typed_config:\n              \"@type\": type.googleapis.com/envoy.extensions.filters.http.wasm").unwrap();
    let (filter, _) = filter.split_once("  clusters:").unwrap();
    let report = found(&format!("            typed_config:\n              \"@type\": wasm{filter}"));
    assert!(report.is_good() && report.warnings.is_empty(), "{report:?}");
}

#[test]
fn a_variable_that_is_not_passed_on_is_a_fault_though_it_has_a_value() {
    let secret = &["auth.cookie.hmac.secret.env"];
    for (text, change) in [
        (ENVOY, ("host_env_keys: [SESSION_KEY]", "host_env_keys: [OTHER_KEY]")),
        (ENVOY, ("{host_env_keys: [SESSION_KEY]}", "{}")),
        (ISTIO, ("name: SESSION_KEY", "name: OTHER_KEY")),
        (GATEWAY, ("hostKeys: [SESSION_KEY]", "hostKeys: [OTHER_KEY]")),
    ] {
        changed(text, change, secret, &[]);
        let report =
            check(&text.replace(change.0, change.1), &Variables { allow_missing: true, ..Variables::default() });
        let problem = report.unwrap().faults[0].problem.clone();
        assert!(problem.starts_with("no such variable in "), "a placeholder has no variable: {problem}");
    }
    let report = check(ISTIO, &Variables::default()).unwrap();
    assert_eq!(report.faults[0].problem, "SESSION_KEY has no value here");
    // One whose value stands in the file.
    let value = "k".repeat(64);
    for (text, from, to) in [
        (ENVOY, "host_env_keys: [SESSION_KEY]", format!("key_values: {{SESSION_KEY: {value}}}")),
        (ISTIO, "valueFrom: HOST", format!("value: {value}")),
    ] {
        assert!(check(&text.replace(from, &to), &Variables::default()).unwrap().is_good());
    }
}

#[test]
fn what_a_typed_api_refuses_is_a_fault() {
    for (text, change, path) in [
        (ENVOY, ("failure_policy: FAIL_CLOSED", "failure_polcy: FAIL_CLOSED"), "config.failure_polcy"),
        (ENVOY, ("FAIL_CLOSED", "FAIL_CLOSE"), "config.failure_policy"),
        (ENVOY, ("{filename: /plugin.wasm}", "{filname: /plugin.wasm}"), "config.vm_config.code.local.filname"),
        (ENVOY, ("google.protobuf.Struct", "google.protobuf.StringValue"), "config.configuration"),
        (ISTIO, ("valueFrom: HOST", "valueFrom: HOSTT"), "spec.vmConfig.env[0].valueFrom"),
        (ISTIO, ("phase: AUTHN", "phase: AUTH"), "spec.phase"),
        (ISTIO, ("failStrategy: FAIL_CLOSE", "failOpen: true"), "spec.failOpen"),
        (GATEWAY, ("failOpen: false", "failOpen: 'no'"), "spec.wasm[0].failOpen"),
        (GATEWAY, ("type: Image", "type: image"), "spec.wasm[0].code.type"),
    ] {
        changed(text, change, &[path], &[]);
    }
    // What Envoy takes though it does not say so, and Kubernetes does not take.
    for (from, to) in [
        ("failure_policy: FAIL_CLOSED", "failure_policy: fail_closed"),
        ("failure_policy: FAIL_CLOSED", "failure_policy: 2"),
        ("failure_policy: FAIL_CLOSED", "fail_open: 'false'"),
        ("[SESSION_KEY]", "SESSION_KEY"),
    ] {
        changed(ENVOY, (from, to), &[], &[]);
    }
    let text = "pluginConfig: 'auth: {required: false}'\n  _:";
    changed(ISTIO, ("pluginConfig:", text), &["spec.pluginConfig", "spec._"], &[]);
    changed(ISTIO, ("FAIL_CLOSE", "fail_close"), &["spec.failStrategy"], &[]);
    changed(GATEWAY, ("failOpen: false", "failOpen: 'false'"), &["spec.wasm[0].failOpen"], &[]);
    changed(GATEWAY, ("[SESSION_KEY]", "SESSION_KEY"), &["spec.wasm[0].env.hostKeys"], &[]);
    changed(ENVOY, ("[SESSION_KEY]", "[SESSION_KEY, SESSION_KEY]"), &["environment_variables.host_env_keys[1]"], &[]);
    changed(
        ENVOY,
        ("failure_policy: FAIL_CLOSED", "failure_policy: FAIL_CLOSED\n                fail_open: true"),
        &["config.fail_open"],
        &["config.fail_open"],
    );
    changed(ENVOY, (", code: {local: {filename: /plugin.wasm}}", ""), &["config.vm_config.code"], &[]);
    changed(ISTIO, ("  url: oci://registry.example.com/portcullis:0.1.0\n", ""), &["spec.url"], &[]);
    changed(
        GATEWAY,
        ("    code: {type: Image, image: {url: 'registry.example.com/portcullis:0.1.0'}}\n", ""),
        &["spec.wasm[0].code"],
        &[],
    );
    let both = format!("host_env_keys: [SESSION_KEY], key_values: {{SESSION_KEY: {}}}", "k".repeat(64));
    changed(ENVOY, ("host_env_keys: [SESSION_KEY]", &both), &["environment_variables.key_values.SESSION_KEY"], &[]);
    let secret = "auth.cookie.hmac.secret.env";
    changed(ENVOY, ("{host_env_keys: [", "{host_env_keyz: ["), &["environment_variables.host_env_keyz", secret], &[]);
    changed(GATEWAY, ("hostKeys", "hostKeyz"), &["env.hostKeyz", secret], &[]);
    changed(ISTIO, ("pluginConfig:", "pluginConf:"), &["spec.pluginConfig", "spec.pluginConf"], &[]);
    changed(GATEWAY, ("    config:", "    confg:"), &["wasm[0].config", "wasm[0].confg"], &[]);
    changed(ENVOY, ("configuration:", "configuratoin:"), &["config.configuration", "config.configuratoin"], &[]);
    let report = found(&GATEWAY.replace("hostKeys", "hostKeyz"));
    assert_eq!(report.faults[0].hint.as_deref(), Some("did you mean `hostKeys`?"));
}

#[test]
fn a_key_that_is_nearly_one_of_envoys_is_a_warning() {
    let (_, filter) = ENVOY.split_once("          http_filters:\n").unwrap();
    let (filter, _) = filter.split_once("  clusters:").unwrap();
    for (key, paths) in [
        ("resources", &[][..]),
        ("resource", &["resource"]),
        ("resuorces", &["resuorces"]),
        ("http_filter", &["http_filter"]),
        ("httpFilters", &[]),
        ("somewhere_else", &[]),
    ] {
        let report = found(&format!("{key}:\n{filter}"));
        let own: Vec<&str> = report.warnings.iter().map(|warning| warning.path.as_str()).collect();
        assert!(report.is_good() && own == paths, "{key}: {report:?}");
    }
}

#[test]
fn what_goes_against_the_policy_is_a_warning() {
    for (from, to, path) in [
        ("FAIL_CLOSED", "FAIL_OPEN", "config.failure_policy"),
        ("FAIL_CLOSED", "fail_open", "config.failure_policy"),
        ("FAIL_CLOSED", "3", "config.failure_policy"),
        ("failure_policy: FAIL_CLOSED", "fail_open: true", "config.fail_open"),
        ("failure_policy: FAIL_CLOSED", "fail_open: 'Yes'", "config.fail_open"),
        ("upgrade_type: websocket", "upgrade_type: CONNECT", "typed_config.upgrade_configs"),
        ("upgrade_type: websocket", "upgrade_type: websocket, enabled: false", "typed_config.upgrade_configs"),
        ("use_remote_address: true", "stat_prefix: a", "typed_config.use_remote_address"),
        ("use_remote_address: true", "use_remote_address: false", "typed_config.use_remote_address"),
        ("transport_socket:", "_:", "filter_chains[0].transport_socket"),
        ("per_connection_buffer_limit_bytes: 131072", "type: STATIC", "clusters[0].per_connection_buffer_limit_bytes"),
        ("131072", "131073", "clusters[0].per_connection_buffer_limit_bytes"),
        ("\"524288\"", "262144", "typed_config.route_config.request_body_buffer_limit"),
        ("request_body_buffer_limit: \"524288\", ", "", "typed_config.route_config.request_body_buffer_limit"),
        ("buffer_limits: halved", "buffer_limits: default", "buffer_limits"),
        ("static_resources:", "static_resource:", "static_resource"),
        ("  listeners:", "  listener:", "listener"),
    ] {
        changed(ENVOY, (from, to), &[], &[path]);
    }
    let limits = ["listeners[0].per_connection_buffer_limit_bytes", "route_config.request_body_buffer_limit"];
    changed(ENVOY, ("per_connection_buffer_limit_bytes: 262144", "name_: a"), &[], &limits);
    changed(ISTIO, ("FAIL_CLOSE", "FAIL_OPEN"), &[], &["spec.failStrategy"]);
    changed(GATEWAY, ("failOpen: false", "failOpen: true"), &[], &["spec.wasm[0].failOpen"]);
    // As well as another answer to the same question.
    for (from, to) in [
        ("use_remote_address: true", "use_remote_address: 'true'"),
        ("use_remote_address: true", "xff_num_trusted_hops: 1"),
        ("use_remote_address: true", "original_ip_detection_extensions: [{name: a}]"),
        ("{cluster: application}", "{weighted_clusters: {clusters: [{name: application, weight: 1}]}}"),
    ] {
        changed(ENVOY, (from, to), &[], &[]);
    }
    let in_route = "routes: [{match: {path: /a}, policy: {require_tls: false}}]";
    for key in ["require_tls: false", "trust_forwarded_proto: true", in_route] {
        let text = ENVOY.replace("transport_socket:", "_:");
        changed(
            &text,
            ("buffer_limits: halved", &format!("buffer_limits: halved\n                    {key}")),
            &[],
            &[],
        );
    }
}

#[test]
fn all_filters_of_a_file_are_judged_but_those_of_somebody_else() {
    let report = found(&format!("{ISTIO}---{}", GATEWAY.replace("name: sid", "naem: sid")));
    assert!(!report.is_good(), "the second one is judged too");
    let other = ISTIO.replace("portcullis", "other").replace("auth:", "other:");
    assert!(!found(&other).is_good());
    assert!(found(&format!("{other}---{ISTIO}")).is_good());
}

#[test]
fn no_value_around_a_policy_is_repeated() {
    for text in [ENVOY, ISTIO, GATEWAY] {
        check_untold(text, "hunter2_K", &variables());
    }
}
