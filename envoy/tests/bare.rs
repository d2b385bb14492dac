//! Envoy without the filter, where `$PORTCULLIS_ENVOY_RUNNER` says.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

use portcullis_envoy::{Error, Launch, Runner};
use serde_json::json;

/// A backend that answers one request.
fn backend() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
        while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello").unwrap();
    });
    address
}

fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn a_bare_envoy_serves_counts_and_logs() {
    let envoy = Launch::new("", json!({}), backend()).without_filter().start().unwrap();
    assert!(get(envoy.admin(), "/ready").ends_with("LIVE\n\r\n0\r\n\r\n"));
    assert!(get(envoy.address(), "/greeting?token=hunter2").ends_with("hello"));
    assert_eq!(envoy.counter("http.edge.downstream_rq_2xx").unwrap(), 1);
    assert_eq!(envoy.counter("no.such.counter").unwrap(), 0);
    assert_eq!(envoy.pid().is_some(), Runner::from_env().unwrap() == Runner::Process);
    let log = loop {
        // The access log is written every 50 ms.
        let log = envoy.log().unwrap();
        if log.contains("\"status\":200") {
            break log;
        }
        thread::yield_now();
    };
    assert!(log.contains("\"path\":\"/greeting\"") && !log.contains("hunter2"), "{log}");
    let admin = envoy.admin();
    drop(envoy);
    assert!(TcpStream::connect(admin).is_err(), "it is gone");
}

#[test]
fn a_paths_second_spelling_and_underscored_headers_are_refused() {
    let envoy = Launch::new("", json!({}), backend()).without_filter().start().unwrap();
    assert!(get(envoy.address(), "/a%2Fb").starts_with("HTTP/1.1 400 "));
    assert!(get(envoy.address(), "/ HTTP/1.1\r\nX_User: root\r\nIgnored:").starts_with("HTTP/1.1 400 "));
    assert!(get(envoy.address(), "/a").ends_with("hello"), "the backend has not been asked before");
}

#[test]
fn an_envoy_that_ends_says_why() {
    let launch = Launch::new("", json!({}), backend()).without_filter().tls("no certificate", "no key");
    let Err(Error::NotReady { reason, log }) = launch.start() else { panic!("it serves") };
    assert_eq!(reason, "it ended");
    assert!(log.contains("certificate"), "{log}");
}

/// Its cluster is there, and whether anybody answers is no matter before somebody is asked.
#[test]
fn a_rate_limit_service_that_does_not_run_disturbs_nobody() {
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let launch = Launch::new("", json!({}), backend()).without_filter().rate_limit_service(gone);
    let envoy = launch.start().unwrap();
    assert!(get(envoy.address(), "/").ends_with("hello"));
    assert_eq!(envoy.counter("cluster.ratelimit.membership_healthy").unwrap(), 1);
    assert_eq!(envoy.counter("cluster.ratelimit.upstream_cx_total").unwrap(), 0);
}
