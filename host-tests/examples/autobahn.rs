//! Plays the Autobahn TestSuite against Envoy with Portcullis, and says what came of each section.
//!
//! ```text
//! wstest -m fuzzingclient ──▶ Envoy + portcullis.wasm ──▶ an echo of frames that checks nothing, or --upstream
//! ```
//!
//! It needs `wstest` of the suite, or the program in `$WSTEST`; `host-tests/conformance/autobahn.md` says where that comes from. The
//! suite's reports are left in FOLDER.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use portcullis_envoy::peer::backend::{Backend, Mode};
use portcullis_envoy::{Launch, module};
use serde_json::{Value, json};

const USAGE: &str = "\
usage: autobahn FOLDER [--compression refuse|inspect] [--upstream ADDRESS:PORT] [--without-filter] [--cases PATTERN,…]";

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let Some(run) = Run::parse(std::env::args().skip(1)) else {
        eprintln!("{USAGE}");
        return Ok(ExitCode::from(2));
    };
    let folder = folder(&run.folder)?;
    let backend = Backend::start(Mode::Echo)?;
    let upstream = run.upstream.unwrap_or_else(|| backend.address());
    let launch = Launch::new(module::build()?, policy(&run.compression), upstream).delayed_close(DELAYED_CLOSE);
    let envoy = if run.filter { launch } else { launch.without_filter() }.start()?;

    let spec = folder.join("spec.json");
    let server = json!({"agent": AGENT, "url": format!("ws://{}/", envoy.address())});
    let cases = json!({"servers": [server], "cases": run.cases, "outdir": folder});
    fs::write(&spec, cases.to_string())?;
    let wstest = std::env::var_os("WSTEST").unwrap_or_else(|| "wstest".into());
    let mut command = Command::new(&wstest);
    command.args(["-m", "fuzzingclient", "-s"]).arg(&spec).current_dir(&folder);
    let status = command.status().map_err(|error| format!("{}: {error}", wstest.display()))?;
    if !status.success() {
        return Err(format!("{command:?}: {status}").into());
    }
    let index: Value = serde_json::from_slice(&fs::read(folder.join("index.json"))?)?;
    let failed = report(&index[AGENT])?;
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// What the command line asks for.
struct Run {
    folder: PathBuf,
    compression: String,
    upstream: Option<SocketAddr>,
    filter: bool,
    cases: Vec<String>,
}

impl Run {
    fn parse(mut words: impl Iterator<Item = String>) -> Option<Self> {
        let folder = words.next().filter(|word| !word.starts_with('-'))?.into();
        let mut run =
            Self { folder, compression: "refuse".into(), upstream: None, filter: true, cases: vec!["*".into()] };
        while let Some(word) = words.next() {
            match word.as_str() {
                "--cases" => run.cases = words.next()?.split(',').map(str::to_owned).collect(),
                "--compression" => run.compression = words.next()?,
                "--upstream" => run.upstream = Some(words.next()?.parse().ok()?),
                "--without-filter" => run.filter = false,
                _ => return None,
            }
        }
        Some(run)
    }
}

/// The folder, with nothing in it that a run before has left.
fn folder(path: &Path) -> io::Result<PathBuf> {
    fs::create_dir_all(path)?;
    match fs::remove_file(path.join("index.json")) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => path.canonicalize(),
    }
}

/// Asks for nothing before the upgrade, and is as wide as the suite's longest messages; what is judged is judged as by default.
fn policy(compression: &str) -> Value {
    let side = json!({
        "max_message_bytes": MESSAGE_LEN_MAX, "max_frame_bytes": MESSAGE_LEN_MAX, "max_fragments": FRAGMENTS_MAX, "binary": "allow",
    });
    json!({
        "require_tls": false,
        "origin": {"allow": ["*"], "missing": "allow"},
        "auth": {"required": false},
        "messages": {"from_client": side, "from_server": side},
        "compression": compression,
        // One address with all cases, some of which send a thousand messages at once, and others wait.
        "limits": {"per_address": null, "per_subject": null, "per_connection": null},
        "liveness": {"ping_interval": "0s", "idle_timeout": "0s", "message_timeout": "0s", "max_lifetime": "0s"},
    })
}

/// Prints how many cases of each section ended how, and each that is not OK. Says whether there is one that may not be.
fn report(cases: &Value) -> Result<bool, Box<dyn Error>> {
    let cases = cases.as_object().filter(|cases| !cases.is_empty()).ok_or("no case has a result")?;
    let mut sections: BTreeMap<u32, BTreeMap<&str, u32>> = BTreeMap::new();
    let mut others: BTreeMap<Vec<u32>, &str> = BTreeMap::new();
    for (name, case) in cases {
        let number = name.split('.').map(str::parse).collect::<Result<Vec<u32>, _>>()?;
        let verdict = verdict(case);
        *sections.entry(number[0]).or_default().entry(verdict).or_default() += 1;
        if verdict != "OK" {
            others.insert(number, verdict);
        }
    }
    for (section, counts) in sections {
        let counts: Vec<String> = counts.iter().map(|(verdict, count)| format!("{count} {verdict}")).collect();
        println!("section {section:>2}: {}", counts.join(", "));
    }
    for (number, verdict) in &others {
        let number: Vec<String> = number.iter().map(u32::to_string).collect();
        println!("{}: {verdict}", number.join("."));
    }
    Ok(others.values().any(|verdict| !matches!(*verdict, "INFORMATIONAL" | "NON-STRICT" | "UNIMPLEMENTED")))
}

/// How a case ended: the worse of what was said and of how it was closed.
fn verdict(case: &Value) -> &str {
    let [behavior, close] = ["behavior", "behaviorClose"].map(|key| case[key].as_str().unwrap_or("FAILED"));
    match close {
        "FAILED" | "UNCLEAN" | "WRONG CODE" if behavior != "FAILED" => close,
        _ => behavior,
    }
}

/// The name under which the suite reports.
const AGENT: &str = "portcullis";

/// The longest message of section 9.
const MESSAGE_LEN_MAX: u64 = 16 << 20;

/// 9.3.1 and 9.4.1: 4 MiB in fragments of 64 bytes, and an empty one behind them.
const FRAGMENTS_MAX: u64 = 65_537;

/// The suite gives a server a second to end its connection, and the server here waits for the suite to end its own: with the shipped
/// second each case would be a race.
const DELAYED_CLOSE: &str = "0.1s";
