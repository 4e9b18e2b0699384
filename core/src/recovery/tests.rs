use std::time::Duration;

use tempfile::TempDir;

use super::*;
use crate::app::set_up;
use crate::clock::ManualClock;
use crate::config::Migrate;
use crate::contexts::{NewContext, RotationPolicy, new_context};
use crate::crypto::{Algorithm, AlgorithmSet, ContextKey, KeyVersion};
use crate::name::Name;
use crate::secret::Secret;
use crate::store::sqlite::SqliteStore;

const START: Timestamp = Timestamp::from_secs(1_800_000_000);

/// A database that came from a backup made at [`START`], an hour ago.
struct Restored {
    _root: TempDir,
    store: SqliteStore,
    keks: Keks,
    deployment: Deployment,
    clock: Clock,
    hands: ManualClock,
}

impl Restored {
    async fn new() -> Self {
        let root = tempfile::tempdir().expect("a directory");
        let store = SqliteStore::open(root.path().join("cryptoserve.db")).await.expect("opened");
        let salt = Secret::new(b"the salt of the tests".to_vec());
        let keks = Keks::derive(&Secret::new([7; 32]), &[], &salt).expect("derived");
        let hands = ManualClock::new(START);
        let clock = Clock::Manual(hands.clone());
        let deployment = set_up(&store, &keks, Migrate::Auto, &clock).await.expect("set up");
        Self { _root: root, store, keks, deployment, clock, hands }
    }

    /// Of the default algorithm, or of one whose messages are counted.
    async fn context(&self, name: &str, algorithm: Algorithm) -> StoredVersion {
        self.create(name, algorithm, false).await
    }

    async fn create(&self, name: &str, algorithm: Algorithm, exportable: bool) -> StoredVersion {
        let new = NewContext {
            tenant: self.deployment.tenant.id,
            name: name.parse().expect("a name"),
            description: String::new(),
            algorithm,
            allowed_algorithms: AlgorithmSet::default(),
            exportable,
            rotation: RotationPolicy::default(),
        };
        let made = new_context(new, self.keks.current(), self.clock.now()).expect("made");
        self.store.create_context(&made).await.expect("created");
        made
    }

    fn an_hour_later(&self) -> Timestamp {
        self.hands.advance(Duration::from_secs(3600));
        self.clock.now()
    }

    async fn recover(&self, destructions: &[Destruction]) -> (Plan, Recovered) {
        let recovery = Recovery {
            store: &self.store,
            keks: &self.keks,
            deployment: &self.deployment,
            destructions,
            clock: &self.clock,
            instance: "test",
        };
        let plan = recovery.plan().await.expect("read");
        (plan, recovery.run().await.expect("done"))
    }

    async fn states(&self, key: &StoredVersion) -> Vec<(u32, KeyState, bool)> {
        let versions =
            self.store.key_versions(key.context.tenant, key.key.id, None, 100).await.expect("listed");
        let one = |status: &crate::contexts::KeyVersionStatus| {
            (status.record.version.get(), status.record.state, status.kek_id.is_some())
        };
        versions.iter().map(one).collect()
    }
}

fn destruction(key: &StoredVersion, version: u32, at: Timestamp) -> Destruction {
    let version = KeyVersion::try_from(version).expect("not zero");
    Destruction { tenant_id: key.context.tenant, key_id: key.key.id, version, destroyed_at: at }
}

