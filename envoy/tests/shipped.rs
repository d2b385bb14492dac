//! Envoy itself judges every configuration that is shipped.

use std::fs;
use std::path::Path;
use std::process::Command;

use portcullis_envoy::binary;

#[test]
fn envoy_takes_every_shipped_bootstrap() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("shipped");
    fs::create_dir_all(folder.join("tls")).unwrap();
    fs::create_dir_all(folder.join("portcullis")).unwrap();
    let certificate = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    fs::write(folder.join("tls/tls.crt"), certificate.cert.pem()).unwrap();
    fs::write(folder.join("tls/tls.key"), certificate.signing_key.serialize_pem()).unwrap();
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
        let validate = ["--mode", "validate", "-c"];
        let output = Command::new(binary::find().unwrap()).args(validate).arg(&file).output().unwrap();
        let log = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {log}", path.display());
        for complaint in ["[warning]", "[error]", "deprecated"] {
            assert!(!log.contains(complaint), "{}: {log}", path.display());
        }
        judged += 1;
    }
    assert!(judged > 0);
}
