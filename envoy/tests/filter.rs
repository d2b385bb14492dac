//! Envoy with the filter, where `$PORTCULLIS_ENVOY_RUNNER` says: it takes good policies, refuses bad ones, and counts.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use portcullis_envoy::{BufferLimits, Error, Launch, Update, config, module};
use serde_json::{Value, json};

/// Nothing listens there: what reaches it is answered with 503.
const NOWHERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9);

fn policy(origin: &str) -> Value {
    json!({"require_tls": false, "auth": {"required": false}, "origin": {"allow": [origin]}})
}

/// The status of an upgrade from `https://app.example.com`.
fn upgrade(address: SocketAddr) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    let lines = [
        "GET / HTTP/1.1",
        "Host: chat.example.com",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version: 13",
        "Origin: https://app.example.com",
        "\r\n",
    ];
    stream.write_all(lines.join("\r\n").as_bytes()).unwrap();
    let mut status = [0; 12];
    stream.read_exact(&mut status).unwrap();
    String::from_utf8_lossy(&status[9..]).into_owned()
}

#[test]
fn the_shipped_policy_is_taken_with_the_shipped_limits_and_with_envoys() {
    let certificate = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    for limits in [BufferLimits::Shipped, BufferLimits::EnvoyDefaults] {
        let envoy = Launch::new(module::build().unwrap(), config::shipped_policy().unwrap(), NOWHERE)
            .tls(&certificate.cert.pem(), &certificate.signing_key.serialize_pem())
            .env("PORTCULLIS_SESSION_KEY", "an example of thirty-two octets.")
            .buffer_limits(limits)
            .start()
            .unwrap();
        let log = envoy.log().unwrap();
        let is_expected = |line: &&str| {
            let says = [": a worker needs at most ", r#"{"event":"configured","monitoring":0}"#];
            line.contains("][info][") && says.iter().any(|said| line.contains(said))
        };
        let own = log.lines().filter(|line| line.contains("portcullis: ") && !is_expected(line));
        assert_eq!(own.collect::<Vec<_>>(), [""; 0], "the filter has something to say about it");
    }
}

#[test]
fn a_broken_first_policy_is_an_error_that_names_the_place() {
    let broken = json!({"origin": {"allow": ["not an origin"]}});
    let started = Launch::new(module::build().unwrap(), broken, NOWHERE).start();
    let Err(Error::NotReady { reason, log }) = started else { panic!("it serves") };
    assert_eq!(reason, "it refused the policy");
    assert!(log.contains("origin.allow[0]"), "{log}");
}

#[test]
fn a_new_policy_is_in_force_at_once_and_a_broken_one_never() {
    let good = policy("https://app.example.com");
    let envoy = Launch::new(module::build().unwrap(), good.clone(), NOWHERE).concurrency(2).start().unwrap();
    assert_eq!(upgrade(envoy.address()), "503", "it went on to the backend");
    let other = policy("https://other.example.com");
    assert_eq!(envoy.update_policy(&other).unwrap(), Update::Accepted);
    assert_eq!(upgrade(envoy.address()), "403");
    let broken = json!({"no such key": 1});
    for _ in 0..2 {
        assert_eq!(envoy.update_policy(&broken).unwrap(), Update::Rejected);
        assert_eq!(upgrade(envoy.address()), "403", "the one before is in force");
    }
    assert_eq!(envoy.counter("portcullis.refused.origin_refused").unwrap(), 3);
    assert_eq!(envoy.update_policy(&other).unwrap(), Update::Accepted);
    assert_eq!(envoy.update_policy(&good).unwrap(), Update::Accepted);
    assert_eq!(upgrade(envoy.address()), "503");
    assert!(envoy.log().unwrap().contains("origin_refused"));
}
