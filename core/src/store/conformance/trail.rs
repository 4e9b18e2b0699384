//! What keeps the audit trail in order.

use std::time::Duration;

use futures_util::future::join_all;

use super::audit::{keys, record, writer, writer_at};
use super::fixture::{Fixture, NOW};
use crate::audit::{Checkpoint, CutEntry, Ended, Head};
use crate::clock::{Clock, ManualClock, Timestamp};
use crate::crypto::KekId;
use crate::id::ReplicaId;
use crate::store::{AuditTrail, REPLICA_TIMEOUT, Replica, Store};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn replica() -> Replica {
    let (id, release) = (ReplicaId::random(), "0.1.0".to_owned());
    Replica { id, instance: "replica-1".to_owned(), release, kek_ids: vec![KekId([1; 8])] }
}

pub(super) async fn chains_of_silent_processes_are_ended_once(fixture: &impl Fixture) {
    let (store, _) = fixture.ready().await;
    let [alive, silent] = [replica(), replica()];
    let mut ids = Vec::new();
    for replica in [alive.id, silent.id, ReplicaId::random()] {
        let mut writer = writer(&store, replica).await;
        writer.append(vec![record("one")]).await.expect("appended");
        let known = store.audit_chains(None, 10).await.expect("read");
        ids.extend(known.iter().map(|chain| chain.id).find(|id| !ids.contains(id)));
    }
    for replica in [&alive, &silent] {
        store.register(replica, NOW).await.expect("registered");
    }
    assert!(store.end_crashed_audit_chains(REPLICA_TIMEOUT).await.expect("told").is_empty(), "all are new");

    let long_ago = format!("UPDATE audit_chains SET appended_at = appended_at - {}", fixture.seconds(21));
    fixture.tamper("audit_chains", &long_ago).await.expect("long ago");
    fixture.silence(silent.id, 21).await;
    let stores = join_all((0..4).map(|_| fixture.open())).await;
    let ended = join_all(stores.iter().map(|store| store.end_crashed_audit_chains(REPLICA_TIMEOUT))).await;
    let mut ended: Vec<_> = ended.into_iter().flat_map(|result| result.expect("told")).collect();
    ended.sort_by_key(|chain| ids.iter().position(|id| *id == chain.id));
    assert_eq!(ended.iter().map(|chain| chain.id).collect::<Vec<_>>(), ids[1..], "each once");
    assert!(ended.iter().all(|chain| chain.ended == Some(Ended::Crashed) && chain.head.seq == 1));

    assert!(store.unrecorded_audit_crashes(REPLICA_TIMEOUT).await.expect("read").is_empty(), "not yet");
    let unrecorded = store.unrecorded_audit_crashes(Duration::ZERO).await.expect("read");
    assert_eq!(unrecorded.len(), 2);
    store.set_audit_crash_recorded(unrecorded[0].id).await.expect("noted");
    assert_eq!(store.unrecorded_audit_crashes(Duration::ZERO).await.expect("read"), unrecorded[1..]);
}

pub(super) async fn of_four_that_take_a_checkpoint_one_does(fixture: &impl Fixture) {
    let (store, _) = fixture.ready().await;
    let keys = keys(&store).await;
    assert_eq!(Checkpoint::take(&store, &keys, Duration::ZERO).await.expect("nothing to say"), None);
    let [mut first, mut second] =
        [writer(&store, ReplicaId::random()).await, writer(&store, ReplicaId::random()).await];
    for writer in [&mut first, &mut second] {
        writer.append(vec![record("one")]).await.expect("appended");
    }
    second.end().await.expect("ended");

    let stores = join_all((0..4).map(|_| fixture.open())).await;
    let taken = join_all(stores.iter().map(|store| Checkpoint::take(store, &keys, DAY))).await;
    let taken: Vec<_> = taken.into_iter().filter_map(|result| result.expect("taken")).collect();
    assert_eq!(taken.len(), 1, "{taken:?}");
    assert_eq!(store.audit_checkpoints(0, 10).await.expect("read"), taken);
    taken[0].verify(&keys).expect("a good signature");
    let mut states: Vec<_> =
        taken[0].entries().expect("entries").iter().map(|entry| (entry.head.seq, entry.state)).collect();
    states.sort_by_key(|(seq, _)| *seq);
    assert_eq!(states, [(1, None), (2, Some(Ended::Clean))]);
    assert_eq!(store.unfinished_audit_chains().await.expect("read").len(), 1, "an end is stated once");

    assert_eq!(Checkpoint::take(&store, &keys, Duration::ZERO).await.expect("asked"), None, "nothing is new");
    first.end().await.expect("ended");
    assert_eq!(Checkpoint::take(&store, &keys, DAY).await.expect("asked"), None, "too soon");
    let next = Checkpoint::take(&store, &keys, Duration::ZERO).await.expect("taken").expect("there is news");
    assert_eq!((next.number, next.previous), (2, taken[0].hash()));
    assert_eq!(store.last_audit_checkpoint().await.expect("read"), Some(next.clone()));
    assert_eq!(store.audit_checkpoints(1, 10).await.expect("read"), [next]);
    assert_eq!(Checkpoint::take(&store, &keys, Duration::ZERO).await.expect("asked"), None, "all have ended");
}

