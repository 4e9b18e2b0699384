use futures_util::future::join_all;

use super::fixture::{Fixture, context, kek, later, name, new};
use crate::contexts::{
    KeyState, KeyVersionStatus, Rotation, RotationPolicy, StoredVersion, new_context, next_version,
};
use crate::crypto::{ContextKey, Kek, KeyVersion, Origin, Purpose};
use crate::id::TenantId;
use crate::secret::Secret;
use crate::store::{ContextUpdate, Error, StateChange, Store, Usage};

fn number(n: u32) -> KeyVersion {
    KeyVersion::try_from(n).expect("not zero")
}

async fn enabled(store: &impl Store, key: &StoredVersion) -> StoredVersion {
    let loaded = store.enabled_version(key.context.tenant, &key.context.name).await.expect("read");
    loaded.value.expect("enabled")
}

async fn rotate(store: &impl Store, key: &StoredVersion, at: u64) -> Rotation {
    let rotation = next_version(&enabled(store, key).await, None, &kek(), later(at)).expect("made");
    assert!(store.rotate(&rotation).await.expect("asked"));
    rotation
}

async fn versions(store: &impl Store, key: &StoredVersion) -> Vec<KeyVersionStatus> {
    store.key_versions(key.context.tenant, key.key.id, None, 100).await.expect("listed")
}

async fn states(store: &impl Store, key: &StoredVersion) -> Vec<(u32, KeyState)> {
    let versions = versions(store, key).await;
    versions.iter().map(|status| (status.record.version.get(), status.record.state)).collect()
}

/// A context with three versions of its key.
async fn three(store: &impl Store, tenant: TenantId) -> StoredVersion {
    let first = context(tenant, "three");
    store.create_context(&first).await.expect("created");
    rotate(store, &first, 2).await;
    rotate(store, &first, 3).await;
    first
}

async fn set_state(
    store: &impl Store,
    key: &StoredVersion,
    version: u32,
    change: StateChange,
) -> Option<KeyVersionStatus> {
    let (tenant, id) = (key.context.tenant, key.key.id);
    let stored = store.key_version(tenant, id, number(version), Purpose::ContextKey).await.expect("read");
    store.set_key_state(&stored.value.expect("there"), &change, later(10)).await.expect("asked")
}

pub(super) async fn a_rotation_enables_the_next_version(fixture: &impl Fixture) {
    let (store, tenant) = fixture.ready().await;
    let first = context(tenant, "one");
    store.create_context(&first).await.expect("created");
    let before = store.revision().await.expect("read");
    let rotation = rotate(&store, &first, 2).await;
    assert_eq!(store.revision().await.expect("read").0, before.0 + 1);
    assert_eq!(enabled(&store, &first).await, rotation.next);
    let loaded = store.key_version(tenant, first.key.id, number(1), Purpose::ContextKey).await.expect("read");
    let old = loaded.value.expect("there");
    assert_eq!((old.version.state, &old.wrapped), (KeyState::DecryptOnly, &first.wrapped));
    assert_ne!(
        enabled(&store, &first).await.unwrap_key(&kek()).expect("unwrapped").expose(),
        old.unwrap_key(&kek()).expect("unwrapped").expose()
    );
    assert!(!store.rotate(&rotation).await.expect("asked"), "the first version is no longer enabled");

    let secret = ContextKey::generate().expect("generated");
    let current = enabled(&store, &first).await;
    let imported = next_version(&current, Some(&secret), &kek(), later(3)).expect("made");
    assert!(store.rotate(&imported).await.expect("asked"));
    let stored = enabled(&store, &first).await;
    assert_eq!(stored.unwrap_key(&kek()).expect("unwrapped").expose(), secret.expose());
    assert_eq!(stored.version.origin, Origin::Imported);
    assert_eq!(versions(&store, &first).await[0].messages_reserved, 1 << 31);
}

