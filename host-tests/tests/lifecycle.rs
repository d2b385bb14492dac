//! The life of the filter, its streams and its configuration, under a host that behaves as Envoy does.

use std::time::Duration;

use portcullis_core::session::CLOSE_GRACE;

use portcullis_host_tests::{
    Action, Headers, StreamId, frame,
    scenario::{
        Gate, SECRET, limited_policy_with, page, policy, policy_with, switching_protocols, token, token_with, upgrade,
    },
};
use serde_json::{Value, json};

#[test]
fn a_good_upgrade_goes_on_without_its_credential() {
    let mut gate = Gate::new(&policy());
    let stream = gate.connect();
    let request = &gate.stream(stream).request;
    let expected = upgrade().without("authorization");
    assert_eq!(request.headers, expected);
    assert_eq!(gate.metric("portcullis.handshakes.accepted"), 1);
    assert_eq!(gate.active(), 1);
    gate.check_manners();
}

/// Envoy prints it in its own access log.
#[test]
fn what_became_of_a_stream_is_known_to_the_host_before_it_logs() {
    let mut gate = Gate::new(&policy());
    let of = |gate: &Gate, stream: StreamId, names: [&str; 5]| {
        names.map(|name| gate.stream(stream).state.get(&format!("portcullis_{name}")).cloned().unwrap_or_default())
    };
    let stream = gate.connect();
    gate.client(stream, &frame::client(frame::TEXT, b"hello"));
    gate.server(stream, &frame::server(frame::CLOSE, b"\x03\xe8"));
    assert!(gate.stream(stream).state.is_empty(), "its end is to come");
    gate.call("proxy_on_log", stream.0, &[]).unwrap();
    let names = ["reason", "by", "code", "messages_from_client", "messages_from_server"];
    assert_eq!(of(&gate, stream, names), ["peer", "server", "1000", "1", "1"]);
    gate.delete(stream).unwrap();
    assert_eq!(gate.metric("portcullis.connections.closed.peer"), 1, "it has ended once");
    let stream = gate.request(&upgrade().replaced("origin", "https://evil.example"));
    assert_eq!(of(&gate, stream, names), ["origin_refused", "", "", "", ""]);
}

#[track_caller]
fn check_refusal(policy: Value, head: Headers, status: u32, reason: &str) {
    let mut gate = Gate::new(&policy);
    let stream = gate.request(&head);
    gate.check_refused(stream, status, reason);
    gate.delete(stream).unwrap();
    let reply = gate.stream(stream).reply.as_ref().expect("a reply");
    assert_eq!(reply.headers.value("sec-websocket-version"), (status == 426).then_some("13"));
    assert_eq!(reply.headers.value("www-authenticate").is_some(), status == 401);
    assert_eq!(gate.metric(&format!("portcullis.handshakes.{reason}")), 1);
    assert_eq!(gate.metric(&format!("portcullis.refused.{reason}")), 1);
    assert_eq!(gate.metric("portcullis.handshakes.accepted"), 0);
    assert_eq!(refusal_lines(&gate, reason), 1, "{:#?}", gate.logs());
    check_ended(&mut gate);
}

fn refusal_lines(gate: &Gate, reason: &str) -> usize {
    gate.logs().iter().filter(|log| log.text.starts_with('{') && log.text.contains(&format!("\"{reason}\""))).count()
}

#[track_caller]
fn check_ended(gate: &mut Gate) {
    assert_eq!(gate.active(), 0);
    gate.check_manners();
}

#[test]
fn a_refused_upgrade_is_answered_counted_logged_and_stops() {
    let bearer = |token: String| upgrade().replaced("authorization", format!("Bearer {token}"));
    let tls = policy_with(json!({"require_tls": true}));
    let hosts = policy_with(json!({"hosts": ["other.example.com"]}));
    let upgrades_only = policy_with(json!({"non_websocket": "refuse"}));
    let rows = [
        (policy(), upgrade().without("authorization"), 401, "credential_missing"),
        (policy(), bearer("eyJhbGciOiJIUzI1NiJ9.e30.c2ln".to_owned()), 401, "credential_invalid"),
        (policy(), bearer(token_with(json!({"exp": 1_000}))), 401, "credential_expired"),
        (policy(), upgrade().replaced("origin", "https://evil.example"), 403, "origin_refused"),
        (policy(), upgrade().without("origin"), 403, "origin_refused"),
        (policy(), upgrade().replaced("sec-websocket-version", "8"), 426, "bad_version"),
        (policy(), upgrade().with("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="), 400, "bad_upgrade"),
        (tls, upgrade(), 403, "tls_required"),
        (hosts, upgrade(), 421, "host_refused"),
        (upgrades_only, page(), 403, "not_websocket"),
    ];
    for (policy, head, status, reason) in rows {
        check_refusal(policy, head, status, reason);
    }
}

