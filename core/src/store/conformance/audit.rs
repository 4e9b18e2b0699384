use std::sync::Arc;

use futures_util::future::join_all;

use super::fixture::{Fixture, NOW, kek, name};
use crate::audit::{
    After, Append, Appended, ChainWriter, DatabaseTime, Ended, Head, Keys, KeysRow, Opening, Outcome, Record,
    StoredRecord,
};
use crate::clock::{Clock, ManualClock};
use crate::crypto::{KeyVersion, Purpose};
use crate::id::{ChainId, IdentityId, ReplicaId, TenantId};
use crate::keyring::Keks;
use crate::secret::Secret;
use crate::store::{AuditTrail, Store, WrappedKeys};

pub(in crate::store) fn record(request_id: &str) -> Record {
    Record {
        at: NOW,
        instance: "replica-1".into(),
        request_id: request_id.into(),
        tenant: None,
        identity: None,
        operation: "encrypt",
        context: None,
        key_version: None,
        outcome: Outcome::Failure("unauthenticated"),
        items: 1,
        failed: 1,
        bytes: 0,
        address: None,
        detail: None,
    }
}

/// Those of the fixture's deployment.
fn keks() -> Keks {
    Keks::derive(&Secret::new([7; 32]), &[], &Secret::new(b"the salt of the tests".to_vec()))
        .expect("derived")
}

fn clock() -> Clock {
    Clock::Manual(ManualClock::new(NOW))
}

pub(super) async fn keys(store: &impl Store) -> Arc<Keys> {
    Arc::new(Keys::open(store, &keks(), &clock()).await.expect("audit keys"))
}

pub(in crate::store) async fn writer<S: Store>(store: &S, replica: ReplicaId) -> ChainWriter<S> {
    writer_at(store, replica, clock()).await
}

pub(super) async fn writer_at<S: Store>(store: &S, replica: ReplicaId, clock: Clock) -> ChainWriter<S> {
    let opening = Opening { instance: "replica-1".into(), replica };
    ChainWriter::new(store.clone(), keys(store).await, opening, DatabaseTime::new(clock))
}

/// The records of the chain that began last, verified.
async fn last_chain(store: &impl Store) -> Vec<StoredRecord> {
    let chain = store.audit_chains(None, 100).await.expect("read").pop().expect("a chain");
    let key = keys(store).await.chain_key(chain.id).expect("a key");
    let mut records: Vec<StoredRecord> = Vec::new();
    loop {
        let after = records.last().map(|last| (last.seq, last.recorded_at));
        let page = store.audit_records(chain.id, after, 400).await.expect("read");
        if page.is_empty() {
            break;
        }
        for record in page {
            let previous = records.last().map_or([0; 32], |last| last.mac);
            assert_eq!(record.seq, records.len() as u64);
            assert_eq!(record.mac, key.mac(&previous, &record), "{record:?}");
            records.push(record);
        }
    }
    let head = records.last().map(|last| Head { seq: last.seq, mac: last.mac });
    assert_eq!(head, Some(chain.head));
    records
}

pub(super) async fn records_are_read_as_they_were_written(fixture: &impl Fixture) {
    let (store, _) = fixture.ready().await;
    let full = Record {
        tenant: Some(TenantId::random()),
        identity: Some(IdentityId::random()),
        context: Some(name("general")),
        key_version: Some(KeyVersion::FIRST),
        outcome: Outcome::Success,
        items: u32::MAX,
        failed: 0,
        bytes: u64::MAX,
        address: Some("2001:db8::1".parse().expect("an address")),
        detail: Some("it's {\"odd\", \\ but} \u{1f600} and NUL \0 fine".into()),
        ..record("full")
    };
    let mut writer = writer(&store, ReplicaId::random()).await;
    let batch: Vec<_> = (0..1000).map(|i| record(&i.to_string())).chain([full.clone()]).collect();
    writer.append(batch).await.expect("appended");
    writer.append(vec![record("later")]).await.expect("appended");
    let open = store.audit_chains(None, 10).await.expect("read");
    assert_eq!((open.len(), open[0].ended, open[0].head.seq), (1, None, 1002));
    writer.end().await.expect("ended");
    let chain = store.audit_chain(open[0].id).await.expect("read").expect("there");
    assert_eq!((chain.ended, chain.head.seq, chain.first_seq), (Some(Ended::Clean), 1003, 0));
    assert!(chain.ended_at.is_some_and(|ended_at| ended_at >= chain.started_at));

    let records = last_chain(&store).await;
    assert_eq!(records.len(), 1004);
    assert_eq!((&*records[0].operation, &*records[1003].operation), ("audit.begin", "audit.end"));
    assert_eq!(records[1002].request_id, "later");
    let mut expected = StoredRecord::new(full);
    expected.place(chain.id, 1001, NOW);
    assert_eq!(records[1001], StoredRecord { mac: records[1001].mac, ..expected });
    assert_eq!(fixture.count("SELECT count(*) FROM audit").await, 0, "the table of before");
}

