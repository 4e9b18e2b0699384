use super::*;
use crate::contexts::KeyState;
use crate::crypto::{SignatureAlgorithm, SigningKey};
use crate::store::StateChange;

const AT: Timestamp = Timestamp::from_secs(1_793_534_401);

async fn make(keyring: &Keyring<SqliteStore>, store: &SqliteStore, tenant: TenantId) -> StoredVersion {
    let context = keyring.encryption_key(tenant, &name("general")).await.unwrap().unwrap().context().clone();
    let key = SigningKey::generate(SignatureAlgorithm::Ed25519).unwrap();
    let stored = StoredVersion::of_signing_key(context, &key, keyring.keks().current(), AT).unwrap();
    store.create_key(&stored, None).await.unwrap();
    stored
}

#[tokio::test]
async fn a_signing_key_is_there_before_any_poll_and_held_until_its_context_changes() {
    let Fixture { keyring, store, tenant, .. } = fixture().await;
    let stored = make(&keyring, &store, tenant).await;
    let loaded = keyring.signing_key(tenant, stored.key.id).await.unwrap().unwrap();
    assert_eq!(loaded.key().unwrap().algorithm(), SignatureAlgorithm::Ed25519);
    let again = keyring.signing_key(tenant, stored.key.id).await.unwrap().unwrap();
    assert!(Arc::ptr_eq(&loaded, &again));
    keyring.poll().await.unwrap();

    let held = keyring.signing_key(tenant, stored.key.id).await.unwrap().unwrap();
    store.set_context_deleted(tenant, &name("user-pii"), true, AT).await.unwrap();
    keyring.poll().await.unwrap();
    let kept = keyring.signing_key(tenant, stored.key.id).await.unwrap().unwrap();
    assert!(Arc::ptr_eq(&held, &kept), "another context changed");

    let schedule = StateChange { from: KeyState::Enabled, to: KeyState::Scheduled, destroy_at: Some(AT) };
    store.set_key_state(&stored, &schedule, AT).await.unwrap().unwrap();
    keyring.poll().await.unwrap();
    assert!(keyring.signing_key(tenant, stored.key.id).await.unwrap().unwrap().key().is_none());
}

#[tokio::test]
async fn a_signing_key_is_found_in_its_own_tenant_and_for_its_own_purpose_only() {
    let Fixture { keyring, store, tenant, .. } = fixture().await;
    let stored = make(&keyring, &store, tenant).await;
    let (id, context_key) = (stored.key.id, stored.context.key_id);
    assert!(keyring.signing_key(TenantId::random(), id).await.unwrap().is_none());
    assert!(keyring.signing_key(tenant, context_key).await.unwrap().is_none());
    assert!(keyring.key_version(tenant, id, KeyVersion::FIRST).await.unwrap().is_none());
    assert!(keyring.key_version(tenant, context_key, KeyVersion::FIRST).await.unwrap().is_some());
}

#[tokio::test]
async fn signatures_and_verifications_are_written_down() {
    let Fixture { keyring, store, tenant, .. } = fixture().await;
    let stored = make(&keyring, &store, tenant).await;
    let key = keyring.signing_key(tenant, stored.key.id).await.unwrap().unwrap();
    key.count_signature();
    key.count_signature();
    key.count_verification();
    keyring.record_usage().await.unwrap();
    let [listed] = &store.keys(tenant, Purpose::Signing, None, 10).await.unwrap()[..] else {
        panic!("one key");
    };
    assert_eq!((listed.status.encrypts, listed.status.decrypts), (2, 1));
}

#[tokio::test]
async fn a_signing_key_is_not_acted_on_when_the_view_is_stale() {
    let Fixture { keyring, store, tenant, hands, .. } = fixture().await;
    let stored = make(&keyring, &store, tenant).await;
    assert!(keyring.signing_key(tenant, stored.key.id).await.is_ok());
    hands.advance(STALENESS + Duration::from_micros(1));
    assert!(matches!(keyring.signing_key(tenant, stored.key.id).await, Err(Error::Stale(_))));
}

#[tokio::test]
async fn a_row_whose_bytes_are_of_another_key_does_not_unwrap() {
    let Fixture { keyring, store, tenant, .. } = fixture().await;
    let mut stored = make(&keyring, &store, tenant).await;
    let other = SigningKey::generate(SignatureAlgorithm::Ed25519).unwrap();
    let kek = keyring.keks().current();
    let pkcs8 = other.to_pkcs8().unwrap();
    let bytes = kek.wrap(&stored.wrap_context(), pkcs8.expose()).unwrap();
    stored.wrapped.as_mut().unwrap().bytes = bytes;
    assert_eq!(stored.unwrap_signing_key(kek).unwrap_err(), crypto::Error::WrongKey);
    stored.key.key_type = crypto::KeyType::Symmetric256;
    assert_eq!(stored.unwrap_signing_key(kek).unwrap_err(), crypto::Error::WrongKey);
}
