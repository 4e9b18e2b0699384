use futures_util::future::join_all;

use super::fixture::{Fixture, context, kek, later, name};
use crate::crypto::{Algorithm, AlgorithmSet, KeyId, KeyVersion, Purpose};
use crate::store::{ContextUpdate, Error, Store};

pub(super) async fn a_context_is_stored_with_its_key(fixture: &impl Fixture) {
    let (store, tenant) = fixture.ready().await;
    let new = context(tenant, "new");
    store.create_context(&new).await.expect("created");
    let enabled = store.enabled_version(tenant, &name("new")).await.expect("read").value.expect("enabled");
    assert_eq!(enabled, new);
    let (kept, made) =
        (enabled.unwrap_key(&kek()).expect("unwrapped"), new.unwrap_key(&kek()).expect("unwrapped"));
    assert_eq!(kept.expose(), made.expose());
    let version = store
        .key_version(tenant, new.key.id, KeyVersion::FIRST, Purpose::ContextKey)
        .await
        .expect("read")
        .value;
    assert_eq!(version.as_ref(), Some(&new));
    assert_eq!(store.context(tenant, &name("new")).await.expect("read"), Some(new.context));

    assert_eq!(store.enabled_version(tenant, &name("none")).await.expect("read").value, None);
    assert_eq!(store.context(tenant, &name("none")).await.expect("read"), None);
    let second = KeyVersion::FIRST.next().expect("a second version");
    let missing = async |key, version, purpose| {
        store.key_version(tenant, key, version, purpose).await.expect("read").value.is_none()
    };
    assert!(missing(new.key.id, second, Purpose::ContextKey).await);
    assert!(missing(KeyId([0; 16]), KeyVersion::FIRST, Purpose::ContextKey).await);
    assert!(missing(new.key.id, KeyVersion::FIRST, Purpose::Signing).await, "of another purpose");
}

pub(super) async fn names_are_unique_within_a_tenant(fixture: &impl Fixture) {
    let (store, tenant) = fixture.ready().await;
    let (first, second) = (context(tenant, "one"), context(tenant, "one"));
    store.create_context(&first).await.expect("created");
    assert!(matches!(store.create_context(&second).await, Err(Error::Exists)));
    store.set_context_deleted(tenant, &name("one"), true, later(2)).await.expect("deleted").expect("there");
    assert!(matches!(store.create_context(&second).await, Err(Error::Exists)), "also while deleted");
    // Not a name that is taken, but a caller that is mistaken.
    let mut same_id = context(tenant, "two");
    same_id.context.id = first.context.id;
    assert!(matches!(store.create_context(&same_id).await, Err(Error::Invalid(_))));
    let other = fixture.add_tenant().await;
    store.create_context(&context(other, "one")).await.expect("of another tenant");
}

pub(super) async fn of_twelve_with_one_name_one_is_created(fixture: &impl Fixture) {
    let (store, tenant) = fixture.ready().await;
    let second = fixture.open().await;
    let tasks = (0..12).map(|i| {
        let store = if i % 2 == 0 { store.clone() } else { second.clone() };
        tokio::spawn(async move { store.create_context(&context(tenant, "fresh")).await })
    });
    let results: Vec<_> = join_all(tasks).await.into_iter().map(|result| result.expect("ran")).collect();
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    assert_eq!(results.iter().filter(|result| matches!(result, Err(Error::Exists))).count(), 11);
    let enabled = "SELECT count(*) FROM key_versions v JOIN contexts c ON c.key_id = v.key_id \
                   WHERE c.name = 'fresh' AND v.state = 1";
    assert_eq!(fixture.count(enabled).await, 1);
    // Nothing is left of the others.
    assert_eq!(fixture.count("SELECT count(*) FROM key_versions").await, 10);
    assert!(store.enabled_version(tenant, &name("fresh")).await.expect("read").value.is_some());
}

pub(super) async fn a_key_has_one_enabled_version(fixture: &impl Fixture) {
    fixture.ready().await;
    let second = |state: u8| {
        format!(
            "INSERT INTO key_versions (tenant_id, key_id, version, state, created_at, state_changed_at) \
             SELECT tenant_id, key_id, version + 1, {state}, created_at, created_at FROM key_versions WHERE version = 1"
        )
    };
    let refused = fixture.tamper("key_versions", &second(1)).await.expect_err("two enabled versions");
    assert!(refused.to_lowercase().contains("unique"), "{refused}");
    fixture.tamper("key_versions", &second(2)).await.expect("one that only decrypts");
}

pub(super) async fn other_tenants_see_nothing(fixture: &impl Fixture) {
    let (store, tenant) = fixture.ready().await;
    let other = fixture.add_tenant().await;
    let (general, one) = (name("general"), KeyVersion::FIRST);
    let key = store.context(tenant, &general).await.expect("read").expect("there").key_id;
    assert_eq!(store.enabled_version(other, &general).await.expect("read").value, None);
    assert_eq!(store.context(other, &general).await.expect("read"), None);
    assert_eq!(store.key_version(other, key, one, Purpose::ContextKey).await.expect("read").value, None);
    assert_eq!(store.reserve_messages(other, key, one, 1, 10).await.expect("read"), None);
    assert_eq!(store.contexts(other, false, None, 100).await.expect("read"), []);
    let update = ContextUpdate {
        description: Some("mine now".into()),
        algorithms: None,
        rotation_days: None,
        keep_last: None,
        read_at: None,
    };
    assert_eq!(store.update_context(other, &general, &update, later(2)).await.expect("read"), None);
    assert_eq!(store.set_context_deleted(other, &general, true, later(2)).await.expect("read"), None);
    assert!(store.enabled_version(tenant, &general).await.expect("read").value.is_some());
}

