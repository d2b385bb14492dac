//! Keys that a provider publishes, and the end of its tokens, with oidc-provider behind a real Envoy.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use portcullis_envoy::peer::backend::Mode;
use portcullis_envoy::peer::client::Upgrade;
use portcullis_envoy::peer::websocket::Verdict;
use serde_json::{Value, json};

use crate::gate::{Gate, PATIENCE, wait};
use crate::idp::Idp;
use crate::tokens::{self, Token, in_seconds};

fn policy(idp: &Idp, jwks: Value) -> Value {
    json!({
        "require_tls": false, "origin": {"missing": "allow"},
        "auth": {"providers": [{
            "name": "idp", "issuer": idp.url(), "audiences": ["chat"], "algorithms": ["RS256", "ES256"], "jwks": jwks,
        }]},
    })
}

fn by_url(idp: &Idp) -> Value {
    json!({"cluster": "idp", "url": format!("{}/jwks", idp.url()), "timeout": "1s"})
}

fn start(idp: &Idp, jwks: Value, workers: u32) -> Gate {
    let address = SocketAddr::from(([127, 0, 0, 1], idp.port()));
    Gate::launch(policy(idp, jwks), Mode::Echo, |launch| launch.service("idp", address).concurrency(workers))
}

/// The status of a handshake with `token`.
#[track_caller]
fn status(gate: &Gate, token: &str) -> u16 {
    let upgrade = Upgrade::to("/chat").header("Authorization", format!("Bearer {token}"));
    gate.client.ask(&upgrade).expect("Envoy answers").status()
}

/// The token with another `kid` in its header, which its signature no longer covers.
fn naming_another_key(token: &str) -> String {
    let (header, rest) = token.split_once('.').expect("a JWT");
    let mut header: Value =
        serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(header).expect("base64")).expect("JSON");
    header["kid"] = "another".into();
    format!("{}.{rest}", BASE64_URL_SAFE_NO_PAD.encode(header.to_string()))
}

#[test]
fn keys_are_fetched_from_where_the_policy_or_the_issuer_says() {
    let idp = Idp::start();
    for jwks in [by_url(&idp), json!({"cluster": "idp"})] {
        let gate = start(&idp, jwks, 2);
        for format in ["RS256", "ES256", "RS256", "ES256"] {
            let token = idp.token("alice", format);
            assert_eq!(status(&gate, &token), 101, "{format}");
            let forged = format!("{}AAAA", &token[..token.len() - 4]);
            assert_eq!(status(&gate, &forged), 401, "{format}");
        }
    }
}

/// By `PORTCULLIS_ROTATION_SECONDS`, for longer than CI has time for.
#[test]
fn no_valid_token_is_refused_while_keys_rotate() {
    let span = std::env::var("PORTCULLIS_ROTATION_SECONDS").ok().and_then(|span| span.parse().ok()).unwrap_or(9);
    let idp = Idp::start();
    let gate = start(&idp, by_url(&idp), 2);
    let token = Mutex::new(idp.token("alice", "RS256"));
    let is_over = AtomicBool::new(false);
    let (count, rotations) = thread::scope(|scope| {
        let clients: Vec<_> = (0..5)
            .map(|_| {
                scope.spawn(|| {
                    let mut count = 0;
                    while !is_over.load(Ordering::Relaxed) {
                        let token = token.lock().expect("a token").clone();
                        assert_eq!(status(&gate, &token), 101, "after {count}");
                        count += 1;
                        thread::sleep(Duration::from_millis(100));
                    }
                    count
                })
            })
            .collect();
        let (begin, mut rotations) = (Instant::now(), 0);
        while begin.elapsed() < Duration::from_secs(span) {
            thread::sleep(Duration::from_millis(2_500));
            // Tokens with the new key come in the moment that it is published.
            let mut token = token.lock().expect("a token");
            idp.rotate(true);
            *token = idp.token("alice", "RS256");
            rotations += 1;
        }
        is_over.store(true, Ordering::Relaxed);
        (clients.into_iter().map(|client| client.join().expect("none is refused")).sum::<u64>(), rotations)
    });
    assert!(count >= 20 * span && rotations >= span / 3, "{count} handshakes, {rotations} rotations");
    println!("{count} handshakes in {span} s, {rotations} rotations");
}