pub(super) async fn appends_go_on_while_days_are_prepared(fixture: &impl Fixture) {
    let (store, _) = fixture.ready().await;
    let mut writer = writer(&store, ReplicaId::random()).await;
    writer.append(vec![record("one")]).await.expect("appended");
    let stores = join_all((0..3).map(|_| fixture.open())).await;
    let preparing = join_all(stores.iter().map(|store| store.prepare_audit_days(NOW - DAY, 8)));
    let appending = async {
        for _ in 0..40 {
            writer.append(vec![record("another")]).await.expect("appended");
        }
    };
    let (prepared, ()) = tokio::join!(preparing, appending);
    prepared.into_iter().for_each(|result| result.expect("prepared"));
    assert_eq!(fixture.count("SELECT count(*) FROM audit_records").await, 42);
}

pub(super) async fn retention_cuts_whole_days_and_says_so(fixture: &impl Fixture) {
    let (store, _) = fixture.ready().await;
    let keys = keys(&store).await;
    let midnight = Timestamp::from_secs(NOW.as_secs() / DAY.as_secs() * DAY.as_secs());
    let hands = ManualClock::new(NOW);
    let clock = Clock::Manual(hands.clone());
    let mut ended = writer_at(&store, ReplicaId::random(), clock.clone()).await;
    let mut open = writer_at(&store, ReplicaId::random(), clock).await;
    ended.append(vec![record("a")]).await.expect("appended");
    ended.end().await.expect("ended");
    // The first day comes to lie in its partition later, the second and third at once, the fourth never.
    for day in 0..4 {
        open.append(vec![record("a"), record("b")]).await.expect("appended");
        let stores = join_all((0..3).map(|_| fixture.open())).await;
        let prepared = join_all(stores.iter().map(|store| store.prepare_audit_days(midnight, 3))).await;
        prepared.into_iter().for_each(|result| result.expect("prepared"));
        assert_eq!(fixture.count("SELECT count(*) FROM audit_records").await, 3 + 1 + 2 * (day + 1));
        hands.advance(DAY);
    }
    assert_eq!(store.cut_audit(midnight, &keys).await.expect("nothing that old"), None);

    let second = midnight + DAY;
    let stores = join_all((0..4).map(|_| fixture.open())).await;
    let cuts = join_all(stores.iter().map(|store| store.cut_audit(second, &keys))).await;
    let cuts: Vec<_> = cuts.into_iter().filter_map(|result| result.expect("cut")).collect();
    assert_eq!(store.audit_cuts(0, 10).await.expect("read"), cuts);
    let [cut] = &cuts[..] else { panic!("{cuts:?}") };
    cut.verify(&keys).expect("a good signature");
    assert_eq!((cut.number, cut.before), (1, second));
    let entries = cut.entries().expect("entries");
    assert_eq!(entries.iter().map(|entry| entry.last.seq).collect::<Vec<_>>(), [2, 2]);
    let chains = store.audit_chains(None, 10).await.expect("read");
    assert!(chains.iter().all(|chain| chain.first_seq == 3));
    let open_chain = chains.iter().find(|chain| chain.ended.is_none()).expect("one is open");
    let last = entries.iter().find(|entry| entry.chain == open_chain.id).expect("it was cut").last;
    let rest = store.audit_records(open_chain.id, None, 100).await.expect("read");
    assert_eq!(rest.iter().map(|record| record.seq).collect::<Vec<_>>(), [3, 4, 5, 6, 7, 8]);
    let key = keys.chain_key(open_chain.id).expect("a key");
    assert_eq!(rest[0].mac, key.mac(&last.mac, &rest[0]), "what is left follows what was cut");

    open.append(vec![record("c")]).await.expect("appended");
    let cut = store.cut_audit(midnight + DAY * 4, &keys).await.expect("cut").expect("there is something");
    let entries = cut.entries().expect("entries");
    assert!(matches!(entries[..], [CutEntry { last: Head { seq: 8, .. }, .. }]), "{entries:?}");
    assert_eq!(fixture.count("SELECT count(*) FROM audit_records").await, 1);
    assert_eq!(store.cut_audit(midnight + DAY * 4, &keys).await.expect("nothing left"), None);
}
