//! The service itself, and what the core writes and reads, judged by Envoy's own protos.

use std::time::Duration;

use envoy_types::pb::envoy::extensions::common::ratelimit::v3::RateLimitDescriptor;
use envoy_types::pb::envoy::extensions::common::ratelimit::v3::rate_limit_descriptor::Entry;
use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_response::{Code, DescriptorStatus};
use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_service_client::RateLimitServiceClient;
use envoy_types::pb::envoy::service::ratelimit::v3::{RateLimitRequest, RateLimitResponse};
use portcullis_core::limits::rls::{self, Verdict};
use prost::Message;
use tokio::runtime::{Builder, Runtime};
use tonic::transport::Channel;

use super::{Asked, DOMAIN, RateLimitServer, duration, limit};

struct Client {
    calls: RateLimitServiceClient<Channel>,
    runtime: Runtime,
}

impl Client {
    fn of(server: &RateLimitServer) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let connecting = RateLimitServiceClient::connect(format!("http://{}", server.address()));
        let calls = runtime.block_on(connecting).expect("it listens");
        Self { calls, runtime }
    }

    fn ask(&mut self, request: RateLimitRequest) -> Result<RateLimitResponse, tonic::Status> {
        self.runtime.block_on(self.calls.should_rate_limit(request)).map(tonic::Response::into_inner)
    }

    fn code(&mut self, hits_addend: u32, descriptors: &[&[(&str, &str)]]) -> Code {
        self.ask(request(hits_addend, descriptors)).expect("an answer").overall_code()
    }
}

fn request(hits_addend: u32, descriptors: &[&[(&str, &str)]]) -> RateLimitRequest {
    let descriptor = |entries: &&[(&str, &str)]| RateLimitDescriptor {
        entries: entries.iter().map(|&(key, value)| Entry { key: key.into(), value: value.into() }).collect(),
        ..RateLimitDescriptor::default()
    };
    RateLimitRequest { domain: DOMAIN.into(), descriptors: descriptors.iter().map(descriptor).collect(), hits_addend }
}

#[test]
fn a_hundred_are_let_in_and_one_more_is_not() {
    let server = RateLimitServer::start([limit(100, &["remote_address != ''"], &[])]);
    let mut clients = [Client::of(&server), Client::of(&server)];
    for number in 0..100 {
        assert_eq!(clients[number % 2].code(0, &[&[("remote_address", "192.0.2.1")]]), Code::Ok, "{number}");
    }
    for client in &mut clients {
        assert_eq!(client.code(1, &[&[("remote_address", "192.0.2.2")]]), Code::OverLimit);
        // Nothing limits these.
        assert_eq!(client.code(1_000, &[&[("subject", "corp/alice")], &[]]), Code::Ok);
    }
    let asked = server.asked();
    let asked: Vec<_> = asked.iter().map(|asked| (asked.hits_addend, asked.allowed)).collect();
    assert_eq!(asked[..99], [(0, true); 99]);
    assert_eq!(asked[99..], [(0, true), (1, false), (1_000, true), (1, false), (1_000, true)]);
}

#[test]
fn each_value_has_a_counter_of_its_own_and_hits_add_up() {
    let server = RateLimitServer::start([limit(50, &[], &["subject", "message_type"])]);
    let mut client = Client::of(&server);
    let mut hit =
        |hits: u32, subject: &str, kind: &str| client.code(hits, &[&[("subject", subject), ("message_type", kind)]]);
    assert_eq!(hit(40, "corp/alice", ""), Code::Ok);
    // What is over the limit is not counted.
    assert_eq!(hit(11, "corp/alice", ""), Code::OverLimit);
    assert_eq!(hit(10, "corp/alice", ""), Code::Ok);
    assert_eq!(hit(1, "corp/alice", ""), Code::OverLimit);
    assert_eq!(hit(50, "corp/alice", "chat"), Code::Ok);
    assert_eq!(hit(50, "corp/bob", ""), Code::Ok);
    let entry = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let first = Asked {
        domain: DOMAIN.into(),
        descriptors: vec![vec![entry("subject", "corp/alice"), entry("message_type", "")]],
        hits_addend: 40,
        allowed: true,
    };
    assert_eq!(server.asked()[0], first);
}

#[test]
fn a_stopped_service_answers_nobody() {
    let mut server = RateLimitServer::start([]);
    let mut client = Client::of(&server);
    assert_eq!(client.code(1, &[]), Code::Ok);
    server.stop();
    assert!(client.ask(request(1, &[])).is_err());
    assert!(std::net::TcpStream::connect(server.address()).is_err());
    assert_eq!(server.asked().len(), 1);
}

#[test]
fn what_the_core_writes_is_a_request() {
    let long = "x".repeat(70_000);
    for (hits_addend, descriptors) in [
        (0, &[][..]),
        (1, &[&[("remote_address", "2001:db8::1")][..]]),
        (u32::MAX, &[&[("subject", "corp/ä"), ("message_type", "")], &[("subject", &long)], &[]]),
    ] {
        let bytes = rls::Request { domain: DOMAIN, descriptors, hits_addend }.encode();
        assert_eq!(RateLimitRequest::decode(&*bytes).expect("a message"), request(hits_addend, descriptors));
    }
}

#[test]
fn what_a_service_answers_is_read_by_the_core() {
    let status = |code: Code, span: Option<Duration>| DescriptorStatus {
        code: code.into(),
        limit_remaining: 7,
        duration_until_reset: span.map(duration),
        ..DescriptorStatus::default()
    };
    let hour = Some(Duration::from_secs(3_600));
    let minute = Some(Duration::new(60, 500_000_000));
    for (overall_code, statuses, expected) in [
        (Code::Unknown, vec![status(Code::Ok, None)], None),
        (Code::Ok, vec![], Some((true, None))),
        (Code::Ok, vec![status(Code::Ok, hour)], Some((true, None))),
        (Code::OverLimit, vec![], Some((false, None))),
        (Code::OverLimit, vec![status(Code::Ok, hour), status(Code::OverLimit, minute)], Some((false, minute))),
        (Code::OverLimit, vec![status(Code::OverLimit, hour), status(Code::OverLimit, minute)], Some((false, hour))),
    ] {
        let response = RateLimitResponse {
            overall_code: overall_code.into(),
            statuses,
            // Read by nobody here.
            raw_body: b"body".to_vec(),
            ..RateLimitResponse::default()
        };
        let expected = expected.map(|(allowed, retry_after)| Verdict { allowed, retry_after });
        assert_eq!(rls::decode(&response.encode_to_vec()), expected, "{response:?}");
    }
}

#[test]
fn the_core_and_the_service_understand_each_other() {
    let server = RateLimitServer::start([limit(1, &[], &["remote_address"])]);
    let mut client = Client::of(&server);
    let mut ask = || {
        let descriptors: &[&[_]] = &[&[("remote_address", "192.0.2.1")]];
        let bytes = rls::Request { domain: DOMAIN, descriptors, hits_addend: 1 }.encode();
        let response = client.ask(RateLimitRequest::decode(&*bytes).expect("a message")).expect("an answer");
        rls::decode(&response.encode_to_vec()).expect("yes or no")
    };
    assert_eq!(ask(), Verdict { allowed: true, retry_after: None });
    let refused = ask();
    let wait = refused.retry_after.expect("it knows when");
    assert!(!refused.allowed && wait > Duration::from_secs(3_500) && wait <= Duration::from_secs(3_600), "{wait:?}");
}
