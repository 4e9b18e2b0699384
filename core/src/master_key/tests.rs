use std::time::Duration;

use super::*;
use crate::clock::Timestamp;
use crate::contexts::default_contexts;
use crate::crypto::{KeyVersion, Purpose};
use crate::id::{ReplicaId, TenantId};
use crate::keyring::Keks;
use crate::secret::Secret;
use crate::store::sqlite::SqliteStore;
use crate::store::{Bootstrap, KekRecord, Replica, Store, Tenant};

const NOW: Timestamp = Timestamp::from_secs(1_793_534_400);

fn keks(first: u8, others: &[u8]) -> Keks {
    let others: Vec<_> = others.iter().map(|byte| Secret::new([*byte; 32])).collect();
    let salt = Secret::new(b"a salt of some length".to_vec());
    Keks::derive(&Secret::new([first; 32]), &others, &salt).unwrap()
}

fn id(byte: u8) -> KekId {
    keks(byte, &[]).current().id()
}

/// A deployment of nine keys under the master key 1.
async fn deployment() -> (SqliteStore, TenantId, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(directory.path().join("test.db")).await.unwrap();
    store.migrate().await.unwrap();
    let (keks, tenant) = (keks(1, &[]), TenantId::random());
    let kek = KekRecord { id: keks.current().id(), check_value: keks.current().check_value() };
    let contexts = default_contexts(tenant, keks.current(), NOW).unwrap();
    let tenant_row = Tenant { id: tenant, name: "default".parse().unwrap() };
    store.bootstrap(&Bootstrap { tenant: tenant_row, kek, contexts, at: NOW }).await.unwrap();
    (store, tenant, directory)
}

fn replica(instance: &str, kek_ids: Vec<KekId>) -> Replica {
    Replica { id: ReplicaId::random(), instance: instance.to_owned(), release: "0.1.0".to_owned(), kek_ids }
}

#[tokio::test]
async fn every_step_is_told_by_what_replicas_know() {
    let (store, _, _directory) = deployment().await;
    let here = keks(1, &[2]);
    let told = async || {
        let overview = Overview::read(&store, &here).await.unwrap();
        assert_eq!(overview.keys.iter().map(|key| key.id).collect::<Vec<_>>(), [id(1), id(2)]);
        let wrapped = overview.keys.iter().map(|key| (key.active, key.wrapped)).collect::<Vec<_>>();
        (wrapped, overview.next_step())
    };
    assert_eq!(told().await, (vec![(true, 9), (false, 0)], Some(NextStep::Start)));
    let mut a = replica("a", vec![id(1)]);
    store.register(&a, NOW).await.unwrap();
    let b = replica("b", vec![id(1), id(2)]);
    store.register(&b, NOW).await.unwrap();
    let make_known = NextStep::MakeKnown { key: id(2), replicas: vec!["a".to_owned()] };
    assert_eq!(told().await.1, Some(make_known), "b has it");
    store.remove_replica(b.id).await.unwrap();
    let prepared = KeyChange::prepare(&store, &here, id(2)).await;
    assert!(matches!(prepared, Err(Error::NotKnownEverywhere { replicas, .. }) if replicas[0].replica == a));
    a.kek_ids.push(id(2));
    store.heartbeat(&a).await.unwrap();
    assert_eq!(told().await.1, Some(NextStep::DropOthers));

    let change = KeyChange::prepare(&store, &here, id(2)).await.unwrap();
    assert!(change.activate(NOW).await.unwrap());
    assert_eq!(told().await, (vec![(false, 9), (true, 0)], None));
    assert!(change.activate(NOW).await.unwrap(), "an attempt that was not confirmed counts");
    let mut seen = Vec::new();
    let done = change.rewrap(|through| seen.push(through)).await.unwrap();
    assert_eq!((done.keys, done.failed, seen), (9, vec![], vec![9]));
    assert_eq!(change.left().await.unwrap(), 0);
    assert_eq!(told().await, (vec![(false, 0), (true, 9)], Some(NextStep::PutFirst)));
    let again = KeyChange::prepare(&store, &here, id(2)).await.unwrap();
    assert!(!again.activate(NOW).await.unwrap());
    assert_eq!(again.rewrap(|_| {}).await.unwrap().keys, 0);
    a.kek_ids = vec![id(2), id(1)];
    store.heartbeat(&a).await.unwrap();
    assert_eq!(told().await.1, Some(NextStep::DropOthers));
    a.kek_ids = vec![id(2)];
    store.heartbeat(&a).await.unwrap();
    let drop_here = NextStep::MakeKnown { key: id(1), replicas: vec!["a".to_owned()] };
    assert_eq!(told().await.1, Some(drop_here), "as it is known here still");
    let elsewhere = Overview::read(&store, &keks(2, &[])).await.unwrap();
    assert_eq!(elsewhere.next_step(), Some(NextStep::Nothing));
}