#[test]
fn an_upgrade_over_tls_passes_where_tls_is_required() {
    let mut gate = Gate::new(&policy_with(json!({"require_tls": true})));
    gate.property("connection.tls_version", Some(b"TLSv1.3"));
    gate.connect();
}

#[test]
fn a_request_that_is_no_upgrade_passes_untouched() {
    let mut gate = Gate::new(&policy());
    let page =
        Headers::from_iter([(":authority", "chat.example.com"), (":path", "/"), (":method", "GET"), ("cookie", "a=b")]);
    let stream = gate.request(&page);
    gate.client(stream, b"a body");
    gate.respond(stream, &Headers::from_iter([(":status", "200")]));
    gate.server(stream, b"a page");
    gate.delete(stream).unwrap();
    let stream = gate.stream(stream);
    assert_eq!((&stream.request.headers, &*stream.request.forwarded), (&page, &b"a body"[..]));
    assert_eq!((stream.response.passed, &*stream.response.forwarded), (true, &b"a page"[..]));
    check_ended(&mut gate);
}

#[test]
fn a_request_that_is_no_upgrade_is_judged_as_one_where_the_policy_says_so() {
    let mut gate =
        Gate::new(&policy_with(json!({"non_websocket": "authenticate", "auth": {"claim_headers": {"sub": "x-user"}}})));
    let page = page().replaced(":method", "POST").with("x-user", "eve").with("content-length", "5");
    let good = gate.request(&page);
    gate.client(good, b"hello");
    gate.respond(good, &Headers::from_iter([(":status", "200")]));
    gate.server(good, b"world");
    let stream = gate.stream(good);
    assert_eq!(
        (stream.request.headers.value("x-user"), stream.request.headers.value("authorization")),
        (Some("alice"), None)
    );
    assert_eq!((&*stream.request.forwarded, &*stream.response.forwarded), (&b"hello"[..], &b"world"[..]));
    gate.delete(good).unwrap();
    for (head, status, reason) in [
        (page.clone().without("authorization"), 401, "credential_missing"),
        (page.clone().replaced("origin", "https://evil.example"), 403, "origin_refused"),
    ] {
        let refused = gate.request(&head);
        gate.check_refused(refused, status, reason);
        gate.delete(refused).unwrap();
        assert_eq!(gate.metric(&format!("portcullis.refused.{reason}")), 1);
        assert_eq!(refusal_lines(&gate, reason), 1);
    }
    check_ended(&mut gate);
}

/// A visit counts as a handshake, and keeps no place of a connection.
#[test]
fn a_request_that_is_no_upgrade_takes_no_place() {
    let limits = json!({"per_address": {"connections": 1, "handshakes": {"per_second": 1, "burst": 3}}});
    let mut gate = Gate::new(&limited_policy_with(json!({"non_websocket": "authenticate", "limits": limits})));
    gate.connect();
    for _ in 0..2 {
        let stream = gate.request(&page());
        assert!(gate.stream(stream).request.passed);
    }
    let stream = gate.request(&page());
    gate.check_refused(stream, 429, "handshakes_exceeded");
}

/// Trailers are an end: before the answer of one who has nothing to say, later of one who has said everything.
#[test]
fn trailers_end_what_a_client_says() {
    let mut gate = Gate::new(&policy());
    let early = gate.request(&upgrade());
    assert!(!gate.request_trailers(early).unwrap());
    assert_eq!(gate.stream(early).reply.as_ref().map(|reply| reply.status), Some(400));
    gate.delete(early).unwrap();
    let bare = gate.open_stream().unwrap();
    gate.request_headers(bare, &upgrade(), true).unwrap();
    gate.check_refused(bare, 400, "bad_upgrade");
    gate.delete(bare).unwrap();
    let live = gate.connect();
    assert!(gate.request_trailers(live).unwrap());
    gate.elapse(Duration::from_secs(31));
    assert!(gate.stream(live).reset, "it stays for ever");
    check_ended(&mut gate);
}

