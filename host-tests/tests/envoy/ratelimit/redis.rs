//! A Redis of a test's own, and limitador's counters in it.
//!
//! limitador's own storage in Redis reads, then writes: two that ask at once may both be let in. Here one script does both, so
//! that tests can expect the last allowed hit to be exactly that.

use std::collections::HashSet;
use std::net::{Ipv4Addr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use limitador::counter::Counter;
use limitador::limit::Limit;
use limitador::storage::{Authorization, CounterStorage, StorageErr};
use redis::{Client, Connection};
use tempfile::TempDir;

/// A `redis-server` without persistence on a free port of 127.0.0.1; killed when it is dropped.
pub(super) struct Redis {
    // Dropped after the process has ended.
    _folder: TempDir,
    process: Child,
    port: u16,
}

impl Redis {
    /// Starts it, and waits until it answers.
    pub(super) fn start() -> Self {
        // Another process may take a port between our look and Redis'.
        (0..ATTEMPTS).find_map(|_| Self::start_once()).expect("redis-server answers: Debian's package has it")
    }

    fn start_once() -> Option<Self> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
        let port = free.expect("a free port").port();
        let process = Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", "", "--appendonly", "no", "--dir"])
            .arg(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server is installed: Debian's package has it");
        let mut redis = Self { _folder: folder, process, port };
        let start = Instant::now();
        while start.elapsed() < PATIENCE && redis.process.try_wait().is_ok_and(|status| status.is_none()) {
            // Whoever else has the port now is not our process, which then ends by itself.
            if redis.connect().is_some_and(|mut connection| redis::cmd("PING").exec(&mut connection).is_ok()) {
                return Some(redis);
            }
            thread::sleep(PAUSE);
        }
        None
    }

    fn connect(&self) -> Option<Connection> {
        Client::open((Ipv4Addr::LOCALHOST.to_string(), self.port)).ok()?.get_connection().ok()
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        // Both fail only if it has ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Counters that begin anew when their window is over, counted from their first hit.
pub(super) struct Counters(Mutex<Connection>);

impl Counters {
    pub(super) fn of(redis: &Redis) -> Self {
        Self(Mutex::new(redis.connect().expect("it answered before")))
    }

    /// Counts `delta` in all of `counters` or in none, and says whether it did. Leaves in each what it had left before, as
    /// limitador wants it, and how long until it begins anew.
    fn count(&self, counters: &mut [Counter], delta: u64) -> bool {
        let mut command = redis::cmd("EVAL");
        command.arg(COUNT).arg(counters.len());
        counters.iter().for_each(|counter| _ = command.arg(key(counter)));
        command.arg(delta);
        for counter in counters.iter() {
            command.arg(counter.max_value()).arg(counter.window().as_secs());
        }
        let mut connection = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // limitador lets nobody else make an error of its own: without Redis the call fails by a panic.
        let (is_counted, answers): (bool, Vec<(u64, u64)>) = command.query(&mut *connection).expect("Redis answers");
        assert_eq!(answers.len(), counters.len());
        for (counter, (hits, milliseconds)) in counters.iter_mut().zip(answers) {
            counter.set_remaining(counter.max_value().saturating_sub(hits));
            counter.set_expires_in(Duration::from_millis(milliseconds));
        }
        is_counted
    }
}

impl CounterStorage for Counters {
    fn check_and_update(&self, counters: &mut Vec<Counter>, delta: u64) -> Result<Authorization, StorageErr> {
        Ok(if self.count(counters, delta) { Authorization::Ok } else { Authorization::Limited(None) })
    }

    fn add_counter(&self, _: &Limit) -> Result<(), StorageErr> {
        Ok(())
    }

    fn is_within_limits(&self, _: &Counter, _: u64) -> Result<bool, StorageErr> {
        unreachable!("{ONLY}")
    }

    fn update_counter(&self, _: &Counter, _: u64) -> Result<(), StorageErr> {
        unreachable!("{ONLY}")
    }

    fn check(&self, _: &mut Vec<Counter>, _: u64) -> Result<Authorization, StorageErr> {
        unreachable!("{ONLY}")
    }

    fn get_counters(&self, _: &HashSet<Arc<Limit>>) -> Result<HashSet<Counter>, StorageErr> {
        unreachable!("{ONLY}")
    }

    fn delete_counters(&self, _: &HashSet<Arc<Limit>>) -> Result<(), StorageErr> {
        unreachable!("{ONLY}")
    }

    fn clear(&self) -> Result<(), StorageErr> {
        unreachable!("{ONLY}")
    }
}

fn key(counter: &Counter) -> String {
    format!("{:?} {:?}", counter.id(), counter.set_variables())
}

/// KEYS: the counters. ARGV: the hits, then for each counter its limit and its window in seconds. The answer: whether they were
/// counted, then for each counter its hits before and the milliseconds it still has.
const COUNT: &str = r"
    local hits, is_within, answers = tonumber(ARGV[1]), 1, {}
    for i = 1, #KEYS do
        local before = tonumber(redis.call('GET', KEYS[i]) or '0')
        if before + hits > tonumber(ARGV[2 * i]) then is_within = 0 end
        answers[i] = {before, 0}
    end
    for i = 1, #KEYS do
        if is_within == 1 then
            redis.call('INCRBY', KEYS[i], hits)
            redis.call('EXPIRE', KEYS[i], ARGV[2 * i + 1], 'NX')
        end
        answers[i][2] = math.max(redis.call('PTTL', KEYS[i]), 0)
    end
    return {is_within, answers}";

const ONLY: &str = "the service asks by check_and_update only";
const ATTEMPTS: usize = 5;
/// It takes milliseconds on an idle machine.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(10);