pub(super) async fn an_append_that_is_tried_again_is_written_once(fixture: &impl Fixture) {
    let (store, _) = fixture.ready().await;
    let (chain, opening) =
        (ChainId::random(), Opening { instance: "a".into(), replica: ReplicaId::random() });
    let keys = keys(&store).await;
    let key = keys.chain_key(chain).expect("a key");
    let mut last = None;
    let mut append = |after: After, ends| {
        let mut stored = StoredRecord::new(record("one"));
        stored.place(chain, last.map_or(0, |head: Head| head.seq + 1), NOW);
        stored.mac = key.mac(&last.map_or([0; 32], |head| head.mac), &stored);
        let head = Head { seq: stored.seq, mac: stored.mac };
        last = Some(head);
        (Append { chain, after, records: vec![stored], ends }, head)
    };
    let (first, head) = append(After::Nothing(opening), false);
    // Also while the first attempt is under way.
    let attempts = join_all((0..4).map(|_| store.append_audit(&first))).await;
    assert!(attempts.into_iter().all(|result| result.expect("written") == Appended::Written));
    let (second, head) = append(After::Head(head), false);
    let attempts = join_all((0..4).map(|_| store.append_audit(&second))).await;
    assert!(attempts.into_iter().all(|result| result.expect("written") == Appended::Written));
    assert_eq!(store.append_audit(&first).await.expect("told"), Appended::Refused, "long past");
    let (third, end) = append(After::Head(head), true);
    for _ in 0..2 {
        assert_eq!(store.append_audit(&third).await.expect("written"), Appended::Written);
    }
    let (fourth, _) = append(After::Head(end), false);
    assert_eq!(store.append_audit(&fourth).await.expect("told"), Appended::Refused, "it has ended");
    assert_eq!(fixture.count("SELECT count(*) FROM audit_records").await, 3);
    assert_eq!(last_chain(&store).await.len(), 3);
}

pub(super) async fn a_process_taken_for_dead_goes_on_in_another_chain(fixture: &impl Fixture) {
    let (store, _) = fixture.ready().await;
    let mut writer = writer(&store, ReplicaId::random()).await;
    writer.append(vec![record("before")]).await.expect("appended");
    fixture
        .tamper("audit_chains", "UPDATE audit_chains SET ended = 'crashed', ended_at = started_at")
        .await
        .expect("ended");
    writer.append(vec![record("after"), record("too")]).await.expect("appended");
    let chains = store.audit_chains(None, 10).await.expect("read");
    assert_eq!(
        chains.iter().map(|chain| (chain.ended, chain.head.seq)).collect::<Vec<_>>(),
        [(Some(Ended::Crashed), 1), (None, 2)]
    );
    let ids: Vec<_> = last_chain(&store).await.into_iter().map(|record| record.request_id).collect();
    assert_eq!(ids, ["", "after", "too"]);
    let [first, rest] = [None, Some((chains[0].started_at, chains[0].id))];
    assert_eq!(store.audit_chains(first, 1).await.expect("read"), chains[..1]);
    assert_eq!(store.audit_chains(rest, 9).await.expect("read"), chains[1..]);
}

pub(super) async fn the_audit_keys_are_made_once(fixture: &impl Fixture) {
    let (store, _) = fixture.ready().await;
    assert!(store.audit_keys().await.expect("read").is_empty());
    let stores = join_all((0..4).map(|_| fixture.open())).await;
    let opened = (0..8).map(|i| {
        let store = stores[i % stores.len()].clone();
        tokio::spawn(async move { keys(&store).await.fingerprint() })
    });
    let opened: Vec<_> = join_all(opened).await.into_iter().map(|result| result.expect("ran")).collect();
    assert!(opened.iter().all(|fingerprint| *fingerprint == opened[0]));
    let rows = store.audit_keys().await.expect("read");
    assert_eq!(rows.len(), 2);
    assert!(
        rows.iter()
            .all(|row| row.context.tenant == TenantId::SYSTEM && row.key.purpose == Purpose::AuditChain)
    );
    let again = KeysRow::generate(&kek(), NOW).expect("made");
    assert!(!store.create_audit_keys(&again).await.expect("told"));
    assert_eq!(store.tenants(None, 100).await.expect("read").len(), 1, "the system tenant is not listed");
    // Covered by a change of the master key.
    let counted: u64 = store.count_wrapped().await.expect("read").into_iter().map(|(_, keys)| keys).sum();
    assert_eq!(counted, 11);
}
