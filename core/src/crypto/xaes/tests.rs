//! The vectors of the C2SP specification.

use shake::{ExtendableOutput, Shake128, Shake128Reader, Update, XofReader};

use super::*;

const NONCE: &[u8; NONCE_LEN] = b"ABCDEFGHIJKLMNOPQRSTUVWX";

fn seal(key: &[u8; KEY_LEN], nonce: &[u8; NONCE_LEN], plaintext: &[u8], associated_data: &[u8]) -> Vec<u8> {
    let key = XaesKey::new(key).expect("a key");
    let mut sealed = [plaintext, &[0; aead::TAG_LEN]].concat();
    key.seal_in_place(nonce, associated_data, &mut sealed).expect("sealed");
    let mut opened = sealed.clone();
    assert_eq!(key.open_in_place(nonce, associated_data, &mut opened).expect("opened"), plaintext);
    sealed
}

#[test]
fn published_vector_with_the_high_bit_of_l_clear() {
    let sealed = seal(&[1; KEY_LEN], NONCE, b"XAES-256-GCM", b"");
    assert_eq!(hex::encode(sealed), "ce546ef63c9cc60765923609b33a9a1974e96e52daf2fcf7075e2271");
}

#[test]
fn published_vector_with_the_high_bit_of_l_set() {
    let sealed = seal(&[3; KEY_LEN], NONCE, b"XAES-256-GCM", b"c2sp.org/XAES-256-GCM");
    assert_eq!(hex::encode(sealed), "986ec1832593df5443a179437fd083bf3fdb41abd740a21f71eb769d");
}

#[test]
fn accumulated_hash_of_ten_thousand_random_messages() {
    fn array<const N: usize>(source: &mut Shake128Reader) -> [u8; N] {
        let mut bytes = [0; N];
        source.read(&mut bytes);
        bytes
    }
    fn vector(source: &mut Shake128Reader) -> Vec<u8> {
        let [length] = array(source);
        let mut bytes = vec![0; length.into()];
        source.read(&mut bytes);
        bytes
    }

    let mut source = Shake128::default().finalize_xof();
    let mut sink = Shake128::default();
    for _ in 0..10_000 {
        let key = array(&mut source);
        let nonce = array(&mut source);
        let plaintext = vector(&mut source);
        let associated_data = vector(&mut source);
        sink.update(&seal(&key, &nonce, &plaintext, &associated_data));
    }
    let hash: [u8; 32] = array(&mut sink.finalize_xof());
    assert_eq!(hex::encode(hash), "e6b9edf2df6cec60c8cbd864e2211b597fb69a529160cd040d56c0c210081939");
}

#[test]
fn nothing_shorter_than_a_tag_is_sealed_or_opened() {
    let key = XaesKey::new(&[1; KEY_LEN]).expect("a key");
    let mut short = [0; aead::TAG_LEN - 1];
    assert_eq!(key.seal_in_place(NONCE, b"", &mut short), Err(Error::Malformed("shorter than its tag")));
    assert_eq!(key.open_in_place(NONCE, b"", &mut short), Err(Error::Malformed("shorter than its tag")));
}

#[test]
fn debug_prints_nothing_of_the_key() {
    assert_eq!(format!("{:?}", XaesKey::new(&[7; KEY_LEN]).expect("a key")), "XaesKey(..)");
}
