//! Bytes in, the same bytes out: floods both ways at once, in writes of any size, past a reader that stops; and no byte late on a
//! connection that is mostly quiet. Everything is compared byte for byte, which says more than a hash.
//!
//! Random numbers come from a seed that a failure prints; `PORTCULLIS_SEED` repeats a run.

use std::array;
use std::env;
use std::iter;
use std::sync::LazyLock;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use portcullis_envoy::BufferLimits;
use portcullis_envoy::peer::backend::{Mode, Play, echo};
use portcullis_envoy::peer::frame::{BINARY, CONTINUATION, Draft, Frame, PING, PONG};
use portcullis_envoy::peer::head::Head;
use portcullis_envoy::peer::websocket::{Event, WebSocket};
use serde_json::{Value, json};

use crate::gate::{Counters, Gate, PATIENCE, open_policy};

#[test]
fn floods_arrive_as_sent_within_the_shipped_buffer_limits() {
    flood(BufferLimits::Shipped);
}

#[test]
fn floods_arrive_as_sent_within_envoys_own_buffer_limits() {
    flood(BufferLimits::EnvoyDefaults);
}

/// Two connections at once: one streams and gets its echo meanwhile, one is pushed to and reads slowly.
fn flood(limits: BufferLimits) {
    let seed = seed();
    // Ready before it is asked for: Envoy gives a backend ten seconds to answer.
    let pushed: Vec<u8> = traffic(!seed, FROM_SERVER_MAX).flat_map(|piece| piece.draft().bytes()).collect();
    let mode = Mode::scripted(move |head| {
        let play = Play::answer(head.accepted());
        if head.target() == "/push" { play.then(pushed.clone()) } else { play }
    });
    let gate = Gate::launch(policy(), mode, |launch| launch.buffer_limits(limits));
    let websockets = thread::scope(|scope| {
        let echo = scope.spawn(|| {
            let mut websocket = gate.open("/echo");
            let sender = websocket.sender();
            scope.spawn(move || {
                let mut random = Random(seed ^ 1);
                let mut bytes = Vec::new();
                for piece in traffic(seed, FROM_CLIENT_MAX) {
                    bytes.extend(piece.draft().masked().bytes());
                    while bytes.len() > WRITE_MAX {
                        let write: Vec<u8> = bytes.drain(..1 + random.size(WRITE_MAX)).collect();
                        sender.send(&write).expect("it takes bytes");
                    }
                }
                sender.send(&bytes).expect("it takes bytes");
            });
            traffic(seed, FROM_CLIENT_MAX).for_each(|piece| piece.echoed().check(&mut websocket));
            websocket
        });
        let push = scope.spawn(|| {
            let mut websocket = gate.open("/push");
            let mut random = Random(seed ^ 2);
            let before = memory(&gate);
            for (index, piece) in traffic(!seed, FROM_SERVER_MAX).enumerate() {
                piece.check(&mut websocket);
                match index {
                    // Until every buffer on the way is full, and its owner has noticed.
                    100 => {
                        thread::sleep(Duration::from_secs(1));
                        let grown = memory(&gate).saturating_sub(before);
                        assert!(grown < BUFFERED_MAX, "{grown} bytes are kept for a client that does not read");
                    }
                    // Now in sips and now at once, so that the way to it is full, empty, or between.
                    _ if random.below(16) == 0 => thread::sleep(Duration::from_millis(random.below(8))),
                    _ => {}
                }
            }
            websocket
        });
        [echo, push].map(|client| client.join().expect("its own panic says why"))
    });
    check_end(&gate, websockets);
}

/// The way to the client changes between quiet and busy all the time: nothing may be late, lost or out of turn for that.
#[test]
fn a_quiet_connection_delays_nothing() {
    let seed = seed();
    let gate = Gate::start(policy(), Mode::scripted(|head| speaker(head, burst)));
    let mut websocket = gate.open("/");
    let mut random = Random(seed);
    let mut late = 0;
    for round in 0..ROUNDS {
        let number = random.next();
        let mut pieces = burst(number);
        if random.below(2) == 0 {
            websocket.send_frame(say(number)).expect("it takes bytes");
        } else {
            for piece in &mut pieces {
                websocket.send_frame(piece.draft()).expect("it takes bytes");
                *piece = piece.echoed();
            }
        }
        let start = Instant::now();
        pieces.iter().for_each(|piece| piece.check(&mut websocket));
        late += usize::from(start.elapsed() > LATENCY_MAX);
        thread::sleep(Duration::from_millis([0, 0, 1, 10][round % 4]));
    }
    assert!(late <= LATE_MAX, "{late} of {ROUNDS} rounds took longer than {LATENCY_MAX:?}, with seed {seed}");
    check_end(&gate, [websocket]);
}