#[test]
fn after_a_local_reply_every_callback_is_a_no_op() {
    let mut gate = Gate::new(&policy());
    let stream = gate.request(&upgrade().without("authorization"));
    let seen = |gate: &Gate| {
        // Ticks go on.
        let counts = gate.metrics().iter().filter(|metric| metric.name != "portcullis.tick_us").cloned();
        (counts.collect::<Vec<_>>(), gate.logs().to_vec(), gate.stream(stream).reply.clone())
    };
    let before = seen(&gate);
    for _ in 0..2 {
        assert_eq!(gate.request_headers(stream, &upgrade(), false), Ok(Action::Pause));
        gate.client(stream, &frame::client(frame::TEXT, b"hello"));
        gate.call("proxy_on_request_trailers", stream.0, &[0]).unwrap();
        gate.response_headers(stream, &switching_protocols(), false).unwrap();
        gate.server(stream, &frame::server(frame::TEXT, b"hello"));
        gate.call("proxy_on_response_trailers", stream.0, &[0]).unwrap();
        gate.tick().unwrap();
    }
    assert_eq!(seen(&gate), before);
    assert_eq!(gate.calls("proxy_send_local_response"), 1);
    gate.check_manners();
}

#[test]
fn frames_pass_unchanged_both_ways() {
    let mut gate = Gate::new(&policy());
    let stream = gate.connect();
    for len in [0, 1, 125, 126, 4_096, 65_535] {
        let (from_client, from_server) =
            (frame::client(frame::TEXT, &vec![b'a'; len]), frame::server(frame::TEXT, &vec![b'b'; len]));
        gate.client(stream, &from_client);
        gate.server(stream, &from_server);
        assert!(gate.stream(stream).request.forwarded.ends_with(&from_client));
        assert!(gate.stream(stream).response.forwarded.ends_with(&from_server));
    }
    gate.check_manners();
}

/// A way that was busy becomes quiet with the short one, which leaves from outside of a callback; the long one makes it busy
/// again.
#[test]
fn a_long_chunk_behind_a_short_one_passes_at_once() {
    for buffer_limits in ["default", "halved"] {
        let mut gate = Gate::new(&policy_with(json!({"buffer_limits": buffer_limits})));
        let stream = gate.connect();
        let [long, short] = [200_000, 5].map(|len| frame::server(frame::TEXT, &vec![b'x'; len]));
        let mut expected: Vec<u8> = Vec::new();
        for chunk in [&long, &short, &long, &long, &short, &short, &long] {
            gate.server(stream, chunk);
            expected.extend(chunk);
            assert!(gate.stream(stream).response.forwarded == expected, "a chunk of {} bytes is late", chunk.len());
        }
        gate.check_manners();
    }
}

/// Otherwise what such a client is told, and whether it is there, depends on when its server last spoke.
#[test]
fn a_client_can_be_told_however_fast_its_server_was_where_the_buffers_are_halved() {
    for (buffer_limits, is_told) in [("default", false), ("halved", true)] {
        let mut gate = Gate::new(&policy_with(json!({"buffer_limits": buffer_limits})));
        let stream = gate.connect();
        // Longer than any within the shipped limits: there are others.
        let chunk = frame::server(frame::TEXT, &[b'x'; 1_000]).repeat(400);
        let mut sent: Vec<u8> = Vec::new();
        for _ in 0..50 {
            gate.server(stream, &chunk);
            sent.extend(&chunk);
        }
        assert!(gate.stream(stream).response.forwarded == sent);
        gate.client(stream, &frame::client_header(frame::TEXT, 65_537));
        gate.elapse(CLOSE_GRACE);
        let told = gate.stream(stream).response.forwarded[sent.len()..].to_vec();
        assert_eq!(frame::close_at_end(&told).is_some(), is_told, "{buffer_limits}: {told:02x?}");
    }
}

type Speak = fn(&mut Gate, StreamId, &[u8]) -> Action;

