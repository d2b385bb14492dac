//! Other filters in the chain, made with the SDK (`host-tests/neighbour`): what they add is judged by where they stand, and what they do to
//! bytes changes nothing of what Portcullis does.
//!
//! ```text
//! client ──▶ before ──▶ portcullis ──▶ behind ──▶ backend     requests in this order, responses in the other
//! ```

use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::Duration;

use jsonwebtoken::Algorithm;
use portcullis_envoy::Position::{self, Before, Behind};
use portcullis_envoy::peer::backend::Mode;
use portcullis_envoy::peer::client::Upgrade;
use portcullis_envoy::peer::frame::{Draft, Frame, PING, PONG};
use portcullis_envoy::peer::websocket::{Event, Verdict};
use portcullis_envoy::{Launch, module};
use serde_json::json;

use crate::gate::{Counters, Gate, PATIENCE, open_policy, wait};
use crate::tokens::Token;
use crate::{credentials, frames, integrity};

/// Neighbours that edit the headers and copy the bodies.
const EDITING: Chain = &[(Before, EDITS), (Behind, EDITS)];
const EDITS: &str = "request x-neighbour: one\nresponse x-neighbour: two\nread 65536";

/// A neighbour that holds for a while what a client sends, a Close too; and one that also holds what a server sends.
///
/// On one side only: what all filters of a stream hold in one direction, Envoy keeps in one buffer. Where both neighbours hold, what the
/// first was told of goes on with what the second lets go, and no filter between them sees it.
const HOLDING_REQUESTS: [Chain; 2] = [&[(Before, "hold request")], &[(Behind, "hold request")]];
const HOLDING: [Chain; 2] = [&[(Before, HOLDS)], &[(Behind, HOLDS)]];
const HOLDS: &str = "hold request\nhold response";

/// What stands where, and does what.
type Chain = &'static [(Position, &'static str)];

fn chained(launch: Launch, chain: &[(Position, &str)]) -> Launch {
    static MODULE: LazyLock<PathBuf> =
        LazyLock::new(|| module::build_package("portcullis-neighbour").expect("the neighbour builds"));
    chain.iter().fold(launch, |launch, (position, task)| launch.neighbour(*position, &*MODULE, task))
}

