//! What the filter costs an Envoy: three of them, with it, without any, and with the filter that one would write with the SDK
//! (`host-tests/neighbour`), which reads as much of each chunk and judges nothing; else alike, one worker each, before the same backend.
//!
//! ```text
//! cargo bench -p portcullis-host-tests --bench envoy
//!
//! time     CPU of Envoy for a message that is echoed, eight connections with one message in flight each; Envoys take turns
//!          in every round, and the median of the rounds' ratios counts, for other load on the machine changes from round to round
//! memory   RSS of Envoy: for idle connections, and after rounds of connections that came and went
//! ```
//!
//! | variable | what it says |
//! |---|---|
//! | `PORTCULLIS_BENCH_ROUNDS` | how many rounds a row has, by default 5 |
//! | `PORTCULLIS_BENCH_SECONDS` | how long one measurement in a round takes, by default 2 |
//! | `PORTCULLIS_BENCH_IDLE` | so many clients that only answer pings, in place of all else; `ulimit -n` must be more than twice that |
//! | `PORTCULLIS_BENCH_START` | how long an Envoy takes to start, and its memory then, in place of all else |
//! | `PORTCULLIS_BENCH_WORK` | what rules about content cost, in time and in instructions, in place of all else |
//! | `PORTCULLIS_BENCH_HANDSHAKES` | what handshakes with tokens cost beside Envoy's own `jwt_authn`, in place of all else |
//! | `PORTCULLIS_BENCH_FLOOD` | how long others wait in a flood of forged tokens, in place of all else |
//! | `PORTCULLIS_BENCH_MODULE` | the module to measure, in place of the one that is built here |
//!
//! A line over its goal is marked, and the exit code is then 1.

mod flood;
mod handshakes;
mod idle;
mod load;
mod process;
mod start;
mod tokens;
mod work;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};
use std::{env, iter};

use portcullis_envoy::peer::frame::{Draft, TEXT};
use portcullis_envoy::{Envoy, Launch, Position, Runner, module};
use serde_json::{Value, json};

use load::{Backend, Echo, open};
use process::Process;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// A policy, and the most that a message of some length may cost with it, in multiples of what it costs an Envoy without.
struct Row {
    name: &'static str,
    reads_text: bool,
    /// How much of each chunk a filter has to read for it, in bytes.
    read_len: usize,
    goals: [(usize, Option<f64>); 3],
}

const ROWS: [Row; 2] = [
    Row {
        name: "headers only",
        reads_text: false,
        // The longest header of a frame.
        read_len: 14,
        goals: [(128, Some(1.12)), (4_096, Some(1.10)), (65_536, Some(1.05))],
    },
    Row {
        name: "UTF-8 of the client",
        reads_text: true,
        read_len: 1 << 20,
        goals: [(128, None), (4_096, Some(1.20)), (65_536, Some(1.50))],
    },
];

/// What an idle connection may cost over one without the filter, in bytes.
const IDLE_MAX: f64 = 2_048.0;

/// What the second of two equal rounds may leave behind, in bytes: four pages of WebAssembly. A leak of one byte in 256 of what a
/// connection costs while it is there would be more.
const LEFT_MAX: f64 = 262_144.0;

/// What a connection is, for idle ones: enough that their cost stands out from what an allocator takes at once.
const IDLE_COUNT: usize = 4_000;

/// What comes and goes in one round.
const CHURN_COUNT: usize = 1_000;

const FLOOD: &str = "PORTCULLIS_BENCH_FLOOD";
const HANDSHAKES: &str = "PORTCULLIS_BENCH_HANDSHAKES";
const IDLE: &str = "PORTCULLIS_BENCH_IDLE";
const START: &str = "PORTCULLIS_BENCH_START";
const WORK: &str = "PORTCULLIS_BENCH_WORK";

