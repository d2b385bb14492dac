//! Client and backend against each other, with nothing in between.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::PROVIDER;
use super::backend::{Backend, End, Mode, Play, Request};
use super::certificate::Certificate;
use super::client::{Client, Upgrade};
use super::frame::{BINARY, CLOSE, Draft, Frame, PING, PONG, TEXT, Width};
use super::head::{Head, accept_of};
use super::websocket::{Event, Verdict};

const SOON: Duration = Duration::from_secs(10);

fn echo() -> (Backend, Client) {
    serve(Mode::Echo)
}

fn serve(mode: Mode) -> (Backend, Client) {
    let backend = Backend::start(mode).expect("a port is free");
    let client = Client::plain(backend.address());
    (backend, client)
}

fn only_request(backend: &Backend, wanted: impl Fn(&Request) -> bool) -> Request {
    let request = backend.wait(SOON, wanted).expect("the request arrived");
    assert_eq!(backend.requests().len(), 1);
    request
}

#[track_caller]
fn frame(event: Event) -> Frame {
    match event {
        Event::Frame(frame) => frame,
        other => panic!("{other:?} in place of a frame"),
    }
}

#[test]
fn an_upgrade_is_accepted_echoed_and_closed() {
    let (backend, client) = echo();
    let upgrade =
        Upgrade::to("/chat?a=1").subprotocols("chat.v2, chat.v1").header("X-Twice", "1").header("x-twice", "2");
    let mut websocket = client.open(&upgrade).expect("the upgrade is accepted");
    assert_eq!(websocket.head.value("sec-websocket-protocol"), Some("chat.v2"));
    let echoed = frame(websocket.exchange("hello", SOON).expect("the backend reads"));
    assert_eq!((echoed.opcode, echoed.mask, echoed.payload.as_slice()), (TEXT, None, b"hello".as_slice()));
    websocket.send_frame(Draft::new(PING, "p")).expect("the backend reads");
    assert_eq!(frame(websocket.receive(SOON)).opcode, PONG);
    websocket.send_frame(Draft::new(PING, "q")).expect("the backend reads");
    websocket.send_frame(Draft::close(1000, "bye")).expect("the backend reads");
    let (frames, verdict) = websocket.rest(SOON);
    assert_eq!((frames.len(), verdict), (1, Verdict::close(1000, "bye")));
    assert!(websocket.is_closed_within(SOON));
    drop(websocket);
    let request = only_request(&backend, |request| request.end.is_some());
    assert_eq!(request.head.target(), "/chat?a=1");
    assert_eq!(request.head.values("x-twice").collect::<Vec<_>>(), ["1", "2"]);
    let (frames, rest) = request.frames();
    assert_eq!(frames.iter().map(|frame| frame.opcode).collect::<Vec<_>>(), [TEXT, PING, PING, CLOSE]);
    assert!(rest.is_empty() && frames.iter().all(|frame| frame.mask.is_some()));
}

#[test]
fn a_sloppy_backend_returns_bytes_as_they_came() {
    let (_backend, client) = serve(Mode::Sloppy);
    let mut websocket = client.open(&Upgrade::to("/")).expect("the upgrade is accepted");
    let bytes = Draft::binary("abc").rsv(7).mask_key([1, 2, 3, 4]).width(Width::SixtyFour).bytes();
    websocket.send(&bytes).expect("the backend reads");
    let echoed = frame(websocket.receive(SOON));
    assert_eq!((echoed.opcode, echoed.rsv, echoed.mask), (BINARY, 7, Some([1, 2, 3, 4])));
    assert_eq!(websocket.receive(Duration::from_millis(20)), Event::Timeout);
}

#[test]
fn a_scripted_backend_may_lie_and_speak_first() {
    let (backend, client) = serve(Mode::scripted(|head| match head.target() {
        "/accept" => Play::answer(head.accepted_with(&[("sec-websocket-accept", &accept_of("another"))])),
        "/missing" => {
            Play::answer("HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nnone\r\n0\r\n\r\n")
        }
        _ => Play::answer(head.accepted())
            .then(Draft::text("welcome").masked().bytes())
            .on_frame(|frame| if frame.opcode == TEXT { Draft::binary([7; 70_000]).bytes() } else { Vec::new() }),
    }));
    let lied = client.ask(&Upgrade::to("/accept")).expect("the backend answers");
    assert_eq!((lied.status(), lied.has_right_accept()), (101, false));
    let mut missing = client.ask(&Upgrade::to("/missing")).expect("the backend answers");
    assert_eq!((missing.status(), missing.text().as_str()), (404, "none"));
    assert!(missing.is_closed_within(SOON));
    let mut websocket = client.open(&Upgrade::to("/")).expect("the upgrade is accepted");
    assert!(frame(websocket.receive(SOON)).mask.is_some());
    assert_eq!(frame(websocket.exchange("x", SOON).expect("the backend reads")).payload, [7; 70_000]);
    websocket.send_frame(Draft::close(1000, "")).expect("the backend reads");
    assert_eq!(websocket.verdict(Duration::from_millis(20)), Verdict::Timeout);
    assert_eq!(backend.requests().len(), 3);
}

