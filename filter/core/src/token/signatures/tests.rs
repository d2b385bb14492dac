//! When the host is asked, what it is asked, and what becomes of its answers; and the signatures of Wycheproof, by our own arithmetic and by
//! another reader of what a host is given.

use core::fmt::Debug;

use p256::pkcs8::DecodePublicKey;
use rsa::Pkcs1v15Sign;
use rsa::signature::Verifier as _;
use serde_json::{Value, json};
use sha2::{Digest, Sha256, Sha384, Sha512};

use super::*;
use crate::testing::{MemoryPort, Verifier};
use crate::token::keys::Keys;

#[cfg(not(target_family = "wasm"))]
mod vectors;

/// The parts of a `VerifySignatureArguments`, in the order of their numbers.
fn parts(mut arguments: &[u8]) -> [&[u8]; 4] {
    [1, 2, 3, 4].map(|expected| match field(&mut arguments) {
        Some((number, Field::Bytes(bytes))) if number == expected => bytes,
        other => panic!("{other:?} in place of {expected}"),
    })
}

/// What Envoy answers.
fn answer(is_good: bool) -> Vec<u8> {
    if is_good { b"\x08\x01".to_vec() } else { b"\x12\x18Failed to verify digest.".to_vec() }
}

/// The verdict of another implementation, which reads key and signature from what the host is given.
fn host(arguments: &[u8]) -> Vec<u8> {
    let [hash, key, signature, text] = parts(arguments);
    let rsa = rsa::RsaPublicKey::from_public_key_der(key).map(|key| match hash {
        b"sha256" => key.verify(Pkcs1v15Sign::new::<Sha256>(), &Sha256::digest(text), signature).is_ok(),
        b"sha384" => key.verify(Pkcs1v15Sign::new::<Sha384>(), &Sha384::digest(text), signature).is_ok(),
        b"sha512" => key.verify(Pkcs1v15Sign::new::<Sha512>(), &Sha512::digest(text), signature).is_ok(),
        hash => panic!("{hash:?}"),
    });
    let p256 = || {
        let key = p256::ecdsa::VerifyingKey::from_public_key_der(key).ok()?;
        assert_eq!(hash, b"sha256");
        let signature = p256::ecdsa::DerSignature::from_bytes(signature).ok();
        Some(signature.is_some_and(|signature| key.verify(text, &signature).is_ok()))
    };
    let p384 = || {
        let key = p384::ecdsa::VerifyingKey::from_public_key_der(key).ok()?;
        assert_eq!(hash, b"sha384");
        let signature = p384::ecdsa::DerSignature::from_bytes(signature).ok();
        Some(signature.is_some_and(|signature| key.verify(text, &signature).is_ok()))
    };
    answer(rsa.ok().or_else(p256).or_else(p384).expect("a key that others can read"))
}

fn hosted(verifier: Verifier) -> (Signatures, Rc<MemoryPort>) {
    let port = MemoryPort::default();
    port.verifier.set(Some(verifier));
    let port = Rc::new(port);
    (Signatures::of(port.clone()), port)
}

#[track_caller]
fn keys(algorithm: Algorithm, jwk: &Value) -> Keys {
    Keys::from_jwks(vec![algorithm], core::slice::from_ref(jwk)).unwrap_or_else(|fault| panic!("{fault}: {jwk}")).0
}

/// A key, and a signature of it in base64url, as RFC 7515 §A.2 and §A.3 have them, over what they sign.
fn example(algorithm: Algorithm) -> (Keys, Vec<u8>, Vec<u8>) {
    let (jwk, text, signature) = match algorithm {
        Algorithm::ES256 => (
            json!({
                "kty": "EC", "crv": "P-256",
                "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
            }),
            "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ",
            "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
        ),
        _ => (
            json!({
                "kty": "RSA", "e": "AQAB",
                "n": "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMs\
                      D1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdV\
                      MTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ",
            }),
            "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ",
            "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjb\
             KBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZES\
             c6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw",
        ),
    };
    let signature = URL_SAFE_NO_PAD.decode(signature).expect("base64url");
    (keys(algorithm, &jwk), text.into(), signature)
}

#[test]
fn the_host_is_given_what_it_can_read() {
    for algorithm in [Algorithm::RS256, Algorithm::ES256] {
        let (keys, text, signature) = example(algorithm);
        let (signatures, port) = hosted(host);
        assert_eq!(signatures.compare(&keys, algorithm, &text, &signature), Some((true, Some(true))));
        let mut other = signature.clone();
        other[40] ^= 1;
        assert_eq!(signatures.compare(&keys, algorithm, &text, &other), Some((false, Some(false))));
        assert_eq!(signatures.compare(&keys, algorithm, b"another", &signature), Some((false, Some(false))));
        assert_eq!(port.asked_count.get(), 3);
        // What is too long or too short is no signature, and the host does not hear of it.
        for other in [&signature[1..], &[&signature, &[0][..]].concat(), &[&[0], &*signature].concat(), b""] {
            assert_eq!(signatures.compare(&keys, algorithm, &text, other), Some((false, Some(false))));
        }
        assert_eq!(port.asked_count.get(), 3);
    }
}

