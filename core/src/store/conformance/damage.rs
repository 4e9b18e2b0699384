use std::fmt::Debug;

use super::fixture::{Fixture, context, later, name};
use super::identities::identity;
use crate::crypto::{KeyVersion, Purpose};
use crate::store::{Error, Revision, Store};

fn assert_invalid<T: Debug>(result: Result<T, Error>, damage: &str) {
    assert!(matches!(result, Err(Error::Invalid(_))), "{damage}: {result:?}");
}

pub(super) async fn damaged_rows_are_errors(fixture: &impl Fixture) {
    let (store, tenant) = fixture.ready().await;
    let short = fixture.bytes(&[1, 2, 3]);
    for (i, (table, column, value)) in [
        ("contexts", "algorithm", "99"),
        ("contexts", "algorithm", "300"),
        ("contexts", "allowed_algorithms", "128"),
        ("contexts", "name", "'Upper Case'"),
        ("keys", "purpose", "77"),
        ("keys", "key_type", "77"),
        ("key_versions", "origin", "0"),
        ("key_versions", "state", "6"),
        ("key_versions", "state", "-1"),
        ("wrapped_keys", "check_value", &short),
    ]
    .into_iter()
    .enumerate()
    {
        let new = context(tenant, &format!("context-{i}"));
        store.create_context(&new).await.expect("created");
        let key = fixture.bytes(&new.key.id.0);
        let id = if table == "keys" { "id" } else { "key_id" };
        let damage = format!("UPDATE {table} SET {column} = {value} WHERE {id} = {key}");
        fixture.tamper(table, &damage).await.expect("damaged");
        // A purpose that is not asked for is nothing, whatever it is.
        let purpose = if column == "purpose" { continue } else { Purpose::ContextKey };
        assert_invalid(store.key_version(tenant, new.key.id, KeyVersion::FIRST, purpose).await, &damage);
    }
    store.enabled_version(tenant, &name("general")).await.expect("others are well");

    for (i, (column, value)) in
        [("scopes", "'encrypt sudo'"), ("role", "'king'"), ("contexts", "'A B'"), ("epoch", "-1")]
            .into_iter()
            .enumerate()
    {
        let app = identity(tenant, &format!("app-{i}"));
        store.create_identity(&app).await.expect("created");
        let damage =
            format!("UPDATE identities SET {column} = {value} WHERE id = {}", fixture.uuid(app.id.0));
        fixture.tamper("identities", &damage).await.expect("damaged");
        assert_invalid(store.identity(app.tenant, app.id).await, &damage);
    }
    assert_invalid(store.identities(tenant, None, 10).await, "a damaged row in a list");
}

pub(super) async fn a_missing_revision_is_an_error(fixture: &impl Fixture) {
    let (store, tenant) = fixture.ready().await;
    fixture.tamper("revision", "DELETE FROM revision").await.expect("damaged");
    assert_invalid(store.revision().await, "revision");
    assert_invalid(store.changes_since(Revision(0)).await, "changes_since");
    assert_invalid(store.create_context(&context(tenant, "new")).await, "create_context");
    assert_invalid(
        store.delete_identity(tenant, identity(tenant, "app").id, later(1)).await,
        "delete_identity",
    );
}
