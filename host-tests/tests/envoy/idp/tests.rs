//! That the provider is what the specifications say, before a gate trusts it.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde_json::{Value, json};

use super::{Idp, ask};

fn key_set(idp: &Idp) -> JwkSet {
    let (status, body) = ask(idp.port(), "GET /jwks", "", "");
    assert_eq!(status, 200);
    serde_json::from_str(&body).expect("a key set")
}

/// The claims, if a published key has signed them.
fn claims(idp: &Idp, token: &str, algorithm: Algorithm) -> Option<Value> {
    let id = decode_header(token).expect("a JWT").kid.expect("a kid");
    let keys = key_set(idp);
    let key = DecodingKey::from_jwk(keys.find(&id)?).expect("a key");
    let mut validation = Validation::new(algorithm);
    validation.set_audience(&["chat"]);
    validation.set_issuer(&[idp.url()]);
    Some(decode(token, &key, &validation).expect("the signature is right").claims)
}

#[test]
fn the_discovery_document_names_the_key_set() {
    let idp = Idp::start();
    let (status, body) = ask(idp.port(), "GET /.well-known/openid-configuration", "", "");
    let document: Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!((status, &document["issuer"]), (200, &idp.url().into()));
    assert_eq!(document["jwks_uri"], format!("{}/jwks", idp.url()));
}

#[test]
fn a_rotation_keeps_the_old_key_published_or_drops_it() {
    let idp = Idp::start();
    for (format, algorithm) in [("RS256", Algorithm::RS256), ("ES256", Algorithm::ES256)] {
        let old = idp.token("alice", format);
        assert_eq!(claims(&idp, &old, algorithm).expect("its key is published")["sub"], "alice");
        idp.rotate(true);
        assert!(claims(&idp, &old, algorithm).is_some());
        let new = idp.token("alice", format);
        assert_ne!(decode_header(&old).expect("a JWT").kid, decode_header(&new).expect("a JWT").kid);
        idp.rotate(false);
        assert!(claims(&idp, &new, algorithm).is_none());
    }
}

#[test]
fn the_key_set_is_cacheable_and_can_be_made_wrong() {
    let idp = Idp::start();
    for (mode, status, starts) in [("html", 200, "<html>"), ("redirect", 302, ""), ("fine", 200, r#"{"keys":["#)] {
        idp.set_mode(mode);
        let (answered, body) = ask(idp.port(), "GET /jwks", "if-none-match: \"old\"\r\n", "");
        assert_eq!((answered, body.starts_with(starts)), (status, true), "{mode}");
    }
    assert_eq!(idp.counts()["/jwks"], json!({"requests": 3, "if_none_match": 3}));
    idp.set_mode("down");
    assert!(TcpStream::connect(("127.0.0.1", idp.port())).is_err());
    idp.set_mode("fine");
    assert_eq!(key_set(&idp).keys.len(), 2);
}

#[test]
fn introspection_tells_an_active_token_from_another() {
    let idp = Idp::start();
    let token = idp.token("bob", "opaque");
    let headers = format!(
        "authorization: Basic {}\r\ncontent-type: application/x-www-form-urlencoded\r\n",
        BASE64_STANDARD.encode("gw:gw-secret")
    );
    for (token, active) in [(token.as_str(), true), ("unknown", false)] {
        let (status, body) = ask(idp.port(), "POST /token/introspection", &headers, &format!("token={token}"));
        let answer: Value = serde_json::from_str(&body).expect("JSON");
        assert_eq!((status, &answer["active"]), (200, &active.into()), "{body}");
        assert_eq!(answer["sub"] == "bob", active, "{body}");
    }
}

#[test]
fn a_logout_token_is_posted() {
    let idp = Idp::start();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let uri = format!("http://{}/backchannel-logout", listener.local_addr().expect("an address"));
    let posted = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("it connects");
        let mut read = Vec::new();
        let mut part = [0; 4096];
        // A JWT ends with the third part, which is as long as the key: 256 bytes, 342 characters.
        loop {
            let length = stream.read(&mut part).expect("it sends");
            read.extend_from_slice(&part[..length]);
            let text = String::from_utf8_lossy(&read).into_owned();
            let token = text.split_once("logout_token=").map(|(_, token)| token.to_owned());
            if let Some(token) = token.filter(|token| token.rsplit('.').next().is_some_and(|last| last.len() == 342)) {
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").expect("it reads");
                return token;
            }
            assert_ne!(length, 0, "it ends early: {text}");
        }
    });
    idp.logout("alice", "session-1", &uri);
    let token = posted.join().expect("a token");
    assert_eq!(decode_header(&token).expect("a JWT").alg, Algorithm::RS256);
    let payload = token.split('.').nth(1).and_then(|part| BASE64_URL_SAFE_NO_PAD.decode(part).ok()).expect("a payload");
    let claims: Value = serde_json::from_slice(&payload).expect("JSON");
    assert_eq!((&claims["sub"], &claims["sid"]), (&"alice".into(), &"session-1".into()));
    assert!(claims["events"]["http://schemas.openid.net/event/backchannel-logout"].is_object());
    assert!(claims["nonce"].is_null());
}
