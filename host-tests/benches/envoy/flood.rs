//! How long other clients wait while somebody floods an Envoy with handshakes whose tokens are forged, 2,000 in a second: from one address
//! and from 500, with the limits that a policy has by itself, and with none, so that each token is checked. Beside it, what the same flood
//! does to an Envoy with its own `jwt_authn` in place of the filter: who floods takes its share of the machine from all.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use jsonwebtoken::Algorithm;
use portcullis_envoy::peer::client::Upgrade;
use portcullis_envoy::peer::frame::{Draft, TEXT};
use portcullis_envoy::{Envoy, Launch};
use serde_json::{Value, json};

use crate::handshakes::{jwt_authn, with_auth};
use crate::load::{Backend, ask, exchange, open_by};
use crate::tokens::Issuer;
use crate::{Outcome, median, settle, sorted, with};

/// Handshakes in a second.
const RATE: u32 = 2_000;

/// Who sends them, each of them one at a time.
const THREADS: u32 = 8;

/// What 99 of 100 messages may take in a flood, in multiples of what they take without.
const RATIO_MAX: f64 = 2.0;

/// Clients that are there all the time, and how often each says something.
const CLIENTS: usize = 4;
const PAUSE: Duration = Duration::from_millis(2);

/// A flood.
struct Row {
    name: &'static str,
    algorithm: Algorithm,
    address_count: u64,
    has_limits: bool,
    goal: Option<f64>,
}

const ROWS: [Row; 4] = [
    Row {
        name: "RS256, one address",
        algorithm: Algorithm::RS256,
        address_count: 1,
        has_limits: true,
        goal: Some(RATIO_MAX),
    },
    Row {
        name: "RS256, 500",
        algorithm: Algorithm::RS256,
        address_count: 500,
        has_limits: true,
        goal: Some(RATIO_MAX),
    },
    Row {
        name: "RS256, 500, no limits",
        algorithm: Algorithm::RS256,
        address_count: 500,
        has_limits: false,
        goal: Some(RATIO_MAX),
    },
    // What it is for a host without a check of its own.
    Row { name: "PS256, 500", algorithm: Algorithm::PS256, address_count: 500, has_limits: true, goal: None },
];

/// Measures so many rounds of each. Returns whether no row is over its goal.
pub(crate) fn run(module: &Path, backend: &Backend, rounds: u64, span: Duration) -> Outcome<bool> {
    let issuer = Issuer::new()?;
    let mut is_good = true;
    println!(
        "{:<24} {:>9} {:>9} {:>9} {:>7} {:>6}  {:>9} {:>9} {:>7}  {:>9} {:>7} {:>6}",
        "echo, µs",
        "calm p50",
        "calm p99",
        "flood p50",
        "p99",
        "ratio",
        "sent a s",
        "401",
        "429",
        "jwt_authn",
        "p99",
        "ratio"
    );
    for row in ROWS {
        let (mut ratios, mut others) = (Vec::new(), Vec::new());
        for round in 0..rounds {
            // Nobody is banned yet.
            let launch = with(module, with_auth(policy(row.has_limits), &issuer)?, backend).trusted_hops(1);
            let found = Found::of(launch, backend, &issuer, &row, span)?;
            let other = Found::of(jwt_authn(backend, &issuer, None)?, backend, &issuer, &row, span)?;
            ratios.push(found.ratio());
            others.push(other.ratio());
            println!(
                "{:<24} {:>9.0} {:>9.0} {:>9.0} {:>7.0} {:>5.2}x  {:>9.0} {:>9} {:>7}  {:>9.0} {:>7.0} {:>5.2}x",
                format!("{} #{round}", row.name),
                percentile(&found.calm, 0.5),
                percentile(&found.calm, 0.99),
                percentile(&found.flooded, 0.5),
                percentile(&found.flooded, 0.99),
                found.ratio(),
                found.rate,
                found.refused,
                found.limited,
                percentile(&other.flooded, 0.5),
                percentile(&other.flooded, 0.99),
                other.ratio(),
            );
        }
        let [found, other] = [ratios, others].map(|ratios| median(&sorted(ratios.into_iter())));
        let is_over = row.goal.is_some_and(|goal| found > goal);
        let mark = if is_over { "over" } else { "" };
        println!("{:<24} {found:>46.2}x {mark:<30} {:>9} {:>7} {other:>5.2}x", row.name, "", "");
        is_good &= !is_over;
    }
    Ok(is_good)
}

/// How long messages took, in microseconds and in order, and what became of the flood.
struct Found {
    calm: Vec<f64>,
    flooded: Vec<f64>,
    /// Handshakes in a second.
    rate: f64,
    refused: u64,
    limited: u64,
}

impl Found {
    fn of(launch: Launch, backend: &Backend, issuer: &Issuer, row: &Row, span: Duration) -> Outcome<Self> {
        let envoy = launch.start()?;
        let clients = Clients::open(&envoy, backend, issuer)?;
        let calm = clients.measure(span)?;
        let flood = Flood::new(row, issuer)?;
        let is_over = AtomicBool::new(false);
        let (flooded, span) = thread::scope(|scope| {
            let flooding: Vec<_> = (0..THREADS)
                .map(|thread| {
                    scope.spawn({
                        let (flood, envoy, is_over) = (&flood, &envoy, &is_over);
                        move || flood.send(envoy, thread, is_over)
                    })
                })
                .collect();
            let begin = Instant::now();
            let flooded = clients.measure(span);
            is_over.store(true, Ordering::Relaxed);
            for thread in flooding {
                thread.join().map_err(|_| "a client panicked")??;
            }
            Outcome::Ok((flooded?, begin.elapsed()))
        })?;
        drop(clients);
        settle(&envoy, backend)?;
        let [refused, limited] = [&flood.refused, &flood.limited].map(|count| count.load(Ordering::Relaxed));
        Ok(Self { calm, flooded, rate: (refused + limited) as f64 / span.as_secs_f64(), refused, limited })
    }

