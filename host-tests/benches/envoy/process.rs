//! What Linux says of a running Envoy.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use portcullis_envoy::Envoy;

use crate::Outcome;

/// One process, all its threads together.
pub(crate) struct Process(PathBuf);

impl Process {
    pub(crate) fn of(envoy: &Envoy) -> Outcome<Self> {
        let pid = envoy.pid().ok_or("Envoy runs where its process cannot be seen")?;
        Ok(Self(format!("/proc/{pid}").into()))
    }

    /// The time that it was on a processor: to the nanosecond, where `stat` counts in hundredths of a second.
    pub(crate) fn cpu(&self) -> Outcome<Duration> {
        let mut nanos = 0;
        for thread in fs::read_dir(self.0.join("task"))? {
            let text = fs::read_to_string(thread?.path().join("schedstat"))?;
            nanos += text.split(' ').next().unwrap_or_default().parse::<u64>()?;
        }
        Ok(Duration::from_nanos(nanos))
    }

    /// The memory that it has, in bytes.
    pub(crate) fn rss(&self) -> Outcome<f64> {
        let status = fs::read_to_string(self.0.join("status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
        let kibibytes: f64 = line.trim().trim_end_matches(" kB").parse()?;
        Ok(kibibytes * 1_024.0)
    }
}