pub(super) async fn of_twelve_rotations_at_once_one_applies(fixture: &impl Fixture) {
    let (store, tenant) = fixture.ready().await;
    let first = context(tenant, "one");
    store.create_context(&first).await.expect("created");
    let second = fixture.open().await;
    let tasks = (0..12).map(|i| {
        let store = if i % 2 == 0 { store.clone() } else { second.clone() };
        let rotation = next_version(&first, None, &kek(), later(2)).expect("made");
        tokio::spawn(async move { store.rotate(&rotation).await.expect("asked") })
    });
    let applied = join_all(tasks).await.into_iter().filter(|applied| *applied.as_ref().expect("ran")).count();
    assert_eq!(applied, 1);
    let expected = [(2, KeyState::Enabled), (1, KeyState::DecryptOnly)];
    assert_eq!(states(&store, &first).await, expected);
}

pub(super) async fn keep_last_disables_older_versions(fixture: &impl Fixture) {
    let (store, tenant) = fixture.ready().await;
    let rotation = RotationPolicy { days: 0, keep_last: 2 };
    let made =
        new_context(crate::contexts::NewContext { rotation, ..new(tenant, "short") }, &kek(), later(1));
    let first = made.expect("made");
    store.create_context(&first).await.expect("created");
    rotate(&store, &first, 2).await;
    assert_eq!(states(&store, &first).await, [(2, KeyState::Enabled), (1, KeyState::DecryptOnly)]);
    rotate(&store, &first, 3).await;
    rotate(&store, &first, 4).await;
    let expected = [
        (4, KeyState::Enabled),
        (3, KeyState::DecryptOnly),
        (2, KeyState::Disabled),
        (1, KeyState::Disabled),
    ];
    assert_eq!(states(&store, &first).await, expected);
}

pub(super) async fn a_key_under_another_kek_than_the_active_one_is_not_stored(fixture: &impl Fixture) {
    let (store, tenant) = fixture.ready().await;
    let other = Kek::derive(&Secret::new([8; 32]), b"the salt of the tests").expect("derived");
    let made = new_context(new(tenant, "late"), &other, later(1)).expect("made");
    assert!(matches!(store.create_context(&made).await, Err(Error::KekNotActive)));
    assert_eq!(store.context(tenant, &name("late")).await.expect("read"), None, "nothing is left of it");
    let first = context(tenant, "one");
    store.create_context(&first).await.expect("created");
    let rotation = next_version(&first, None, &other, later(2)).expect("made");
    assert!(!store.rotate(&rotation).await.expect("asked"));
    assert_eq!(states(&store, &first).await, [(1, KeyState::Enabled)]);
}

pub(super) async fn states_change_one_way_only_from_where_they_are(fixture: &impl Fixture) {
    let (store, tenant) = fixture.ready().await;
    let key = three(&store, tenant).await;
    let disable = StateChange { from: KeyState::DecryptOnly, to: KeyState::Disabled, destroy_at: None };
    let changed = set_state(&store, &key, 1, disable).await.expect("changed");
    assert_eq!((changed.record.state, changed.state_changed_at), (KeyState::Disabled, later(10)));
    assert_eq!(set_state(&store, &key, 1, disable).await, None, "it is disabled already");

    let end = Some(later(1000));
    let schedule = StateChange { from: KeyState::Disabled, to: KeyState::Scheduled, destroy_at: end };
    assert_eq!(set_state(&store, &key, 1, schedule).await.expect("changed").destroy_at, end);
    let cancel = StateChange { from: KeyState::Scheduled, to: KeyState::Disabled, destroy_at: None };
    let cancelled = set_state(&store, &key, 1, cancel).await.expect("changed");
    assert_eq!((cancelled.record.state, cancelled.destroy_at), (KeyState::Disabled, None));
    let again = StateChange { from: KeyState::Disabled, to: KeyState::DecryptOnly, destroy_at: None };
    assert!(set_state(&store, &key, 1, again).await.is_some());
    assert_eq!(versions(&store, &key).await.len(), 3);
}

