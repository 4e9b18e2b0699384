use futures_util::future::join_all;

use super::fixture::{Fixture, NOW, bootstrap, context, kek, name};
use crate::crypto::KekId;
use crate::store::{Error, KekRecord, OLDEST_COMPATIBLE_RELEASE, Revision, Store};

pub(super) async fn a_database_without_schema_says_so(fixture: &impl Fixture) {
    let store = fixture.open().await;
    assert!(matches!(store.check_schema().await, Err(Error::NoSchema)));
    assert!(matches!(store.revision().await, Err(Error::NoSchema)));
    store.migrate().await.expect("migrated");
    store.check_schema().await.expect("a schema");
    store.migrate().await.expect("nothing left to do");
    assert_eq!(store.revision().await.expect("a revision"), Revision(0));
}

pub(super) async fn ten_may_migrate_at_once(fixture: &impl Fixture) {
    let stores = join_all((0..10).map(|_| fixture.open())).await;
    for result in join_all(stores.iter().map(Store::migrate)).await {
        result.expect("migrated");
    }
    let applied = "SELECT count(*) - max(version) FROM refinery_schema_history";
    assert_eq!(fixture.count(applied).await, 0, "each once");
}

pub(super) async fn a_newer_schema_is_accepted(fixture: &impl Fixture) {
    let (store, _) = fixture.ready().await;
    let newer = "INSERT INTO refinery_schema_history (version, name, applied_on, checksum) \
                 VALUES (999, 'of_a_later_release', '2030-01-01T00:00:00Z', '1')";
    fixture.tamper("refinery_schema_history", newer).await.expect("a later migration");
    store.migrate().await.expect("nothing to do");
    store.check_schema().await.expect("new enough");
}

pub(super) async fn an_older_schema_is_not(fixture: &impl Fixture) {
    let (store, _) = fixture.ready().await;
    let older = "DELETE FROM refinery_schema_history";
    fixture.tamper("refinery_schema_history", older).await.expect("no migrations");
    assert!(matches!(store.check_schema().await, Err(Error::NoSchema)));
}

pub(super) async fn a_schema_may_exclude_old_releases(fixture: &impl Fixture) {
    let (store, _) = fixture.ready().await;
    let own =
        format!("SELECT count(*) FROM schema_compat WHERE oldest_release = '{OLDEST_COMPATIBLE_RELEASE}'");
    assert_eq!(fixture.count(&own).await, 1, "the migrations and the constant agree");
    let exclude = "UPDATE schema_compat SET oldest_release = '999.0.0'";
    fixture.tamper("schema_compat", exclude).await.expect("excluded");
    assert!(matches!(store.check_schema().await, Err(Error::TooOld { oldest }) if oldest == "999.0.0"));
    assert!(matches!(store.migrate().await, Err(Error::TooOld { .. })));
}

pub(super) async fn twelve_that_set_up_agree(fixture: &impl Fixture) {
    fixture.open().await.migrate().await.expect("migrated");
    let stores = join_all((0..4).map(|_| fixture.open())).await;
    let tasks = (0..12).map(|i| {
        let store = stores[i % stores.len()].clone();
        tokio::spawn(async move { store.bootstrap(&bootstrap()).await })
    });
    let results = join_all(tasks).await.into_iter().map(|result| result.expect("ran").expect("set up"));
    let deployments: Vec<_> = results.collect();
    assert!(deployments.iter().all(|deployment| *deployment == deployments[0]));
    assert_eq!(deployments[0].active_kek, kek().id());
    assert_eq!(deployments[0].tenant.name, name("default"));
    for (table, rows) in
        [("deployment", 1), ("tenants", 1), ("keks", 1), ("contexts", 9), ("wrapped_keys", 9)]
    {
        assert_eq!(fixture.count(&format!("SELECT count(*) FROM {table}")).await, rows, "{table}");
    }
    let changes = stores[0].changes_since(Revision(0)).await.expect("changes");
    assert_eq!(changes.revision, Revision(9));
    assert_eq!(changes.changes.map(|changes| changes.len()), Some(9));
}

pub(super) async fn key_encryption_keys_in_use_are_listed(fixture: &impl Fixture) {
    let (store, tenant) = fixture.ready().await;
    for byte in [1, 2] {
        let insert = format!(
            "INSERT INTO keks (kek_id, check_value, created_at) SELECT {}, {}, created_at FROM deployment",
            fixture.bytes(&[byte; 8]),
            fixture.bytes(&[byte; 32]),
        );
        fixture.tamper("keks", &insert).await.expect("another");
    }
    let old = context(tenant, "old");
    store.create_context(&old).await.expect("created");
    let (kek_id, key) = (fixture.bytes(&[1; 8]), fixture.bytes(&old.key.id.0));
    let under_another = format!("UPDATE wrapped_keys SET kek_id = {kek_id} WHERE key_id = {key}");
    fixture.tamper("wrapped_keys", &under_another).await.expect("as before a change of the master key");
    let deployment = store.bootstrap(&bootstrap()).await.expect("set up before");
    let ids: Vec<_> = deployment.keks.iter().map(|kek| kek.id).collect();
    assert_eq!(ids.len(), 2, "the unused one is missing");
    assert!(ids.contains(&kek().id()));
    assert!(deployment.keks.contains(&KekRecord { id: KekId([1; 8]), check_value: [1; 32] }));
}

pub(super) async fn everything_is_there_after_reopening(fixture: &impl Fixture) {
    let (store, tenant) = fixture.ready().await;
    let new = context(tenant, "kept");
    store.create_context(&new).await.expect("created");
    let deployment = store.bootstrap(&bootstrap()).await.expect("set up before");
    store.close().await;
    drop(store);
    let store = fixture.open().await;
    store.migrate().await.expect("nothing to do");
    assert_eq!(store.bootstrap(&bootstrap()).await.expect("set up before"), deployment);
    assert_eq!(store.enabled_version(tenant, &name("kept")).await.expect("read").value, Some(new));
    assert_eq!(store.revision().await.expect("read"), Revision(10));
}

pub(super) async fn a_closed_store_is_unavailable(fixture: &impl Fixture) {
    let (store, tenant) = fixture.ready().await;
    store.close().await;
    assert!(matches!(store.context(tenant, &name("general")).await, Err(Error::Unavailable(_))));
    assert!(matches!(store.revision().await, Err(Error::Unavailable(_))));
    let update = crate::store::ContextUpdate {
        description: Some("x".into()),
        algorithms: None,
        rotation_days: None,
        keep_last: None,
        read_at: None,
    };
    let updated = store.update_context(tenant, &name("general"), &update, NOW).await;
    assert!(matches!(updated, Err(Error::Unavailable(_))));
}