#[test]
fn a_host_that_does_not_know_how_is_asked_once() {
    const GARBAGE: [Verifier; 8] = [
        |_| vec![],
        |_| vec![0],
        |_| vec![8],
        |_| vec![8, 0],
        |_| vec![8, 2],
        |_| vec![0x12, 0],
        |_| vec![0x1a, 0],
        // Good, with an error.
        |_| vec![8, 1, 0x12, 1, b'x'],
    ];
    let (keys, text, signature) = example(Algorithm::RS256);
    let none = (Signatures::of(Rc::new(MemoryPort::default())), Rc::default());
    for (index, (signatures, _)) in [none].into_iter().chain(GARBAGE.map(hosted)).enumerate() {
        assert_eq!(signatures.compare(&keys, Algorithm::RS256, &text, &signature), Some((true, None)), "{index}");
    }
    for verifier in GARBAGE {
        let (signatures, port) = hosted(verifier);
        let signature = URL_SAFE_NO_PAD.encode(&signature);
        let jws = Jws::forged(Algorithm::RS256, &text, &signature);
        let key = keys.unnamed(Algorithm::RS256, None).next().expect("a key");
        assert!(signatures.verify(key, &jws) && signatures.verify(key, &jws));
        assert_eq!(port.asked_count.get(), 1);
    }
}

#[test]
fn its_word_is_taken() {
    let (keys, text, signature) = example(Algorithm::ES256);
    for is_good in [true, false] {
        let (signatures, _) = hosted(if is_good { |_| answer(true) } else { |_| answer(false) });
        let signature = URL_SAFE_NO_PAD.encode(&signature);
        let key = keys.unnamed(Algorithm::ES256, None).next().expect("a key");
        assert_eq!(signatures.verify(key, &Jws::forged(Algorithm::ES256, &text, &signature)), is_good);
    }
}

/// An answer may say both members, and which comes first is its own choice.
#[test]
fn a_result_is_read_in_any_order() {
    for (message, expected) in [
        (&b"\x08\x01\x12\x00"[..], Some(true)),
        (b"\x12\x00\x08\x01", Some(true)),
        (b"\x12\x01x\x08\x00", Some(false)),
        (b"\x08\x00\x12\x01x", Some(false)),
        (b"\x08\x01\x12\x01", None),
    ] {
        assert_eq!(read(message), expected, "{message:?}");
    }
}

#[test]
fn numbers_that_make_no_key_are_refused() {
    let rsa = |last: u8, exponent: &[u8]| {
        let mut modulus = vec![0xff; 256];
        modulus[255] = last;
        let jwk = json!({"kty": "RSA", "n": URL_SAFE_NO_PAD.encode(modulus), "e": URL_SAFE_NO_PAD.encode(exponent)});
        Keys::from_jwks(vec![Algorithm::RS256], &[jwk]).is_ok()
    };
    for (last, exponent, is_key) in [
        (0xff, &[3][..], true),
        (0xff, &[0, 0, 1, 0, 1], true),
        (0xff, &[1, 0xff, 0xff, 0xff, 0xff], true),
        (0xfe, &[1, 0, 1], false),
        (0xff, &[1, 0, 0], false),
        (0xff, &[1], false),
        (0xff, &[0], false),
        (0xff, &[], false),
        (0xff, &[2, 0, 0, 0, 1], false),
        (0xff, &[1, 0, 0, 0, 0, 1], false),
    ] {
        assert_eq!(rsa(last, exponent), is_key, "{last:x} {exponent:x?}");
    }
    // The point of RFC 7515 §A.3, and the same bytes with another border between its coordinates.
    let point = "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEXH8UTNG72bfocs3-257rn0s2ldbqkLJK2KRiMohYjlrQ";
    let point = URL_SAFE_NO_PAD.decode(point).expect("base64url");
    for (x_len, is_key) in [(32, true), (31, false), (33, false), (0, false), (64, false)] {
        let (x, y) = point.split_at(x_len);
        let [x, y] = [x, y].map(|number| URL_SAFE_NO_PAD.encode(number));
        let jwk = json!({"kty": "EC", "crv": "P-256", "x": x, "y": y});
        assert_eq!(Keys::from_jwks(vec![Algorithm::ES256], &[jwk]).is_ok(), is_key, "{x_len}");
    }
}

#[test]
fn a_point_that_is_on_no_curve_is_no_key() {
    let ed = |x: &[u8]| json!({"kty": "OKP", "crv": "Ed25519", "x": URL_SAFE_NO_PAD.encode(x)});
    let ec = |curve: &str, len: usize, byte: u8| {
        let number = URL_SAFE_NO_PAD.encode(vec![byte; len]);
        json!({"kty": "EC", "crv": curve, "x": number, "y": number})
    };
    for jwk in [
        ed(b""),
        ed(&[1; 31]),
        ed(&[1; 33]),
        ed(&[2; 32]),
        ec("P-256", 32, 0),
        ec("P-256", 32, 1),
        ec("P-256", 32, 0xff),
        ec("P-384", 48, 1),
    ] {
        let algorithms = vec![Algorithm::EdDSA, Algorithm::ES256, Algorithm::ES384];
        let keys = Keys::from_jwks(algorithms, core::slice::from_ref(&jwk));
        if let Ok((keys, _)) = &keys {
            let _ = Signatures::default().compare(keys, Algorithm::EdDSA, b"text", &[1; 64]);
        }
        assert!(keys.is_err(), "{jwk}");
    }
}
