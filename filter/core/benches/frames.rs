//! What judging frames costs, through the public API: bytes of the client into [`Session::receive`], in bytes a second.
//!
//! ```text
//! headers   frames whose payload passes unread: the cost is one a frame, whatever its length
//! text      unmasked and read as UTF-8, in one piece, in Envoy's reads of 16 KiB, and byte by byte
//! ```
//!
//! Goals: 1 GiB/s for ASCII text in 16 KiB pieces; and no piece so small that the time for one byte grows with what came
//! before it, which `bytes` against `bytes-of-a-long-frame` shows.

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput};
use portcullis_core::config;
use portcullis_core::session::Session;
use portcullis_core::testing::{self, BIRTH, Unlimited};
use portcullis_core::wire::Side;
use serde_json::json;

/// As much as Envoy reads from a socket at once.
const READ_LEN: usize = 16_384;

const FRAME_LEN: usize = 65_536;

fn main() {
    let criterion = Criterion::default().sample_size(20).warm_up_time(Duration::from_millis(300));
    let mut criterion = criterion.measurement_time(Duration::from_secs(1)).configure_from_args();
    headers(&mut criterion);
    text(&mut criterion);
    criterion.final_summary();
}

fn headers(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("headers");
    for len in [128, 4_096, FRAME_LEN] {
        let frame = frame("x", len);
        let mut session = session(false);
        group.throughput(Throughput::Bytes(frame.len() as u64));
        group.bench_function(BenchmarkId::from_parameter(len), |bencher| {
            bencher.iter(|| receive(&mut session, &frame, frame.len()));
        });
    }
    group.finish();
}

fn text(criterion: &mut Criterion) {
    let mut session = session(true);
    let mut group = criterion.benchmark_group("text");
    let kinds = [("ascii", "Hello, "), ("mixed", "Grüße, κόσμε 🎈, and some words of ASCII; "), ("cjk", "世界您好")];
    for (kind, pattern) in kinds {
        let long = frame(pattern, FRAME_LEN);
        let longest = frame(pattern, 4 * FRAME_LEN);
        let pieces = [
            ("whole", &long, FRAME_LEN + HEADER_LEN),
            ("reads", &long, READ_LEN),
            ("bytes", &long, 1),
            ("bytes-of-a-long-frame", &longest, 1),
        ];
        for (name, frame, piece) in pieces {
            group.throughput(Throughput::Bytes(frame.len() as u64));
            group.bench_function(BenchmarkId::new(kind, name), |bencher| {
                bencher.iter(|| receive(&mut session, frame, piece));
            });
        }
    }
    group.finish();
}

/// Receives all of `bytes`, which end with a frame, in pieces.
fn receive(session: &mut Session, bytes: &[u8], piece: usize) {
    for chunk in bytes.chunks(piece) {
        let received =
            session.receive(Side::Client, black_box(chunk), BIRTH.at, &Unlimited).expect("a slice can be read");
        assert_eq!(received.violation, None);
        black_box(received);
    }
}

/// The longest header of a client's frame.
const HEADER_LEN: usize = 14;

/// A masked text frame, `pattern` over and over; where it does not fit any more, full stops.
fn frame(pattern: &str, len: usize) -> Vec<u8> {
    let mut payload = pattern.repeat(len / pattern.len()).into_bytes();
    payload.resize(len, b'.');
    testing::frame(0x81, &payload)
}

/// A connection whose client may send texts of 1 MiB.
fn session(utf8: bool) -> Session {
    let side = json!({"max_frame_bytes": 1_048_576, "max_message_bytes": 1_048_576, "utf8": utf8});
    let policy = json!({
        "require_tls": false,
        "origin": {"missing": "allow"},
        "auth": {"required": false},
        "messages": {"from_client": side},
        "limits": {"per_connection": null},
    });
    let policies = config::parse(policy.to_string().as_bytes(), &|_| None).expect("a good policy").policies;
    let [request, answer] =
        [testing::upgrade(), testing::switching_protocols()].map(|fields| testing::headers(&fields));
    testing::session(&policies, &testing::request(request), &answer)
}
