//! What happens at the gate: its counters, and its lines of Envoy's log, as server-sent events.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::Write as _;
use std::net::TcpStream;
use std::sync::Weak;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use portcullis_envoy::Envoy;
use serde_json::{Value, json};

use crate::gate::Gate;

/// Sends an event whenever a line or a counter is new, beginning behind `from` in the log, until [`STREAM_TIME`] is over: its reader then asks
/// again.
pub(super) fn stream(
    gate: &Weak<Gate>,
    streams: &AtomicUsize,
    from: Option<usize>,
    mut socket: &TcpStream,
) -> Result<(), Box<dyn Error>> {
    let Some(_place) = Place::take(streams) else { return refuse(socket) };
    socket.set_write_timeout(Some(STREAM_TIME))?;
    write!(socket, "{HEAD}retry: 100\n\n")?;
    let started = Instant::now();
    let (mut from, mut counters) = (from, BTreeMap::new());
    while started.elapsed() < STREAM_TIME {
        // The gate is held for this moment only: it ends with the demo.
        let gate = gate.upgrade().ok_or("the gate has ended")?;
        let (next, lines) = lines(&gate.envoy.log()?, from);
        let now = own_counters(&gate.envoy)?;
        drop(gate);
        if !lines.is_empty() || counters != now || from.is_none() {
            let event = json!({"lines": lines, "counters": now});
            write!(socket, "id: {next}\ndata: {event}\n\n")?;
        }
        (from, counters) = (Some(next), now);
        thread::sleep(PAUSE);
    }
    Ok(())
}

/// Answers one that may not have a stream.
pub(super) fn refuse(mut socket: &TcpStream) -> Result<(), Box<dyn Error>> {
    Ok(write!(socket, "HTTP/1.1 503 \r\ncontent-length: 0\r\nconnection: close\r\n\r\n")?)
}

/// Where the reader was when its last stream ended.
pub(super) fn last_id(head: &str) -> Option<usize> {
    head.lines().find_map(|line| line.strip_prefix("last-event-id: ")?.parse().ok())
}

/// The filter's lines behind `from`, without what Envoy puts before them and without repetitions (each worker says what concerns it), and where
/// the last whole line ends. Without `from`, the last [`LINES_MAX`].
fn lines(log: &str, from: Option<usize>) -> (usize, Vec<Value>) {
    let end = log.rfind('\n').map_or(0, |end| end + 1);
    let new = log.get(from.unwrap_or(0)..end).unwrap_or_default();
    let mut lines: Vec<Value> = new.lines().filter_map(line).collect();
    lines.dedup_by(|later, line| later["text"] == line["text"]);
    let lines = lines.split_off(lines.len().saturating_sub(LINES_MAX));
    (end, lines)
}

/// A line of the filter's: when it was written, its level and its text.
fn line(line: &str) -> Option<Value> {
    let (prefix, text) = line.split_once("wasm log portcullis portcullis")?;
    let (_, text) = text.split_once(": ")?;
    let mut words = prefix.split(['[', ']', ' ']);
    let (time, level) = (words.nth(2)?, words.nth(3)?);
    Some(json!({"time": time, "level": level, "text": text}))
}

/// The filter's counters that are not 0.
fn own_counters(envoy: &Envoy) -> Result<BTreeMap<String, u64>, portcullis_envoy::Error> {
    let own = |(name, value): (String, u64)| Some((name.strip_prefix("wasmcustom.portcullis.")?.to_owned(), value));
    Ok(envoy.stats()?.into_iter().filter(|(_, value)| *value > 0).filter_map(own).collect())
}

/// One of the places for streams. It is free again when it is dropped.
struct Place<'a>(&'a AtomicUsize);

impl<'a> Place<'a> {
    fn take(streams: &'a AtomicUsize) -> Option<Self> {
        let place = Self(streams);
        (streams.fetch_add(1, Ordering::Relaxed) < STREAMS_MAX).then_some(place)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

const HEAD: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-store\r\nconnection: close\r\n\r\n";
/// Shorter than Envoy lets an answer take: 15 seconds.
const STREAM_TIME: Duration = Duration::from_secs(10);
/// Short beside what a visitor notices; a look costs Envoy a millisecond.
const PAUSE: Duration = Duration::from_millis(100);
/// Each is a thread that asks Envoy for its counters.
const STREAMS_MAX: usize = 8;
/// A flood of lines is cut: the page shows fewer.
const LINES_MAX: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    const REFUSED: &str = r#"[2026-11-28 15:01:12.717][20044][warning][wasm] [source/context.cc:1154] wasm log portcullis portcullis portcullis: {"event":"refused"}"#;
    const TAKEN: &str = "[2026-11-28 15:01:06.352][20044][info][wasm] [source/context.cc:1151] wasm log portcullis portcullis: portcullis: a worker needs";

    #[test]
    fn lines_of_the_filter_are_told_from_others() {
        let log = format!(
            "{REFUSED}\n{{\"status\":403}}\n[2026-11-28 15:01:06.337][1][info][main] [a] starting\n{TAKEN}\n{TAKEN}\nhalf a li"
        );
        let (end, found) = lines(&log, None);
        let expected = [
            json!({"time": "15:01:12.717", "level": "warning", "text": r#"{"event":"refused"}"#}),
            json!({"time": "15:01:06.352", "level": "info", "text": "portcullis: a worker needs"}),
        ];
        assert_eq!(found, expected);
        assert_eq!(&log[end..], "half a li");
        assert_eq!(lines(&log, Some(end)), (end, Vec::new()));
        assert_eq!(lines(&log, Some(REFUSED.len() + 1)).1, expected[1..]);
        assert_eq!(lines("", Some(7)), (0, Vec::new()));
    }

    #[test]
    fn there_are_so_many_streams_and_no_more() {
        let streams = AtomicUsize::new(0);
        let mut places: Vec<_> = (0..STREAMS_MAX).map(|_| Place::take(&streams).expect("a place")).collect();
        assert!(Place::take(&streams).is_none());
        places.pop();
        assert!(Place::take(&streams).is_some());
    }
}
