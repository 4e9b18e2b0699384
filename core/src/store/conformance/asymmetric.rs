use futures_util::future::join_all;

use super::fixture::{Fixture, context, kek, later, name, new};
use crate::contexts::{
    KNOWN_ELSEWHERE, KeyState, NewContext, StoredVersion, TRANSPORT_KEY_LIFETIME, new_context, next_version,
};
use crate::crypto::{
    ContextKey, Kek, KeyId, KeyVersion, Purpose, SignatureAlgorithm, SigningKey, TransportKey,
};
use crate::id::TenantId;
use crate::secret::Secret;
use crate::store::{Error, StateChange, Store};

const FIRST: KeyVersion = KeyVersion::FIRST;

fn signing(of: &StoredVersion, algorithm: SignatureAlgorithm) -> (StoredVersion, SigningKey) {
    let key = SigningKey::generate(algorithm).expect("made");
    let stored = StoredVersion::of_signing_key(of.context.clone(), &key, &kek(), later(5)).expect("wrapped");
    (stored, key)
}

async fn with_context(store: &impl Store, tenant: TenantId, text: &str) -> StoredVersion {
    let context = context(tenant, text);
    store.create_context(&context).await.expect("created");
    context
}

async fn read(store: &impl Store, key: &StoredVersion) -> StoredVersion {
    let (tenant, id, purpose) = (key.context.tenant, key.key.id, key.key.purpose);
    store.key_version(tenant, id, FIRST, purpose).await.expect("read").value.expect("there")
}

pub(super) async fn a_signing_key_is_stored_with_its_context(fixture: &impl Fixture) {
    let (store, tenant) = fixture.ready().await;
    let owner = with_context(&store, tenant, "owner").await;
    for algorithm in SignatureAlgorithm::ALL {
        let (stored, key) = signing(&owner, algorithm);
        let before = store.revision().await.expect("read");
        store.create_key(&stored, None).await.expect("created");
        assert_eq!(store.revision().await.expect("read").0, before.0 + 1);
        let back = read(&store, &stored).await;
        assert_eq!(back, stored);
        let unwrapped = back.unwrap_signing_key(&kek()).expect("unwrapped");
        assert_eq!(unwrapped.public_key(), key.public_key());
        for other in [Purpose::ContextKey, Purpose::AuditChain, Purpose::Transport] {
            let found = store.key_version(tenant, stored.key.id, FIRST, other).await.expect("read");
            assert_eq!(found.value, None, "{other:?}");
        }
    }
    // Neither of the context's own key was touched, nor is one of these taken for it.
    let enabled = store.enabled_version(tenant, &owner.context.name).await.expect("read").value;
    assert_eq!(enabled, Some(owner));
}

pub(super) async fn a_signing_key_under_another_kek_than_the_active_one_is_not_stored(
    fixture: &impl Fixture,
) {
    let (store, tenant) = fixture.ready().await;
    let owner = with_context(&store, tenant, "owner").await;
    let other = Kek::derive(&Secret::new([8; 32]), b"the salt of the tests").expect("derived");
    let key = SigningKey::generate(SignatureAlgorithm::Ed25519).expect("made");
    let late = StoredVersion::of_signing_key(owner.context, &key, &other, later(5)).expect("wrapped");
    assert!(matches!(store.create_key(&late, None).await, Err(Error::KekNotActive)));
    assert_eq!(store.keys(tenant, Purpose::Signing, None, 10).await.expect("listed"), []);
}

pub(super) async fn signing_keys_are_listed_by_id_in_pages(fixture: &impl Fixture) {
    let (store, tenant) = fixture.ready().await;
    let (one, other) =
        (with_context(&store, tenant, "one").await, with_context(&store, tenant, "other").await);
    let mut ids = Vec::new();
    for owner in [&one, &other, &one, &other, &one] {
        let (stored, _) = signing(owner, SignatureAlgorithm::EcdsaP256);
        store.create_key(&stored, None).await.expect("created");
        ids.push(stored.key.id);
    }
    ids.sort_unstable();
    let listed = async |after: Option<KeyId>, limit| -> Vec<KeyId> {
        let keys = store.keys(tenant, Purpose::Signing, after, limit).await.expect("listed");
        keys.iter().map(|key| key.key.id).collect()
    };
    assert_eq!(listed(None, 10).await, ids);
    assert_eq!(listed(None, 2).await, ids[..2]);
    assert_eq!(listed(Some(ids[1]), 2).await, ids[2..4]);
    assert_eq!(listed(Some(ids[4]), 2).await, []);
    let stranger = fixture.add_tenant().await;
    assert_eq!(store.keys(stranger, Purpose::Signing, None, 10).await.expect("listed"), []);
    assert_eq!(store.keys(tenant, Purpose::Transport, None, 10).await.expect("listed"), []);

    store.set_context_deleted(tenant, &name("one"), true, later(6)).await.expect("deleted");
    let left = store.keys(tenant, Purpose::Signing, None, 10).await.expect("listed");
    assert_eq!(left.len(), 2);
    assert!(left.iter().all(|key| key.context == other.context));
}