#[track_caller]
fn check_violation(speak: Speak, bytes: &[u8], to_client: u16, to_server: u16, reason: &str) {
    let mut gate = Gate::new(&policy());
    let stream = gate.connect();
    let (good_client, good_server) = (frame::client(frame::TEXT, b"good"), frame::server(frame::TEXT, b"good"));
    gate.client(stream, &good_client);
    gate.server(stream, &good_server);
    speak(&mut gate, stream, bytes);
    gate.client(stream, &good_client);
    gate.answer_close(stream);
    gate.server(stream, &good_server);
    let live = gate.stream(stream);
    let (request, response) =
        (&live.request.forwarded[good_client.len()..], &live.response.forwarded[good_server.len()..]);
    assert_eq!(frame::close_at_end(response), Some((to_client, reason.to_owned())), "to the client: {response:02x?}");
    assert_eq!(frame::close_at_end(request), Some((to_server, reason.to_owned())), "to the upstream: {request:02x?}");
    assert_eq!(response.len(), 4 + reason.len(), "more than a Close frame: {response:02x?}");
    assert_eq!(request.len(), 8 + reason.len(), "more than a masked Close frame: {request:02x?}");
    gate.delete(stream).unwrap();
    assert_eq!(gate.metric(&format!("portcullis.connections.closed.{reason}")), 1);
    check_ended(&mut gate);
}

#[test]
fn a_violation_closes_both_ways_and_nothing_follows() {
    let too_big = frame::client_header(frame::TEXT, 65_537);
    let big_answer = &frame::server(frame::TEXT, &vec![0; 1_048_577])[..1_000];
    check_violation(Gate::client, &too_big, 1009, 1009, "message_too_big");
    check_violation(Gate::client, &frame::server(frame::TEXT, b"unmasked"), 1002, 1002, "protocol_error");
    check_violation(Gate::server, big_answer, 1011, 1009, "message_too_big");
    check_violation(Gate::server, &frame::client(frame::TEXT, b"masked"), 1011, 1002, "protocol_error");
}

#[test]
fn a_peer_that_ignores_our_close_is_reset() {
    let mut gate = Gate::new(&policy());
    let stream = gate.connect();
    gate.client(stream, &frame::server(frame::TEXT, b"unmasked"));
    gate.tick().unwrap();
    gate.elapse(Duration::from_millis(4_900));
    assert!(!gate.stream(stream).reset, "reset before its time");
    // The 150 ms that a timer may be late are a tick and a half.
    gate.elapse(Duration::from_millis(200));
    assert!(gate.stream(stream).reset);
    check_ended(&mut gate);
}

#[test]
fn peers_that_close_but_do_not_end_are_reset() {
    let mut gate = Gate::new(&policy());
    let stream = gate.connect();
    gate.server(stream, &frame::server(frame::CLOSE, b"\x03\xe8"));
    gate.elapse(Duration::from_secs(29));
    gate.client(stream, &frame::client(frame::CLOSE, b"\x03\xe8"));
    gate.elapse(Duration::from_millis(900));
    assert!(!gate.stream(stream).reset, "reset before its time");
    gate.elapse(Duration::from_millis(200));
    assert!(gate.stream(stream).reset);
    check_ended(&mut gate);
}

#[test]
fn a_client_that_only_stops_sending_is_reset() {
    let mut gate = Gate::new(&policy());
    let stream = gate.connect();
    gate.request_body(stream, b"", true).unwrap();
    gate.server(stream, &frame::server(frame::TEXT, b"the rest"));
    assert!(gate.stream(stream).response.forwarded.ends_with(b"the rest"));
    gate.advance(Duration::from_secs(31));
    gate.tick().unwrap();
    assert!(gate.stream(stream).reset);
    check_ended(&mut gate);
}

