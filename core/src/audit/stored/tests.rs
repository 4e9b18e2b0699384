//! Vectors computed apart from this code, from what docs/audit.md says.

use super::*;
use crate::audit::{
    ChainKey, Checkpoint, CheckpointEntry, Cut, CutEntry, Ended, Head, Keys, Outcome, Record,
};
use crate::crypto::{HashAlgorithm, KeyVersion};

const T: Timestamp = Timestamp::from_micros(1_793_534_400_123_456);
const CHAIN: ChainId = ChainId::from_bytes([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]);
const FULL: &str = concat!(
    "01000102030405060708090a0b0c0d0e0f000000000000000000065f35c4cfd24100065f35c4cfd24000000009726570",
    "6c6963612d31000000057265712d31011111111111114111811111111111111101222222222222422282222222222222",
    "2200000007656e6372797074010000000767656e6572616c010000000000000003000000077375636365737300000000",
    "0000000200000000000000010000010000000000010000000b323030313a6462383a3a310100000002c3bc"
);
const BARE: &str = concat!(
    "01000102030405060708090a0b0c0d0e0f000000000000000100065f35c4cfd24100065f35c4cfd24100000009726570",
    "6c6963612d310000000000000000000961756469742e656e640000000000077375636365737300000000000000010000",
    "00000000000000000000000000000000"
);
const MACS: [&str; 2] = [
    "a1f90351426f9e12171dc3e7d30ea616290d27e1cff11357b564f4e194262b1e",
    "40fd784874b6a68d19ac30101a9d30a1c082bf3ef8a81c2e8ad504bb3b6a4aea",
];

fn bare() -> Record {
    Record {
        at: Timestamp::from_micros(T.as_micros() + 1),
        instance: "replica-1".into(),
        request_id: String::new(),
        tenant: None,
        identity: None,
        operation: "audit.end",
        context: None,
        key_version: None,
        outcome: Outcome::Success,
        items: 1,
        failed: 0,
        bytes: 0,
        address: None,
        detail: None,
    }
}

fn full() -> Record {
    Record {
        at: T,
        request_id: "req-1".into(),
        tenant: Some("11111111-1111-4111-8111-111111111111".parse().unwrap()),
        identity: Some("22222222-2222-4222-8222-222222222222".parse().unwrap()),
        operation: "encrypt",
        context: Some("general".parse().unwrap()),
        key_version: Some(KeyVersion::try_from(3).unwrap()),
        items: 2,
        failed: 1,
        bytes: 1 << 40,
        address: Some("2001:db8::1".parse().unwrap()),
        detail: Some("ü".into()),
        ..bare()
    }
}

/// A chain of two, with MACs.
fn chain() -> [StoredRecord; 2] {
    let key = ChainKey::derive(&[7; 32], CHAIN).unwrap();
    let mut records = [full(), bare()].map(StoredRecord::new);
    let mut previous = [0; 32];
    for (seq, record) in records.iter_mut().enumerate() {
        record.place(CHAIN, seq as u64, Timestamp::from_micros(T.as_micros() + 1));
        record.mac = key.mac(&previous, record);
        previous = record.mac;
    }
    records
}

#[test]
fn records_are_encoded_and_chained_as_documented() {
    let [full, bare] = chain();
    assert_eq!(hex::encode(full.encode()), FULL);
    assert_eq!(hex::encode(bare.encode()), BARE);
    assert_eq!([full.mac, bare.mac].map(hex::encode), MACS);
}

#[test]
fn what_is_signed_is_as_documented() {
    let keys = Keys::for_tests();
    let [full, bare] = chain().map(|record| Head { seq: record.seq, mac: record.mac });
    let entry = CheckpointEntry { chain: CHAIN, head: bare, state: Some(Ended::Clean) };
    let checkpoint = Checkpoint::sign(&keys, 1, T, [0; 32], &[entry]).unwrap();
    assert_eq!(
        hex::encode(checkpoint.hash()),
        "375d79dc04a2fc001524e856abe54618ff4b953b7009d142b95d25b1a555eb6f"
    );
    assert_eq!(checkpoint.entries(), Some(vec![entry]));
    checkpoint.verify(&keys).unwrap();
    let other = Checkpoint { number: 2, ..checkpoint.clone() };
    other.verify(&keys).unwrap_err();
    assert_eq!(Checkpoint { entries: vec![0; 56], ..checkpoint }.entries(), None);

    let entry = CutEntry { chain: CHAIN, last: full };
    let cut = Cut::sign(&keys, 1, T, Timestamp::from_micros(T.as_micros() - 1), &[entry]).unwrap();
    let hash = HashAlgorithm::Sha256.digest(&cut.signed_bytes());
    assert_eq!(hex::encode(hash), "18326947036d10acb5bae324c0dd5e94a1cd04eb1aa00e705990c874e897a537");
    assert_eq!(cut.entries(), Some(vec![entry]));
    cut.verify(&keys).unwrap();
    Cut { before: T, ..cut }.verify(&keys).unwrap_err();
}

#[test]
fn every_field_is_authenticated() {
    let [original, _] = chain();
    let mut encodings = vec![original.encode()];
    let changes: [fn(&mut StoredRecord); 17] = [
        |record| record.chain = ChainId::random(),
        |record| record.seq += 1,
        |record| record.recorded_at = T,
        |record| record.at = Timestamp::from_micros(0),
        |record| record.instance = "replica-2".into(),
        |record| record.request_id = "req-2".into(),
        |record| record.tenant = None,
        |record| record.identity = record.tenant.map(|tenant| IdentityId(tenant.0)),
        |record| record.operation = "decrypt".into(),
        |record| record.context = None,
        |record| record.key_version = Some(4),
        |record| record.outcome = "".into(),
        |record| record.items = 3,
        |record| record.failed = 0,
        |record| record.bytes = 0,
        |record| record.address = None,
        |record| record.detail = Some("u".into()),
    ];
    for change in changes {
        let mut record = original.clone();
        change(&mut record);
        encodings.push(record.encode());
    }
    let count = encodings.len();
    encodings.sort();
    encodings.dedup();
    assert_eq!(encodings.len(), count);
}

#[test]
fn what_no_column_holds_is_made_to_fit() {
    let odd = Record {
        at: Timestamp::from_micros(u64::MAX),
        request_id: "a\0b".into(),
        detail: Some("\0".into()),
        bytes: u64::MAX,
        ..full()
    };
    let mut stored = StoredRecord::new(odd);
    stored.place(CHAIN, 0, Timestamp::from_micros(0));
    assert_eq!((stored.request_id.as_str(), stored.detail.as_deref()), ("a\u{fffd}b", Some("\u{fffd}")));
    assert_eq!(stored.bytes, i64::MAX.unsigned_abs());
    assert_eq!(stored.at.as_micros(), LAST_TIME);
    assert_eq!(stored.recorded_at, stored.at, "never before it");
}
