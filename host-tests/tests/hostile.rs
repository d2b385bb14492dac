//! A host that errs, lies, re-enters and calls out of order. The filter never traps; where it cannot know or cannot act, `fail` says
//! whether bytes move: closed, the default, moves none.

use portcullis_host_tests::{
    Bodies, Fault, Faults, Headers, Host, Profile, Replies, StreamId, Wakeups, frame, module,
    scenario::{Dice, Gate, limited_policy_with, page, policy, policy_with, switching_protocols, token_with, upgrade},
    status,
};
use serde_json::{Value, json};

const FAULTS: [Fault; 9] = [
    Fault::Silent,
    Fault::Status(status::NOT_FOUND),
    Fault::Status(status::BAD_ARGUMENT),
    Fault::Status(status::INVALID_MEMORY_ACCESS),
    Fault::Status(status::EMPTY),
    Fault::Status(status::INTERNAL_FAILURE),
    Fault::Status(status::UNIMPLEMENTED),
    Fault::Status(99),
    Fault::Status(u32::MAX),
];

/// Calls that have a stream woken.
const QUEUE: [&str; 2] = ["proxy_dequeue_shared_queue", "proxy_enqueue_shared_queue"];

/// Calls that let go what waits for that.
const LETTING_GO: [&str; 2] = ["proxy_continue_stream", "proxy_set_effective_context"];

/// Calls whose failure decides nothing about traffic: telemetry, properties where the policy asks for no TLS, and a check of signatures that
/// the filter makes itself then.
const HARMLESS: [&str; 11] = [
    "environ_get",
    "environ_sizes_get",
    "fd_write",
    "proxy_call_foreign_function",
    "proxy_define_metric",
    "proxy_get_property",
    "proxy_increment_metric",
    "proxy_log",
    "proxy_record_metric",
    "proxy_set_property",
    "proxy_set_tick_period_milliseconds",
];

/// Calls that bring back nothing that could be checked: one that claims to have worked is believed.
const BLIND: [&str; 10] = [
    "clock_time_get",
    "proxy_add_header_map_value",
    "proxy_continue_stream",
    "proxy_get_shared_data",
    "proxy_remove_header_map_value",
    "proxy_replace_header_map_value",
    "proxy_set_buffer_bytes",
    "proxy_set_effective_context",
    "proxy_set_shared_data",
    "random_get",
];

/// Every call that the module imports, with each of `faults`.
fn each_call(faults: &[Fault]) -> Vec<(&'static str, Fault)> {
    let calls = module::filter().imports().map(|import| import.name()).filter(|name| *name != "proc_exit");
    calls.flat_map(|call| faults.iter().map(move |fault| (call, *fault))).collect()
}

/// [`each_call`] without the lies that nobody can see.
fn each_visible_call(faults: &[Fault]) -> impl Iterator<Item = (&'static str, Fault)> {
    each_call(faults).into_iter().filter(|(call, fault)| *fault != Fault::Silent || !BLIND.contains(call))
}

/// Acts while `call` fails. Whether it was called, and matters.
fn struck(gate: &mut Gate, call: &str, fault: Fault, act: impl FnOnce(&mut Gate)) -> bool {
    let before = gate.calls(call);
    gate.inject(Faults::Of(call.to_owned(), fault));
    act(gate);
    gate.inject(Faults::None);
    gate.calls(call) > before && !HARMLESS.contains(&call)
}

fn fail(mode: &str) -> Value {
    policy_with(json!({"fail": mode}))
}

/// Under the default limits, so that there is something to ask the workers' common table.
fn fail_limited(mode: &str) -> Value {
    limited_policy_with(json!({"fail": mode}))
}

/// Everything that can be asked of a host is asked.
fn fail_in_a_fleet(mode: &str) -> Value {
    let global = json!({"cluster": "ratelimit", "domain": "portcullis", "on_error": "refuse", "message_batch": 2});
    let per_subject =
        json!({"messages": {"per_second": 10, "burst": 10}, "bytes": {"per_second": 10_000, "burst": 100_000}});
    limited_policy_with(
        json!({"fail": mode, "limits": {"connections": 100, "global": global, "per_subject": per_subject}}),
    )
}

