use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::crypto::{ContextKey, stream::Encryptor};

const KEY_ID: KeyId = KeyId(*b"a key id, 16 b.\0");
const VERSION: KeyVersion = KeyVersion::FIRST;

fn keys() -> VersionKeys {
    VersionKeys::new(&ContextKey::generate().expect("the generator works"))
}

/// The same message in every format and with every algorithm.
fn ciphertexts(keys: &VersionKeys, plaintext: &[u8], associated_data: &[u8]) -> Vec<Vec<u8>> {
    let (mut encryptor, header) = Encryptor::new(keys, KEY_ID, VERSION, associated_data).expect("a stream");
    let mut stream = header.to_vec();
    encryptor.push(plaintext, &mut stream).expect("encrypted");
    encryptor.finish(&mut stream).expect("encrypted");
    let message =
        |algorithm| seal(keys, algorithm, KEY_ID, VERSION, plaintext, associated_data).expect("sealed");
    Algorithm::ALL.map(message).into_iter().chain([stream]).collect()
}

/// Opens in both ways, which must agree; after a failure, nothing of the plaintext may be in sight.
fn open_both(keys: &VersionKeys, ciphertext: &[u8], associated_data: &[u8]) -> Result<Vec<u8>, Error> {
    let opened = open(keys, ciphertext, associated_data).map(|plaintext| plaintext.to_vec());
    let mut buffer = ciphertext.to_vec();
    let in_place = open_in_place(keys, &mut buffer, associated_data).map(|plaintext| plaintext.to_vec());
    assert_eq!(opened, in_place);
    opened
}