fn main() -> Outcome<ExitCode> {
    let rounds = from_env("PORTCULLIS_BENCH_ROUNDS", 5)?;
    let span = Duration::from_secs(from_env("PORTCULLIS_BENCH_SECONDS", 2)?);
    let module = env::var_os("PORTCULLIS_BENCH_MODULE").map_or_else(module::build, |path| Ok(PathBuf::from(path)))?;
    let backend = Backend::start()?;
    if env::var_os(WORK).is_some() {
        let is_good = work::run(&module, &backend, rounds, span)?;
        return Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    if env::var_os(FLOOD).is_some() {
        let is_good = flood::run(&module, &backend, rounds, span)?;
        return Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    let neighbour = module::build_package("portcullis-neighbour")?;
    if env::var_os(HANDSHAKES).is_some() {
        let is_good = handshakes::run([&module, &neighbour], &backend, rounds)?;
        return Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    if env::var_os(START).is_some() {
        let is_good = start::run(&module, &neighbour, &backend, rounds)?;
        return Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    let bare = bare(&backend).start()?;

    if env::var_os(IDLE).is_some() {
        let count = from_env(IDLE, 1)?;
        let gate = start(&module, &backend, true)?;
        let is_good = idle::run([&bare, &gate], &backend, usize::try_from(count)?)?;
        return Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    let mut table = Table { is_good: true };
    println!(
        "{:<22} {:>7}  {:>8} {:>8} {:>8}  {:>7}  {:>7} {:>7} {:>7}  {:>6}",
        "", "bytes", "bare µs", "SDK µs", "with µs", "of SDK", "of bare", "min", "max", "goal"
    );
    for row in &ROWS {
        let gate = start(&module, &backend, row.reads_text)?;
        let sdk = sdk(&neighbour, &backend, &format!("read {}", row.read_len)).start()?;
        for (len, goal) in row.goals {
            let payload = vec![b'x'; len];
            let cost = |envoy| cost(envoy, &backend, &payload, span);
            let costs = (0..rounds).map(|_| Ok([cost(&bare)?, cost(&sdk)?, cost(&gate)?]));
            table.time(row.name, len, &costs.collect::<Outcome<Vec<_>>>()?, goal);
        }
    }
    drop(bare);

    println!("\n{:<46} {:>12}  {:>6}", "", "bytes", "goal");
    let gate = start(&module, &backend, false)?;
    let alone = self::bare(&backend).start()?;
    let [without, with] = [idle(&alone, &backend)?, idle(&gate, &backend)?];
    table.memory("an idle connection, bare", without, None);
    table.memory("an idle connection, with the filter", with, None);
    table.memory("an idle connection, difference", with - without, Some(IDLE_MAX));
    table.memory(
        "left by a second 1,000 connections",
        left(&gate, || come_and_go(&gate, &backend, &[]))?,
        Some(LEFT_MAX),
    );
    let oversized = Draft::new(TEXT, []).masked().declared_len(1 << 40).header();
    table.memory(
        "left by a second 1,000 oversized attempts",
        left(&gate, || come_and_go(&gate, &backend, &oversized))?,
        Some(LEFT_MAX),
    );
    Ok(if table.is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// An Envoy without any filter.
fn bare(backend: &Backend) -> Launch {
    Launch::new("", Value::Null, backend.address()).without_filter().backend(Runner::Process)
}

/// An Envoy with the filter that is made with the SDK, and does what `task` says.
fn sdk(neighbour: &Path, backend: &Backend, task: &str) -> Launch {
    bare(backend).neighbour(Position::Before, neighbour, task)
}

/// An Envoy with the filter.
fn start(module: &Path, backend: &Backend, reads_text: bool) -> Outcome<Envoy> {
    let policy = policy(json!({"utf8": reads_text, "max_frame_bytes": 1 << 20, "max_message_bytes": 1 << 20}));
    Ok(with(module, policy, backend).start()?)
}

fn with(module: &Path, policy: Value, backend: &Backend) -> Launch {
    Launch::new(module, policy, backend.address()).backend(Runner::Process)
}

/// A policy with these rules for the messages of clients.
fn policy(from_client: Value) -> Value {
    json!({
        "require_tls": false,
        "origin": {"missing": "allow"},
        "auth": {"required": false},
        "messages": {
            "from_client": from_client,
            "from_server": {"utf8": false, "max_frame_bytes": 1 << 20, "max_message_bytes": 1 << 20},
        },
        // They are on, but never reached.
        "limits": {
            "per_address": {
                "connections": 100_000,
                "handshakes": {"per_second": 100_000, "burst": 100_000},
                "failures": {"count": 100_000, "window": "60s", "ban": "1s"},
            },
            "per_connection": {
                "messages": {"per_second": 1_000_000, "burst": 1_000_000},
                "bytes": {"per_second": 1_000_000_000, "burst": 1_000_000_000},
            },
        },
    })
}

/// CPU time of Envoy for one message, there and back, in microseconds.
fn cost(envoy: &Envoy, backend: &Backend, payload: &[u8], span: Duration) -> Outcome<f64> {
    let process = Process::of(envoy)?;
    let echo = Echo::start(envoy.address(), backend, payload)?;
    // Until buffers have grown, and the module's hot paths are compiled again with optimisations.
    thread::sleep(Duration::from_millis(500));
    let before = (process.cpu()?, echo.count());
    thread::sleep(span);
    let after = (process.cpu()?, echo.count());
    echo.stop()?;
    Ok((after.0 - before.0).as_secs_f64() * 1e6 / (after.1 - before.1) as f64)
}

/// RSS of Envoy for one idle connection, in bytes.
fn idle(envoy: &Envoy, backend: &Backend) -> Outcome<f64> {
    let process = Process::of(envoy)?;
    // The first connections pay for what all share.
    come_and_go(envoy, backend, &[])?;
    let before = process.rss()?;
    let clients = iter::repeat_with(|| open(envoy.address())).take(IDLE_COUNT).collect::<Outcome<Vec<_>>>()?;
    let after = process.rss()?;
    drop(clients);
    settle(envoy, backend)?;
    Ok((after - before) / IDLE_COUNT as f64)
}

/// By how much RSS grows from the first to the second of two rounds, in bytes.
fn left(envoy: &Envoy, round: impl Fn() -> Outcome<()>) -> Outcome<f64> {
    let process = Process::of(envoy)?;
    round()?;
    let before = process.rss()?;
    round()?;
    Ok(process.rss()? - before)
}

/// Opens [`CHURN_COUNT`] connections, sends `bytes` on each and waits for an answer where there are any, and ends them.
fn come_and_go(envoy: &Envoy, backend: &Backend, bytes: &[u8]) -> Outcome<()> {
    let mut clients = iter::repeat_with(|| open(envoy.address())).take(CHURN_COUNT).collect::<Outcome<Vec<_>>>()?;
    if !bytes.is_empty() {
        for client in &mut clients {
            load::exchange(client, bytes)?;
        }
    }
    drop(clients);
    settle(envoy, backend)
}

/// Waits until no connection is left.
fn settle(envoy: &Envoy, backend: &Backend) -> Outcome<()> {
    backend.take();
    let start = Instant::now();
    while envoy.counter("http.edge.downstream_cx_active")? + envoy.counter("cluster.application.upstream_cx_active")?
        > 0
    {
        if start.elapsed() > Duration::from_secs(30) {
            return Err("connections stay".into());
        }
        thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

struct Table {
    is_good: bool,
}

impl Table {
    /// Of rounds of `[bare, sdk, with]`.
    fn time(&mut self, name: &str, len: usize, rounds: &[[f64; 3]], goal: Option<f64>) {
        let ratios = sorted(rounds.iter().map(|[bare, _, with]| with / bare));
        let of_sdk = median(&sorted(rounds.iter().map(|[_, sdk, with]| with / sdk)));
        let [bare, sdk, with] = [0, 1, 2].map(|index| median(&sorted(rounds.iter().map(|round| round[index]))));
        let (least, most) = (ratios[0], ratios[ratios.len() - 1]);
        let found = median(&ratios);
        print!("{name:<22} {len:>7}  {bare:>8.2} {sdk:>8.2} {with:>8.2}  {of_sdk:>6.3}x");
        print!("  {found:>6.3}x {least:>6.3}x {most:>6.3}x");
        self.goal(found, goal.map(|goal| (goal, format!("{goal:.2}x"))));
    }

    fn memory(&mut self, name: &str, found: f64, goal: Option<f64>) {
        print!("{name:<46} {found:>12.0}");
        self.goal(found, goal.map(|goal| (goal, format!("{goal:.0}"))));
    }

    fn goal(&mut self, found: f64, goal: Option<(f64, String)>) {
        let Some((goal, text)) = goal else { return println!() };
        let is_over = found > goal;
        self.is_good &= !is_over;
        println!("  {text:>6}{}", if is_over { "  over" } else { "" });
    }
}

fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values
}

fn median(sorted: &[f64]) -> f64 {
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[middle] } else { f64::midpoint(sorted[middle - 1], sorted[middle]) }
}

/// A number of at least 1.
fn from_env(name: &str, default: u64) -> Outcome<u64> {
    match env::var(name) {
        Ok(text) => match text.parse() {
            Ok(number) if number > 0 => Ok(number),
            _ => Err(format!("{name}={text} is no number of 1 or more").into()),
        },
        Err(_) => Ok(default),
    }
}