#[test]
fn bytes_behind_the_head_reach_the_backend() {
    let (backend, client) = echo();
    let early = Draft::text("early").masked().bytes();
    let mut websocket = client.open(&Upgrade::to("/").tail(early.clone())).expect("the upgrade is accepted");
    assert_eq!(frame(websocket.receive(SOON)).payload, b"early");
    assert_eq!(only_request(&backend, |request| !request.bytes.is_empty()).bytes, early);
}

#[test]
fn a_request_that_is_no_upgrade_gets_a_plain_answer() {
    let (backend, client) = echo();
    let mut answer = client.ask(&Upgrade::to("/").without("Sec-WebSocket-Key").method("POST")).expect("it answers");
    assert_eq!((answer.status(), answer.text().as_str()), (200, "ok"));
    assert!(answer.is_closed_within(SOON));
    assert_eq!(answer.next().status(), 0);
    let request = only_request(&backend, |request| request.end == Some(End::Eof));
    assert_eq!(request.head.method(), "POST");
}

#[test]
fn what_is_no_request_may_be_sent() {
    let (backend, client) = echo();
    let answer = client.ask_raw(b"what\r\nis: this\r\n\r\n").expect("it answers");
    assert_eq!((answer.status(), answer.has_right_accept()), (200, false));
    assert_eq!(only_request(&backend, |_| true).head.start, "what");
}

#[test]
fn a_client_may_flood_and_read_at_once() {
    let (_backend, client) = echo();
    let mut websocket = client.open(&Upgrade::to("/")).expect("the upgrade is accepted");
    let (count, payload) = (256, vec![7; 65_536]);
    let sender = websocket.sender();
    thread::scope(|scope| {
        scope.spawn(|| {
            (0..count).for_each(|_| sender.send(&Draft::binary(payload.clone()).masked().bytes()).expect("it reads"))
        });
        (0..count).for_each(|_| assert_eq!(frame(websocket.receive(SOON)).payload, payload));
    });
}

#[test]
fn a_tls_client_trusts_its_authority_only() {
    let certificate = Certificate::generate(&["chat.example.com"]).expect("the system has random numbers");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("it has an address");
    let server = tls_server(&certificate);
    thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            let session = ServerConnection::new(Arc::clone(&server)).expect("the configuration is complete");
            let mut stream = StreamOwned::new(session, socket);
            let mut request = [0; 1_024];
            // A client that does not trust us ends the handshake here.
            let Ok(size) = stream.read(&mut request) else { continue };
            let Some((head, _)) = Head::parse(&request[..size]) else { continue };
            let alpn = stream.conn.alpn_protocol().map(|name| name.escape_ascii().to_string()).unwrap_or_default();
            stream.write_all(&[head.accepted(), Draft::text(&alpn).bytes()].concat()).expect("the client reads");
        }
    });
    for name in ["localhost", "127.0.0.1", "chat.example.com"] {
        let client = Client::tls(address, name, &certificate.ca_pem).expect("name and authority are well-formed");
        let mut websocket = client.open(&Upgrade::to("/")).expect("the upgrade is accepted");
        assert_eq!(frame(websocket.receive(SOON)).payload, b"http/1.1");
    }
    let other = Certificate::generate(&[]).expect("the system has random numbers");
    for (name, ca_pem) in [("example.com", &certificate.ca_pem), ("localhost", &other.ca_pem)] {
        let client = Client::tls(address, name, ca_pem).expect("name and authority are well-formed");
        assert!(client.ask(&Upgrade::to("/")).is_err());
    }
}

fn tls_server(certificate: &Certificate) -> Arc<ServerConfig> {
    let chain = CertificateDer::from_pem_slice(certificate.certificate_pem.as_bytes()).expect("it is PEM");
    let key = PrivateKeyDer::from_pem_slice(certificate.key_pem.as_bytes()).expect("it is PEM");
    let mut config = ServerConfig::builder_with_provider(Arc::new(PROVIDER.clone()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(vec![chain], key))
        .expect("key and certificate belong together");
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Arc::new(config)
}

#[test]
fn a_backend_ends_with_its_connections() {
    let (backend, client) = echo();
    let mut websocket = client.open(&Upgrade::to("/")).expect("the upgrade is accepted");
    assert_eq!(backend.connections(), 1);
    drop(backend);
    assert!(matches!(websocket.verdict(SOON), Verdict::Eof | Verdict::Reset));
    assert!(client.ask(&Upgrade::to("/")).is_err());
}
