//! The worked example of docs/keys.md: every value there is what the code computes.

use aws_lc_rs::hkdf::{HKDF_SHA256, Prk, Salt};

use super::derive::expand;
use super::xaes::XaesKey;
use super::*;
use crate::secret::Secret;

const DOCUMENT: &str = include_str!("../../../docs/keys.md");

/// The value in the row of the document's table that begins with `what`.
fn documented(what: &str) -> Vec<u8> {
    let row = DOCUMENT.lines().find_map(|line| line.strip_prefix("| ")?.strip_prefix(what));
    let row = row.unwrap_or_else(|| panic!("no row {what}"));
    let value = row.rsplit('`').nth(1).expect("a value in back quotes");
    hex::decode(value).expect("hexadecimal")
}

fn derived(prk: &Prk, info: &[&[u8]], length: usize) -> Vec<u8> {
    let mut out = vec![0; length];
    expand(prk, info, &mut out).expect("derived");
    out
}

/// What `key` opens: nonce, ciphertext, tag.
fn open_xaes(key: &[u8], associated_data: &[u8], sealed: &[u8]) -> Vec<u8> {
    let key = XaesKey::new(key.try_into().expect("32 bytes")).expect("a key");
    let (nonce, sealed) = sealed.split_first_chunk().expect("a nonce");
    let mut sealed = sealed.to_vec();
    key.open_in_place(nonce, associated_data, &mut sealed).expect("opened").to_vec()
}

#[test]
fn the_key_encryption_key_and_the_wrap_are_as_documented() {
    let (master, salt) = (documented("master key"), documented("salt"));
    let prk = Salt::new(HKDF_SHA256, &salt).extract(&master);
    assert_eq!(derived(&prk, &[b"cryptoserve/v1/kek"], 32), documented("KEK"));
    let kek = Kek::derive(&Secret::new(master.try_into().expect("32 bytes")), &salt).expect("derived");
    assert_eq!(kek.id().0.to_vec(), documented("fingerprint"));
    assert_eq!(kek.check_value().to_vec(), documented("check value of the KEK"));

    let wrapped = documented("wrapped key");
    let key = open_xaes(&documented("KEK"), &documented("associated data of the wrap"), &wrapped);
    assert_eq!(key, documented("K "));
    let context = WrapContext {
        tenant: [0x11; 16],
        context: [0x22; 16],
        key_id: Prefix::parse(&documented("ciphertext, format 1")).expect("a prefix").key_id,
        version: KeyVersion::try_from(7).expect("not zero"),
        purpose: Purpose::ContextKey,
        key_type: KeyType::Symmetric256,
        origin: Origin::Imported,
        exportable: true,
    };
    assert_eq!(kek.unwrap_key(&context, &wrapped).expect("unwrapped").expose(), &key);
}

#[test]
fn derived_keys_and_ciphertexts_are_as_documented() {
    let key = ContextKey::from_bytes(&documented("K ")).expect("32 bytes");
    assert_eq!(key.check_value().expect("derived").to_vec(), documented("key check value of K"));
    let prk = Prk::new_less_safe(HKDF_SHA256, key.expose());
    let aead = derived(&prk, &[b"cryptoserve/v1/aead", &[0, 1]], 32);
    assert_eq!(aead, documented("`aead` key"));
    assert_eq!(derived(&prk, &[b"cryptoserve/v1/stream", &[0, 2]], 32), documented("`stream` key"));

    let (message, caller) = (documented("message"), documented("associated data: `row 7`"));
    assert_eq!((&message[..], &caller[..]), (&b"attack at dawn"[..], &b"row 7"[..]));
    let (one, two) = (documented("ciphertext, format 1"), documented("ciphertext, format 2"));
    assert_eq!(one[..24], documented("prefix of the message"));
    assert_eq!(two[..24], documented("prefix of the stream"));
    assert_eq!(open_xaes(&aead, &[&one[..24], &caller].concat(), &one[24..]), message);
    let keys = VersionKeys::new(&key);
    for ciphertext in [one, two] {
        assert_eq!(envelope::open(&keys, &ciphertext, &caller).expect("opened").to_vec(), message);
    }
}