#[tokio::test]
async fn who_lacks_a_key_here_is_told_which() {
    let (store, _, _directory) = deployment().await;
    let unknown = KeyChange::prepare(&store, &keks(1, &[]), id(2)).await.err().unwrap();
    assert!(matches!(&unknown, Error::NotKnownHere { to, known } if *to == id(2) && *known == [id(1)]));
    assert!(matches!(KeyChange::prepare(&store, &keks(2, &[]), id(2)).await, Err(Error::MissingKek(_))));
    let overview = Overview::read(&store, &keks(3, &[])).await.unwrap();
    let here: Vec<_> = overview.keys.iter().map(|key| (key.id, key.known_here)).collect();
    assert_eq!(here, [(id(3), true), (id(1), false)]);

    let empty = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(empty.path().join("test.db")).await.unwrap();
    store.migrate().await.unwrap();
    assert!(matches!(Overview::read(&store, &keks(1, &[])).await, Err(Error::NotSetUp)));
    assert!(matches!(KeyChange::prepare(&store, &keks(1, &[]), id(1)).await, Err(Error::NotSetUp)));
}

#[tokio::test]
async fn a_key_that_is_not_what_its_row_says_is_left_as_it_is() {
    let (store, tenant, directory) = deployment().await;
    let sql = rusqlite::Connection::open(directory.path().join("test.db")).unwrap();
    let key = |name: &str| {
        let sql = "SELECT key_id FROM contexts WHERE name = ?1";
        rusqlite::Connection::open(directory.path().join("test.db"))
            .unwrap()
            .query_row(sql, [name], |row| row.get::<_, [u8; 16]>(0))
            .unwrap()
    };
    for (damage, name) in [
        ("UPDATE wrapped_keys SET check_value = zeroblob(16) WHERE key_id = ?1", "general"),
        ("UPDATE keys SET exportable = 1 WHERE id = ?1", "user-pii"),
        ("UPDATE wrapped_keys SET bytes = x'00' WHERE key_id = ?1", "health-data"),
    ] {
        assert_eq!(sql.execute(damage, [key(name)]).unwrap(), 1);
    }
    let here = keks(1, &[2]);
    let change = KeyChange::prepare(&store, &here, id(2)).await.unwrap();
    change.activate(NOW).await.unwrap();
    let done = change.rewrap(|_| {}).await.unwrap();
    let mut reasons: Vec<_> = done.failed.iter().map(|failed| failed.reason.as_str()).collect();
    reasons.sort_unstable();
    let expected = [
        "authentication failed",
        "malformed: wrapped key too short",
        "the key does not match its check value",
    ];
    assert_eq!((done.keys, reasons), (6, expected.to_vec()));
    assert!(done.failed.iter().all(|failed| failed.id.tenant == tenant));
    assert_eq!(change.left().await.unwrap(), 3);
    let failed = done.failed[0].id;
    let row = store.key_version(tenant, failed.key, KeyVersion::FIRST, Purpose::ContextKey).await.unwrap();
    assert_eq!(row.value.unwrap().wrapped.unwrap().kek_id, id(1));
}

#[tokio::test]
async fn a_change_that_another_one_overtakes_stops() {
    let (store, _, _directory) = deployment().await;
    let here = keks(1, &[2, 3]);
    let change = KeyChange::prepare(&store, &here, id(2)).await.unwrap();
    change.activate(NOW).await.unwrap();
    let other = KeyChange::prepare(&store, &here, id(3)).await.unwrap();
    other.activate(NOW).await.unwrap();
    assert!(matches!(change.rewrap(|_| {}).await, Err(Error::Superseded { to }) if to == id(2)));
    assert_eq!(other.rewrap(|_| {}).await.unwrap().keys, 9);
}

#[tokio::test]
async fn a_replica_that_is_silent_for_long_is_not_waited_for() {
    let (store, _, directory) = deployment().await;
    store.register(&replica("gone", vec![id(1)]), NOW).await.unwrap();
    let sql = rusqlite::Connection::open(directory.path().join("test.db")).unwrap();
    let micros = i64::try_from((REPLICA_TIMEOUT + Duration::from_secs(1)).as_micros()).unwrap();
    sql.execute("UPDATE replicas SET seen_at = seen_at - ?1", [micros]).unwrap();
    let here = keks(1, &[2]);
    assert!(Overview::read(&store, &here).await.unwrap().replicas.is_empty());
    assert!(KeyChange::prepare(&store, &here, id(2)).await.unwrap().activate(NOW).await.unwrap());
    // Another key of that fingerprint cannot be, so its row is damaged.
    sql.execute("UPDATE keks SET check_value = zeroblob(32) WHERE kek_id = ?1", [id(1).0]).unwrap();
    let damaged = KeyChange::prepare(&store, &here, id(1)).await;
    assert!(matches!(damaged, Err(Error::MissingKek(_))), "nine keys still need it");
}