#[test]
fn a_provider_that_is_down_at_the_start_is_found_when_it_is_back() {
    let idp = Idp::start();
    let token = idp.token("alice", "RS256");
    idp.set_mode("down");
    let gate = start(&idp, by_url(&idp), 1);
    assert_eq!(status(&gate, &token), 500);
    idp.set_mode("fine");
    let found = wait(|| (status(&gate, &token) == 101).then_some(()));
    assert!(found.is_some(), "it is back, and its tokens are refused");
    let log = gate.log_with("portcullis: no keys from cluster idp: ");
    assert!(!log.contains(&token), "a token in the log");
}

#[test]
fn what_is_no_key_set_takes_no_key_away() {
    let idp = Idp::start();
    let token = idp.token("alice", "RS256");
    let gate = start(&idp, by_url(&idp), 1);
    assert_eq!(status(&gate, &token), 101);
    for mode in ["html", "large", "endless", "redirect", "slow", "down", "duplicate"] {
        idp.set_mode(mode);
        let before = Instant::now();
        // An unknown key has the set fetched, once in two seconds.
        thread::sleep(Duration::from_millis(2_100));
        let answer = status(&gate, &naming_another_key(&token));
        assert!(answer == 401, "{mode}: {answer}");
        assert!(before.elapsed() < Duration::from_secs(6), "{mode}: {:?}", before.elapsed());
        assert_eq!(status(&gate, &token), 101, "{mode}");
    }
}

#[test]
fn a_connection_ends_with_its_token() {
    let policy = json!({"require_tls": false, "origin": {"missing": "allow"}, "auth": tokens::auth()});
    let gate = Gate::start(policy, Mode::Echo);
    let open = |seconds: i64| {
        let token = Token::new(Algorithm::ES256).claim("exp", in_seconds(seconds)).sign();
        gate.client.open(&Upgrade::to("/chat").header("Authorization", format!("Bearer {token}"))).expect("it is good")
    };
    let (begin, mut short, mut long) = (Instant::now(), open(3), open(600));
    let (_, verdict) = short.rest(PATIENCE);
    let lived = begin.elapsed();
    assert_eq!(verdict, Verdict::close(3_000, "credential_expired"));
    assert!((1_900..4_100).contains(&lived.as_millis()), "{lived:?}");
    long.exchange("still here", PATIENCE).expect("its token holds");
}

/// Envoy runs what comes of a refusal from within the one before, and is not to run out of its stack.
#[test]
fn hundreds_who_wait_together_are_refused_together() {
    let idp = Idp::start();
    let mut policy = policy(&idp, by_url(&idp));
    policy["limits"] = json!({"per_address": {"connections": null, "handshakes": null, "failures": null}});
    let address = SocketAddr::from(([127, 0, 0, 1], idp.port()));
    let gate = Gate::launch(policy, Mode::Echo, |launch| launch.service("idp", address).concurrency(1));
    let token = idp.token("alice", "RS256");
    assert_eq!(status(&gate, &token), 101);
    idp.set_mode("slow");
    let unknown = naming_another_key(&token);
    let statuses: Vec<u16> = thread::scope(|scope| {
        let asked: Vec<_> = (0..500).map(|_| scope.spawn(|| status(&gate, &unknown))).collect();
        asked.into_iter().map(|asked| asked.join().expect("a status")).collect()
    });
    assert!(statuses.iter().all(|status| *status == 401), "{statuses:?}");
    idp.set_mode("fine");
    assert_eq!(status(&gate, &token), 101);
}