/// What a neighbour sets, as the policy sees it: refused where it is judged, and with the peer where it is not.
#[test]
fn what_a_neighbour_sets_is_judged_behind_it_alone() {
    const ORIGIN: &str = "request origin: https://evil.example";
    const PROTOCOL: &str = "response sec-websocket-protocol: chat.v9";
    let rows = [
        (Before, ORIGIN, Err((403, "origin_refused"))),
        (Behind, ORIGIN, Ok(["https://evil.example", "chat.v1"])),
        (Before, PROTOCOL, Ok([GOOD_ORIGIN, "chat.v9"])),
        (Behind, PROTOCOL, Err((502, "bad_upstream_handshake"))),
        // Nobody asked for a judgement of these.
        (Before, EDITS, Ok([GOOD_ORIGIN, "chat.v1"])),
        (Behind, EDITS, Ok([GOOD_ORIGIN, "chat.v1"])),
    ];
    for (position, task, expected) in rows {
        let mut policy = open_policy(json!({}));
        policy["origin"] = json!({"allow": [GOOD_ORIGIN]});
        let gate = Gate::launch(policy, Mode::Echo, |launch| chained(launch, &[(position, task)]));
        let upgrade = Upgrade::to("/").origin(GOOD_ORIGIN).subprotocols("chat.v1");
        let answer = gate.client.ask(&upgrade).expect("Envoy listens");
        let mut counters = Counters::default();
        match expected {
            Ok([origin, protocol]) => {
                assert!(answer.has_right_accept(), "{position:?} {task}: {:?}", answer.head);
                assert_eq!(answer.head.value("sec-websocket-protocol"), Some(protocol), "{position:?} {task}");
                let head = gate.request("/", |_| true).head;
                assert_eq!(head.value("origin"), Some(origin), "{position:?} {task}");
                let own = [head.value("x-neighbour"), answer.head.value("x-neighbour")];
                assert_eq!(own, if task == EDITS { [Some("one"), Some("two")] } else { [None; 2] }, "{position:?}");
                drop(answer);
                counters.closed("peer");
            }
            Err((status, reason)) => {
                assert_eq!((answer.status(), answer.text()), (status, format!(r#"{{"error": "{reason}"}}"#)));
                counters.refused(reason);
            }
        }
        gate.check_counters(&counters);
    }
}

const GOOD_ORIGIN: &str = "https://app.example.com";

/// Wherever it is, and what the header is worth that says who asks.
#[test]
fn a_credential_is_seen_by_a_filter_before_and_not_by_one_behind() {
    let chain = [(Before, "note before\nrequest x-user: root"), (Behind, "note behind")];
    let gate = Gate::launch(credentials::policy(), Mode::Echo, |launch| chained(launch, &chain));
    for (index, place) in credentials::PLACES.iter().enumerate() {
        let token = Token::new(Algorithm::HS256).claim("jti", index).sign();
        let path = format!("/{index}");
        drop(gate.client.open(&place.upgrade(&path, &token)).unwrap_or_else(|error| panic!("{path}: {error}")));
        let seen = |name: &str| {
            let (mark, path) = (format!("{name} sees "), format!("\"{path}"));
            let log = || gate.envoy.log().expect("a log");
            let find = |log: &str| {
                let mut lines = log.lines().filter_map(|line| line.split_once(&mark));
                lines.find_map(|(_, seen)| seen.contains(&path).then(|| seen.to_owned()))
            };
            wait(|| find(&log())).unwrap_or_else(|| panic!("{name} has not seen {path}: {}", log()))
        };
        assert!(credentials::is_told(&token, &seen("before")), "{path}: {}", seen("before"));
        credentials::check_absent(&token, &seen("behind"));
        assert!(seen("behind").contains(r#"("x-user", "alice")"#), "{path}: {}", seen("behind"));
    }
}

#[test]
fn offences_end_both_sides_in_order_between_filters_that_edit() {
    frames::check_clients_offences(|launch| chained(launch, EDITING));
    frames::check_servers_offences(|launch| chained(launch, EDITING));
}

#[test]
fn offences_end_both_sides_in_order_between_filters_that_hold() {
    // What a server says last, a filter that holds it loses.
    HOLDING_REQUESTS.iter().for_each(|chain| frames::check_clients_offences(|launch| chained(launch, chain)));
    HOLDING.iter().for_each(|chain| frames::check_servers_offences(|launch| chained(launch, chain)));
}

/// Envoy's doing: the end of an upstream's connection resets the stream, and what a filter holds goes with it.
#[test]
fn a_filter_that_holds_what_a_server_says_last_loses_it_alone_as_well() {
    for position in [Before, Behind] {
        let alone = Gate::launch(open_policy(json!({})), Mode::Echo, |launch| {
            chained(launch.without_filter(), &[(position, "hold response")])
        });
        let beside =
            Gate::launch(open_policy(json!({})), Mode::Echo, |launch| chained(launch, &[(position, "hold response")]));
        for gate in [alone, beside] {
            let mut websocket = gate.open("/");
            let echo = websocket.exchange("hello", PATIENCE).expect("it takes bytes");
            assert!(matches!(&echo, Event::Frame(frame) if frame.payload == b"hello"), "{echo:?}");
            websocket.send_frame(Draft::close(1_000, "")).expect("it takes bytes");
            assert_eq!(websocket.verdict(PATIENCE), Verdict::Eof);
            let (frames, _) = gate.request("/", |request| request.end.is_some()).frames();
            assert!(frames.iter().any(|frame| frame.close_code() == Some(1_000)), "{frames:?}");
        }
    }
}

#[test]
fn bytes_arrive_as_sent_between_filters_that_edit() {
    integrity::check_windows(|launch| chained(launch, EDITING));
}

#[test]
fn bytes_arrive_as_sent_between_filters_that_hold() {
    HOLDING.iter().for_each(|chain| integrity::check_windows(|launch| chained(launch, chain)));
}

/// What is written from outside of a callback goes through the others as well, and so does the answer to an upgrade.
#[test]
fn what_portcullis_says_itself_reaches_a_client_through_a_filter_that_holds() {
    for chain in HOLDING {
        let mut policy = open_policy(json!({}));
        policy["liveness"] = json!({"ping_interval": "1s", "pong_timeout": "5s", "idle_timeout": "3s", "jitter": 0});
        policy["origin"] = json!({"allow": [GOOD_ORIGIN]});
        let (gate, session) = Gate::launch_with_http2(policy, Mode::Echo, |launch| chained(launch, chain));
        let upgrade = |path: &str| Upgrade::to(path).origin(GOOD_ORIGIN);
        let websockets = [("/1", gate.client.open(&upgrade("/1"))), ("/2", session.upgrade(&upgrade("/2")))];
        let mut counters = Counters::default();
        for (path, websocket) in websockets {
            let mut websocket = websocket.unwrap_or_else(|error| panic!("{path}: {error}"));
            let ping = websocket.receive(PATIENCE);
            let Event::Frame(Frame { opcode: PING, payload, .. }) = ping else { panic!("{path}: {ping:?}") };
            websocket.send_frame(Draft::new(PONG, payload)).expect("it takes bytes");
            assert_eq!(websocket.verdict(PATIENCE), Verdict::close(1_001, "idle"), "{path}");
            counters.closed("idle");
        }
        let answer = gate.client.ask(&Upgrade::to("/").origin("https://evil.example")).expect("Envoy listens");
        assert_eq!((answer.status(), answer.text().as_str()), (403, r#"{"error": "origin_refused"}"#));
        counters.refused("origin_refused");
        gate.check_counters(&counters);
    }
}

/// What waits for its turn is written outside of a callback, into a buffer in which the neighbour's newer bytes may lie: they must not go on with it.
#[test]
fn nothing_unjudged_goes_on_with_a_burst_that_waited() {
    let mut policy = open_policy(json!({"from_client": {"rule_sets": [
        "sql_injection", "cross_site_scripting", "command_injection", "path_traversal", "nosql_injection", "prototype_pollution",
    ]}}));
    let bytes = json!({"per_second": 1_048_576, "burst": 4_194_304});
    policy["limits"] = json!({"per_address": null, "per_connection": {"messages": null, "bytes": bytes}});
    let gate = Gate::launch(policy, Mode::Echo, |launch| chained(launch, &[(Before, "hold request")]));
    let mut websocket = gate.open("/");
    let unit = "\"union %2e;1=`{{<a {`\\\" and so on, and so on\"";
    let text = format!("[{}]", vec![unit; 160].join(","));
    let frame = Draft::text(&text).masked().bytes();
    let sender = websocket.sender();
    let flood = std::thread::spawn(move || {
        for _ in 0..150 {
            // It may be cut.
            if sender.send(&frame).is_err() {
                break;
            }
            // So that some come while others wait.
            std::thread::sleep(Duration::from_millis(2));
        }
    });
    websocket.rest(PATIENCE);
    flood.join().expect("a thread that ends");
    let requests = gate.backend.requests();
    let (got, rest) = requests[0].frames();
    let is_whole = |frame: &Frame| frame.payload == text.as_bytes() || frame.close_code().is_some();
    assert!(got.iter().all(is_whole), "{} frames", got.len());
    assert!(Draft::text(&text).masked().bytes().starts_with(rest), "{} bytes that are no frame's", rest.len());
}
