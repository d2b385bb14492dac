//! Very many clients that say nothing but answer pings: what they cost an Envoy in memory and time, with the filter and without.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
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

/// How long they are watched: each is pinged twice, by the policy's default of 25 s.
const SPAN: Duration = Duration::from_secs(60);

/// How often each client looks whether there is a ping: an answer may take 20 s.
const LOOK: Duration = Duration::from_millis(500);

/// Measures `count` clients. Tells whether they took less than they may, by `[without, with]` the filter.
pub(crate) fn run(envoys: [&Envoy; 2], backend: &Backend, count: usize) -> Outcome<bool> {
    println!("{:<12} {:>10} {:>12} {:>12} {:>9} {:>7}", "", "opened in", "bytes each", "after pings", "CPU", "pings");
    let mut shares = Vec::new();
    for (name, envoy) in ["bare", "with"].into_iter().zip(envoys) {
        let process = Process::of(envoy)?;
        // The first connections pay for what all share.
        drop(iter::repeat_with(|| open(envoy.address())).take(100).collect::<Outcome<Vec<_>>>()?);
        let (start, before) = (Instant::now(), process.rss()?);
        let mut clients = Vec::new();
        let is_over = AtomicBool::new(false);
        let (opened, each, share, after, pings) = thread::scope(|scope| {
            // They answer from the first one on.
            let (sender, receiver) = std::sync::mpsc::channel();
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
                let (start, cpu) = (Instant::now(), process.cpu()?);
                thread::sleep(SPAN);
                let share = (process.cpu()? - cpu).as_secs_f64() / start.elapsed().as_secs_f64();
                Outcome::Ok((opened, each, share, (process.rss()? - before) / count as f64))
            })();
            is_over.store(true, Ordering::Relaxed);
            let pings = answering.join().map_err(|_| "a client panicked")??;
            let (opened, each, share, after) = measured?;
            Outcome::Ok((opened, each, share, after, pings))
        })?;
        println!(
            "{name:<12} {:>8.1} s {each:>12.0} {after:>12.0} {:>7.2} % {pings:>7}",
            opened.as_secs_f64(),
            share * 100.0
        );
        shares.push(share);
        drop(mem::take(&mut clients));
        crate::settle(envoy, backend)?;
    }
    Ok(shares.iter().all(|share| *share < CPU_MAX))
}

/// Answers the pings of all clients, and says how many there were.
fn answer(
    clients: &mut Vec<TcpStream>,
    newcomers: &std::sync::mpsc::Receiver<TcpStream>,
    is_over: &AtomicBool,
) -> io::Result<usize> {
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
