use std::time::Duration;

use refinery::Runner;
use tokio::time::{sleep, timeout};
use tokio_postgres::Transaction;
use tokio_postgres::types::Type;

use super::PostgresStore;
use super::connector::Connector;
use super::error::{Failure, is_unavailable};
use crate::store::Error;
use crate::store::sql::{Database, Statement, damaged, schema};

/// PostgreSQL 14, as `server_version_num` writes it.
const OLDEST_SERVER: i64 = 140_000;
/// Names the lock that migrations hold, among all advisory locks of the database.
const LOCK: i64 = i64::from_be_bytes(*b"cryptosv");
/// For the migrations of all replicas that start at once, one after another.
const TIMEOUT: Duration = Duration::from_secs(600);
/// How long to wait between two looks at the lock.
const LOCK_INTERVAL: Duration = Duration::from_millis(100);
const APPLICATION_NAME: &str = "cryptoserve/migrate";

#[allow(clippy::unwrap_used, missing_docs, unreachable_pub, reason = "written by refinery's macro")]
mod embedded {
    refinery::embed_migrations!("src/store/migrations/postgres");
}

/// Migrations of this release; what a newer release added is left alone.
fn runner() -> Runner {
    embedded::migrations::runner().set_abort_missing(false)
}

pub(super) async fn migrate(store: &PostgresStore, connector: &Connector) -> Result<(), Error> {
    check_server(store).await?;
    match timeout(TIMEOUT, migrate_alone(store, connector)).await {
        Ok(result) => result,
        Err(_) => Err(Failure::QueryTimeout.into()),
    }
}

pub(super) async fn check(store: &PostgresStore) -> Result<(), Error> {
    check_server(store).await?;
    schema::check(store, schema::latest(&runner())).await
}

/// Migrates while no other process does, if there is anything to do. refinery takes no lock, and runs each migration in a
/// transaction of its own, so a second connection holds the lock; in a transaction, so that it ends with the connection
/// and passes poolers.
async fn migrate_alone(store: &PostgresStore, connector: &Connector) -> Result<(), Error> {
    if is_current(store).await? {
        return Ok(());
    }
    let connector = connector.named(APPLICATION_NAME);
    let mut holder = connector.open().await?;
    let lock = loop {
        let attempt = holder.transaction().await.map_err(Failure::from)?;
        if try_lock(&attempt).await? {
            break attempt;
        }
        // Those who waited in a transaction would each keep a connection of a pooler, and leave none to work with.
        attempt.rollback().await.map_err(Failure::from)?;
        sleep(LOCK_INTERVAL).await;
    };
    // Another process may have been faster. To ask refinery would do no harm, but it prepares statements by name, which
    // poolers may pass from one connection to another.
    if is_current(store).await? {
        return Ok(());
    }
    let mut client = connector.open().await?;
    runner().run_async(&mut client).await.map_err(from_refinery)?;
    if let Err(error) = lock.commit().await {
        // A server that ends idle transactions took the lock away. The migrations are complete nevertheless: each was
        // one transaction, and of two processes that try the same one, one fails.
        tracing::warn!(%error, "the lock of the migrations was lost");
    }
    Ok(())
}

/// Whether there is nothing to migrate.
async fn is_current(store: &PostgresStore) -> Result<bool, Error> {
    match schema::check(store, schema::latest(&runner())).await {
        Ok(()) => Ok(true),
        Err(Error::NoSchema) => Ok(false),
        Err(error) => Err(error),
    }
}

async fn try_lock(transaction: &Transaction<'_>) -> Result<bool, Error> {
    const SQL: &str = "SELECT pg_try_advisory_xact_lock($1)";
    let rows = transaction.query_typed(SQL, &[(&LOCK, Type::INT8)]).await.map_err(Failure::from)?;
    let got = rows.first().and_then(|row| row.try_get(0).ok());
    got.ok_or_else(|| damaged("pg_try_advisory_xact_lock"))
}

async fn check_server(store: &PostgresStore) -> Result<(), Error> {
    const SQL: &str = "SELECT current_setting('server_version_num')::bigint AS version";
    let version = store.read(Statement::new(SQL, []), |row| row.optional_integer("version")).await?;
    match version.first().copied().flatten().ok_or_else(|| damaged("version"))? {
        found if found < OLDEST_SERVER => Err(Error::Invalid(Box::new(ServerTooOld { found }))),
        _ => Ok(()),
    }
}

#[derive(Debug, thiserror::Error)]
#[error("PostgreSQL 14 or later is needed; server_version_num is {found}")]
struct ServerTooOld {
    found: i64,
}

fn from_refinery(error: refinery::Error) -> Error {
    let mut source = std::error::Error::source(&error);
    while let Some(inner) = source {
        match inner.downcast_ref() {
            Some(inner) if is_unavailable(inner) => return Error::Unavailable(Box::new(error)),
            _ => source = inner.source(),
        }
    }
    Error::Invalid(Box::new(error))
}