/// A way that is full to any degree gets a short message, which may make it quiet, and then more than a buffer's worth.
///
/// Only within the shipped limits: with Envoy's own, one read may bring more than a quiet way takes.
#[test]
fn a_reader_that_stops_loses_nothing() {
    let seed = seed();
    let gate = Gate::start(policy(), Mode::scripted(|head| speaker(head, repeat)));
    let websockets = thread::scope(|scope| {
        let readers: [_; READERS] = array::from_fn(|reader| {
            let gate = &gate;
            scope.spawn(move || {
                let mut random = Random(seed ^ reader as u64);
                let mut websocket = gate.open("/");
                for _ in 0..STOPS {
                    let said = [(2 + random.below(100), 60_000), (1, 1_000), (1, 100_000), (5, 1_000_000)];
                    for (count, len) in said {
                        websocket.send_frame(say(count << 32 | len)).expect("it takes bytes");
                        // Nobody can be asked whether all of it is on its way now.
                        thread::sleep(Duration::from_millis(100));
                    }
                    for piece in said.iter().flat_map(|(count, len)| repeat(count << 32 | len)) {
                        piece.check(&mut websocket);
                    }
                }
                websocket
            })
        });
        readers.map(|reader| reader.join().unwrap_or_else(|_| panic!("seed {seed}")))
    });
    check_end(&gate, websockets);
}

/// So many messages of so many bytes, as the halves of `number` have it.
fn repeat(number: u64) -> Vec<Piece> {
    let payload = &pool()[..number as u32 as usize];
    (0..number >> 32).map(|_| Piece { fin: true, opcode: BINARY, payload }).collect()
}

/// A backend that on demand says what follows from a number, all at once; else it echoes.
fn speaker(head: &Head, speech: fn(u64) -> Vec<Piece>) -> Play {
    Play::answer(head.accepted()).on_frame(move |frame| {
        match frame.payload.strip_prefix(SAY).and_then(|number| number.first_chunk()) {
            Some(number) => {
                speech(u64::from_be_bytes(*number)).iter().flat_map(|piece| piece.draft().bytes()).collect()
            }
            None => echo(frame),
        }
    })
}

/// The demand.
fn say(number: u64) -> Draft {
    Draft::binary([SAY, &number.to_be_bytes()].concat())
}

fn policy() -> Value {
    open_policy(json!({"from_client": {"binary": "allow"}}))
}

/// The connections still work, Envoy has cut none, and they end as their clients want.
#[track_caller]
fn check_end<const COUNT: usize>(gate: &Gate, mut websockets: [WebSocket; COUNT]) {
    for websocket in &mut websockets {
        let answer = websocket.exchange("still there", PATIENCE).expect("it takes bytes");
        assert!(matches!(&answer, Event::Frame(frame) if frame.payload == b"still there"), "{answer:?}");
    }
    // Before they end: Envoy counts the end of an upgrade as a reset, whoever brings it about.
    for side in ["http.edge.downstream", "cluster.application.upstream"] {
        for reset in ["rq_rx_reset", "rq_tx_reset"] {
            assert_eq!(gate.envoy.counter(&format!("{side}_{reset}")).expect("Envoy answers"), 0, "{side}_{reset}");
        }
    }
    let mut counters = Counters::default();
    for websocket in &mut websockets {
        websocket.send_frame(Draft::close(1_000, "")).expect("it takes bytes");
        let answer = websocket.receive(PATIENCE);
        assert!(matches!(&answer, Event::Frame(frame) if frame.close_code() == Some(1_000)), "{answer:?}");
        counters.closed("peer");
    }
    gate.check_counters(&counters);
}

/// What Envoy has on its heap, in bytes.
fn memory(gate: &Gate) -> u64 {
    gate.envoy.counter("server.memory_allocated").expect("Envoy answers")
}

/// A frame of random traffic.
#[derive(Clone, Copy)]
struct Piece {
    fin: bool,
    opcode: u8,
    payload: &'static [u8],
}

impl Piece {
    fn draft(&self) -> Draft {
        let draft = Draft::new(self.opcode, self.payload);
        if self.fin { draft } else { draft.unfinished() }
    }

    /// What an echo makes of it.
    fn echoed(self) -> Self {
        Self { opcode: if self.opcode == PING { PONG } else { self.opcode }, ..self }
    }

