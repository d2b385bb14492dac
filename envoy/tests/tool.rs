//! The tool as a shell runs it: what it prints, and its exit code.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

/// Runs it with `input`. Returns the exit code, and what it prints and complains of.
fn run(arguments: &[&str], input: &str) -> (Option<i32>, String, String) {
    let mut tool = Command::new(env!("CARGO_BIN_EXE_portcullis"));
    tool.args(arguments).current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."));
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
    assert_eq!(complained.lines().count(), 3, "{complained}");
    let (code, printed, _) = run(&[&check[..], &["-", "--json"]].concat(), "moed: monitor");
    assert!(code == Some(1) && printed.contains("\"severity\": \"error\""), "{printed}");
}

#[test]
fn a_configuration_of_envoy_names_the_file_of_its_policy() {
    let (code, _, complained) = run(&["check", "envoy/config/edge.yaml"], "");
    assert_eq!(code, Some(2));
    assert!(complained.trim_end().ends_with("Envoy reads the filter from /etc/envoy/portcullis/portcullis.yaml"));
}
