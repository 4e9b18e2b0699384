use std::sync::LazyLock;

use jsonwebtoken::{DecodingKey, Validation};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::crypto::pem;

mod vectors;

/// One key of each algorithm, made once: RSA keys take their time.
static KEYS: LazyLock<[SigningKey; 6]> =
    LazyLock::new(|| SignatureAlgorithm::ALL.map(|algorithm| SigningKey::generate(algorithm).expect("made")));

fn key(algorithm: SignatureAlgorithm) -> &'static SigningKey {
    KEYS.iter().find(|key| key.algorithm() == algorithm).expect("one of each")
}

fn decode_url(text: &str) -> Vec<u8> {
    base64_simd::URL_SAFE_NO_PAD.decode_to_vec(text).expect("base64url")
}

#[test]
fn every_format_verifies_as_itself() {
    for key in KEYS.iter() {
        for format in SignatureFormat::ALL {
            for message in [b"".as_slice(), b"message", &[0xff; 100_000]] {
                let signature = key.sign(message, format, "key").expect("signed");
                assert_eq!(key.public_key().verify(message, &signature, format), Ok(()), "{key:?} {format}");
                let wrong = key.public_key().verify(b"another", &signature, format);
                assert_eq!(wrong, Err(Error::AuthenticationFailed), "{key:?} {format}");
            }
        }
    }
}

#[test]
fn der_is_another_form_for_ecdsa_alone() {
    for key in KEYS.iter() {
        let (raw, der) = (key.sign_raw(b"m").expect("signed"), key.sign_der(b"m").expect("signed"));
        assert_eq!(raw.len(), key.algorithm().signature_len());
        let public_key = key.public_key();
        match key.algorithm() {
            SignatureAlgorithm::EcdsaP256 | SignatureAlgorithm::EcdsaP384 => {
                assert_eq!(der[0], 0x30);
                assert_eq!(public_key.verify_raw(b"m", &der), Err(Error::AuthenticationFailed));
                assert_eq!(public_key.verify_der(b"m", &raw), Err(Error::AuthenticationFailed));
            }
            _ => assert_eq!(public_key.verify_raw(b"m", &der), Ok(())),
        }
    }
}

#[test]
fn another_key_does_not_verify() {
    for algorithm in SignatureAlgorithm::ALL.into_iter().filter(|a| *a != SignatureAlgorithm::RsaPss3072) {
        let other = SigningKey::generate(algorithm).expect("made");
        assert_ne!(other.public_key(), key(algorithm).public_key());
        for format in SignatureFormat::ALL {
            let signature = other.sign(b"m", format, "key").expect("signed");
            let verified = key(algorithm).public_key().verify(b"m", &signature, format);
            assert_eq!(verified, Err(Error::AuthenticationFailed));
        }
    }
}

#[test]
fn a_stored_key_is_the_same_key() {
    for key in KEYS.iter() {
        let pkcs8 = key.to_pkcs8().expect("encoded");
        let again = SigningKey::from_pkcs8(key.algorithm(), pkcs8.expose()).expect("the same key");
        assert_eq!(again.public_key(), key.public_key());
        assert_eq!(again.to_pkcs8().expect("encoded"), pkcs8);
        let signature = again.sign_der(b"m").expect("signed");
        assert_eq!(key.public_key().verify_der(b"m", &signature), Ok(()));
        let stored = key.public_key().check_value();
        assert_eq!(again.public_key().verify_check_value(&stored), Ok(()));
        assert_eq!(again.public_key().verify_check_value(&stored[..15]), Err(Error::WrongKey));
        assert_eq!(again.public_key().verify_check_value(&[0; 16]), Err(Error::WrongKey));
    }
}

#[test]
fn a_key_is_of_one_algorithm() {
    for key in KEYS.iter() {
        let pkcs8 = key.to_pkcs8().expect("encoded");
        for algorithm in SignatureAlgorithm::ALL.into_iter().filter(|other| *other != key.algorithm()) {
            let private = SigningKey::from_pkcs8(algorithm, pkcs8.expose()).err();
            assert_eq!(private, Some(Error::Malformed("not a private key of this algorithm")), "{key:?}");
            let public = PublicKey::from_spki(algorithm, key.public_key().spki()).err();
            assert_eq!(public, Some(Error::Malformed("not a public key of this algorithm")), "{key:?}");
        }
    }
}