    /// What 99 of 100 messages take in the flood, in multiples of what they take without.
    fn ratio(&self) -> f64 {
        percentile(&self.flooded, 0.99) / percentile(&self.calm, 0.99)
    }
}

fn policy(has_limits: bool) -> Value {
    // Those who are there all the time say more than a policy allows by itself.
    let mut policy = json!({"require_tls": false, "origin": {"missing": "allow"}});
    policy["limits"] = json!({"per_connection": {"messages": {"per_second": 1_000_000, "burst": 1_000_000}}});
    if !has_limits {
        policy["limits"]["per_address"] = Value::Null;
        policy["limits"]["per_subject"] = Value::Null;
    }
    policy
}

/// Those who are there all the time.
struct Clients {
    sockets: Vec<TcpStream>,
}

impl Clients {
    fn open(envoy: &Envoy, backend: &Backend, issuer: &Issuer) -> Outcome<Self> {
        drop(backend.take());
        let sockets = (0..CLIENTS).map(|number| {
            let token = issuer.token(Algorithm::ES256, number as u64)?;
            let upgrade = Upgrade::to("/bench")
                .header("Authorization", format!("Bearer {token}"))
                .header("X-Forwarded-For", format!("198.51.100.{number}"));
            open_by(envoy.address(), &upgrade)
        });
        let sockets = sockets.collect::<Outcome<Vec<_>>>()?;
        for mut socket in backend.take() {
            let answer = Draft::new(TEXT, b"hello").bytes();
            // It ends with its client.
            thread::spawn(move || {
                let mut buf = [0; 256];
                while matches!(socket.read(&mut buf), Ok(1..)) && socket.write_all(&answer).is_ok() {}
            });
        }
        Ok(Self { sockets })
    }

    /// How long each message takes there and back, in microseconds.
    fn measure(&self, span: Duration) -> Outcome<Vec<f64>> {
        let question = Draft::new(TEXT, b"hello").masked().bytes();
        let sockets = self.sockets.iter().map(TcpStream::try_clone).collect::<std::io::Result<Vec<_>>>()?;
        let times = thread::scope(|scope| {
            let clients: Vec<_> = sockets
                .into_iter()
                .map(|mut socket| {
                    let question = &question;
                    scope.spawn(move || {
                        let (begin, mut times) = (Instant::now(), Vec::new());
                        while begin.elapsed() < span {
                            let start = Instant::now();
                            exchange(&mut socket, question)?;
                            times.push(start.elapsed().as_secs_f64() * 1e6);
                            thread::sleep(PAUSE);
                        }
                        std::io::Result::Ok(times)
                    })
                })
                .collect();
            let times = clients.into_iter().map(|client| Ok(client.join().map_err(|_| "a client panicked")??));
            times.collect::<Outcome<Vec<_>>>()
        })?;
        Ok(sorted(times.into_iter().flatten()))
    }
}

fn percentile(sorted: &[f64], share: f64) -> f64 {
    let index = (sorted.len() as f64 * share) as usize;
    sorted.get(index).copied().unwrap_or(f64::NAN)
}

/// Who floods.
struct Flood {
    /// What is sent again and again: no forged token is remembered.
    requests: Vec<Upgrade>,
    refused: AtomicU64,
    limited: AtomicU64,
}

impl Flood {
    fn new(row: &Row, issuer: &Issuer) -> Outcome<Self> {
        let requests = (0..500).map(|number| {
            let token = issuer.forged(row.algorithm, number)?;
            let address = number % row.address_count;
            Ok(Upgrade::to("/bench")
                .header("Authorization", format!("Bearer {token}"))
                .header("X-Forwarded-For", format!("203.0.{}.{}", address / 250, address % 250)))
        });
        Ok(Self { requests: requests.collect::<Outcome<_>>()?, refused: AtomicU64::new(0), limited: AtomicU64::new(0) })
    }

    /// Sends this thread's share of the rate.
    fn send(&self, envoy: &Envoy, thread: u32, is_over: &AtomicBool) -> std::io::Result<()> {
        let pause = Duration::from_secs(1) * THREADS / RATE;
        let mut due = Instant::now() + pause * thread / THREADS;
        let own = self.requests.iter().cycle().skip(thread as usize).step_by(THREADS as usize);
        for upgrade in own {
            if is_over.load(Ordering::Relaxed) {
                break;
            }
            thread::sleep(due.saturating_duration_since(Instant::now()));
            due += pause;
            // A connection that Envoy does not take is no answer.
            let Ok((_, head)) = ask(envoy.address(), upgrade) else { continue };
            match head.status() {
                401 => self.refused.fetch_add(1, Ordering::Relaxed),
                429 => self.limited.fetch_add(1, Ordering::Relaxed),
                status => return Err(std::io::Error::other(format!("{status}"))),
            };
        }
        Ok(())
    }
}