pub(super) async fn updates_change_what_they_name(fixture: &impl Fixture) {
    let (store, tenant) = fixture.ready().await;
    let mut expected = store.context(tenant, &name("general")).await.expect("read").expect("there");

    let describe = ContextUpdate {
        description: Some("é".repeat(512)),
        algorithms: None,
        rotation_days: None,
        keep_last: None,
        read_at: None,
    };
    let updated = store.update_context(tenant, &name("general"), &describe, later(2)).await.expect("updated");
    expected.description = "é".repeat(512);
    expected.updated_at = later(2);
    assert_eq!(updated.as_ref(), Some(&expected));

    let allowed: AlgorithmSet = Algorithm::ALL.into_iter().collect();
    let choose = ContextUpdate {
        description: None,
        algorithms: Some((Algorithm::Aes128Gcm, allowed)),
        rotation_days: None,
        keep_last: None,
        read_at: None,
    };
    let updated = store.update_context(tenant, &name("general"), &choose, later(3)).await.expect("updated");
    expected.algorithm = Algorithm::Aes128Gcm;
    expected.allowed_algorithms = allowed;
    expected.updated_at = later(3);
    assert_eq!(updated.as_ref(), Some(&expected));
    assert_eq!(store.context(tenant, &name("general")).await.expect("read"), Some(expected));

    // Whoever read it before that change is told.
    let stale = ContextUpdate { read_at: Some(later(2)), ..describe.clone() };
    assert_eq!(store.update_context(tenant, &name("general"), &stale, later(4)).await.expect("asked"), None);
    let fresh = ContextUpdate { read_at: Some(later(3)), ..describe };
    let updated = store.update_context(tenant, &name("general"), &fresh, later(3)).await.expect("asked");
    assert!(updated.expect("updated").updated_at > later(3), "each change has a time of its own");

    assert_eq!(store.update_context(tenant, &name("none"), &choose, later(4)).await.expect("updated"), None);
    let others = store.contexts(tenant, false, None, 100).await.expect("read");
    assert_eq!(others.iter().filter(|context| context.algorithm == Algorithm::Aes128Gcm).count(), 1);
}

pub(super) async fn deleted_contexts_are_kept_and_restored(fixture: &impl Fixture) {
    let (store, tenant) = fixture.ready().await;
    let general = name("general");
    let before = store.enabled_version(tenant, &general).await.expect("read").value.expect("there");
    let deleted = store.set_context_deleted(tenant, &general, true, later(2)).await.expect("deleted");
    let deleted = deleted.expect("there");
    assert_eq!((deleted.deleted_at, deleted.updated_at), (Some(later(2)), later(2)));

    assert_eq!(store.enabled_version(tenant, &general).await.expect("read").value, None);
    assert_eq!(store.context(tenant, &general).await.expect("read").as_ref(), Some(&deleted));
    let version = store
        .key_version(tenant, before.key.id, KeyVersion::FIRST, Purpose::ContextKey)
        .await
        .expect("read")
        .value;
    let version = version.expect("still there");
    assert_eq!(version.context, deleted);
    assert_eq!(version.wrapped, before.wrapped);
    let update = ContextUpdate {
        description: Some("unseen".into()),
        algorithms: None,
        rotation_days: None,
        keep_last: None,
        read_at: None,
    };
    assert_eq!(store.update_context(tenant, &general, &update, later(3)).await.expect("read"), None);
    assert_eq!(store.set_context_deleted(tenant, &general, true, later(3)).await.expect("read"), None);
    assert_eq!(store.contexts(tenant, true, None, 100).await.expect("read"), [deleted]);
    assert_eq!(store.contexts(tenant, false, None, 100).await.expect("read").len(), 8);

    let restored = store.set_context_deleted(tenant, &general, false, later(4)).await.expect("restored");
    assert_eq!(restored.expect("there").deleted_at, None);
    assert_eq!(store.set_context_deleted(tenant, &general, false, later(5)).await.expect("read"), None);
    let after = store.enabled_version(tenant, &general).await.expect("read").value.expect("back");
    assert_eq!((after.key, after.wrapped), (before.key, before.wrapped));
    assert_eq!(after.context.updated_at, later(4));
}

pub(super) async fn lists_are_ordered_and_paged(fixture: &impl Fixture) {
    let (store, _) = fixture.ready().await;
    let tenant = fixture.add_tenant().await;
    // By bytes, whatever the language of the database would make of hyphens and dots.
    let names = ["0", "a-b", "a-c", "a.b", "a_b", "ab", "b"];
    for text in ["b", "a_b", "a.b", "ab", "a-c", "0", "a-b"] {
        store.create_context(&context(tenant, text)).await.expect("created");
    }
    let all = store.contexts(tenant, false, None, 100).await.expect("listed");
    assert_eq!(all.iter().map(|context| context.name.as_str()).collect::<Vec<_>>(), names);
    let mut paged = store.contexts(tenant, false, None, 3).await.expect("listed");
    assert_eq!(paged.len(), 3);
    while let Some(last) = paged.last() {
        let next = store.contexts(tenant, false, Some(&last.name), 3).await.expect("listed");
        if next.is_empty() {
            break;
        }
        paged.extend(next);
    }
    assert_eq!(paged, all);
}

pub(super) async fn a_destroyed_version_has_no_bytes(fixture: &impl Fixture) {
    let (store, tenant) = fixture.ready().await;
    fixture.tamper("wrapped_keys", "DELETE FROM wrapped_keys").await.expect("destroyed");
    let version = store.enabled_version(tenant, &name("general")).await.expect("read").value.expect("there");
    assert_eq!(version.wrapped, None);
    assert!(version.unwrap_key(&kek()).is_err());
}