#[test]
fn keys_cut_extended_or_of_other_lengths_are_refused() {
    for key in KEYS.iter() {
        let (algorithm, spki) = (key.algorithm(), key.public_key().spki());
        let pkcs8 = key.to_pkcs8().expect("encoded");
        for length in (0..spki.len()).step_by(1 + spki.len() / 60) {
            assert!(PublicKey::from_spki(algorithm, &spki[..length]).is_err(), "{key:?} {length}");
        }
        for length in (0..pkcs8.expose().len()).step_by(1 + pkcs8.expose().len() / 60) {
            assert!(
                SigningKey::from_pkcs8(algorithm, &pkcs8.expose()[..length]).is_err(),
                "{key:?} {length}"
            );
        }
        assert!(PublicKey::from_spki(algorithm, &[spki, &[0]].concat()).is_err(), "{key:?}");
        assert!(PublicKey::from_spki(algorithm, &vec![0x30; 100_000]).is_err(), "{key:?}");
        assert!(SigningKey::from_pkcs8(algorithm, &vec![0x30; 100_000]).is_err(), "{key:?}");
        // The bare key is one that the library would take.
        assert!(PublicKey::from_spki(algorithm, key.public_key().raw()).is_err(), "{key:?}");
    }
    let rsa_2048 = RsaKeyPair::generate(KeySize::Rsa2048).expect("made");
    let pkcs8: Pkcs8V1Der<'_> = rsa_2048.as_der().expect("encoded");
    let refused = SigningKey::from_pkcs8(SignatureAlgorithm::RsaPss3072, pkcs8.as_ref()).err();
    assert_eq!(refused, Some(Error::Malformed("not a public key of this algorithm")));
}

#[test]
fn public_keys_are_written_in_each_form() {
    for key in KEYS.iter() {
        let public_key = key.public_key();
        let pem = public_key.pem();
        assert_eq!(pem::public_key(pem.as_bytes()), Ok(public_key.spki().to_vec()));
        assert!(pem.starts_with("-----BEGIN PUBLIC KEY-----\nM") && pem.lines().all(|line| line.len() <= 64));
        assert!(public_key.spki().ends_with(public_key.raw()), "{key:?}");
        let jwk = serde_json::to_value(public_key.jwk("name")).expect("JSON");
        assert_eq!(
            [&jwk["alg"], &jwk["use"], &jwk["kid"]],
            [&json!(key.algorithm().jose_name()), &json!("sig"), &json!("name")]
        );
        let text = |name: &str| decode_url(jwk[name].as_str().expect("text"));
        match key.algorithm() {
            SignatureAlgorithm::Ed25519 => {
                assert_eq!((&jwk["kty"], &jwk["crv"]), (&json!("OKP"), &json!("Ed25519")));
                assert_eq!(text("x"), public_key.raw());
            }
            SignatureAlgorithm::EcdsaP256 | SignatureAlgorithm::EcdsaP384 => {
                assert_eq!(jwk["kty"], "EC");
                assert_eq!([vec![4], text("x"), text("y")].concat(), public_key.raw());
            }
            SignatureAlgorithm::RsaPss3072 => {
                assert_eq!(jwk["kty"], "RSA");
                assert_eq!((text("n").len(), text("e")), (384, vec![1, 0, 1]));
            }
            SignatureAlgorithm::MlDsa65 | SignatureAlgorithm::MlDsa87 => {
                assert_eq!(jwk["kty"], "AKP");
                assert_eq!(text("pub"), public_key.raw());
            }
        }
        for private in ["d", "p", "q", "dp", "dq", "qi", "k", "priv"] {
            assert_eq!(jwk.get(private), None);
        }
    }
}