/// The service says yes to whatever waits (`RateLimitResponse { overall_code = 1: OK }`).
fn answer(host: &mut Host) {
    let waiting: Vec<u32> = host.grpc_calls().iter().filter(|call| call.waits).map(|call| call.token).collect();
    waiting.into_iter().for_each(|token| host.grpc_receive(token, b"\x08\x01").unwrap());
}

/// A life with everything in it: a refusal, a connection, frames, a violation, ticks, the end. Traps are errors; the rest may fail.
#[track_caller]
fn live(host: &mut Host, heads: [Headers; 2]) {
    for head in heads {
        let stream = host.open_stream().unwrap();
        host.request_headers(stream, &head, false).unwrap();
        host.request_body(stream, b"", false).unwrap();
        answer(host);
        host.response_headers(stream, &switching_protocols(), false).unwrap();
        host.response_body(stream, b"", false).unwrap();
        for _ in 0..3 {
            host.request_body(stream, &frame::client(frame::TEXT, b"hello"), false).unwrap();
        }
        answer(host);
        for len in [5, 20_000, 5] {
            host.response_body(stream, &frame::server(frame::TEXT, &vec![b'a'; len]), false).unwrap();
        }
        host.tick().unwrap();
        host.request_body(stream, b"\x81\x05unmasked", false).unwrap();
        host.response_body(stream, b"\xff", true).unwrap();
        host.advance(std::time::Duration::from_secs(60));
        host.tick().unwrap();
        host.delete(stream).unwrap();
    }
}

fn good_and_bad() -> [Headers; 2] {
    [upgrade(), upgrade().without("origin")]
}

#[test]
fn no_fault_of_a_call_traps_from_the_start_or_later() {
    for mode in ["closed", "open"] {
        let policy = fail_in_a_fleet(mode).to_string();
        let single = each_call(&FAULTS).into_iter().map(|(call, fault)| Faults::Of(call.to_owned(), fault));
        for faults in single.chain(FAULTS.map(Faults::All)) {
            let mut host =
                Host::load(module::filter(), Profile { faults: faults.clone(), ..Profile::default() }).unwrap();
            if host.configure(policy.as_bytes()).unwrap() {
                live(&mut host, good_and_bad());
            }
            host.inject(Faults::None);
            host.configure(policy.as_bytes()).unwrap();
            host.inject(faults);
            live(&mut host, good_and_bad());
        }
    }
}

