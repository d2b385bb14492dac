//! Bytes in, the same bytes out: floods both ways at once, in writes of any size, past a reader that stops; and no byte late on a
//! connection that is mostly quiet. Everything is compared byte for byte, which says more than a hash.
//!
//! Random numbers come from a seed that a failure prints; `PORTCULLIS_SEED` repeats a run. `PORTCULLIS_FLOOD_MIB` says how much a
//! flood is each way, `PORTCULLIS_FLOOD_RUNS` how many there are.

use std::array;
use std::env;
use std::iter;
use std::str::FromStr;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use portcullis_envoy::peer::backend::{Mode, Play, echo};
use portcullis_envoy::peer::frame::{BINARY, CLOSE, CONTINUATION, Draft, Frame, PING, PONG, TEXT};
use portcullis_envoy::peer::head::Head;
use portcullis_envoy::peer::websocket::{Event, WebSocket};
use portcullis_envoy::{BufferLimits, Launch};
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

/// Two connections at once: one streams and gets its echo meanwhile, one is pushed to and reads slowly. Within the shipped limits
/// both peers of the first send a Ping every 200 ms.
fn flood(limits: BufferLimits) {
    let seed = seed();
    let total = variable("PORTCULLIS_FLOOD_MIB").unwrap_or(100) << 20;
    let beat = (limits == BufferLimits::Shipped).then_some(BEAT);
    for run in 0..variable("PORTCULLIS_FLOOD_RUNS").unwrap_or(1) {
        flood_once(limits, total, beat, seed.wrapping_add(run as u64));
    }
}