/// By the library that verifies our own tokens, from our JWK. It knows no ML-DSA.
#[test]
fn a_jws_verifies_with_another_implementation_of_jose() {
    use jsonwebtoken::Algorithm as Jose;
    for (algorithm, jose) in [
        (SignatureAlgorithm::Ed25519, Jose::EdDSA),
        (SignatureAlgorithm::EcdsaP256, Jose::ES256),
        (SignatureAlgorithm::EcdsaP384, Jose::ES384),
        (SignatureAlgorithm::RsaPss3072, Jose::PS256),
    ] {
        let claims = json!({ "sub": "someone", "exp": 4_102_444_800_u64 });
        let message = claims.to_string();
        let jws = key(algorithm).sign(message.as_bytes(), SignatureFormat::Jws, "the key").expect("signed");
        let public_key = key(algorithm).public_key();
        let jwk = serde_json::to_string(&public_key.jwk("the key")).expect("JSON");
        let jwk = serde_json::from_str(&jwk).expect("a JWK");
        let decoding_key = DecodingKey::from_jwk(&jwk).expect("a public key");
        let decoded = jsonwebtoken::decode::<Value>(&jws, &decoding_key, &Validation::new(jose));
        let decoded = decoded.expect("verified");
        assert_eq!(decoded.claims, claims);
        assert_eq!(decoded.header.kid.as_deref(), Some("the key"));
    }
}

/// A JWS of `message` whose header is `header`, signed as that header says it.
fn jws_with(key: &SigningKey, header: &str, message: &[u8]) -> String {
    let signed = format!("{}.{}", jwk::base64url(header.as_bytes()), jwk::base64url(message));
    let signature = jwk::base64url(&key.sign_raw(signed.as_bytes()).expect("signed"));
    format!("{signed}.{signature}")
}

