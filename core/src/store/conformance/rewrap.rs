use std::sync::Arc;

use futures_util::future::join_all;
use tokio::sync::Barrier;

use super::fixture::{Fixture, context, kek, later};
use super::replicas::replica;
use crate::contexts::{Key, KeyState, KeyVersionRecord, StoredVersion, WrappedKey, next_version};
use crate::crypto::{Kek, KekId, KeyId, KeyType, KeyVersion, Origin, Purpose};
use crate::secret::Secret;
use crate::store::{
    Change, Error, KekRecord, Replica, Rewrap, StateChange, Store, VersionId, WrappedKeys, WrappedVersion,
};

fn new_kek() -> Kek {
    Kek::derive(&Secret::new([8; 32]), b"the salt of the tests").expect("derived")
}

fn record(kek: &Kek) -> KekRecord {
    KekRecord { id: kek.id(), check_value: kek.check_value() }
}

fn knowing(kek_ids: &[KekId]) -> Replica {
    Replica { kek_ids: kek_ids.to_vec(), ..replica("a") }
}

async fn activate(store: &impl Store, kek: &Kek) -> bool {
    store.activate_kek(&record(kek), later(1)).await.expect("asked")
}

async fn active(store: &impl Store) -> KekId {
    store.deployment().await.expect("read").expect("set up").active_kek
}

/// Every version that is not wrapped under `kek`, in pages.
async fn others(store: &impl Store, kek: &Kek, limit: u32) -> Vec<WrappedVersion> {
    let mut all: Vec<WrappedVersion> = Vec::new();
    loop {
        let after = all.last().map(|last| last.id);
        let page = store.wrapped_under_others(kek.id(), after, limit).await.expect("listed");
        assert!(page.len() <= limit as usize);
        if page.is_empty() {
            return all;
        }
        all.extend(page);
    }
}

fn rewrap(found: &WrappedVersion, from: &Kek, to: &Kek) -> Rewrap {
    let stored = found.stored.as_ref().expect("well");
    let wrapped = stored.wrapped.clone().expect("has bytes");
    Rewrap { id: found.id, from: wrapped, to: stored.rewrap(from, to).expect("rewrapped") }
}

fn id(key: &StoredVersion) -> VersionId {
    VersionId { tenant: key.context.tenant, key: key.key.id, version: key.version.version }
}

async fn read(store: &impl Store, id: VersionId, purpose: Purpose) -> StoredVersion {
    let loaded = store.key_version(id.tenant, id.key, id.version, purpose).await.expect("read");
    loaded.value.expect("there")
}

pub(super) async fn a_kek_becomes_active_once_every_replica_alive_knows_it(fixture: &impl Fixture) {
    let (store, _) = fixture.ready().await;
    let (old, new) = (kek(), new_kek());
    let (knows, lacks) = (knowing(&[old.id(), new.id()]), knowing(&[old.id(), KekId([0xab; 8])]));
    store.register(&knows, later(0)).await.expect("registered");
    store.register(&lacks, later(0)).await.expect("registered");
    let before = store.revision().await.expect("read");
    assert!(!activate(&store, &new).await, "one that is alive lacks it");
    assert_eq!((active(&store).await, store.revision().await.expect("read")), (old.id(), before));
    let unknown = "SELECT count(*) FROM keks";
    assert_eq!(fixture.count(unknown).await, 1, "nothing is left of it");

    store.heartbeat(&lacks).await.expect("seen");
    fixture.silence(lacks.id, 8).await;
    assert!(!activate(&store, &new).await, "it is still taken for alive");
    fixture.silence(lacks.id, 13).await;
    assert!(activate(&store, &new).await, "it is taken for dead");
    assert_eq!(active(&store).await, new.id());
    let changes = store.changes_since(before).await.expect("read");
    assert_eq!(changes.changes, Some(vec![Change::Deployment]));
    assert!(!activate(&store, &new).await, "it is already");
    assert_eq!(store.revision().await.expect("read").0, before.0 + 1);

    // The way back is the same.
    assert!(activate(&store, &old).await);
    assert_eq!(fixture.count(unknown).await, 2);
    let fake = KekRecord { check_value: [1; 32], ..record(&new) };
    assert!(!store.activate_kek(&fake, later(1)).await.expect("asked"), "another key of that fingerprint");
}

