//! Progress of what takes long, on standard error: standard output is for results.

use std::time::{Duration, Instant};

pub(crate) fn say(text: &str) {
    eprintln!("{text}");
}

/// Prints what is being done, does it, and prints how long it took where that was long.
pub(crate) fn step<T>(text: &str, work: impl FnOnce() -> T) -> T {
    say(&format!("{text}…"));
    let started = Instant::now();
    let result = work();
    let took = started.elapsed();
    if took > WORTH_SAYING {
        say(&format!("  {:.0} s", took.as_secs_f32()));
    }
    result
}

const WORTH_SAYING: Duration = Duration::from_secs(2);