#[test]
fn the_header_of_a_jws_chooses_nothing() {
    for key in KEYS.iter() {
        let own = key.algorithm().jose_name();
        let verify =
            |header: &str| key.public_key().verify(b"m", &jws_with(key, header, b"m"), SignatureFormat::Jws);
        assert_eq!(verify(&json!({ "alg": own }).to_string()), Ok(()));
        assert_eq!(verify(&json!({ "alg": own, "kid": "x", "typ": "JWT" }).to_string()), Ok(()));
        let lower = own.to_lowercase();
        for alg in ["none", "HS256", "", "RS256", "ES512", &lower] {
            let header = json!({ "alg": alg }).to_string();
            assert_eq!(verify(&header), Err(Error::AuthenticationFailed), "{own} {alg}");
        }
        for header in [
            json!({ "alg": own, "crit": ["b64"], "b64": false }),
            json!({ "alg": own, "crit": [] }),
            json!({ "alg": own, "crit": null }),
        ] {
            let expected = Err(Error::Malformed("a JWS with critical extensions"));
            assert_eq!(verify(&header.to_string()), expected);
        }
        let twice = format!(r#"{{"alg":"none","alg":"{own}"}}"#);
        for header in ["", "{}", "[]", "null", r#"{"alg":null}"#, r#"{"alg":["x"]}"#, "{\"alg\":", &twice] {
            assert_eq!(verify(header), Err(Error::Malformed("not a compact JWS")), "{header}");
        }
    }
}

#[test]
fn a_jws_counts_for_its_message_and_in_one_spelling() {
    for key in KEYS.iter() {
        let verify = |jws: &str| key.public_key().verify(b"message", jws, SignatureFormat::Jws);
        let jws = key.sign(b"message", SignatureFormat::Jws, "key").expect("signed");
        assert_eq!(verify(&jws), Ok(()));
        let parts: Vec<&str> = jws.split('.').collect();
        let [header, payload, signature] = parts[..] else { panic!("three parts") };
        let other = key.sign(b"massage", SignatureFormat::Jws, "key").expect("signed");
        assert_eq!(verify(&other), Err(Error::AuthenticationFailed));
        let swapped = format!("{header}.{payload}.{}", other.rsplit_once('.').expect("parts").1);
        assert_eq!(verify(&swapped), Err(Error::AuthenticationFailed));
        assert_eq!(verify(&format!("{header}.{payload}.")), Err(Error::AuthenticationFailed));
        for text in [
            String::new(),
            ".".to_owned(),
            "..".to_owned(),
            "...".to_owned(),
            format!("{header}..{signature}"),
            format!("{header}.{signature}"),
            format!("{jws}."),
            format!("{jws}.{signature}"),
            format!("{jws}="),
            format!("{jws}\n"),
            format!(" {jws}"),
            format!("{header}.{payload}.{signature}%"),
        ] {
            assert!(verify(&text).is_err(), "{text}");
        }
    }
}

#[test]
fn text_that_is_no_base64_is_malformed() {
    for key in KEYS.iter() {
        for format in [SignatureFormat::Base64, SignatureFormat::Raw, SignatureFormat::Der] {
            let signature = key.sign(b"m", format, "key").expect("signed");
            let spaced = format!("{signature} ");
            for text in ["%", "YQ", "YQ==\n", "=", "____", &spaced] {
                let verified = key.public_key().verify(b"m", text, format);
                assert_eq!(verified, Err(Error::Malformed("a signature in this format is base64")));
            }
            for text in ["", "YQ==", &"A".repeat(100_000)] {
                let verified = key.public_key().verify(b"m", text, format);
                assert_eq!(verified, Err(Error::AuthenticationFailed));
            }
        }
    }
}

#[test]
fn formats_have_names() {
    for format in SignatureFormat::ALL {
        assert_eq!(format.name().to_uppercase().parse(), Ok(format));
    }
    for unknown in ["", "jwt", "asn1", "base64url"] {
        let parsed = unknown.parse::<SignatureFormat>();
        assert_eq!(parsed, Err(Error::Malformed("unknown signature format")));
    }
}

#[test]
fn debug_prints_names_only() {
    let key = key(SignatureAlgorithm::EcdsaP256);
    assert_eq!(format!("{key:?} {:?}", key.public_key()), "SigningKey(ECDSA-P256) PublicKey(ECDSA-P256)");
}

proptest! {
    #[test]
    fn no_altered_signature_verifies_and_no_bytes_panic(
        message in prop::collection::vec(any::<u8>(), 0..200),
        place in any::<prop::sample::Index>(),
        bit in 0_u32..8,
        noise in prop::collection::vec(any::<u8>(), 0..600),
    ) {
        for key in KEYS.iter() {
            let public_key = key.public_key();
            for (signature, verify) in [
                (key.sign_raw(&message).expect("signed"), PublicKey::verify_raw as fn(&_, &_, &_) -> _),
                (key.sign_der(&message).expect("signed"), PublicKey::verify_der),
            ] {
                prop_assert_eq!(verify(public_key, &message, &signature), Ok(()));
                let failed = Err(Error::AuthenticationFailed);
                let mut altered = signature.clone();
                altered[place.index(signature.len())] ^= 1_u8 << bit;
                prop_assert_eq!(verify(public_key, &message, &altered), failed);
                let cut = &signature[..place.index(signature.len())];
                prop_assert_eq!(verify(public_key, &message, cut), failed);
                let extended = [&signature[..], &noise[..], &[0]].concat();
                prop_assert_eq!(verify(public_key, &message, &extended), failed);
                prop_assert_eq!(verify(public_key, &message, &noise), failed);
            }
            let _ = PublicKey::from_spki(key.algorithm(), &noise);
            let _ = SigningKey::from_pkcs8(key.algorithm(), &noise);
            let text = String::from_utf8_lossy(&noise);
            prop_assert!(public_key.verify(&message, &text, SignatureFormat::Jws).is_err());
        }
    }

    #[test]
    fn altered_public_keys_are_refused_or_another_key(
        place in any::<prop::sample::Index>(),
        bit in 0_u32..8,
    ) {
        for key in KEYS.iter() {
            let mut spki = key.public_key().spki().to_vec();
            spki[place.index(key.public_key().spki().len())] ^= 1_u8 << bit;
            if let Ok(other) = PublicKey::from_spki(key.algorithm(), &spki) {
                prop_assert_ne!(other.check_value(), key.public_key().check_value());
                prop_assert_eq!(other.spki(), &spki[..]);
                let signature = key.sign_raw(b"m").expect("signed");
                prop_assert!(other.verify_raw(b"m", &signature).is_err());
            }
        }
    }
}