/// However they come together, no replica serves that lacks the active key: it is seen, or it sees.
pub(super) async fn a_change_of_the_kek_and_a_start_never_miss_each_other(fixture: &impl Fixture) {
    let (store, _) = fixture.ready().await;
    let second = fixture.open().await;
    let (old, new) = (kek(), new_kek());
    for round in 0..60 {
        let barrier = Arc::new(Barrier::new(2));
        let starting = knowing(&[old.id()]);
        let start = {
            let (store, starting, barrier) = (second.clone(), starting.clone(), barrier.clone());
            tokio::spawn(async move {
                barrier.wait().await;
                if round % 3 == 0 {
                    tokio::task::yield_now().await;
                }
                store.register(&starting, later(0)).await.expect("registered");
                active(&store).await
            })
        };
        let change = {
            let (store, new, barrier) = (store.clone(), record(&new), barrier.clone());
            tokio::spawn(async move {
                barrier.wait().await;
                store.activate_kek(&new, later(1)).await.expect("asked")
            })
        };
        let (seen, changed) = (start.await.expect("ran"), change.await.expect("ran"));
        assert_eq!(seen == old.id(), !changed, "round {round}: started on a key that was then changed");
        store.remove_replica(starting.id).await.expect("removed");
        if changed {
            assert!(activate(&store, &old).await, "back");
        }
    }
}

pub(super) async fn wraps_are_exchanged_and_keys_stay(fixture: &impl Fixture) {
    let (store, tenant) = fixture.ready().await;
    let (old, new) = (kek(), new_kek());
    // Three versions of one key, and keys for every other purpose, which no handler makes yet.
    let first = context(tenant, "one");
    store.create_context(&first).await.expect("created");
    for at in 2..4 {
        let current = store.enabled_version(tenant, &first.context.name).await.expect("read");
        let next = next_version(&current.value.expect("there"), None, &old, later(at)).expect("made");
        assert!(store.rotate(&next).await.expect("asked"));
    }
    let mut made = Vec::new();
    for purpose in [Purpose::Signing, Purpose::AuditChain, Purpose::Transport] {
        made.push(other_purpose(fixture, &first, purpose).await);
    }
    assert!(matches!(store.rewrap(new.id(), &[]).await, Err(Error::KekNotActive)));
    assert_eq!(store.count_wrapped().await.expect("counted"), [(old.id(), 15)]);
    assert!(activate(&store, &new).await);

    let before = store.revision().await.expect("read");
    let found = others(&store, &new, 4).await;
    assert_eq!(found.len(), 15);
    let rewraps: Vec<_> = found.iter().map(|found| rewrap(found, &old, &new)).collect();
    assert_eq!(store.rewrap(new.id(), &rewraps[..7]).await.expect("done"), 7);
    assert_eq!(others(&store, &new, 4).await.len(), 8);
    let mut counts = [(old.id(), 8), (new.id(), 7)];
    counts.sort_by_key(|(id, _)| id.0);
    assert_eq!(store.count_wrapped().await.expect("counted"), counts);
    // Done again, or by two, it happens once.
    assert_eq!(store.rewrap(new.id(), &rewraps).await.expect("done"), 8);
    assert_eq!(store.rewrap(new.id(), &rewraps).await.expect("done"), 0);
    assert_eq!(others(&store, &new, 4).await.len(), 0);
    assert_eq!(store.revision().await.expect("read"), before, "nobody has to forget anything");
    assert_eq!(store.deployment().await.expect("read").expect("set up").keks, [record(&new)]);

    for found in &found {
        let stored = found.stored.as_ref().expect("well");
        let now = read(&store, found.id, stored.key.purpose).await;
        let bytes = |version: &StoredVersion, kek: &Kek| {
            let wrapped = version.wrapped.as_ref().expect("has bytes");
            kek.unwrap_key(&version.wrap_context(), &wrapped.bytes).expect("unwrapped").expose().clone()
        };
        assert_eq!(bytes(stored, &old), bytes(&now, &new), "the same key");
        let check = |version: &StoredVersion| version.wrapped.as_ref().map(|wrapped| wrapped.check_value);
        assert_eq!(check(stored), check(&now));
    }
    for key in made {
        assert_eq!(read(&store, id(&key), key.key.purpose).await.wrapped.map(|w| w.kek_id), Some(new.id()));
    }
}