    /// Comes next.
    #[track_caller]
    fn check(&self, websocket: &mut WebSocket) {
        match websocket.receive(PATIENCE) {
            Event::Frame(frame) => {
                let is_same = frame.payload == self.payload && (frame.fin, frame.opcode) == (self.fin, self.opcode);
                assert!(is_same, "not {:?} but {frame:?}", Frame::parse(&self.draft().bytes()));
            }
            event => panic!("not a frame of {} bytes but {event:?}", self.payload.len()),
        }
    }
}

/// [`TOTAL`] bytes of messages of up to `len_max` bytes.
fn traffic(seed: u64, len_max: usize) -> impl Iterator<Item = Piece> {
    let mut random = Random(seed);
    let mut left = TOTAL;
    let next = move || {
        let message = message(&mut random, len_max.min(left));
        left -= message.iter().filter(|piece| piece.opcode != PING).map(|piece| piece.payload.len()).sum::<usize>();
        (!message.is_empty()).then_some(message)
    };
    iter::from_fn(next).flatten()
}

/// A few messages.
fn burst(seed: u64) -> Vec<Piece> {
    let mut random = Random(seed);
    (0..=random.size(8)).flat_map(|_| message(&mut random, FROM_CLIENT_MAX)).collect()
}

/// A message, most often a short one, in a few fragments with Pings among them; none if there is nothing to say.
fn message(random: &mut Random, len_max: usize) -> Vec<Piece> {
    let size_max = if random.below(2) == 0 {
        125
    } else if random.below(2) == 0 {
        8_192
    } else {
        len_max
    };
    let mut left = if len_max == 0 { return vec![] } else { 1 + random.size(size_max.min(len_max)) };
    let fragments = if random.below(4) == 0 { 1 + random.below(8) } else { 1 };
    let mut pieces = Vec::new();
    for fragment in 1..=fragments {
        if random.below(8) == 0 {
            let ping = random.size(126);
            let ping = random.payload(ping);
            pieces.push(Piece { fin: true, opcode: PING, payload: ping });
        }
        let len = if fragment == fragments { left } else { random.size(left + 1) };
        let opcode = if fragment == 1 { BINARY } else { CONTINUATION };
        pieces.push(Piece { fin: fragment == fragments, opcode, payload: random.payload(len) });
        left -= len;
    }
    pieces
}

/// SplitMix64: small, quick, and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// A number below `bound`, which is far below 2⁶⁴.
    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// A size below `bound`.
    fn size(&mut self, bound: usize) -> usize {
        usize::try_from(self.below(bound as u64)).expect("it is below a usize")
    }

    /// Random bytes.
    fn payload(&mut self, len: usize) -> &'static [u8] {
        let start = self.size(pool().len() - len);
        &pool()[start..start + len]
    }
}

/// What all payloads are a part of.
fn pool() -> &'static [u8] {
    static POOL: LazyLock<Vec<u8>> = LazyLock::new(|| {
        let mut random = Random(0);
        (0..2 * FROM_SERVER_MAX / 8).flat_map(|_| random.next().to_le_bytes()).collect()
    });
    &POOL
}

fn seed() -> u64 {
    let fresh = || SystemTime::UNIX_EPOCH.elapsed().map(|now| now.as_nanos() as u64).unwrap_or_default();
    let seed = env::var("PORTCULLIS_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(fresh);
    println!("PORTCULLIS_SEED={seed}");
    seed
}

/// What goes each way in a flood, in bytes.
const TOTAL: usize = 100 << 20;
/// The longest messages by the policy's defaults, in bytes.
const FROM_CLIENT_MAX: usize = 65_536;
const FROM_SERVER_MAX: usize = 1_048_576;
/// The longest write of a flood, in bytes: as much as Envoy may read at once, and then some.
const WRITE_MAX: usize = 65_536;
/// What Envoy may keep for a client that does not read, in bytes: some buffer limits, and far less than it is sent.
const BUFFERED_MAX: u64 = 16 << 20;
/// What a request to the backend to say something begins with.
const SAY: &[u8] = b"say:";
/// How many clients stop reading at once, and how often each does.
const READERS: usize = 16;
const STOPS: usize = 3;
/// How many exchanges a quiet connection has.
const ROUNDS: usize = 400;
/// Milliseconds on an idle machine; what waits for the next tick or message takes longer.
const LATENCY_MAX: Duration = Duration::from_millis(500);
/// How many exchanges may take longer, since other tests have the machine for moments: where bytes wait for a tick, every other does.
const LATE_MAX: usize = ROUNDS / 20;
