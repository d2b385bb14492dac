//! Requests of the filter's own, and what a host may make of them: refuse, lose, answer twice, answer others, answer in part.

use std::time::Duration;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use portcullis_host_tests::scenario::{Gate, ORIGIN, upgrade};
use portcullis_host_tests::{Fault, Faults, StreamId, status};
use serde_json::{Value, json};

const TIMEOUT: Duration = Duration::from_secs(1);

/// An `OK` of the rate limit service.
const ALLOWED: &[u8] = b"\x08\x01";

fn key() -> EncodingKey {
    EncodingKey::from_ec_pem(include_bytes!("envoy/testdata/p256.pem")).expect("an EC key")
}

/// The keys that the provider publishes.
fn key_set() -> Vec<u8> {
    let jwk = Jwk::from_encoding_key(&key(), Algorithm::ES256).expect("a key");
    json!({"keys": [jwk]}).to_string().into()
}

/// Keys are fetched, and a fleet counts: both kinds of calls.
fn policy(cluster: &str) -> Value {
    json!({
        "require_tls": false,
        "origin": {"allow": [ORIGIN]},
        "auth": {"providers": [{
            "name": "corp", "issuer": "https://idp.example.com", "audiences": ["chat"], "algorithms": ["ES256"],
            "jwks": {"cluster": cluster, "url": "https://idp.example.com/jwks", "timeout": "1s"},
        }]},
        "limits": {
            "per_address": null, "per_connection": null, "per_subject": null,
            "global": {"cluster": "ratelimit", "domain": "portcullis", "timeout": "1s", "on_error": "refuse"},
        },
    })
}

fn request(gate: &mut Gate) -> StreamId {
    let claims =
        json!({"iss": "https://idp.example.com", "aud": "chat", "sub": "alice", "exp": gate.now_seconds() + 600});
    let part = |value: Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = [part(json!({"alg": "ES256"})), part(claims)].join(".");
    let signature = crypto::sign(signed.as_bytes(), &key(), Algorithm::ES256).expect("it can be signed");
    gate.request(&upgrade().without("authorization").with("authorization", format!("Bearer {signed}.{signature}")))
}

#[track_caller]
fn check_waits(gate: &Gate, stream: StreamId) {
    let stream = gate.stream(stream);
    assert!(stream.is_open() && stream.reply.is_none() && !stream.request.passed, "it does not wait");
}

/// The number of the only request that waits.
#[track_caller]
fn waiting(gate: &Gate) -> u32 {
    let waiting: Vec<_> = gate.http_calls().iter().filter(|call| call.waits).collect();
    let [call] = *waiting else { panic!("{waiting:?}") };
    assert_eq!((&*call.cluster, call.timeout, call.fields.value(":path")), ("idp", TIMEOUT, Some("/jwks")));
    call.token
}

fn succeed(gate: &mut Gate, token: u32) {
    gate.http_respond(token, &[(":status", "200")], &key_set()).unwrap();
}

/// The fleet lets in a stream whose token is good.
#[track_caller]
fn check_good(gate: &mut Gate, stream: StreamId) {
    check_waits(gate, stream);
    let token = gate.grpc_calls().last().expect("a call").token;
    gate.grpc_receive(token, ALLOWED).unwrap();
    assert!(gate.stream(stream).request.passed, "{:?}", gate.stream(stream).reply);
    gate.check_manners();
}

#[test]
fn each_kind_of_call_has_numbers_of_its_own() {
    let mut gate = Gate::new(&policy("idp"));
    let stream = request(&mut gate);
    let token = waiting(&gate);
    // The other kind, which was not asked yet.
    gate.grpc_receive(token, ALLOWED).unwrap();
    gate.grpc_close(token, 14).unwrap();
    check_waits(&gate, stream);
    succeed(&mut gate, token);
    check_waits(&gate, stream);
    let of_fleet = gate.grpc_calls()[0].token;
    assert_eq!(of_fleet, token);
    // The first kind, which was answered.
    succeed(&mut gate, of_fleet);
    gate.http_respond(of_fleet, &[], b"").unwrap();
    check_good(&mut gate, stream);
}