pub(super) async fn what_changed_meanwhile_is_not_overwritten(fixture: &impl Fixture) {
    let (store, tenant) = fixture.ready().await;
    let (old, new) = (kek(), new_kek());
    let (doomed, rotated) = (context(tenant, "doomed"), context(tenant, "rotated"));
    for key in [&doomed, &rotated] {
        store.create_context(key).await.expect("created");
        let next = next_version(key, None, &old, later(2)).expect("made");
        assert!(store.rotate(&next).await.expect("asked"));
    }
    assert!(activate(&store, &new).await);
    let found = others(&store, &new, 100).await;
    let of = |key: &StoredVersion| -> Vec<_> {
        let versions = found.iter().filter(|found| found.id.key == key.key.id);
        versions.map(|found| rewrap(found, &old, &new)).collect()
    };

    // A version is destroyed and another one made after they were listed.
    let version = read(&store, id(&doomed), Purpose::ContextKey).await;
    for (from, to, destroy_at) in [
        (KeyState::DecryptOnly, KeyState::Disabled, None),
        (KeyState::Disabled, KeyState::Scheduled, Some(later(3))),
    ] {
        let change = StateChange { from, to, destroy_at };
        store.set_key_state(&version, &change, later(3)).await.expect("asked").expect("changed");
    }
    assert!(store.destroy(&version, later(4)).await.expect("asked"));
    assert_eq!(store.rewrap(new.id(), &of(&doomed)).await.expect("done"), 1);
    let destroyed = read(&store, id(&doomed), Purpose::ContextKey).await;
    assert_eq!((destroyed.version.state, destroyed.wrapped), (KeyState::Destroyed, None));

    let current = store.enabled_version(tenant, &rotated.context.name).await.expect("read");
    let current = current.value.expect("there");
    let stale = next_version(&current, None, &old, later(5)).expect("made");
    assert!(!store.rotate(&stale).await.expect("asked"), "under the old key nothing is made any more");
    let next = next_version(&current, None, &new, later(5)).expect("made");
    assert!(store.rotate(&next).await.expect("asked"));
    assert_eq!(store.rewrap(new.id(), &of(&rotated)).await.expect("done"), 2);
    let third = read(&store, id(&next.next), Purpose::ContextKey).await;
    assert_eq!(third.wrapped, next.next.wrapped, "was made under the new key and stays as made");

    // Other bytes than those that were read.
    let mut foreign = of(&rotated).swap_remove(0);
    foreign.from = WrappedKey { kek_id: new.id(), ..foreign.from };
    assert_eq!(store.rewrap(new.id(), &[foreign]).await.expect("done"), 0);
    // Whoever still works towards a key that is no longer the active one is told.
    assert!(activate(&store, &old).await);
    let rest: Vec<_> = found.iter().map(|found| rewrap(found, &old, &new)).collect();
    assert!(matches!(store.rewrap(new.id(), &rest).await, Err(Error::KekNotActive)));
}

