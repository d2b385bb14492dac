//! Very many clients that say nothing but answer pings: what they cost an Envoy in memory and time, with the filter and without, and how
//! long the filter's ticks take.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};
use std::{iter, mem};

use portcullis_envoy::Envoy;
use portcullis_envoy::peer::frame::{Draft, Frame, PING, PONG};

use crate::Outcome;
use crate::load::{Backend, open};
use crate::process::Process;

/// The share of a core that they may take with the filter.
const CPU_MAX: f64 = 0.05;

/// What 99 of 100 ticks of the filter may take, in microseconds: so long the worker's other connections have nothing of it.
const TICK_MAX: u64 = 1_000;

/// How often Envoy makes up its histograms.
const FLUSH: Duration = Duration::from_secs(5);

/// How long they are watched: each is pinged twice, by the policy's default of 25 s.
const SPAN: Duration = Duration::from_secs(60);

/// How often each client looks whether there is a ping: an answer may take 20 s.
const LOOK: Duration = Duration::from_millis(500);

/// Measures `count` clients. Returns whether they took less than they may, by `[without, with]` the filter.
pub(crate) fn run(envoys: [&Envoy; 2], backend: &Backend, count: usize) -> Outcome<bool> {
    println!(
        "{:<6} {:>10} {:>11} {:>12} {:>9} {:>6} {:>6} {:>8} {:>8} {:>8}",
        "", "opened in", "bytes each", "after pings", "CPU", "pings", "ticks", "p50", "p99", "max"
    );
    let mut is_good = false;
    for (name, envoy, has_filter) in [("bare", envoys[0], false), ("with", envoys[1], true)] {
        let process = Process::of(envoy)?;
        // The first connections pay for what all share.
        drop(iter::repeat_with(|| open(envoy.address())).take(100).collect::<Outcome<Vec<_>>>()?);
        let (start, before) = (Instant::now(), process.rss()?);
        let mut clients = Vec::new();
        let is_over = AtomicBool::new(false);
        let (opened, each, share, after, ticks, pings) = thread::scope(|scope| {
            // They answer from the first one on.
            let (sender, receiver) = mpsc::channel();
            let answering = scope.spawn(|| {
                let (is_over, receiver) = (&is_over, receiver);
                answer(&mut clients, &receiver, is_over)
            });
            let measured = (|| {
                for _ in 0..count {
                    let socket = open(envoy.address())?;
                    socket.set_nonblocking(true)?;
                    sender.send(socket)?;
                }
                let (opened, each) = (start.elapsed(), (process.rss()? - before) / count as f64);
                // What opening them took is in no histogram after this.
                thread::sleep(2 * FLUSH);
                let ticks = if has_filter { Ticks::of(envoy)? } else { Ticks::default() };
                let (start, cpu) = (Instant::now(), process.cpu()?);
                thread::sleep(SPAN);
                let share = (process.cpu()? - cpu).as_secs_f64() / start.elapsed().as_secs_f64();
                let ticks = if has_filter { Ticks::of(envoy)?.since(&ticks) } else { ticks };
                Outcome::Ok((opened, each, share, (process.rss()? - before) / count as f64, ticks))
            })();
            is_over.store(true, Ordering::Relaxed);
            let pings = answering.join().map_err(|_| "a client panicked")??;
            let (opened, each, share, after, ticks) = measured?;
            Outcome::Ok((opened, each, share, after, ticks, pings))
        })?;
        print!(
            "{name:<6} {:>8.1} s {each:>11.0} {after:>12.0} {:>7.2} % {pings:>6}",
            opened.as_secs_f64(),
            share * 100.0
        );
        if has_filter {
            let [p50, p99, max] = [0.5, 0.99, 1.0].map(|share| ticks.percentile(share));
            print!(" {:>6} {p50:>5} µs {p99:>5} µs {max:>5} µs", ticks.count());
            is_good = share < CPU_MAX && ticks.count() > 0 && p99 < TICK_MAX;
        }
        println!();
        drop(mem::take(&mut clients));
        crate::settle(envoy, backend)?;
    }
    Ok(is_good)
}

/// How many ticks took how many microseconds.
#[derive(Default)]
struct Ticks(BTreeMap<u64, u64>);

impl Ticks {
    /// All since Envoy's start.
    fn of(envoy: &Envoy) -> Outcome<Self> {
        Ok(Self(envoy.histogram("portcullis.tick_us")?))
    }

    /// Without those before.
    fn since(mut self, before: &Self) -> Self {
        for (micros, count) in &mut self.0 {
            *count -= before.0.get(micros).copied().unwrap_or(0);
        }
        self
    }

    fn count(&self) -> u64 {
        self.0.values().sum()
    }

    /// What no more than this share of them took.
    fn percentile(&self, share: f64) -> u64 {
        let mut left = (self.count() as f64 * share).ceil() as u64;
        let reached = self.0.iter().find(|(_, count)| {
            left = left.saturating_sub(**count);
            left == 0
        });
        reached.map_or(0, |(micros, _)| *micros)
    }
}

/// Answers the pings of all clients, and says how many there were.
fn answer(clients: &mut Vec<TcpStream>, newcomers: &Receiver<TcpStream>, is_over: &AtomicBool) -> io::Result<usize> {
    let (mut pings, mut buf) = (0, [0; 256]);
    while !is_over.load(Ordering::Relaxed) {
        clients.extend(newcomers.try_iter());
        for socket in &mut *clients {
            let len = match socket.read(&mut buf) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(len) => len,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Err(error) => return Err(error),
            };
            for frame in Frame::parse_all(&buf[..len]).0 {
                if frame.opcode != PING {
                    return Err(io::Error::other(format!("not a ping: {frame:?}")));
                }
                pings += 1;
                socket.write_all(&Draft::new(PONG, frame.payload).masked().bytes())?;
            }
        }
        thread::sleep(LOOK);
    }
    Ok(pings)
}