/// A stream that is about to end.
type Ending = (&'static str, fn(&mut Gate) -> StreamId);

#[test]
fn active_connections_go_back_to_zero_whatever_ends_them() {
    let endings: [Ending; 10] = [
        ("no callback but the first", |gate| gate.open_stream().unwrap()),
        ("refused", |gate| gate.request(&upgrade().without("origin"))),
        ("the client leaves before the answer", |gate| gate.request(&upgrade())),
        ("the upstream refuses", |gate| {
            let stream = gate.request(&upgrade());
            gate.respond(stream, &Headers::from_iter([(":status", "503")]));
            stream
        }),
        ("the upstream's 101 is wrong", |gate| {
            let stream = gate.request(&upgrade());
            gate.respond(
                stream,
                &switching_protocols().replaced("sec-websocket-accept", "AAAAAAAAAAAAAAAAAAAAAAAAAAA="),
            );
            stream
        }),
        ("bytes before the answer", |gate| {
            let stream = gate.request(&upgrade());
            gate.client(stream, &vec![0; 100_000]);
            stream
        }),
        ("the client leaves", Gate::connect),
        ("both sides close", |gate| {
            let stream = gate.connect();
            gate.client(stream, &frame::client(frame::CLOSE, b"\x03\xe8"));
            gate.server(stream, &frame::server(frame::CLOSE, b"\x03\xe8"));
            gate.request_body(stream, b"", true).unwrap();
            gate.response_body(stream, b"", true).unwrap();
            stream
        }),
        ("a violation", |gate| {
            let stream = gate.connect();
            gate.server(stream, b"\xff\xff");
            stream
        }),
        ("a reset", |gate| {
            let stream = gate.connect();
            gate.client(stream, b"\xff\xff");
            gate.advance(Duration::from_secs(30));
            gate.tick().unwrap();
            stream
        }),
    ];
    for (name, run) in endings {
        let mut gate = Gate::new(&policy());
        let bystander = gate.connect();
        let stream = run(&mut gate);
        gate.delete(stream).unwrap();
        assert_eq!(gate.active(), 1, "{name}");
        gate.delete(bystander).unwrap();
        assert_eq!(gate.active(), 0, "{name}");
        gate.check_manners();
    }
}

#[test]
fn an_upstream_that_refuses_is_passed_on() {
    let mut gate = Gate::new(&policy());
    let stream = gate.request(&upgrade());
    let answer = Headers::from_iter([(":status", "503"), ("content-type", "text/plain")]);
    gate.respond(stream, &answer);
    gate.server(stream, b"later");
    assert_eq!(gate.stream(stream).response.headers.value(":status"), Some("503"));
    assert_eq!(gate.stream(stream).response.forwarded, b"later");
    assert_eq!(gate.metric("portcullis.handshakes.upstream_refused"), 1);
    assert_eq!(gate.metric("portcullis.handshakes.accepted"), 0);
}

#[test]
fn a_101_that_does_not_answer_the_request_is_a_bad_gateway() {
    let mut gate = Gate::new(&policy());
    let good = switching_protocols();
    for head in [good.clone().without("sec-websocket-accept"), good.with("sec-websocket-protocol", "never-offered")] {
        let stream = gate.request(&upgrade());
        assert_eq!(gate.response_headers(stream, &head, false), Ok(Action::Pause));
        let reply = gate.stream(stream).reply.as_ref().expect("a reply");
        assert_eq!((reply.status, &*reply.details), (502, "portcullis_bad_upstream_handshake"));
    }
}

#[test]
fn monitor_mode_counts_and_lets_pass() {
    let mut gate = Gate::new(&policy_with(json!({"mode": "monitor"})));
    let stream = gate.request(&upgrade().without("authorization"));
    assert!(gate.stream(stream).request.passed);
    assert_eq!(gate.metric("portcullis.would_refuse.credential_missing"), 1);
    assert_eq!(gate.metric("portcullis.refused.credential_missing"), 0);

    // Each message is judged, whatever came before it.
    let stream = gate.connect();
    let too_big = frame::client(frame::TEXT, &vec![b'a'; 65_537]);
    let (good, binary) = (frame::client(frame::TEXT, b"good"), frame::client(2, b"no"));
    let sent = [&too_big, &good, &binary, &too_big, &good].map(Vec::as_slice).concat();
    gate.client(stream, &sent);
    assert!(gate.stream(stream).request.forwarded == sent);
    assert_eq!(gate.metric("portcullis.would_refuse.message_too_big"), 2);
    assert_eq!(gate.metric("portcullis.would_refuse.type_refused"), 1);
    let lines = |gate: &Gate| gate.logs().iter().filter(|log| log.text.contains("\"would_refuse\"")).count();
    // What came at once and is alike has one.
    assert_eq!(lines(&gate), 3);
    assert!(gate.logs().iter().any(|log| log.text.contains("\"message_too_big\"") && log.text.contains("\"count\":2")));

    // An address has a share of lines, of which some are left for the line of its end, and it is told how many there are not.
    for _ in 0..1_000 {
        gate.client(stream, &binary);
    }
    assert_eq!((gate.metric("portcullis.would_refuse.type_refused"), lines(&gate)), (1_001, 149));
    gate.delete(stream).unwrap();
    assert!(gate.logs().iter().any(|log| log.text.contains("\"closed\"")));
    gate.elapse(Duration::from_secs(1));
    assert!(
        gate.logs().iter().any(|log| log.text == r#"{"event":"unlogged","lines":854}"#),
        "{:#?}",
        gate.logs().last()
    );
    gate.check_manners();
}

#[test]
fn metrics_are_defined_once_when_configured() {
    let mut gate = Gate::new(&policy());
    let defined = gate.definitions().to_vec();
    assert!(defined.contains(&"portcullis.connections.active".to_owned()), "{defined:?}");
    assert!(defined.iter().all(|name| name.starts_with("portcullis.")), "{defined:?}");
    let mut names = defined.clone();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), defined.len(), "a name is defined twice");

    gate.connect();
    gate.request(&upgrade().without("origin"));
    assert!(gate.reconfigure(&policy()));
    assert_eq!(gate.definitions(), defined);
}