/// Made as section 6 of the contract says by another implementation: Python's `cryptography` and `hmac`.
#[test]
fn ciphertexts_made_elsewhere_open() {
    let key = ContextKey::from_bytes(&(0..32).collect::<Vec<u8>>()).expect("32 bytes");
    let keys = VersionKeys::new(&key);
    let rests = [
        "0101 6465666768696a6b6c6d6e6f707172737475767778797a7b\
         d39ae5ef3c18f63c1af84284bd572c4655ca083571949fb393590aad701e",
        "0102 6465666768696a6b6c6d6e6fd707d40c146793a62ffb474ee5d4baed3d4e4bb6597c0a2386e1dce5d3e7",
        "0103 6465666768696a6b6c6d6e6f7728c69d8e50c8ef02ab9181571a82ed22da6788b21f1fa4296611afb2c7",
        "0104 6465666768696a6b6c6d6e6f2f85137aa0b128f187dfd0f8bc8a4fbcda05cf3faa271032388c3b43abcf",
        "0105 6465666768696a6b6c6d6e6f15e2226dfadedd77abdfc4db76d80368a06d5be5912cb858ae4819b6a357",
        "0202 6465666768696a6b6c6d6e6f707172737475767778797a7b\
         1c1e952a9318178952a15f698a9639d65136c4335ae22d60a84d4e22d35db15a\
         bc8c384393ccf6666aebd3acf6e7eb71fd8d7de9f295f3532519ae822531",
    ];
    for rest in rests {
        let (kind, rest) = rest.split_once(' ').expect("two parts");
        let text = format!("4353{kind}00112233445566778899aabbccddeeff00000007{rest}");
        let ciphertext = hex::decode(text).expect("hexadecimal");
        assert_eq!(open_both(&keys, &ciphertext, b"row 7"), Ok(b"attack at dawn".to_vec()), "{kind}");
        assert_eq!(open_both(&keys, &ciphertext, b"row 8"), Err(Error::AuthenticationFailed), "{kind}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(48) })]

    #[test]
    fn what_was_sealed_opens(plaintext in vec(any::<u8>(), 0..400), associated_data in vec(any::<u8>(), 0..80)) {
        let keys = keys();
        for ciphertext in ciphertexts(&keys, &plaintext, &associated_data) {
            let prefix = Prefix::parse(&ciphertext).expect("a ciphertext");
            prop_assert_eq!((prefix.key_id, prefix.version), (KEY_ID, VERSION));
            prop_assert_eq!(open_both(&keys, &ciphertext, &associated_data), Ok(plaintext.clone()));
        }
    }

    #[test]
    fn other_associated_data_does_not_open(
        plaintext in vec(any::<u8>(), 0..40),
        associated_data in vec(any::<u8>(), 0..40),
        other in vec(any::<u8>(), 0..40),
    ) {
        prop_assume!(associated_data != other);
        let keys = keys();
        for ciphertext in ciphertexts(&keys, &plaintext, &associated_data) {
            prop_assert_eq!(open_both(&keys, &ciphertext, &other), Err(Error::AuthenticationFailed));
        }
    }

    #[test]
    fn truncated_and_extended_ciphertexts_do_not_open(plaintext in vec(any::<u8>(), 0..60)) {
        let keys = keys();
        for ciphertext in ciphertexts(&keys, &plaintext, b"") {
            for length in 0..ciphertext.len() {
                prop_assert!(open_both(&keys, &ciphertext[..length], b"").is_err(), "{} bytes", length);
            }
            let extended = [&ciphertext[..], &[0]].concat();
            prop_assert!(open_both(&keys, &extended, b"").is_err());
        }
    }

    #[test]
    fn random_bytes_neither_panic_nor_open(bytes in vec(any::<u8>(), 0..300), kind in (1u8..=3, 0u8..=6)) {
        let keys = keys();
        prop_assert!(matches!(open_both(&keys, &bytes, b""), Err(Error::Malformed(_))));
        // And those that look like ciphertexts at the front.
        let likely = [&b"CS"[..], &[kind.0, kind.1], &bytes].concat();
        let _ = Prefix::parse(&likely);
        prop_assert!(open_both(&keys, &likely, b"").is_err());
    }
}

proptest! {
    // Each case tries some five thousand flips.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(4) })]

    #[test]
    fn every_flipped_bit_is_found(
        plaintext in vec(any::<u8>(), 0..40),
        associated_data in vec(any::<u8>(), 0..10),
    ) {
        let keys = keys();
        for ciphertext in ciphertexts(&keys, &plaintext, &associated_data) {
            for bit in 0..ciphertext.len() * 8 {
                let mut altered = ciphertext.clone();
                altered[bit / 8] ^= 1 << (bit % 8);
                prop_assert!(open_both(&keys, &altered, &associated_data).is_err(), "bit {}", bit);
            }
        }
    }
}

#[test]
fn nothing_of_an_altered_message_is_left_in_the_buffer() {
    let keys = keys();
    let plaintext = [b'p'; 64];
    for mut ciphertext in ciphertexts(&keys, &plaintext, b"") {
        *ciphertext.last_mut().expect("not empty") ^= 1;
        assert_eq!(open_in_place(&keys, &mut ciphertext, b"").err(), Some(Error::AuthenticationFailed));
        assert!(!ciphertext.windows(4).any(|window| window == b"pppp"));
    }
}

#[test]
fn another_version_of_the_key_does_not_open() {
    let (keys, others) = (keys(), self::keys());
    for ciphertext in ciphertexts(&keys, b"plaintext", b"") {
        assert_eq!(open_both(&others, &ciphertext, b""), Err(Error::AuthenticationFailed));
    }
}

#[test]
fn every_message_has_its_own_nonce() {
    let keys = keys();
    for algorithm in Algorithm::ALL {
        let [a, b] = [(); 2].map(|()| seal(&keys, algorithm, KEY_ID, VERSION, b"", b"").expect("sealed"));
        let nonce = PREFIX_LEN..PREFIX_LEN + algorithm.nonce_len();
        assert_ne!(a[nonce.clone()], b[nonce], "{algorithm}");
        assert_eq!(a[..PREFIX_LEN], b[..PREFIX_LEN], "{algorithm}");
    }
}

#[test]
fn a_ciphertext_is_one_allocation_of_its_exact_size() {
    let keys = keys();
    for algorithm in Algorithm::ALL {
        let mut sealer = Sealer::new(algorithm, KEY_ID, VERSION, 100).expect("laid out");
        assert_eq!(sealer.plaintext_mut(), [0; 100]);
        sealer.plaintext_mut().fill(b'x');
        let start = sealer.buffer.as_ptr();
        let ciphertext = sealer.seal(&keys, b"").expect("sealed");
        assert_eq!(ciphertext.as_ptr(), start, "{algorithm}");
        assert_eq!(ciphertext.capacity(), ciphertext_len(algorithm, 100), "{algorithm}");
        assert_eq!(open_both(&keys, &ciphertext, b""), Ok(vec![b'x'; 100]), "{algorithm}");
    }
}