fn flood_once(limits: BufferLimits, total: usize, beat: Option<Duration>, seed: u64) {
    // Ready before it is asked for: Envoy gives a backend ten seconds to answer.
    let pushed: Vec<u8> = traffic(!seed, total, FROM_SERVER_MAX).flat_map(|piece| piece.draft().bytes()).collect();
    let mode = Mode::scripted(move |head| {
        let play = Play::answer(head.accepted());
        if head.target() == "/push" {
            return play.then(pushed.clone());
        }
        let mut last = Instant::now();
        play.on_frame(move |frame| {
            let mut answer = echo(frame);
            if beat.is_some_and(|beat| last.elapsed() >= beat) {
                last = Instant::now();
                answer.extend(Draft::new(PING, HEARTBEAT).bytes());
            }
            answer
        })
    });
    let mut policy = policy_for_fragments();
    if limits == BufferLimits::EnvoyDefaults {
        policy["buffer_limits"] = json!("default");
    }
    let gate = Gate::launch(policy, mode, |launch| launch.buffer_limits(limits));
    let start = Instant::now();
    let websockets = thread::scope(|scope| {
        let echo = scope.spawn(|| {
            let websocket = gate.open("/echo");
            let sender = websocket.sender();
            let (asked, mut heart) = (AtomicUsize::new(0), Heart::new(websocket));
            thread::scope(|scope| {
                let asked = &asked;
                scope.spawn(move || {
                    let (mut random, mut bytes) = (Random(seed ^ 1), Vec::new());
                    let mut last = Instant::now();
                    for piece in traffic(seed, total, FROM_CLIENT_MAX) {
                        bytes.extend(piece.draft().masked().bytes());
                        for _ in 0..asked.swap(0, Ordering::Relaxed) {
                            bytes.extend(Draft::new(PONG, HEARTBEAT).masked().bytes());
                        }
                        if beat.is_some_and(|beat| last.elapsed() >= beat) {
                            last = Instant::now();
                            bytes.extend(Draft::new(PING, HEARTBEAT).masked().bytes());
                        }
                        while bytes.len() > WRITE_MAX {
                            let write: Vec<u8> = bytes.drain(..1 + random.size(WRITE_MAX)).collect();
                            sender.send(&write).expect("it takes bytes");
                        }
                    }
                    sender.send(&bytes).expect("it takes bytes");
                });
                traffic(seed, total, FROM_CLIENT_MAX).for_each(|piece| heart.check(&piece.echoed(), asked));
            });
            assert!(beat.is_none() || (heart.pings > 0 && heart.pongs > 0), "{} and {}", heart.pings, heart.pongs);
            println!("{} pings of the server, {} pongs", heart.pings, heart.pongs);
            heart.websocket
        });
        let push = scope.spawn(|| {
            let mut websocket = gate.open("/push");
            let mut random = Random(seed ^ 2);
            let before = memory(&gate);
            for (index, piece) in traffic(!seed, total, FROM_SERVER_MAX).enumerate() {
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
        [echo, push].map(|client| client.join().unwrap_or_else(|_| panic!("seed {seed}")))
    });
    println!("{limits:?}: {} MiB each way in {:?}, seed {seed}", total >> 20, start.elapsed());
    check_end(&gate, websockets);
}

/// A client whose server sends a Ping of its own now and then, and answers others.
struct Heart {
    websocket: WebSocket,
    pings: usize,
    pongs: usize,
}

impl Heart {
    fn new(websocket: WebSocket) -> Self {
        Self { websocket, pings: 0, pongs: 0 }
    }

    /// `piece` comes next, perhaps behind a Ping, which asks for a Pong, or behind a Pong.
    #[track_caller]
    fn check(&mut self, piece: &Piece, asked: &AtomicUsize) {
        loop {
            let event = self.websocket.receive(PATIENCE);
            match &event {
                Event::Frame(Frame { opcode: PING, payload, .. }) if payload == HEARTBEAT => {
                    self.pings += 1;
                    asked.fetch_add(1, Ordering::Relaxed);
                }
                Event::Frame(Frame { opcode: PONG, payload, .. }) if payload == HEARTBEAT => self.pongs += 1,
                _ => return piece.compare(event),
            }
        }
    }
}

/// Ten servers at a time that have much to say, at once or soon after the 101, and write it frame by frame: Envoy reads as fast as they
/// do. Within its own buffer limits the first chunk is then often more than its buffer takes.
#[test]
fn servers_that_push_are_not_reset_within_envoys_own_buffer_limits() {
    let piece = Piece { fin: true, opcode: BINARY, payload: &pool()[..60_000] };
    let mode = Mode::scripted(move |head| {
        let pause = head.target().trim_start_matches('/').parse().map(Duration::from_millis);
        let play = Play::answer(head.accepted()).pause(pause.expect("a number"));
        (0..PUSHED).fold(play, |play, _| play.then(piece.draft().bytes()))
    });
    let mut policy = policy();
    policy["buffer_limits"] = json!("default");
    let gate = Gate::launch(policy, mode, |launch| launch.buffer_limits(BufferLimits::EnvoyDefaults));
    thread::scope(|scope| {
        for _ in 0..PUSHED_AT_ONCE {
            scope.spawn(|| {
                for pause in ["/0", "/1", "/20"].into_iter().cycle().take(PUSHES) {
                    let mut websocket = gate.open(pause);
                    (0..PUSHED).for_each(|_| piece.check(&mut websocket));
                }
            });
        }
    });
    check_limits(&gate);
}

/// A long message that is judged as a whole goes on at once, which may be more than a way takes that is kept ready: in one frame, in
/// fragments, and in fragments with Pings between them, which do not wait for it.
#[test]
fn long_messages_that_are_held_until_they_are_whole_arrive() {
    let mode = Mode::scripted(move |head| {
        let (form, len) = head.target().trim_start_matches('/').split_once('/').expect("/form/length");
        let bytes = bytes_of(&long_text(form, len.parse().expect("a number")));
        Play::answer(head.accepted())
            .then(bytes.clone())
            .on_frame(move |frame| if frame.payload == MORE { bytes.clone() } else { echo(frame) })
    });
    for limits in [BufferLimits::Shipped, BufferLimits::EnvoyDefaults] {
        let json = json!({"json": {}, "max_message_bytes": 1_048_576, "max_fragments": 64});
        let mut policy = open_policy(json!({"from_client": json, "from_server": json}));
        if limits == BufferLimits::EnvoyDefaults {
            policy["buffer_limits"] = json!("default");
        }
        for form in ["whole", "fragments", "pings"] {
            // A worker that has lost a connection by its buffers is careful from then on: each form has one that has not.
            let gate = Gate::launch(policy.clone(), mode.clone(), |launch| launch.buffer_limits(limits));
            for len in [40_000, 65_536, 130_000, 200_000, 262_144, 400_000, 524_286, 600_000, 1_048_576] {
                // What is held and what Envoy reads at once may then be more than its own limit.
                if (limits, form, len) == (BufferLimits::EnvoyDefaults, "pings", 1_048_576) {
                    continue;
                }
                let text = long_text(form, len);
                let mut websocket = gate.open(&format!("/{form}/{len}"));
                // The first is behind the 101, the others come to a client whose way may be ready by now.
                for pause in [None, Some(0), Some(300)] {
                    if let Some(pause) = pause {
                        thread::sleep(Duration::from_millis(pause));
                        let asked = if form == "fragments" { text.clone() } else { vec![Draft::new(TEXT, MORE)] };
                        asked.into_iter().for_each(|frame| websocket.send_frame(frame).expect("it takes bytes"));
                    }
                    let (pings, data): (Vec<_>, Vec<_>) =
                        Frame::parse_all(&bytes_of(&text)).0.into_iter().partition(|frame| frame.opcode == PING);
                    let came = (0..text.len()).map(|_| match websocket.receive(PATIENCE) {
                        Event::Frame(frame) => frame,
                        event => panic!("{limits:?}, {form}, {len}, {pause:?}: {event:?}"),
                    });
                    let (came_pings, came_data): (Vec<_>, Vec<_>) = came.partition(|frame| frame.opcode == PING);
                    assert!(came_pings == pings && came_data == data, "{limits:?}, {form}, {len}, {pause:?}");
                }
            }
            check_limits(&gate);
        }
    }
}

/// A text of this length, as a server's frames.
fn long_text(form: &str, len: usize) -> Vec<Draft> {
    let text = [&b"\""[..], &vec![b'x'; len - 2], b"\""].concat();
    if form == "whole" {
        return vec![Draft::new(TEXT, text)];
    }
    let mut frames = vec![Draft::new(TEXT, &text[..1]).unfinished()];
    for piece in text[1..len - 1].chunks(30_000) {
        frames.extend((form == "pings").then(|| Draft::new(PING, HEARTBEAT)));
        frames.push(Draft::new(CONTINUATION, piece).unfinished());
    }
    frames.push(Draft::new(CONTINUATION, &text[len - 1..]));
    frames
}

fn bytes_of(frames: &[Draft]) -> Vec<u8> {
    frames.iter().flat_map(Draft::bytes).collect()
}

/// The way to the client changes between quiet and busy all the time: nothing may be late, lost or out of turn for that.
#[test]
fn a_quiet_connection_delays_nothing() {
    let seed = seed();
    let gate = Gate::start(policy_for_fragments(), Mode::scripted(|head| speaker(head, burst)));
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

/// An echo through other filters, which may hold what is under way, both ways: no more than fits into any buffer limit.
#[track_caller]
pub(crate) fn check_windows(change: impl FnOnce(Launch) -> Launch) {
    let seed = seed();
    let gate = Gate::launch(policy_for_fragments(), Mode::Echo, change);
    let mut websocket = gate.open("/");
    let pieces: Vec<Piece> = traffic(seed, WINDOWS_LEN, WINDOW_LEN_MAX / WINDOW_COUNT).collect();
    for window in pieces.chunks(WINDOW_COUNT) {
        let bytes: Vec<u8> = window.iter().flat_map(|piece| piece.draft().masked().bytes()).collect();
        websocket.send(&bytes).expect("it takes bytes");
        window.iter().for_each(|piece| piece.echoed().check(&mut websocket));
    }
    check_limits(&gate);
    check_resets(&gate);
    drop(websocket);
    let mut counters = Counters::default();
    counters.closed("peer");
    gate.check_counters(&counters);
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

/// The first fragment of a message may have to wait until it cannot begin a tunnel, and pings overtake it then.
fn policy_for_fragments() -> Value {
    let tunnels = json!("allow");
    open_policy(json!({"from_client": {"binary": "allow", "tunnels": tunnels}, "from_server": {"tunnels": tunnels}}))
}

/// The connections still work, Envoy has cut none, and they end as their clients want.
#[track_caller]
fn check_end<const COUNT: usize>(gate: &Gate, mut websockets: [WebSocket; COUNT]) {
    for websocket in &mut websockets {
        websocket.send_frame(Draft::text("still there")).expect("it takes bytes");
        // A heartbeat may be on its way still.
        let heartbeat =
            |event: &Event| matches!(event, Event::Frame(frame) if frame.opcode > CLOSE && frame.payload == HEARTBEAT);
        let answer = iter::repeat_with(|| websocket.receive(PATIENCE)).find(|event| !heartbeat(event));
        assert!(matches!(&answer, Some(Event::Frame(frame)) if frame.payload == b"still there"), "{answer:?}");
    }
    check_limits(gate);
    check_resets(gate);
    let mut counters = Counters::default();
    for websocket in &mut websockets {
        websocket.send_frame(Draft::close(1_000, "")).expect("it takes bytes");
        let answer = websocket.receive(PATIENCE);
        assert!(matches!(&answer, Event::Frame(frame) if frame.close_code() == Some(1_000)), "{answer:?}");
        counters.closed("peer");
    }
    gate.check_counters(&counters);
}

/// Envoy has reset no stream. Before they end: it counts the end of an upgrade as a reset, whoever brings it about.
#[track_caller]
fn check_resets(gate: &Gate) {
    for side in ["http.edge.downstream", "cluster.application.upstream"] {
        for reset in ["rq_rx_reset", "rq_tx_reset"] {
            assert_eq!(gate.envoy.counter(&format!("{side}_{reset}")).expect("Envoy answers"), 0, "{side}_{reset}");
        }
    }
}

/// Envoy has cut nobody because more came at once than a paused direction takes.
#[track_caller]
fn check_limits(gate: &Gate) {
    assert_eq!(gate.envoy.counter("http.edge.rs_too_large").expect("Envoy answers"), 0);
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
        self.compare(websocket.receive(PATIENCE));
    }

    /// Is what came.
    #[track_caller]
    fn compare(&self, event: Event) {
        match event {
            Event::Frame(frame) => {
                let is_same = frame.payload == self.payload && (frame.fin, frame.opcode) == (self.fin, self.opcode);
                assert!(is_same, "not {:?} but {frame:?}", Frame::parse(&self.draft().bytes()));
            }
            event => panic!("not a frame of {} bytes but {event:?}", self.payload.len()),
        }
    }
}

/// So many bytes of messages of up to `len_max` bytes.
fn traffic(seed: u64, total: usize, len_max: usize) -> impl Iterator<Item = Piece> {
    let mut random = Random(seed);
    let mut left = total;
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
    let seed = variable("PORTCULLIS_SEED").unwrap_or_else(fresh);
    println!("PORTCULLIS_SEED={seed}");
    seed
}

/// A number that the environment gives.
fn variable<T: FromStr>(name: &str) -> Option<T> {
    env::var(name).ok()?.parse().ok()
}

/// How often both peers send a Ping, and what it says.
const BEAT: Duration = Duration::from_millis(200);
const HEARTBEAT: &[u8] = b"heartbeat";
/// What asks a server to say the same once more.
const MORE: &[u8] = b"1";
/// How many servers push at once, and how often each does.
const PUSHED_AT_ONCE: usize = 10;
const PUSHES: usize = 30;
/// How many frames each pushes: several buffers full.
const PUSHED: usize = 70;
/// The longest messages by the policy's defaults, in bytes.
const FROM_CLIENT_MAX: usize = 65_536;
const FROM_SERVER_MAX: usize = 1_048_576;
/// The longest write of a flood, in bytes: as much as Envoy may read at once, and then some.
const WRITE_MAX: usize = 65_536;
/// What Envoy may keep for a client that does not read, in bytes: some buffer limits, and far less than it is sent.
const BUFFERED_MAX: u64 = 16 << 20;
/// What a request to the backend to say something begins with.
const SAY: &[u8] = b"say:";
/// How much is under way at once through filters that hold it, in how many frames, and how much there is of it.
const WINDOW_LEN_MAX: usize = 131_072;
const WINDOW_COUNT: usize = 8;
const WINDOWS_LEN: usize = 4 << 20;
/// How many clients stop reading at once, and how often each does.
const READERS: usize = 16;
const STOPS: usize = 3;
/// How many exchanges a quiet connection has.
const ROUNDS: usize = 400;
/// Milliseconds on an idle machine; what waits for the next tick or message takes longer.
const LATENCY_MAX: Duration = Duration::from_millis(500);
/// How many exchanges may take longer, since other tests have the machine for moments: where bytes wait for a tick, every other does.
const LATE_MAX: usize = ROUNDS / 20;