pub(super) async fn what_is_due_is_destroyed_with_its_bytes(fixture: &impl Fixture) {
    let (store, tenant) = fixture.ready().await;
    let key = three(&store, tenant).await;
    let disable = StateChange { from: KeyState::DecryptOnly, to: KeyState::Disabled, destroy_at: None };
    let schedule =
        StateChange { from: KeyState::Disabled, to: KeyState::Scheduled, destroy_at: Some(later(100)) };
    for version in [1, 2] {
        set_state(&store, &key, version, disable).await.expect("disabled");
        set_state(&store, &key, version, schedule).await.expect("scheduled");
    }
    assert_eq!(store.destructions_due(later(99), 10).await.expect("asked"), []);
    let due = store.destructions_due(later(100), 10).await.expect("asked");
    assert_eq!(due.len(), 2);
    assert_eq!(store.destructions_due(later(100), 1).await.expect("asked").len(), 1);

    let cancel = StateChange { from: KeyState::Scheduled, to: KeyState::Disabled, destroy_at: None };
    set_state(&store, &key, 2, cancel).await.expect("cancelled");
    for version in &due {
        let cancelled = version.version.version == number(2);
        assert_eq!(store.destroy(version, later(100)).await.expect("asked"), !cancelled);
    }
    let loaded = store.key_version(tenant, key.key.id, number(1), Purpose::ContextKey).await.expect("read");
    let destroyed = loaded.value.expect("the row stays");
    assert_eq!((destroyed.version.state, destroyed.wrapped), (KeyState::Destroyed, None));
    assert_eq!(versions(&store, &key).await[2].kek_id, None);
    assert_eq!(fixture.count("SELECT count(*) FROM wrapped_keys").await, 9 + 2);
    assert!(!store.destroy(&due[0], later(101)).await.expect("asked"), "once is enough");
}

pub(super) async fn one_clock_that_is_ahead_destroys_nothing(fixture: &impl Fixture) {
    let (store, tenant) = fixture.ready().await;
    let key = three(&store, tenant).await;
    let disable = StateChange { from: KeyState::DecryptOnly, to: KeyState::Disabled, destroy_at: None };
    set_state(&store, &key, 1, disable).await.expect("disabled");
    // By the database's clock that is a hundred years from now.
    let end = later(100 * 365 * 24 * 60 * 60);
    let schedule = StateChange { from: KeyState::Disabled, to: KeyState::Scheduled, destroy_at: Some(end) };
    set_state(&store, &key, 1, schedule).await.expect("scheduled");
    assert_eq!(store.destructions_due(end, 10).await.expect("asked"), []);
    let loaded = store.key_version(tenant, key.key.id, number(1), Purpose::ContextKey).await.expect("read");
    assert!(!store.destroy(&loaded.value.expect("there"), end).await.expect("asked"));
    let loaded = store.key_version(tenant, key.key.id, number(1), Purpose::ContextKey).await.expect("read");
    assert!(loaded.value.expect("there").wrapped.is_some(), "its bytes are still there");
}

pub(super) async fn what_is_due_for_rotation_is_found(fixture: &impl Fixture) {
    const WORN: u64 = 1 << 31;
    let (store, tenant) = fixture.ready().await;
    let rotation = RotationPolicy { days: 1, keep_last: 0 };
    let made =
        new_context(crate::contexts::NewContext { rotation, ..new(tenant, "daily") }, &kek(), later(0));
    let first = made.expect("made");
    store.create_context(&first).await.expect("created");
    const DAY: u64 = 24 * 60 * 60;
    assert_eq!(store.rotations_due(later(DAY - 1), WORN, 10).await.expect("asked"), []);
    assert_eq!(store.rotations_due(later(DAY), WORN, 10).await.expect("asked"), std::slice::from_ref(&first));
    rotate(&store, &first, DAY).await;
    assert_eq!(store.rotations_due(later(2 * DAY - 1), WORN, 10).await.expect("asked"), []);
    assert_eq!(store.rotations_due(later(2 * DAY), WORN, 10).await.expect("asked").len(), 1);
    store.set_context_deleted(tenant, &name("daily"), true, later(DAY)).await.expect("deleted");
    assert_eq!(store.rotations_due(later(2 * DAY), WORN, 10).await.expect("asked"), []);

    let worn = context(tenant, "worn");
    store.create_context(&worn).await.expect("created");
    let reserve = async |count| {
        store.reserve_messages(tenant, worn.key.id, number(1), count, 1 << 32).await.expect("asked")
    };
    assert_eq!(reserve(WORN - 1).await, Some(WORN - 1));
    assert_eq!(store.rotations_due(later(2), WORN, 10).await.expect("asked"), []);
    assert_eq!(reserve(1).await, Some(WORN));
    assert_eq!(store.rotations_due(later(2), WORN, 10).await.expect("asked").len(), 1);
    rotate(&store, &worn, 2).await;
    assert_eq!(store.rotations_due(later(2), WORN, 10).await.expect("asked"), []);

    // What was brought begins at half of what it may encrypt, and is nevertheless used.
    let secret = ContextKey::generate().expect("generated");
    let imported =
        next_version(&enabled(&store, &worn).await, Some(&secret), &kek(), later(3)).expect("made");
    assert!(store.rotate(&imported).await.expect("asked"));
    assert_eq!(store.rotations_due(later(4), WORN, 10).await.expect("asked"), []);
    let reserve = async |count| {
        store.reserve_messages(tenant, worn.key.id, number(3), count, 1 << 32).await.expect("asked")
    };
    assert_eq!(reserve(WORN / 2 - 1).await, Some(WORN + WORN / 2 - 1));
    assert_eq!(store.rotations_due(later(4), WORN, 10).await.expect("asked"), []);
    reserve(1).await.expect("reserved");
    assert_eq!(store.rotations_due(later(4), WORN, 10).await.expect("asked").len(), 1);
}