#[test]
fn a_call_that_the_host_refuses_has_failed_with_the_next_tick() {
    for fault in [None, Some(Fault::Status(status::INTERNAL_FAILURE)), Some(Fault::Status(99))] {
        let cluster = if fault.is_some() { "idp" } else { "unknown" };
        let mut gate = Gate::new(&policy(cluster));
        if let Some(fault) = fault {
            gate.inject(Faults::Of("proxy_http_call".to_owned(), fault));
        }
        let stream = request(&mut gate);
        check_waits(&gate, stream);
        gate.elapse(Duration::from_millis(200));
        gate.check_refused(stream, 500, "internal");
        gate.check_manners();
        if fault.is_some() {
            gate.inject(Faults::None);
            gate.elapse(Duration::from_secs(2));
            let token = waiting(&gate);
            succeed(&mut gate, token);
            let stream = request(&mut gate);
            check_good(&mut gate, stream);
        }
    }
}

#[test]
fn a_call_that_the_host_loses_has_failed_soon_after_its_timeout() {
    let mut gate = Gate::new(&policy("idp"));
    let stream = request(&mut gate);
    let token = waiting(&gate);
    gate.elapse(TIMEOUT);
    check_waits(&gate, stream);
    gate.elapse(Duration::from_millis(700));
    gate.check_refused(stream, 500, "internal");
    // It comes after all: too late for anyone.
    succeed(&mut gate, token);
    let stream = request(&mut gate);
    gate.check_refused(stream, 500, "internal");
    gate.check_manners();
}

/// What is answered in place of the keys.
type Answer<'a> = (&'a [(&'a str, &'a str)], &'a [u8]);

#[test]
fn half_an_answer_is_none() {
    let whole = key_set();
    let answers: [Answer<'_>; 8] = [
        (&[], b""),
        (&[(":status", "200")], b""),
        (&[(":status", "200")], &whole[..whole.len() / 2]),
        (&[("content-type", "application/json")], &whole),
        (&[(":status", "")], &whole),
        (&[(":status", "99999")], &whole),
        (&[(":status", "404")], &whole),
        (&[(":status", "302"), ("location", "https://idp.example.com/other")], &whole),
    ];
    for (fields, body) in answers {
        let mut gate = Gate::new(&policy("idp"));
        let stream = request(&mut gate);
        let token = waiting(&gate);
        gate.http_respond(token, fields, body).unwrap();
        gate.check_refused(stream, 500, "internal");
        // There is no second answer.
        succeed(&mut gate, token);
        let stream = request(&mut gate);
        gate.check_refused(stream, 500, "internal");
        assert!(gate.http_calls().iter().all(|call| !call.waits), "it asks again at once");
        gate.check_manners();
    }
}

#[test]
fn an_answer_that_the_host_does_not_give_out_is_none() {
    for call in ["proxy_get_header_map_pairs", "proxy_get_buffer_bytes"] {
        for fault in [Fault::Silent, Fault::Status(status::NOT_FOUND), Fault::Status(99)] {
            let mut gate = Gate::new(&policy("idp"));
            let stream = request(&mut gate);
            let token = waiting(&gate);
            gate.inject(Faults::Of(call.to_owned(), fault));
            succeed(&mut gate, token);
            gate.inject(Faults::None);
            gate.check_refused(stream, 500, "internal");
        }
    }
}

#[test]
fn what_was_never_asked_changes_nothing() {
    let mut gate = Gate::new(&policy("idp"));
    let stream = request(&mut gate);
    let token = waiting(&gate);
    for other in [0, token + 1, u32::MAX] {
        succeed(&mut gate, other);
        gate.http_respond(other, &[], b"").unwrap();
    }
    check_waits(&gate, stream);
    succeed(&mut gate, token);
    check_good(&mut gate, stream);
}