#[test]
fn no_log_line_holds_a_secret() {
    let mut gate = Gate::new(&policy());
    let (good, bad) = (token(), token_with(json!({"aud": "another"})));
    gate.request(&upgrade().replaced("authorization", format!("Bearer {bad}")));
    for path in [
        format!("/chat/{good}"),
        format!("/{bad}/x"),
        format!("/{}", good.replacen('e', "%2565", 1)),
        format!("/a&token={SECRET}"),
    ] {
        gate.request(&upgrade().without("origin").replaced(":path", path));
    }
    for origin in [format!("https://user:{SECRET}@app.example.com"), format!("https://app.example.com/?token={SECRET}")]
    {
        gate.request(&upgrade().replaced("origin", origin));
    }
    gate.request(&upgrade().replaced(":authority", format!("user:{SECRET}@chat.example.com")));
    let stream = gate.connect();
    gate.client(stream, &frame::server(frame::TEXT, b"unmasked"));
    gate.delete(stream).unwrap();
    assert!(!gate.logs().is_empty());
    for log in gate.logs() {
        let parts = [&good, &bad].into_iter().flat_map(|token| token.split('.')).chain([SECRET, "unmasked"]);
        for part in parts {
            assert!(!log.text.contains(part), "{}", log.text);
        }
    }
}

/// With what is known, and nothing in the place of what is not.
#[test]
fn a_log_line_says_who_it_is_about() {
    let mut gate = Gate::new(&policy());
    let stream = gate.connect();
    gate.delete(stream).unwrap();
    let stranger =
        gate.request(&upgrade().without("origin").replaced(":path", "/a b\"c?token=x").without("x-request-id"));
    let lines: Vec<&str> =
        gate.logs().iter().map(|log| log.text.as_str()).filter(|text| text.contains("\"connection\"")).collect();
    let about =
        r#""address":"203.0.113.7:51234","host":"chat.example.com","path":"/chat","origin":"https://app.example.com","#;
    let ids = r#""request_id":"4e2a6f1e-0000-4000-8000-000000000001","user_agent":"portcullis-host-tests","provider":"corp","subject":"alice""#;
    let of = |event: &str, stream: StreamId| {
        let (worker, _) =
            lines[0].split_once("\"connection\":\"").and_then(|(_, rest)| rest.split_once('-')).expect("a worker");
        format!(r#"{{"event":"{event}","connection":"{worker}-{}","policy":"base","#, stream.0)
    };
    let opened = format!(r#"{}{about}{ids}}}"#, of("opened", stream));
    let sent = r#""messages_from_client":0,"messages_from_server":0,"bytes_from_client":0,"bytes_from_server":0,"#;
    let closed = format!(r#"{}"reason":"peer","duration_ms":0,{sent}{about}{ids}}}"#, of("closed", stream));
    let refused = format!(
        r#"{}"reason":"bad_upgrade","address":"203.0.113.7:51234","host":"chat.example.com","path":"/a%20b%22c","user_agent":"portcullis-host-tests"}}"#,
        of("refused", stranger)
    );
    assert_eq!(lines, [opened, closed, refused]);
}
