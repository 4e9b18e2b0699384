mod signing;

use std::sync::atomic::AtomicUsize;

use super::*;
use crate::auth::{ContextGrant, Identity, Role};
use crate::clock::{ManualClock, Timestamp};
use crate::contexts::{KeyState, NewContext, RotationPolicy, default_contexts, new_context, next_version};
use crate::crypto::{Algorithm, AlgorithmSet};
use crate::secret::Secret;
use crate::store::sqlite::SqliteStore;
use crate::store::{Bootstrap, KekRecord, Revision, StateChange, Tenant, TenantUpdate};

const STALENESS: Duration = Duration::from_secs(180);

struct Fixture {
    keyring: Keyring<SqliteStore>,
    store: SqliteStore,
    tenant: TenantId,
    hands: ManualClock,
    _directory: tempfile::TempDir,
}

fn keks(byte: u8) -> Keks {
    Keks::derive(&Secret::new([byte; 32]), &[], &Secret::new(b"a salt of some length".to_vec())).unwrap()
}

async fn fixture() -> Fixture {
    let directory = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(directory.path().join("test.db")).await.unwrap();
    store.migrate().await.unwrap();
    let (keks, at) = (keks(1), Timestamp::from_secs(1_793_534_400));
    let tenant = Tenant { id: TenantId::random(), name: name("default") };
    let kek = KekRecord { id: keks.current().id(), check_value: keks.current().check_value() };
    let contexts = default_contexts(tenant.id, keks.current(), at).unwrap();
    store.bootstrap(&Bootstrap { tenant: tenant.clone(), kek, contexts, at }).await.unwrap();
    let hands = ManualClock::new(at);
    let clock = Clock::Manual(hands.clone());
    let keyring = Keyring::open(store.clone(), keks, clock, STALENESS).await.unwrap();
    Fixture { keyring, store, tenant: tenant.id, hands, _directory: directory }
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn identity(tenant: TenantId) -> Identity {
    let new = Identity::new(tenant, name("app"), Role::Service, Timestamp::from_secs(0));
    Identity { contexts: ContextGrant::All, ..new }
}

#[tokio::test]
async fn an_entry_is_held_until_something_changes_it() {
    let Fixture { keyring, store, tenant, .. } = fixture().await;
    let (one, other) = (name("general"), name("user-pii"));
    let held = keyring.encryption_key(tenant, &one).await.unwrap().unwrap();
    let unrelated = keyring.encryption_key(tenant, &other).await.unwrap().unwrap();
    store.set_context_deleted(tenant, &one, true, Timestamp::from_secs(1)).await.unwrap();
    assert!(Arc::ptr_eq(&held, &keyring.encryption_key(tenant, &one).await.unwrap().unwrap()));

    keyring.poll().await.unwrap();
    assert!(keyring.encryption_key(tenant, &one).await.unwrap().is_none());
    let kept = keyring.encryption_key(tenant, &other).await.unwrap().unwrap();
    assert!(Arc::ptr_eq(&unrelated, &kept), "what did not change is kept");
}

#[tokio::test]
async fn what_is_unknown_is_remembered_until_something_changes() {
    let Fixture { keyring, store, tenant, .. } = fixture().await;
    let fresh = name("fresh");
    assert!(keyring.encryption_key(tenant, &fresh).await.unwrap().is_none());
    let new = NewContext {
        tenant,
        name: fresh.clone(),
        description: String::new(),
        algorithm: Algorithm::default(),
        allowed_algorithms: AlgorithmSet::default(),
        exportable: false,
        rotation: RotationPolicy::default(),
    };
    let new = new_context(new, keyring.keks().current(), Timestamp::from_secs(1)).unwrap();
    store.create_context(&new).await.unwrap();
    assert!(keyring.encryption_key(tenant, &fresh).await.unwrap().is_none());
    keyring.poll().await.unwrap();
    assert!(keyring.encryption_key(tenant, &fresh).await.unwrap().is_some());
}

#[tokio::test]
async fn a_tenant_is_known_by_name_until_it_changes() {
    let Fixture { keyring, store, tenant, .. } = fixture().await;
    let default = name("default");
    let known = keyring.tenant(&default).await.unwrap();
    assert_eq!(known, Some(KnownTenant { id: tenant, enabled: true }));
    let disable = TenantUpdate { enabled: Some(false), ..TenantUpdate::default() };
    store.update_tenant(tenant, &disable, Timestamp::from_secs(1)).await.unwrap();
    assert_eq!(keyring.tenant(&default).await.unwrap(), known, "no query for what is known");
    keyring.poll().await.unwrap();
    assert_eq!(keyring.tenant(&default).await.unwrap(), Some(KnownTenant { id: tenant, enabled: false }));
    store.create_identity(&identity(tenant)).await.unwrap();
    keyring.poll().await.unwrap();
    assert!(keyring.tenants.get(&default).is_some(), "what did not change is kept");
}

#[tokio::test]
async fn a_key_version_is_found_by_its_id_in_its_own_tenant_only() {
    let Fixture { keyring, tenant, .. } = fixture().await;
    let key = keyring.encryption_key(tenant, &name("general")).await.unwrap().unwrap();
    let (id, version) = (key.context().key_id, key.version());
    assert!(keyring.key_version(tenant, id, version).await.unwrap().is_some());
    assert!(keyring.key_version(TenantId::random(), id, version).await.unwrap().is_none());
    assert!(keyring.key_version(tenant, id, version.next().unwrap()).await.unwrap().is_none());
}

#[tokio::test]
async fn a_cold_entry_is_loaded_once_however_many_wait() {
    let Fixture { keyring, .. } = fixture().await;
    let loads = AtomicUsize::new(0);
    let cache = Cache::<u8, Option<u8>>::new(10);
    let load = || {
        let load = async {
            loads.fetch_add(1, Ordering::SeqCst);
            tokio::task::yield_now().await;
            Ok(Some(7))
        };
        keyring.load(&cache, &1, load, |_| {})
    };
    let all = futures_util::future::join_all((0..50).map(|_| load())).await;
    assert!(all.into_iter().all(|entry| entry.unwrap() == Some(7)));
    assert_eq!(loads.into_inner(), 1);
}

#[tokio::test]
async fn a_load_that_races_a_change_is_used_once_and_not_kept() {
    let Fixture { keyring, store, tenant, .. } = fixture().await;
    let revoked = identity(tenant);
    store.create_identity(&revoked).await.unwrap();
    keyring.poll().await.unwrap();
    let load = async {
        // Read before the revocation, and delivered after the poll that told of it.
        let read =
            store.identity_status(tenant, revoked.id, Timestamp::from_secs(1)).await?.value.map(Arc::new);
        store.delete_identity(tenant, revoked.id, Timestamp::from_secs(2)).await?;
        keyring.poll().await?;
        Ok(read)
    };
    let raced = keyring.load(&keyring.identities, &(tenant, revoked.id), load, |_| {}).await;
    assert!(raced.unwrap().is_some());
    assert!(
        keyring.identity(tenant, revoked.id).await.unwrap().is_none(),
        "the revoked identity is not resurrected"
    );
}

#[tokio::test]
async fn a_view_that_could_not_be_confirmed_is_not_acted_on() {
    let Fixture { keyring, tenant, hands, .. } = fixture().await;
    let general = name("general");
    assert!(keyring.encryption_key(tenant, &general).await.is_ok());
    hands.advance(STALENESS);
    assert!(keyring.encryption_key(tenant, &general).await.is_ok(), "the bound itself is still good");
    hands.advance(Duration::from_micros(1));
    assert!(keyring.is_stale());
    assert!(matches!(keyring.encryption_key(tenant, &general).await, Err(Error::Stale(_))));
    assert!(matches!(keyring.identity(tenant, IdentityId::random()).await, Err(Error::Stale(_))));
    keyring.poll().await.unwrap();
    assert!(keyring.encryption_key(tenant, &general).await.is_ok());
}

#[tokio::test]
async fn a_revision_that_goes_backwards_drops_everything() {
    let Fixture { keyring, tenant, .. } = fixture().await;
    let general = name("general");
    let held = keyring.encryption_key(tenant, &general).await.unwrap().unwrap();
    keyring.view().seen = Revision(1000);
    keyring.poll().await.unwrap();
    let loaded = keyring.encryption_key(tenant, &general).await.unwrap().unwrap();
    assert!(!Arc::ptr_eq(&held, &loaded));
    assert!(keyring.view().seen < Revision(1000));
}

#[tokio::test]
async fn an_answer_that_is_older_than_the_view_is_refused() {
    let Fixture { keyring, store, tenant, .. } = fixture().await;
    let (general, revoked) = (name("general"), identity(tenant));
    store.create_identity(&revoked).await.unwrap();
    let key = keyring.encryption_key(tenant, &name("user-pii")).await.unwrap().unwrap();
    // What another server would answer that was left behind by a failover.
    keyring.view().seen = Revision(1000);
    let unavailable = |error| matches!(error, Some(Error::Store(store::Error::Unavailable(_))));
    assert!(unavailable(keyring.encryption_key(tenant, &general).await.err()));
    assert!(unavailable(keyring.identity(tenant, revoked.id).await.err()));
    let version = keyring.key_version(tenant, key.context().key_id, key.version().next().unwrap()).await;
    assert!(unavailable(version.err()));
    assert!(keyring.encryption_key(tenant, &name("user-pii")).await.is_ok(), "what is known is still good");
    keyring.poll().await.unwrap();
    assert!(keyring.encryption_key(tenant, &general).await.is_ok(), "the view follows the database");
}

#[tokio::test]
async fn a_version_that_may_not_decrypt_has_no_keys_in_memory() {
    let Fixture { keyring, store, tenant, .. } = fixture().await;
    let stored = store.enabled_version(tenant, &name("general")).await.unwrap().value.unwrap();
    let next = next_version(&stored, None, keyring.keks().current(), Timestamp::from_secs(1)).unwrap();
    assert!(store.rotate(&next).await.unwrap());
    let disable = StateChange { from: KeyState::DecryptOnly, to: KeyState::Disabled, destroy_at: None };
    let disabled = store.set_key_state(&stored, &disable, Timestamp::from_secs(2)).await.unwrap();
    assert!(disabled.is_some());
    keyring.poll().await.unwrap();
    let (id, version) = (stored.key.id, stored.version.version);
    let loaded = keyring.key_version(tenant, id, version).await.unwrap().unwrap();
    assert!(loaded.decryption_keys().is_none() && loaded.encryption_keys().is_none());
    let enabled = keyring.encryption_key(tenant, &name("general")).await.unwrap().unwrap();
    assert_eq!(enabled.version(), next.next.version.version);
}

#[tokio::test]
async fn use_is_written_down_also_of_keys_that_were_forgotten() {
    let Fixture { keyring, store, tenant, .. } = fixture().await;
    let general = name("general");
    let key = keyring.encryption_key(tenant, &general).await.unwrap().unwrap();
    key.count_encrypts(2);
    drop(key);
    store.set_context_deleted(tenant, &general, true, Timestamp::from_secs(1)).await.unwrap();
    store.set_context_deleted(tenant, &general, false, Timestamp::from_secs(2)).await.unwrap();
    keyring.poll().await.unwrap();
    let key = keyring.encryption_key(tenant, &general).await.unwrap().unwrap();
    key.count_decrypts(1);
    keyring.record_usage().await.unwrap();
    let id = key.context().key_id;
    let status = store.key_versions(tenant, id, None, 1).await.unwrap()[0];
    assert_eq!((status.encrypts, status.decrypts), (2, 1));
    assert!(status.last_decrypt_at.is_some());
}

#[tokio::test]
async fn another_server_is_not_taken_for_the_same_by_its_revision() {
    let Fixture { keyring, tenant, .. } = fixture().await;
    let general = name("general");
    let held = keyring.encryption_key(tenant, &general).await.unwrap().unwrap();
    // As if what was seen had been lost, and as many other changes been made since.
    keyring.view().server_started_at = Timestamp::from_secs(1);
    keyring.poll().await.unwrap();
    let loaded = keyring.encryption_key(tenant, &general).await.unwrap().unwrap();
    assert!(!Arc::ptr_eq(&held, &loaded));
    keyring.poll().await.unwrap();
    assert!(Arc::ptr_eq(&loaded, &keyring.encryption_key(tenant, &general).await.unwrap().unwrap()));
}

#[tokio::test]
async fn a_key_of_another_master_key_is_named_by_its_fingerprint() {
    let Fixture { keyring, store, .. } = fixture().await;
    let clock = Clock::Manual(ManualClock::new(Timestamp::from_secs(0)));
    let Err(Error::MissingKek(missing)) = Keyring::open(store, keks(2), clock, STALENESS).await else {
        panic!("a deployment whose keys cannot be unwrapped");
    };
    assert!(missing.to_string().contains(&keyring.keks().current().id().to_string()));
}

#[tokio::test]
async fn what_changes_while_a_query_runs_does_not_make_its_answer_too_old() {
    let Fixture { keyring, store, tenant, .. } = fixture().await;
    let app = identity(tenant);
    store.create_identity(&app).await.unwrap();
    keyring.poll().await.unwrap();
    let slow = async {
        let loaded = store.identity(tenant, app.id).await;
        store.create_identity(&Identity { name: name("other"), ..identity(tenant) }).await.unwrap();
        keyring.poll().await.unwrap();
        loaded
    };
    assert_eq!(keyring.read(slow).await.unwrap(), Some(app.clone()));
    let left_behind = async { Ok(Loaded { revision: Revision(1), value: Some(app) }) };
    assert!(matches!(keyring.read(left_behind).await, Err(store::Error::Unavailable(_))));
}
