//! How long an Envoy takes until it serves, what processor time that is, and its memory then: without a filter, with one that is made
//! with the SDK, and with Portcullis. In rounds, in each of which every one starts once; the least of all rounds counts, since other load on
//! the machine only adds to it.

use std::path::Path;
use std::time::Instant;

use portcullis_envoy::Launch;
use serde_json::json;

use crate::load::Backend;
use crate::process::Process;
use crate::{Outcome, bare, policy, sdk, with};

/// What Portcullis may add to an Envoy without a filter: milliseconds until it serves, and MB.
const MILLIS_MAX: f64 = 1_200.0;
const MEGABYTES_MAX: f64 = 45.0;

/// What one start takes.
#[derive(Clone, Copy)]
struct Start {
    millis: f64,
    cpu_millis: f64,
    megabytes: f64,
}

impl Start {
    const MOST: Self = Self { millis: f64::MAX, cpu_millis: f64::MAX, megabytes: f64::MAX };

    fn measure(launch: Launch) -> Outcome<Self> {
        let start = Instant::now();
        let envoy = launch.start()?;
        let millis = start.elapsed().as_secs_f64() * 1e3;
        let process = Process::of(&envoy)?;
        Ok(Self { millis, cpu_millis: process.cpu()?.as_secs_f64() * 1e3, megabytes: process.rss()? / 1e6 })
    }

    fn least(self, other: Self) -> Self {
        Self {
            millis: self.millis.min(other.millis),
            cpu_millis: self.cpu_millis.min(other.cpu_millis),
            megabytes: self.megabytes.min(other.megabytes),
        }
    }
}

/// Measures so many rounds. Returns whether Portcullis adds no more than it may.
pub(crate) fn run(module: &Path, neighbour: &Path, backend: &Backend, rounds: u64) -> Outcome<bool> {
    let launches = [
        ("bare", bare(backend)),
        ("SDK", sdk(neighbour, backend, "read 14")),
        ("with", with(module, policy(json!({})), backend)),
    ];
    let mut least = [Start::MOST; 3];
    for _ in 0..rounds {
        for (least, (_, launch)) in least.iter_mut().zip(&launches) {
            let start = Start::measure(launch.clone())?;
            *least = least.least(start);
        }
    }
    println!("{:<6} {:>9} {:>9} {:>7}  {:>9} {:>9} {:>7}", "", "ms", "CPU ms", "MB", "over bare", "CPU", "MB");
    let [bare, _, with] = &least;
    for ((name, _), start) in launches.iter().zip(&least) {
        println!(
            "{name:<6} {:>9.0} {:>9.0} {:>7.1}  {:>9.0} {:>9.0} {:>7.1}",
            start.millis,
            start.cpu_millis,
            start.megabytes,
            start.millis - bare.millis,
            start.cpu_millis - bare.cpu_millis,
            start.megabytes - bare.megabytes
        );
    }
    println!("goal   {:>37.0} {:>17.1}", MILLIS_MAX, MEGABYTES_MAX);
    Ok(with.millis - bare.millis <= MILLIS_MAX && with.megabytes - bare.megabytes <= MEGABYTES_MAX)
}