#[tokio::test]
async fn a_version_that_encrypted_in_the_backup_gets_a_successor_before_it_is_destroyed() {
    let restored = Restored::new().await;
    let plain = restored.context("plain", Algorithm::Xaes256Gcm).await;
    let counted = restored.context("counted", Algorithm::Aes256Gcm).await;
    let deleted = restored.context("deleted", Algorithm::Aes256Gcm).await;
    let tenant = deleted.context.tenant;
    let name: &Name = &deleted.context.name;
    restored.store.set_context_deleted(tenant, name, true, START).await.expect("deleted").expect("there");
    let destroyed_at = restored.an_hour_later();
    restored.an_hour_later();

    let all = [&plain, &counted, &deleted].map(|key| destruction(key, 1, destroyed_at));
    let (plan, done) = restored.recover(&all).await;
    assert_eq!((plan.again, plan.already, plan.unknown), (3, 0, 0));
    assert_eq!((done.rotated, done.destroyed), (3, 3));
    for key in [&plain, &counted, &deleted] {
        let expected = [(2, KeyState::Enabled, true), (1, KeyState::Destroyed, false)];
        assert_eq!(restored.states(key).await, expected, "{}", key.context.name);
    }

    // Version 2 was destroyed in the lost database too. This one is another, and encrypts.
    let lost = [&plain, &counted].map(|key| destruction(key, 2, destroyed_at));
    let (plan, done) = restored.recover(&[all.as_slice(), &lost].concat()).await;
    assert_eq!((plan.again, plan.already, plan.unknown), (0, 3, 2));
    assert_eq!((done.rotated, done.destroyed), (1, 0), "the counted one again, and no other");
    assert_eq!(restored.states(&plain).await[0], (2, KeyState::Enabled, true));
    assert_eq!(restored.states(&counted).await[1], (2, KeyState::DecryptOnly, true));
}

#[tokio::test]
async fn the_last_of_several_destructions_of_a_number_counts() {
    let restored = Restored::new().await;
    let before = START;
    restored.an_hour_later();
    let key = restored.context("plain", Algorithm::Xaes256Gcm).await;
    let after = restored.an_hour_later();
    let (plan, done) = restored.recover(&[destruction(&key, 1, after), destruction(&key, 1, before)]).await;
    assert_eq!((plan.again, done.destroyed), (1, 1));
    let unknown = Destruction { key_id: crate::crypto::KeyId([0; 16]), ..destruction(&key, 1, after) };
    let (plan, done) = restored.recover(&[unknown]).await;
    assert_eq!((plan.unknown, done.destroyed), (1, 0));
}

#[tokio::test]
async fn more_contexts_than_are_asked_for_at_once_are_all_rotated() {
    let restored = Restored::new().await;
    let mut keys = Vec::new();
    for number in 0..2 * ROTATIONS_AT_ONCE + 1 {
        keys.push(restored.context(&format!("counted-{number}"), Algorithm::Aes128Gcm).await);
    }
    let (plan, done) = restored.recover(&[]).await;
    assert_eq!(plan.outlook.counted_contexts, keys.len() as u64);
    assert_eq!(done.rotated, keys.len() as u64);
    for key in &keys {
        assert_eq!(restored.states(key).await[0], (2, KeyState::Enabled, true));
    }
    assert_eq!(restored.store.revision().await.expect("read").0, done.revision.0 + done.rotated);
}

#[tokio::test]
async fn what_is_or_was_known_elsewhere_is_rotated_like_the_rest() {
    let restored = Restored::new().await;
    let exportable = restored.create("exportable", Algorithm::Aes256Gcm, true).await;
    let mut imported = Vec::new();
    for (name, exportable) in [("imported", false), ("both", true)] {
        let made = restored.create(name, Algorithm::ChaCha20Poly1305, exportable).await;
        let key = ContextKey::generate().expect("made");
        let rotation = next_version(&made, Some(&key), restored.keks.current(), START).expect("made");
        assert!(restored.store.rotate(&rotation).await.expect("asked"));
        imported.push(rotation.next);
    }
    let (plan, done) = restored.recover(&[]).await;
    assert_eq!((plan.outlook.counted_contexts, done.rotated), (3, 3));
    for key in [&exportable, &imported[0], &imported[1]] {
        let next = key.version.version.next().expect("few");
        assert_eq!(
            restored.states(key).await[0],
            (next.get(), KeyState::Enabled, true),
            "{}",
            key.context.name
        );
        let reserved = restored
            .store
            .reserve_messages(key.context.tenant, key.key.id, next, 1, MESSAGES_EXHAUSTED)
            .await;
        assert_eq!(reserved.expect("asked"), Some(1), "it encrypts");
    }
}
