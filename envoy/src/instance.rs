//! A running Envoy.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpStream};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use std::{fmt, fs, thread};

use serde_json::Value;

use crate::config::{FIRST_LISTENER, SECOND_LISTENER};
use crate::files::Files;
use crate::runner::{Arguments, Running};
use crate::{Error, admin};

/// What became of a new policy.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Update {
    /// It is in force on every worker.
    Accepted,
    /// The filter refused it; the one before is still in force.
    Rejected,
}

/// A running Envoy; dropped, it is stopped and leaves nothing behind.
pub struct Envoy {
    // Dropped in this order: the process before its files.
    running: Box<dyn Running>,
    files: Files,
    admin: SocketAddr,
    address: SocketAddr,
    /// The policy that Envoy saw last, and what it said.
    last: Mutex<(Value, Update)>,
}

impl Envoy {
    /// Waits until it serves with `policy`, by so many filters.
    pub(crate) fn new(
        mut running: Box<dyn Running>,
        files: Files,
        policy: Value,
        filter_count: u64,
    ) -> Result<Self, Error> {
        match serving(running.as_mut(), &files, filter_count) {
            Ok((admin, address)) => {
                Ok(Self { running, files, admin, address, last: Mutex::new((policy, Update::Accepted)) })
            }
            Err(error) => Err(not_ready(error, &running.log()?)),
        }
    }

    /// Where clients connect to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where clients of [`crate::Launch::second_listener`] connect to.
    ///
    /// # Errors
    /// [`Error::NotReady`] where there is none; those of [`Envoy::stats`].
    pub fn second_address(&self) -> Result<SocketAddr, Error> {
        listener(self.admin, SECOND_LISTENER)?.ok_or_else(|| because("there is no second listener"))
    }

    /// Where the admin endpoint is.
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// Its process, unless it runs in a container.
    pub fn pid(&self) -> Option<u32> {
        self.running.pid()
    }

    /// All counters and gauges by their full name.
    ///
    /// # Errors
    /// [`Error::Admin`] and [`Error::Io`] where the admin endpoint does not answer.
    pub fn stats(&self) -> Result<BTreeMap<String, u64>, Error> {
        admin::get(self.admin, "/stats").map(|text| admin::stats(&text))
    }

    /// The value of a counter or gauge; 0 if there is none. The filter's are named as in the policy's documentation, such as
    /// `portcullis.refused.origin_refused`; Envoy's by their full name.
    ///
    /// # Errors
    /// Those of [`Envoy::stats`].
    pub fn counter(&self, name: &str) -> Result<u64, Error> {
        Ok(admin::value(&self.stats()?, name))
    }

    /// The values of a histogram of the filter's since Envoy's start: whole numbers, and how many there were of each. From 100 on a number
    /// stands for all that begin with the same two digits, and is the highest of them. What came within the last five seconds, Envoy's
    /// interval, may not be among them.
    ///
    /// # Errors
    /// Those of [`Envoy::stats`], and [`Error::Admin`] where there is none of this name.
    pub fn histogram(&self, name: &str) -> Result<BTreeMap<u64, u64>, Error> {
        let path = format!("/stats?filter={name}&histogram_buckets=detailed&format=json");
        let answer = admin::get(self.admin, &path)?;
        admin::histogram(&answer, name).ok_or(Error::Admin { path, answer })
    }

    /// What it wrote so far: its log, the filter's lines in it, and the access log.
    ///
    /// # Errors
    /// [`Error::Io`] where the log cannot be read.
    pub fn log(&self) -> Result<String, Error> {
        self.running.log()
    }

    /// From now on it logs what is at least of `level` (`trace` … `critical`, `off`): all of it, or one of its components (`wasm`, `http`, …).
    ///
    /// # Errors
    /// Those of [`Envoy::stats`].
    pub fn set_log_level(&self, component: Option<&str>, level: &str) -> Result<(), Error> {
        admin::post(self.admin, &format!("/logging?{}={level}", component.unwrap_or("level")))
    }