pub(super) async fn a_signing_key_is_destroyed_when_its_time_has_come(fixture: &impl Fixture) {
    let (store, tenant) = fixture.ready().await;
    let owner = with_context(&store, tenant, "owner").await;
    let (stored, _) = signing(&owner, SignatureAlgorithm::Ed25519);
    store.create_key(&stored, None).await.expect("created");
    let schedule = |seconds| StateChange {
        from: KeyState::Enabled,
        to: KeyState::Scheduled,
        destroy_at: Some(later(seconds)),
    };
    let restore = StateChange { from: KeyState::Scheduled, to: KeyState::Enabled, destroy_at: None };
    store.set_key_state(&stored, &schedule(100), later(10)).await.expect("asked").expect("scheduled");
    store.set_key_state(&stored, &restore, later(11)).await.expect("asked").expect("restored");
    assert_eq!(read(&store, &stored).await, stored, "as before");
    assert_eq!(store.destructions_due(later(1000), 10).await.expect("asked"), []);

    store.set_key_state(&stored, &schedule(100), later(12)).await.expect("asked").expect("scheduled");
    let [due] = &store.destructions_due(later(100), 10).await.expect("asked")[..] else { panic!("one") };
    assert!(store.destroy(due, later(100)).await.expect("asked"));
    let destroyed = read(&store, &stored).await;
    assert_eq!((destroyed.version.state, destroyed.wrapped), (KeyState::Destroyed, None));
    assert_eq!(store.set_key_state(&stored, &restore, later(101)).await.expect("asked"), None);
}

pub(super) async fn a_transport_key_brings_one_key_and_is_gone(fixture: &impl Fixture) {
    let (store, tenant) = fixture.ready().await;
    let owner = with_context(&store, tenant, "owner").await;
    let key = TransportKey::generate().expect("made");
    let wrap = || {
        let context = owner.context.clone();
        StoredVersion::of_transport_key(context, &key, &kek(), later(5)).expect("wrapped")
    };
    let ends = later(5) + TRANSPORT_KEY_LIFETIME;
    let transport = wrap();
    store.create_key(&transport, Some(ends)).await.expect("created");
    let back = read(&store, &transport).await;
    assert_eq!(back, transport);
    assert_eq!(back.unwrap_transport_key(&kek()).expect("unwrapped").public_key_pem(), key.public_key_pem());
    assert_eq!(store.destructions_due(later(1000), 10).await.expect("asked"), []);

    // Twelve imports at once through one transport key: one applies.
    let import = |transport: &StoredVersion, of: &StoredVersion, at| {
        let secret = ContextKey::generate().expect("made");
        let mut rotation = next_version(of, Some(&secret), &kek(), at).expect("made");
        rotation.transport_key = Some(transport.key.id);
        rotation
    };
    let tasks = (0..12).map(|_| {
        let (store, rotation) = (store.clone(), import(&transport, &owner, later(6)));
        tokio::spawn(async move { store.rotate(&rotation).await.expect("asked") })
    });
    let applied = join_all(tasks).await.into_iter().filter(|applied| *applied.as_ref().expect("ran")).count();
    assert_eq!(applied, 1);
    let spent = read(&store, &transport).await;
    assert_eq!((spent.version.state, spent.wrapped), (KeyState::Destroyed, None));
    let current = store.enabled_version(tenant, &name("owner")).await.expect("read").value.expect("enabled");
    assert_eq!(current.version.version.get(), 2);
    assert!(!store.rotate(&import(&transport, &current, later(7))).await.expect("asked"), "used already");

    // One that has expired brings nothing, and is destroyed as due.
    let expired = wrap();
    store.create_key(&expired, Some(ends)).await.expect("created");
    assert!(!store.rotate(&import(&expired, &current, ends)).await.expect("asked"));
    assert_eq!(store.destructions_due(ends, 10).await.expect("asked"), [expired]);
    let enabled = store.enabled_version(tenant, &name("owner")).await.expect("read").value;
    assert_eq!(enabled, Some(current));
}

pub(super) async fn what_was_exported_has_half_of_its_messages_left(fixture: &impl Fixture) {
    const WORN: u64 = 1 << 31;
    let (store, tenant) = fixture.ready().await;
    let made = new_context(NewContext { exportable: true, ..new(tenant, "open") }, &kek(), later(1));
    let first = made.expect("made");
    store.create_context(&first).await.expect("created");
    let reserved = async || {
        let versions = store.key_versions(tenant, first.key.id, None, 10).await.expect("listed");
        versions[0].messages_reserved
    };
    let before = store.revision().await.expect("read");
    for _ in 0..2 {
        assert!(store.mark_exported(&first).await.expect("asked"));
        assert_eq!(reserved().await, KNOWN_ELSEWHERE);
    }
    assert_eq!(store.revision().await.expect("read"), before);
    // Or it would be rotated at once.
    assert_eq!(store.rotations_due(later(2), WORN, 10).await.expect("asked"), []);
    let reserve = async |count| {
        store.reserve_messages(tenant, first.key.id, FIRST, count, 1 << 32).await.expect("asked")
    };
    assert_eq!(reserve(WORN / 2 - 1).await, Some(WORN + WORN / 2 - 1));
    assert_eq!(store.rotations_due(later(2), WORN, 10).await.expect("asked"), []);
    assert_eq!(reserve(1).await, Some(WORN + WORN / 2));
    assert_eq!(store.rotations_due(later(2), WORN, 10).await.expect("asked"), std::slice::from_ref(&first));
    assert!(store.mark_exported(&first).await.expect("asked"));
    assert_eq!(reserved().await, WORN + WORN / 2, "what is more stays more");

    let rotation = next_version(&first, None, &kek(), later(3)).expect("made");
    assert!(store.rotate(&rotation).await.expect("asked"));
    assert!(store.mark_exported(&first).await.expect("asked"), "it decrypts");
    let disable = StateChange { from: KeyState::DecryptOnly, to: KeyState::Disabled, destroy_at: None };
    store.set_key_state(&first, &disable, later(4)).await.expect("asked").expect("disabled");
    assert!(!store.mark_exported(&first).await.expect("asked"));
}