pub(super) async fn of_two_that_rewrap_at_once_each_key_is_done_once(fixture: &impl Fixture) {
    let (store, tenant) = fixture.ready().await;
    let (old, new) = (kek(), new_kek());
    for i in 0..11 {
        store.create_context(&context(tenant, &format!("context-{i}"))).await.expect("created");
    }
    assert!(activate(&store, &new).await);
    let tasks = (0..4).map(|_| async {
        let store = fixture.open().await;
        let found = others(&store, &new, 3).await;
        let mut done = 0;
        for chunk in found.chunks(4) {
            let rewraps: Vec<_> = chunk.iter().map(|found| rewrap(found, &old, &new)).collect();
            done += store.rewrap(new.id(), &rewraps).await.expect("done");
        }
        done
    });
    assert_eq!(join_all(tasks).await.into_iter().sum::<u64>(), 20);
    assert!(others(&store, &new, 100).await.is_empty());
}

pub(super) async fn a_damaged_row_hides_no_other(fixture: &impl Fixture) {
    let (store, tenant) = fixture.ready().await;
    let damaged = context(tenant, "damaged");
    store.create_context(&damaged).await.expect("created");
    let damage = format!("UPDATE keys SET key_type = 77 WHERE id = {}", fixture.bytes(&damaged.key.id.0));
    fixture.tamper("keys", &damage).await.expect("damaged");
    let new = new_kek();
    assert!(activate(&store, &new).await);
    let found = others(&store, &new, 3).await;
    let (well, bad): (Vec<_>, Vec<_>) = found.iter().partition(|found| found.stored.is_ok());
    assert_eq!((well.len(), bad.len()), (9, 1));
    assert!(bad[0].id == id(&damaged) && matches!(bad[0].stored, Err(Error::Invalid(_))));
}

/// A key of `context`'s for another purpose, as rows.
async fn other_purpose(fixture: &impl Fixture, of: &StoredVersion, purpose: Purpose) -> StoredVersion {
    let key =
        Key { id: KeyId::random().expect("random"), purpose, key_type: KeyType::Ed25519, exportable: false };
    let version = KeyVersionRecord {
        version: KeyVersion::FIRST,
        state: KeyState::Enabled,
        origin: Origin::Generated,
        created_at: later(1),
    };
    let made = StoredVersion::wrap(of.context.clone(), key, version, b"any private key", [3; 16], &kek());
    let made = made.expect("wrapped");
    let wrapped = made.wrapped.as_ref().expect("just wrapped");
    let (tenant, id) = (fixture.uuid(made.context.tenant.0), fixture.bytes(&key.id.0));
    let (like_tenant, like) = (&tenant, fixture.bytes(&of.key.id.0));
    for (table, insert) in [
        (
            "keys",
            format!(
                "INSERT INTO keys (tenant_id, id, context_id, purpose, key_type, origin, exportable, created_at) \
                 SELECT tenant_id, {id}, context_id, {}, {}, origin, exportable, created_at FROM keys \
                 WHERE tenant_id = {like_tenant} AND id = {like}",
                purpose.id(),
                key.key_type.id()
            ),
        ),
        (
            "key_versions",
            format!(
                "INSERT INTO key_versions (tenant_id, key_id, version, state, created_at, state_changed_at) \
                 SELECT tenant_id, {id}, 1, 1, created_at, created_at FROM keys WHERE id = {id}"
            ),
        ),
        (
            "wrapped_keys",
            format!(
                "INSERT INTO wrapped_keys (tenant_id, key_id, version, kek_id, bytes, check_value) \
                 VALUES ({tenant}, {id}, 1, {}, {}, {})",
                fixture.bytes(&wrapped.kek_id.0),
                fixture.bytes(&wrapped.bytes),
                fixture.bytes(&wrapped.check_value)
            ),
        ),
    ] {
        fixture.tamper(table, &insert).await.expect("inserted");
    }
    made
}