    /// Puts another policy in place, as an operator does, and waits until Envoy has taken or refused it.
    ///
    /// Open connections stay. All of the launch but its policy stays too.
    ///
    /// # Errors
    /// [`Error::NotReady`] where Envoy says nothing about it, as one that runs without the filter.
    pub fn update_policy(&self, policy: &Value) -> Result<Update, Error> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.0 == *policy {
            // Envoy skips what equals the last policy it saw, and counts that as a success even where it was refused.
            return Ok(last.1);
        }
        let before = discovery(self.admin)?;
        self.files.put_policy(&self.files.filter(), policy)?;
        let update = wait(|| {
            let now = discovery(self.admin)?;
            let rose = |name: &str| admin::value(&now, name) > admin::value(&before, name);
            Ok(if rose(REJECTED) {
                Some(Update::Rejected)
            } else {
                // A reload counts when every worker has it; with a rejection it counts too, hence the order.
                (rose(SUCCESS) && rose(RELOAD)).then_some(Update::Accepted)
            })
        });
        let update = update.or_else(|error| Err(not_ready(error, &self.log()?)))?;
        *last = (policy.clone(), update);
        Ok(update)
    }
}

impl fmt::Debug for Envoy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Envoy").field("address", &self.address).field("admin", &self.admin).finish_non_exhaustive()
    }
}

/// Waits until the listener accepts and, with a filter, its policy is in force on every worker.
fn serving(running: &mut dyn Running, files: &Files, filter_count: u64) -> Result<(SocketAddr, SocketAddr), Error> {
    wait(|| {
        if running.ended()? {
            return Err(because("it ended"));
        }
        let written = fs::read_to_string(files.join(Arguments::ADMIN)).unwrap_or_default();
        let Ok(admin) = written.parse() else { return Ok(None) };
        // Until it is live Envoy answers 503, and before that not at all.
        if !admin::get(admin, "/ready").is_ok_and(|body| body.starts_with("LIVE")) {
            return Ok(None);
        }
        if filter_count > 0 {
            // A refused policy does not keep Envoy from being live: it then answers every request with 500.
            let discovery = discovery(admin)?;
            if admin::value(&discovery, REJECTED) > 0 {
                return Err(because("it refused the policy"));
            }
            if admin::value(&discovery, RELOAD) < filter_count {
                return Ok(None);
            }
        }
        let listener = listener(admin, FIRST_LISTENER)?;
        Ok(listener.filter(|address| TcpStream::connect(address).is_ok()).map(|address| (admin, address)))
    })
}

/// Asks until there is an answer, for at most [`PATIENCE`].
fn wait<T>(mut ask: impl FnMut() -> Result<Option<T>, Error>) -> Result<T, Error> {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask()? {
            return Ok(answer);
        }
        if start.elapsed() > PATIENCE {
            return Err(because("it took too long"));
        }
        thread::sleep(PAUSE);
    }
}

fn because(reason: &str) -> Error {
    Error::NotReady { reason: reason.into(), log: String::new() }
}

/// Any failure of an Envoy that should serve, with the end of its log.
fn not_ready(error: Error, log: &str) -> Error {
    let reason = match error {
        Error::NotReady { reason, .. } => reason,
        other => other.to_string(),
    };
    Error::NotReady { reason, log: tail(log).into() }
}

fn listener(admin: SocketAddr, name: &str) -> Result<Option<SocketAddr>, Error> {
    Ok(admin::listener(&admin::get(admin, "/listeners?format=json")?, name))
}

/// What Envoy counts about the filter's file.
fn discovery(admin: SocketAddr) -> Result<BTreeMap<String, u64>, Error> {
    admin::get(admin, "/stats?filter=extension_config_discovery").map(|text| admin::stats(&text))
}

/// The last [`TAIL`] bytes of a log, from the start of a line.
fn tail(log: &str) -> &str {
    let start = log.len().saturating_sub(TAIL);
    match log.as_bytes()[start..].iter().position(|&byte| byte == b'\n') {
        Some(line) if start > 0 => &log[start + line + 1..],
        _ if log.is_char_boundary(start) => &log[start..],
        _ => log,
    }
}

const REJECTED: &str = "extension_config_discovery.http_filter.portcullis.update_rejected";
const RELOAD: &str = "extension_config_discovery.http_filter.portcullis.config_reload";
const SUCCESS: &str = "extension_config_discovery.http_filter.portcullis.update_success";
/// A module of 1 MB compiles in one second on an idle machine; this is for a busy one.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(10);
/// Some thirty lines.
const TAIL: usize = 6_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tail_begins_with_a_line() {
        assert_eq!(tail("short"), "short");
        let log = format!("first {}\nlast", "x".repeat(TAIL));
        assert_eq!(tail(&log), "last");
        let log = "é".repeat(TAIL);
        assert!(log.ends_with(tail(&log)));
    }
}