#[test]
fn a_fault_in_a_handshake_is_decided_by_the_failure_mode() {
    let mut wrong = Vec::new();
    for mode in ["closed", "open"] {
        for (call, fault) in each_visible_call(&FAULTS) {
            let mut gate = Gate::new(&fail_limited(mode));
            let stream = gate.open_stream().unwrap();
            // Where there is nothing, whoever comes is the first.
            let is_absence = call == "proxy_get_shared_data" && fault == Fault::Status(status::NOT_FOUND);
            let struck_request = struck(&mut gate, call, fault, |gate| {
                gate.request_headers(stream, &upgrade(), false).unwrap();
            }) && !is_absence;
            let request_passed = gate.stream(stream).request.passed;

            let stream = gate.request(&upgrade());
            let struck_answer = struck(&mut gate, call, fault, |gate| {
                gate.response_headers(stream, &switching_protocols(), false).unwrap();
            });
            // What the queue does not wake, the next tick does.
            gate.tick().unwrap();
            let struck_answer = struck_answer && !QUEUE.contains(&call);
            let answer_passed = gate.stream(stream).response.passed;

            let passed = [request_passed, answer_passed];
            // The 101 was good, and the connection is up: `fail: open` is not for it any more.
            let ended = struck_answer && LETTING_GO.contains(&call);
            let expected = [mode == "open" || !struck_request, (mode == "open" || !struck_answer) && !ended];
            if passed != expected {
                wrong.push(format!("{mode}, {call}, {fault:?}: request and answer passed: {passed:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Where the header cannot be read nobody knows the route, and the strictest of all policies decides.
#[test]
fn a_fault_before_the_upgrade_is_decided_by_the_route_of_the_request() {
    let mut wrong = Vec::new();
    for (base, own) in [("open", "closed"), ("closed", "open")] {
        let mut policy = fail_limited(base);
        policy["routes"] = json!([{"match": {"path_prefix": "/own"}, "policy": {"fail": own}}]);
        for (call, fault) in each_visible_call(&[Fault::Silent, Fault::Status(status::INTERNAL_FAILURE)]) {
            for (path, mode) in [("/own", own), ("/chat", base), ("/own;x", "refused")] {
                let mut gate = Gate::new(&policy);
                let stream = gate.open_stream().unwrap();
                let head = upgrade().replaced(":path", path);
                let struck = struck(&mut gate, call, fault, |gate| {
                    gate.request_headers(stream, &head, false).unwrap();
                });
                let is_known = call != "proxy_get_header_map_pairs";
                let expected = mode != "refused" && (!struck || (mode == "open" && is_known));
                if gate.stream(stream).request.passed != expected {
                    wrong.push(format!("{path} ({mode}), {call}, {fault:?}: passes: {}", !expected));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// `fail: open` is for what cannot be judged: a request that was judged and refused stays refused, and is told so.
#[test]
fn no_fault_turns_a_refusal_into_a_pass() {
    let unjudged = ["clock_time_get", "proxy_get_current_time_nanoseconds", "proxy_get_header_map_pairs", "random_get"];
    let mut policy = fail_limited("open");
    policy["routes"] = json!([{"match": {"path_prefix": "/own"}, "policy": {}}]);
    policy["auth"]["sources"] = json!([{"header": "authorization"}, {"cookie": "session"}, {"query": "token"}]);
    let heads = [
        upgrade().without("origin").replaced(":path", "/chat?token=x").with("cookie", "session=x"),
        upgrade().replaced("authorization", "Bearer x.y.z"),
        page().replaced(":path", "/own;x?token=x"),
    ];
    let faults = [Fault::Silent, Fault::Status(status::NOT_FOUND), Fault::Status(status::INTERNAL_FAILURE)];
    for (call, fault) in each_call(&faults).into_iter().filter(|(call, _)| !unjudged.contains(call)) {
        for head in &heads {
            let mut gate = Gate::new(&policy);
            gate.inject(Faults::Of(call.to_owned(), fault));
            let stream = gate.request(head);
            gate.inject(Faults::None);
            assert!(!gate.stream(stream).request.passed, "{call}, {fault:?}");
            let is_told = gate.stream(stream).reply.is_some();
            assert_eq!(is_told, call != "proxy_send_local_response", "{call}, {fault:?}");
        }
    }
}

#[test]
fn a_table_that_others_always_change_first_is_a_fault() {
    for mode in ["closed", "open"] {
        let mut gate = Gate::new(&fail_limited(mode));
        let live = gate.connect();
        gate.inject(Faults::Of("proxy_set_shared_data".to_owned(), Fault::Status(status::CAS_MISMATCH)));
        let before = gate.calls("proxy_set_shared_data");
        let stream = gate.request(&upgrade());
        let rounds = gate.calls("proxy_set_shared_data") - before;
        println!("{mode}: given up after {rounds} rounds");
        if mode == "open" {
            assert!(gate.stream(stream).request.passed);
        } else {
            gate.check_refused(stream, 500, "internal");
        }
        assert!(rounds > 1 && rounds <= 2 * 128, "{rounds} rounds");
        // What is wrong with the request itself is none the less.
        let stream = gate.request(&upgrade().without("origin"));
        let (status, reason) = if mode == "open" { (403, "origin_refused") } else { (500, "internal") };
        gate.check_refused(stream, status, reason);
        gate.advance(std::time::Duration::from_secs(1));
        gate.tick().unwrap();
        gate.client(live, &frame::client(frame::TEXT, b"hello"));
        assert!(gate.stream(live).is_open());
        gate.delete(live).unwrap();
    }
}

#[test]
fn what_workers_share_may_be_anything() {
    let mut values = vec![vec![], vec![1], vec![0xff; 20], vec![0xff; 2_047], vec![0xff; 2_048], vec![0xff; 2_049]];
    let mut dice = Dice(1);
    values.push((0..2_048).map(|_| dice.below(256) as u8).collect());
    for (index, value) in values.iter().enumerate() {
        let policy = fail_limited("closed");
        let mut gate = Gate::new(&policy);
        let live_before = gate.connect();
        gate.share("portcullis.4.register", value);
        (0..4_096).for_each(|bucket| gate.share(&format!("portcullis.4.bucket.{bucket}"), value));
        let mut other = gate.beside(&policy);
        for gate in [&mut gate, &mut other] {
            live(gate, good_and_bad());
            let stream = gate.request(&upgrade().without("authorization"));
            assert!(!gate.stream(stream).request.passed, "value {index}");
            // Nobody may be locked out by a table that says nonsense.
            if index + 1 < values.len() {
                gate.connect();
            }
        }
        gate.delete(live_before).unwrap();
        (0..10).for_each(|_| {
            gate.advance(std::time::Duration::from_secs(1));
            gate.tick().unwrap();
            other.tick().unwrap();
        });
        gate.check_manners();
    }
}

#[test]
fn a_fault_of_the_service_call_is_decided_by_on_error() {
    for on_error in ["refuse", "allow"] {
        for fault in FAULTS {
            let mut policy = fail_in_a_fleet("open");
            policy["limits"]["global"]["on_error"] = on_error.into();
            let mut gate = Gate::new(&policy);
            gate.inject(Faults::Of("proxy_grpc_call".to_owned(), fault));
            let stream = gate.request(&upgrade());
            if fault == Fault::Silent {
                // A call that claims to be made may yet be answered: until its time is over the upgrade waits.
                assert!(!gate.stream(stream).request.passed && gate.stream(stream).is_open(), "{on_error}");
                gate.elapse(std::time::Duration::from_secs(1));
            }
            let expected = on_error == "allow";
            assert_eq!(gate.stream(stream).request.passed, expected, "{on_error}, {fault:?}");
            assert_eq!(gate.stream(stream).reply.is_some(), !expected, "{on_error}, {fault:?}");
            gate.check_manners();
        }
    }
}

/// Where the host does not let the upgrade go on, or does not take the answer that refuses it, it stays where it is.
#[test]
fn no_fault_behind_a_fleets_answer_lets_an_upgrade_in() {
    let over_limit = b"\x08\x02";
    for (call, fault) in each_call(&FAULTS) {
        for mode in ["closed", "open"] {
            let mut gate = Gate::new(&fail_in_a_fleet(mode));
            let stream = gate.request(&upgrade());
            let token = gate.grpc_calls()[0].token;
            gate.inject(Faults::Of(call.to_owned(), fault));
            gate.grpc_receive(token, over_limit).unwrap();
            gate.inject(Faults::None);
            assert!(!gate.stream(stream).request.passed, "{mode}, {call}, {fault:?}");
            gate.delete(stream).unwrap();
        }
    }
}

/// What the host's buffers hold after it is not known, so `fail: open` lets nothing pass either.
#[test]
fn a_fault_in_a_live_connection_ends_it() {
    let (from_client, from_server) = (frame::client(frame::TEXT, b"hello"), frame::server(frame::TEXT, b"hello"));
    let mut wrong = Vec::new();
    for mode in ["closed", "open"] {
        for (call, fault) in each_visible_call(&FAULTS) {
            let mut gate = Gate::new(&fail(mode));
            let [one, other] = [gate.connect(), gate.connect()];
            let struck_client = struck(&mut gate, call, fault, |gate| _ = gate.client(one, &from_client));
            let struck_server = struck(&mut gate, call, fault, |gate| _ = gate.server(other, &from_server));
            let request_passed = gate.stream(one).request.forwarded.starts_with(&from_client);
            let response_passed = gate.stream(other).response.forwarded.starts_with(&from_server);

            let passed = [request_passed, response_passed];
            if passed != [!struck_client, !struck_server] {
                wrong.push(format!("{mode}, {call}, {fault:?}: from client and server passed: {passed:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// One call of many fails in a live connection. What the peers get is then what was sent up to some place, and perhaps a Close: never
/// bytes with others missing before them.
#[test]
fn no_fault_cuts_a_hole_into_a_live_connection() {
    let lens = [20_000, 1, 20_001, 2, 3, 20_002];
    let letters = |len: usize| (0..len).map(|index| b'a' + (index % 26) as u8).collect::<Vec<u8>>();
    let client = lens.map(|len| frame::client(frame::TEXT, &letters(len))).concat();
    let server = lens.map(|len| frame::server(frame::TEXT, &letters(len))).concat();
    let run = |[mode, buffer_limits]: [&str; 2], wakeups: Wakeups, call: &str, fault: Option<(u64, Fault)>| {
        let policy = policy_with(json!({"fail": mode, "buffer_limits": buffer_limits}));
        let mut gate = Gate::on(Profile { wakeups, ..Profile::default() }, &policy);
        let stream = gate.connect();
        let before = gate.calls(call);
        gate.inject(fault.map_or(Faults::None, |(nth, fault)| Faults::Nth(call.to_owned(), before + nth, fault)));
        let (mut from_client, mut from_server) = (&client[..], &server[..]);
        // Long chunks, so that the way to the client is busy, and short ones, so that it becomes quiet again; some end within a header.
        for len in [20_005, 4, 20_000, 3, 2, 9, 1, 20_003] {
            gate.server(stream, from_server.split_off(..len).expect("enough bytes"));
            gate.client(stream, from_client.split_off(..len).expect("enough bytes"));
        }
        let live = gate.stream(stream);
        let whole = is_start(&live.request.forwarded, &client) && is_start(&live.response.forwarded, &server);
        (whole, gate.calls(call) - before)
    };
    let mut wrong = Vec::new();
    for (mode, wakeups) in [
        (["closed", "default"], Wakeups::Prompt),
        (["closed", "halved"], Wakeups::Late),
        (["open", "default"], Wakeups::Late),
        (["open", "halved"], Wakeups::Prompt),
    ] {
        for (call, fault) in each_visible_call(&[Fault::Silent, Fault::Status(status::INTERNAL_FAILURE)]) {
            let (_, call_count) = run(mode, wakeups, call, None);
            let holes = (1..=call_count).filter(|nth| !run(mode, wakeups, call, Some((*nth, fault))).0);
            wrong.extend(
                holes.map(|nth| format!("{mode:?}, {wakeups:?}, {call} number {nth} of {call_count}, {fault:?}")),
            );
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Whether `got` is `sent` up to some place, then at most one Close frame.
fn is_start(got: &[u8], sent: &[u8]) -> bool {
    let common = got.iter().zip(sent).take_while(|(got, sent)| got == sent).count();
    // A Close may begin as the frame did that would have been there.
    (common.saturating_sub(2)..=common).any(|place| got.len() == place || frame::is_close(&got[place..]))
}

#[test]
fn a_fault_that_strikes_the_tls_question_is_not_taken_for_tls() {
    let policy = policy_with(json!({"require_tls": true}));
    for fault in FAULTS {
        let mut gate = Gate::new(&policy);
        gate.property("connection.tls_version", Some(b"TLSv1.3"));
        gate.inject(Faults::Of("proxy_get_property".to_owned(), fault));
        let stream = gate.request(&upgrade());
        assert!(!gate.stream(stream).request.passed, "{fault:?}");
    }
}

#[test]
fn a_clock_that_does_not_answer_makes_no_old_token_young() {
    for fault in FAULTS {
        let mut gate = Gate::new(&policy());
        gate.inject(Faults::Of("proxy_get_current_time_nanoseconds".to_owned(), fault));
        let token = token_with(json!({"iat": 1_000, "exp": 2_000}));
        let stream = gate.request(&upgrade().replaced("authorization", format!("Bearer {token}")));
        assert!(!gate.stream(stream).request.passed, "{fault:?}");
    }
}

#[test]
fn a_header_map_that_lies_is_a_fault_of_the_host() {
    let garblers: [fn(Vec<u8>) -> Vec<u8>; 10] = [
        |_| vec![],
        |_| vec![1],
        |_| vec![0; 4],
        |bytes| bytes[..bytes.len() / 2].to_vec(),
        |bytes| bytes[..bytes.len() - 1].to_vec(),
        |bytes| [&bytes[..], b"more"].concat(),
        |bytes| [&u32::MAX.to_le_bytes(), &bytes[4..]].concat(),
        |bytes| [&[bytes[0] + 1], &bytes[1..]].concat(),
        |bytes| [&bytes[..4], &u32::MAX.to_le_bytes(), &bytes[8..]].concat(),
        |bytes| bytes.iter().map(|byte| if *byte == 0 { 1 } else { *byte }).collect(),
    ];
    let mut wrong = Vec::new();
    for (index, garble) in garblers.into_iter().enumerate() {
        for mode in ["closed", "open"] {
            let mut gate = Gate::on(Profile { garble: Some(garble), ..Profile::default() }, &fail(mode));
            let stream = gate.request(&upgrade());
            if gate.stream(stream).request.passed != (mode == "open") {
                wrong.push(format!("garbler {index}, {mode}"));
            }
            live(&mut gate, good_and_bad());
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn bytes_that_are_no_text_are_an_answer_not_a_trap() {
    let odd: [&[u8]; 4] = [b"", b"\xff\xfe", b"\0", b"\xc3"];
    let names: Vec<Vec<u8>> = upgrade().0.into_iter().map(|(name, _)| name).collect();
    for value in odd {
        for name in &names {
            let name = str::from_utf8(name).expect("a name of ours");
            live(&mut Gate::new(&policy()), [upgrade().replaced(name, value), upgrade().with(name, value)]);
        }
        live(&mut Gate::new(&policy()), [upgrade().with(value, "value"), upgrade().with(value, value)]);
        for path in ["connection.id", "connection.tls_version", "request.protocol", "source.address"] {
            let mut gate = Gate::new(&policy_with(json!({"require_tls": true})));
            gate.property(path, Some(value));
            live(&mut gate, good_and_bad());
        }
    }
}

#[test]
fn a_host_that_replies_from_inside_the_call_gets_the_same_answers() {
    let heads = [
        upgrade().without("origin"),
        upgrade().replaced("sec-websocket-version", "8"),
        upgrade().without("authorization"),
    ];
    let wrong_answer = switching_protocols().without("sec-websocket-accept");
    let [deferred, re_entrant] = [Replies::Deferred, Replies::Reentrant].map(|replies| {
        let mut gate = Gate::on(Profile { replies, ..Profile::default() }, &policy());
        let mut streams: Vec<StreamId> = heads.iter().map(|head| gate.request(head)).collect();
        let refused_late = gate.request(&upgrade());
        gate.respond(refused_late, &wrong_answer);
        streams.push(refused_late);
        let reset = gate.connect();
        gate.client(reset, b"\x81\x05unmasked");
        gate.advance(std::time::Duration::from_secs(60));
        gate.tick().unwrap();
        streams.push(reset);
        for stream in &streams {
            gate.delete(*stream).unwrap();
        }
        gate.check_manners();
        let replies = streams.iter().map(|stream| gate.stream(*stream).reply.clone()).collect::<Vec<_>>();
        let counts = gate.metrics().iter().filter(|metric| metric.value != 0).cloned().collect::<Vec<_>>();
        (replies, counts, gate.logs().to_vec())
    });
    assert_eq!(deferred, re_entrant);
}

/// What came through, both ways, when the traffic is cut into random chunks and the directions alternate at random.
fn pass(traffic: [&[u8]; 2], bodies: Bodies, chunk_max: usize, seed: u64) -> [Vec<u8>; 2] {
    let mut dice = Dice(seed);
    let wakeups = [Wakeups::Late, Wakeups::Prompt][dice.below(2)];
    let mut gate = Gate::on(Profile { bodies, wakeups, ..Profile::default() }, &policy());
    let stream = gate.connect();
    let mut rest = traffic;
    while rest != [b""; 2] {
        let side = dice.below(2);
        let bound = [1, 3, 14, 200, 5_000, chunk_max][dice.below(6)];
        let (chunk, left) = rest[side].split_at(rest[side].len().min(dice.below(bound) + 1));
        rest[side] = left;
        if side == 0 {
            gate.client(stream, chunk)
        } else {
            gate.server(stream, chunk)
        };
        if dice.below(10) == 0 {
            gate.tick().unwrap();
        }
    }
    gate.tick().unwrap();
    gate.check_manners();
    let stream = gate.stream(stream);
    [stream.request.forwarded.clone(), stream.response.forwarded.clone()]
}

#[test]
fn however_traffic_is_cut_it_comes_through_whole() {
    let lens = [0, 1, 125, 126, 127, 300, 7_000, 65_535, 0, 5];
    let client: Vec<u8> = lens.iter().flat_map(|len| frame::client(frame::TEXT, &vec![b'c'; *len])).collect();
    let server: Vec<u8> = lens.iter().flat_map(|len| frame::server(frame::BINARY, &vec![b's'; *len])).collect();
    for (bodies, chunk_max) in
        [(Bodies::Cumulative, 40_000), (Bodies::ChunkByChunk, 16_384), (Bodies::ChunkByChunk, 40_000)]
    {
        for seed in 0..20 {
            let [request, response] = pass([&client, &server], bodies, chunk_max, seed);
            // Behind a long chunk the filter holds bytes until it is woken, and this host then gives it no place to write them.
            let whole = if bodies == Bodies::ChunkByChunk && chunk_max > 16_384 {
                is_start(&request, &client) && is_start(&response, &server)
            } else {
                request == client && response == server
            };
            assert!(whole, "{bodies:?}, chunks up to {chunk_max}, seed {seed}");
        }
    }
}

#[test]
fn however_a_violation_is_cut_the_same_bytes_come_before_it() {
    let good = frame::client(frame::TEXT, b"good");
    let client = [&good[..], &good, &frame::client_header(frame::TEXT, 65_537), b"never"].concat();
    let before = [&good[..], &good].concat();
    let code = Some((1009, "message_too_big".to_owned()));
    for seed in 0..40 {
        let [request, _] = pass([&client, b""], Bodies::Cumulative, 40_000, seed);
        assert!(request.starts_with(&before), "seed {seed}");
        assert_eq!(frame::close_at_end(&request[before.len()..]), code, "seed {seed}");
        // Where the way to the client cannot be written, a reset ends it instead.
        let [request, _] = pass([&client, b""], Bodies::ChunkByChunk, 40_000, seed);
        assert!(is_start(&request, &before), "seed {seed}");
    }
}

#[test]
fn callbacks_in_any_order_for_any_context_do_not_trap() {
    let frames = [frame::client(frame::TEXT, b"hello"), frame::server(frame::TEXT, b"hello"), vec![0xff; 20], vec![]];
    let policies = [
        policy(),
        fail_limited("open"),
        fail_in_a_fleet("closed"),
        policy_with(json!({"origin": {"missing": "perhaps"}})),
    ];
    for seed in 0..60 {
        let mut dice = Dice(seed);
        let replies = [Replies::Deferred, Replies::Reentrant][dice.below(2)];
        let mut gate = Gate::on(Profile { replies, ..Profile::default() }, &policy());
        let second_root = gate.open_root().unwrap();
        // Ids of nothing, of both roots, and of streams that live, will live and are gone.
        let mut streams: Vec<StreamId> = [0, 1, second_root, 999, u32::MAX].map(StreamId).into();
        for _ in 0..150 {
            let stream = streams[dice.below(streams.len())];
            let end = dice.below(4) == 0;
            let bytes = &frames[dice.below(frames.len())];
            let head = if dice.below(2) == 0 { upgrade() } else { switching_protocols() };
            match dice.below(12) {
                0 => streams.push(gate.open_stream().unwrap()),
                1 | 2 => drop(gate.request_headers(stream, &head, end).unwrap()),
                3 | 4 => drop(gate.response_headers(stream, &head, end).unwrap()),
                5 | 6 => drop(gate.request_body(stream, bytes, end).unwrap()),
                7 | 8 => drop(gate.response_body(stream, bytes, end).unwrap()),
                9 => gate.delete(stream).unwrap(),
                10 => drop(gate.reconfigure(&policies[dice.below(policies.len())])),
                _ => {
                    let exports = [
                        "proxy_on_log",
                        "proxy_on_done",
                        "proxy_on_delete",
                        "proxy_on_context_create",
                        "proxy_on_tick",
                        "proxy_on_grpc_receive",
                        "proxy_on_grpc_close",
                    ];
                    let export = exports[dice.below(exports.len())];
                    // Envoy gives each id once, and a root is not deleted under its streams.
                    if stream.0 > 1 || export != "proxy_on_delete" {
                        let arguments: &[u32] = match export {
                            "proxy_on_context_create" => &[1],
                            "proxy_on_grpc_receive" | "proxy_on_grpc_close" => &[1 + dice.below(3) as u32, 2],
                            _ => &[],
                        };
                        gate.call(export, stream.0, arguments).unwrap();
                    }
                }
            }
        }
        for stream in streams {
            gate.delete(stream).unwrap();
            gate.call("proxy_on_delete", stream.0, &[]).unwrap();
        }
        assert_eq!(gate.active(), 0, "seed {seed}");
    }
}
