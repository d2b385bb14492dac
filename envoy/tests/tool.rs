//! The tool as a shell runs it: what it prints, and its exit code.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

/// Runs it with `input`. Returns the exit code, and what it prints and complains of.
fn run(arguments: &[&str], input: &str) -> (Option<i32>, String, String) {
    let mut tool = Command::new(env!("CARGO_BIN_EXE_portcullis"));
    tool.args(arguments).current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."));
    tool.env("TOOL_KEY", "k".repeat(64));
    tool.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut tool = tool.spawn().unwrap();
    // It may end without reading.
    let _ = tool.stdin.take().unwrap().write_all(input.as_bytes());
    let output = tool.wait_with_output().unwrap();
    let [printed, complained] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    (output.status.code(), printed, complained)
}

#[test]
fn a_file_without_a_policy_is_a_note_beside_one_that_has_one() {
    let folder = "examples/kubernetes/istio";
    let files = ["envoy", "gateway", "kustomization", "portcullis"].map(|name| format!("{folder}/{name}.yaml"));
    let [envoy, gateway, kustomization, policy] = files.each_ref().map(String::as_str);
    let check = ["check", "--allow-missing-env", envoy, gateway, kustomization];
    let (code, printed, notes) = run(&[&check[..], &[policy]].concat(), "");
    assert_eq!((code, printed.as_str()), (Some(0), format!("{policy}: the policy holds\n").as_str()), "{notes}");
    assert_eq!(notes.lines().count(), 3);
    assert!(notes.starts_with(&format!("{envoy}: note: there is no policy in it\n")), "{notes}");

    let (code, printed, complained) = run(&check, "");
    assert_eq!((code, printed.as_str()), (Some(2), ""));
    assert_eq!(complained.lines().count(), 4, "{complained}");
    assert!(complained.ends_with("\nportcullis: no policy to check\n"), "{complained}");
    let (code, printed, _) = run(&[&check[..], &["-", "--json"]].concat(), "moed: monitor");
    let printed: serde_json::Value = serde_json::from_str(&printed).unwrap();
    assert_eq!((code, printed[0]["faults"][0]["severity"].as_str()), (Some(1), Some("error")));
    assert_eq!((&printed[3]["holds"], &printed[3]["faults"]), (&serde_json::json!(null), &serde_json::json!([])));
}

#[test]
fn a_configuration_of_envoy_names_the_file_of_its_policy() {
    const EDGE: &str = portcullis_envoy::config::EDGE;
    let note =
        "<stdin>: note: there is no policy in it: Envoy reads the filter from /etc/envoy/portcullis/portcullis.yaml";
    let (code, _, complained) = run(&["check", "-"], EDGE);
    assert_eq!((code, complained.lines().next()), (Some(2), Some(note)));
    // What it lacks under any policy it is told all the same.
    let (_, _, complained) =
        run(&["check", "-"], &EDGE.replace("use_remote_address: true", "use_remote_address: false"));
    let [warning, told, _] = complained.lines().collect::<Vec<_>>()[..] else { panic!("{complained}") };
    assert!(warning.contains(": warning: ") && warning.contains("typed_config.use_remote_address"), "{warning}");
    assert_eq!(told, note);
}

#[test]
fn explain_tells_what_it_has_not_judged() {
    let policy = r#"{"origin": {"missing": "allow"}, "auth": {"sources": [{"cookie": "session"}], "providers": [
        {"name": "a", "issuer": "i", "audiences": ["x"], "algorithms": ["HS256"], "jwks": {"secret": {"env": "A_KEY"}}}]}}"#;
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let archive = folder.join("explain.har");
    let archived = r#"{"log": {"entries": [{"_resourceType": "websocket", "request": {"url": "wss://a.example/", "headers": []},
        "_webSocketMessages": [{"type": "send", "opcode": 2, "data": "AAE="}, {"type": "send", "opcode": 1, "data": "a"}]}]}}"#;
    std::fs::write(&archive, archived).unwrap();
    let explain = |more: &[&str]| {
        let har = ["explain", "--allow-missing-env", "-", "--har", archive.to_str().unwrap()];
        run(&[&har[..], more].concat(), policy)
    };
    let (code, printed, complained) = explain(&[]);
    assert_eq!((code, complained.as_str()), (Some(1), ""));
    let end = "message 1: not judged: there is no connection\nnot judged: 1 binary message of the archive\nnote: browsers leave cookies out";
    assert!(printed.contains(end), "{printed}");
    // All that is judged passes, and something is not.
    let (code, printed, _) = explain(&["--claims", "{}"]);
    assert_eq!(code, Some(1), "{printed}");
    assert!(printed.starts_with("handshake: passes\n  removed: cookie session\nmessage 1: passes\n"), "{printed}");
    assert!(
        printed.ends_with("\nnote: --claims stands for a good token: no key and no signature is checked\n"),
        "{printed}"
    );
    std::fs::write(&archive, archived.replace(r#""opcode": 2"#, r#""opcode": 9"#)).unwrap();
    let (code, printed, _) = explain(&["--claims", "{}"]);
    assert_eq!((code, printed.contains("not judged")), (Some(0), false), "{printed}");
    let (_, printed, _) = explain(&["-H", "Cookie: session=eyJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJpIn0.AAAA"]);
    assert!(printed.contains("note: with --allow-missing-env no signature"), "{printed}");
}

#[test]
fn a_token_may_have_expired_and_needs_one_of_two_signers() {
    let policy = r#"{"origin": {"missing": "allow"}, "auth": {"providers": [
        {"name": "a", "issuer": "i", "audiences": ["x"], "algorithms": ["HS256"], "jwks": {"secret": {"env": "TOOL_KEY"}}}]}}"#;
    for (expires_in, expected) in
        [("60", "handshake: passes\n"), ("-120", "handshake: refused\n  reason: credential_expired\n")]
    {
        let claims = r#"{"iss": "i", "aud": "x"}"#;
        let (code, token, complained) =
            run(&["token", "--secret-env", "TOOL_KEY", "--claims", claims, "--expires-in", expires_in], "");
        assert_eq!(code, Some(0), "{complained}");
        let header = format!("Authorization: Bearer {}", token.trim_end());
        let (_, told, complained) =
            run(&["explain", "-", "wss://a.example/", "--env", "TOOL_KEY", "-H", &header], policy);
        assert!(told.starts_with(expected), "{told}{complained}");
    }
    for both in [&["token"][..], &["token", "--key", "a", "--secret-env", "b"]] {
        let (code, _, complained) = run(both, "");
        assert!(code == Some(2) && complained.contains("--key") && complained.contains("--secret-env"), "{complained}");
    }
}
