//! What only a file can do wrong.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use super::*;
use crate::store::Store;
use crate::store::conformance::fixture::{Fixture, NOW, Sqlite, context};

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
