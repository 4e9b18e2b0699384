use std::time::Duration;

use super::fixture::{Fixture, kek, later};
use crate::crypto::KekId;
use crate::id::ReplicaId;
use crate::store::{REPLICA_TIMEOUT, Replica, Store};

pub(super) fn replica(instance: &str) -> Replica {
    Replica {
        id: ReplicaId::random(),
        instance: instance.to_owned(),
        release: "0.1.0".to_owned(),
        kek_ids: vec![kek().id(), KekId([9; 8])],
    }
}

pub(super) async fn replicas_say_that_they_are_there(fixture: &impl Fixture) {
    let (store, _) = fixture.ready().await;
    let (a, b) = (replica("a"), replica("b"));
    let before = store.revision().await.expect("read");
    let registered = store.register(&b, later(0)).await.expect("registered");
    store.register(&a, later(0)).await.expect("registered");
    let seen = store.heartbeat(&b).await.expect("seen");
    assert!(seen >= registered, "by the database's clock");
    assert_eq!(store.revision().await.expect("read"), before, "nobody has to forget anything");

    let listed = store.replicas().await.expect("listed");
    assert_eq!(listed.iter().map(|record| record.replica.clone()).collect::<Vec<_>>(), [a, b]);
    assert!(listed[1].started_at <= registered && listed[1].seen_at == seen);
    assert!(listed.iter().all(super::super::ReplicaRecord::is_alive));
    fixture.silence(listed[0].replica.id, 60).await;
    let listed = store.replicas().await.expect("listed");
    assert!(listed[0].silent_for >= Duration::from_secs(60).max(REPLICA_TIMEOUT));
    assert!(!listed[0].is_alive() && listed[1].is_alive());
}

pub(super) async fn a_replica_that_ended_is_forgotten(fixture: &impl Fixture) {
    let (store, _) = fixture.ready().await;
    let (a, b) = (replica("a"), replica("b"));
    store.register(&a, later(0)).await.expect("registered");
    let seen = store.register(&b, later(0)).await.expect("registered");
    store.remove_replica(a.id).await.expect("removed");
    store.remove_replica(a.id).await.expect("already removed");
    let ids = async || {
        let listed = store.replicas().await.expect("listed");
        listed.iter().map(|record| record.replica.id).collect::<Vec<_>>()
    };
    assert_eq!(ids().await, [b.id]);
    store.prune_replicas(seen).await.expect("pruned");
    assert_eq!(ids().await, [b.id]);
    store.prune_replicas(seen + Duration::from_secs(1)).await.expect("pruned");
    assert_eq!(ids().await, []);
}