pub(super) async fn a_rotation_does_not_bring_back_a_schedule_that_was_ended(fixture: &impl Fixture) {
    let (store, tenant) = fixture.ready().await;
    let rotation = RotationPolicy { days: 1, keep_last: 0 };
    let made =
        new_context(crate::contexts::NewContext { rotation, ..new(tenant, "daily") }, &kek(), later(0));
    let first = made.expect("made");
    store.create_context(&first).await.expect("created");
    let rotation = next_version(&first, None, &kek(), later(2)).expect("made");
    let update = ContextUpdate { rotation_days: Some(0), ..ContextUpdate::default() };
    store.update_context(tenant, &name("daily"), &update, later(1)).await.expect("asked").expect("changed");
    assert!(store.rotate(&rotation).await.expect("asked"));
    assert_eq!(store.context(tenant, &name("daily")).await.expect("read").expect("there").rotate_at, None);
}

pub(super) async fn use_is_added_up(fixture: &impl Fixture) {
    let (store, tenant) = fixture.ready().await;
    let key = three(&store, tenant).await;
    let usage = |version, encrypts, decrypts| Usage {
        tenant,
        key: key.key.id,
        version: number(version),
        encrypts,
        decrypts,
    };
    let before = store.revision().await.expect("read");
    store.record_usage(&[usage(3, 5, 0), usage(1, 0, 2)], later(20)).await.expect("recorded");
    store.record_usage(&[usage(3, 1, 1)], later(30)).await.expect("recorded");
    store.record_usage(&[usage(1, 1, 0)], later(40)).await.expect("recorded");
    store.record_usage(&[], later(40)).await.expect("nothing to record");
    assert_eq!(store.revision().await.expect("read"), before);
    let listed: Vec<_> = versions(&store, &key)
        .await
        .iter()
        .map(|status| (status.encrypts, status.decrypts, status.last_decrypt_at))
        .collect();
    assert_eq!(listed, [(6, 1, Some(later(30))), (0, 0, None), (1, 2, Some(later(20)))]);
}

pub(super) async fn versions_are_listed_newest_first(fixture: &impl Fixture) {
    let (store, tenant) = fixture.ready().await;
    let key = three(&store, tenant).await;
    let listed = async |before: Option<u32>, limit| {
        let listed = store.key_versions(tenant, key.key.id, before.map(number), limit).await.expect("listed");
        listed.iter().map(|status| status.record.version.get()).collect::<Vec<_>>()
    };
    assert_eq!(listed(None, 10).await, [3, 2, 1]);
    assert_eq!(listed(None, 2).await, [3, 2]);
    assert_eq!(listed(Some(2), 2).await, [1]);
    assert_eq!(listed(Some(1), 2).await, [0; 0]);
    let other = fixture.add_tenant().await;
    assert_eq!(store.key_versions(other, key.key.id, None, 10).await.expect("listed"), []);
}
