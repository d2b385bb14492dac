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
use std::rc::Rc;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput};
use portcullis_core::config;
use portcullis_core::handshake::{Decision, HttpVersion, Request, check};
use portcullis_core::http::headers::Headers;
use portcullis_core::session::{Birth, Budget, Session};
use portcullis_core::time::{Moment, Timestamp};
use portcullis_core::wire::Side;
use serde_json::json;

/// As much as Envoy reads from a socket at once.
const READ_LEN: usize = 16_384;

const FRAME_LEN: usize = 65_536;

const BIRTH: Birth = Birth { at: Moment::from_nanos(0), nonce: [0; 8] };

/// Counts nothing: whatever is asked for, there is enough.
struct Unlimited;

impl Budget for Unlimited {
    fn now(&self) -> Moment {
        BIRTH.at
    }

    fn spend(&self, _: u64, _: u64) -> bool {
        true
    }

    fn ask(&self, _: &str) -> bool {
        true
    }
}

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
    let key = [0x37, 0xfa, 0x21, 0x3d];
    let mut bytes = match u16::try_from(len) {
        Ok(len) => [&[0x81, 0xfe][..], &len.to_be_bytes()].concat(),
        Err(_) => [&[0x81, 0xff][..], &(len as u64).to_be_bytes()].concat(),
    };
    bytes.extend(key);
    bytes.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
    bytes
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
    let head = fields(&[
        (":method", "GET"),
        (":path", "/"),
        (":authority", "chat.example.com"),
        ("connection", "Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ]);
    // The accept value of RFC 6455 §1.3, for the key above.
    let answer = fields(&[
        (":status", "101"),
        ("connection", "Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
    ]);
    let request = Request { headers: head, protocol: HttpVersion::Http11, tls: false, end: false, nonce: [0; 16] };
    let now = Timestamp::from_secs(1_800_000_000);
    match check(&policies, &request, &Rc::default(), now, &mut |_, _| Ok(())).decision {
        Decision::Upgrade(pending) => pending.check(&answer, BIRTH).expect("a good 101 is accepted").session,
        decision => panic!("a good upgrade is not accepted: {decision:?}"),
    }
}

fn fields(fields: &[(&str, &str)]) -> Headers {
    Headers::new(fields.iter().map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec())).collect())
}
