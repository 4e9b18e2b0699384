//! What only a file can do wrong.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use super::*;
use crate::crypto::{KeyVersion, Purpose};
use crate::store::conformance::fixture::{Fixture, NOW, Sqlite, context};
use crate::store::{Store, sql};

/// A change like any other, in a mutation that raises the revision.
fn mutation() -> Mutation {
    let statements = vec![Statement::new("UPDATE tenants SET created_at = created_at RETURNING id", [])];
    Mutation { name: "test", statements, changes: Vec::new(), at: NOW }
}

fn try_mutation(connection: &mut Connection) -> Result<(), Error> {
    mutate(connection, &mutation(), |_| Ok(())).map(drop).map_err(Error::from)
}

#[tokio::test]
async fn only_the_owner_reads_the_files() {
    let fixture = Sqlite::new();
    let (store, _) = fixture.ready().await;
    for suffix in ["", "-wal", "-shm", ".migrate.lock"] {
        let path = format!("{}{suffix}", fixture.path().display());
        let mode = std::fs::metadata(&path).expect(&path).permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{path}");
    }
    Store::close(&store).await;
}

#[tokio::test]
async fn connections_are_durable_and_check_references() {
    let fixture = Sqlite::new();
    let (store, _) = fixture.ready().await;
    let pragmas = |connection: &mut Connection| {
        let pragma = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
        let mode = connection.pragma_query_value(None, "journal_mode", |row| row.get::<_, String>(0))?;
        Ok((mode, pragma("synchronous")?, pragma("foreign_keys")?))
    };
    for connections in [&store.writer, &store.readers, &store.poller] {
        assert_eq!(connections.run(pragmas).await.expect("read"), ("wal".to_owned(), 2, 1));
    }
}

#[tokio::test]
async fn a_write_that_cannot_begin_is_unavailable() {
    let fixture = Sqlite::new();
    fixture.ready().await;
    let mut other = Connection::open(fixture.path()).expect("opened");
    let writing = other.transaction_with_behavior(TransactionBehavior::Immediate).expect("begun");
    let mut connection = Connection::open(fixture.path()).expect("opened");
    connection.busy_timeout(Duration::ZERO).expect("set");
    assert!(matches!(try_mutation(&mut connection), Err(Error::Unavailable(_))));
    writing.rollback().expect("ended");
    try_mutation(&mut connection).expect("written");
}

#[tokio::test]
async fn one_process_at_a_time_opens_and_migrates() {
    let fixture = Sqlite::new();
    let store = fixture.open().await;
    let lock = migrate::lock(&fixture.path()).await.expect("locked");
    let patience = Duration::from_millis(200);
    tokio::time::timeout(patience, Store::migrate(&store)).await.expect_err("waits");
    tokio::time::timeout(patience, SqliteStore::open(fixture.path())).await.expect_err("waits");
    drop(lock);
    Store::migrate(&store).await.expect("migrated");
}

#[tokio::test]
async fn a_full_disk_is_unavailable() {
    let fixture = Sqlite::new();
    let (store, tenant) = fixture.ready().await;
    let fill = |connection: &mut Connection| {
        let pages: i64 = connection.pragma_query_value(None, "page_count", |row| row.get(0))?;
        connection.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))?;
        Ok(())
    };
    store.writer.run(fill).await.expect("set");
    let mut new = context(tenant, "big");
    new.wrapped.as_mut().expect("wrapped").bytes = vec![0; 60_000];
    let result = store.create_context(&new).await;
    assert!(matches!(result, Err(Error::Unavailable(_))), "{result:?}");
    assert_eq!(store.context(tenant, &new.context.name).await.expect("read"), None);
}

#[tokio::test]
async fn what_is_no_database_is_not_opened() {
    let fixture = Sqlite::new();
    std::fs::write(
        fixture.path(),
        b"a text that is long enough to be the header of a database file".repeat(20),
    )
    .expect("written");
    assert!(matches!(SqliteStore::open(fixture.path()).await, Err(Error::Invalid(_))));
    let nowhere = fixture.path().join("nowhere");
    assert!(matches!(SqliteStore::open(nowhere).await, Err(Error::Unavailable(_))));
}

#[tokio::test]
async fn work_that_panics_costs_one_connection() {
    let fixture = Sqlite::new();
    let (store, tenant) = fixture.ready().await;
    let result = store.writer.run(|_| -> Result<(), Failure> { panic!("a defect") }).await;
    assert!(matches!(result, Err(Error::Unavailable(_))));
    store.create_context(&context(tenant, "new")).await.expect("created");
}

#[tokio::test]
async fn one_of_ten_thousand_versions_is_found_by_index() {
    const MANY: &str = "
        WITH RECURSIVE s (n) AS (SELECT 2 UNION ALL SELECT n + 1 FROM s WHERE n < 10000)
        INSERT INTO key_versions (tenant_id, key_id, version, state, created_at, state_changed_at)
        SELECT v.tenant_id, v.key_id, n, 2, v.created_at, v.created_at
        FROM contexts c JOIN key_versions v USING (tenant_id, key_id), s WHERE c.name = 'general';
        WITH RECURSIVE s (n) AS (SELECT 2 UNION ALL SELECT n + 1 FROM s WHERE n < 10000)
        INSERT INTO wrapped_keys
        SELECT w.tenant_id, w.key_id, n, w.kek_id, w.bytes, w.check_value
        FROM contexts c JOIN wrapped_keys w USING (tenant_id, key_id), s WHERE c.name = 'general';";
    let fixture = Sqlite::new();
    let (store, tenant) = fixture.ready().await;
    let name = "general".parse().expect("a name");
    let general = store.context(tenant, &name).await.expect("read").expect("there");
    Connection::open(fixture.path()).expect("opened").execute_batch(MANY).expect("inserted");
    let version = KeyVersion::try_from(5_000).expect("not zero");
    let one = "(tenant_id=? AND key_id=? AND version=?)";
    for (statement, searches) in [
        (sql::keys::key_version(tenant, general.key_id, version, Purpose::ContextKey), [one, one]),
        (sql::keys::enabled_version(tenant, &name), ["key_versions_one_enabled", one]),
        (sql::keys::list(tenant, general.key_id, Some(version), 1), ["version<?", one]),
    ] {
        let sql = format!("EXPLAIN QUERY PLAN {}", statement.sql).leak();
        let plan = Database::read(&store, Statement { sql, ..statement }, |row| row.text("detail")).await;
        let plan = plan.expect("explained");
        let of = |table: &str| {
            plan.iter().find(|line| line.contains(&format!(" {table} "))).cloned().unwrap_or_default()
        };
        for (table, search) in ["v", "w"].into_iter().zip(searches) {
            assert!(of(table).starts_with("SEARCH") && of(table).contains(search), "{table}: {plan:#?}");
        }
    }
}
