//! The embedded store: one SQLite file, for one machine.
//!
//! Several processes may have it open, as `cryptoserve token` beside a running server does. Everything runs on
//! threads for blocking work.

mod connections;
mod copy;
mod cut;
mod error;
mod migrate;
mod row;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::registry::Registry;
use rusqlite::{Connection, TransactionBehavior};
use tracing::Instrument;

use crate::audit::{Append, Cut, Keys};
use crate::clock::Timestamp;
use crate::store::sql::{Database, Mutation, Parse, Statement, audit, damaged, revision};
use crate::store::{Error, Facts, PoolStatus};
use crate::telemetry::{Wait, traces, waiting_for};
use connections::Connections;
use error::Failure;

pub use copy::{Inspected, copy_into};

/// The embedded store. Clones share their connections.
#[derive(Clone, Debug)]
pub struct SqliteStore {
    path: Arc<PathBuf>,
    writer: Arc<Connections>,
    readers: Arc<Connections>,
    poller: Arc<Connections>,
}

impl SqliteStore {
    /// Opens the file at `path`, which is made with mode 0600 if it does not exist. Its directory must exist.
    ///
    /// # Errors
    ///
    /// [`Error::Unavailable`] when it cannot be opened, [`Error::Invalid`] when it is no database.
    pub async fn open(path: impl Into<PathBuf>) -> Result<Self, Error> {
        let path = Arc::new(path.into());
        let lock = migrate::lock(&path).await?;
        let first = connections::create(path.clone()).await?;
        drop(lock);
        let readers = std::thread::available_parallelism().map_or(1, usize::from);
        Ok(Self {
            // One at a time: SQLite has one writer, and waiting here is fair, while waiting for its lock is not.
            writer: Arc::new(Connections::new(path.clone(), 1, Some(first))),
            readers: Arc::new(Connections::new(path.clone(), readers, None)),
            poller: Arc::new(Connections::new(path.clone(), 1, None)),
            path,
        })
    }
}

impl Database for SqliteStore {
    async fn migrate(&self) -> Result<(), Error> {
        migrate::migrate(self).await
    }

    async fn check_schema(&self) -> Result<(), Error> {
        migrate::check(self).await
    }

    async fn ping(&self, limit: Duration) -> Result<(), Error> {
        let look = self.readers.run(|connection| Ok(connection.query_one("SELECT 1", [], |_| Ok(()))?));
        tokio::time::timeout(limit, look).await.map_err(|_| Failure::Busy)?
    }

    fn pool(&self) -> Option<PoolStatus> {
        None
    }

    fn register_metrics(&self, _: &mut Registry) {}

    async fn read<T: Send + 'static>(&self, statement: Statement, parse: Parse<T>) -> Result<Vec<T>, Error> {
        let read = self.readers.run(move |connection| rows(connection, &statement, parse));
        waiting_for(Wait::Store, read.instrument(traces::store("read"))).await
    }

    async fn poll<T: Send + 'static>(&self, statement: Statement, parse: Parse<T>) -> Result<Vec<T>, Error> {
        self.poller.run(move |connection| rows(connection, &statement, parse)).await
    }

    async fn write<T: Send + 'static>(&self, statement: Statement, parse: Parse<T>) -> Result<Vec<T>, Error> {
        let write = self.writer.run(move |connection| rows(connection, &statement, parse));
        waiting_for(Wait::Store, write.instrument(traces::store("write"))).await
    }

    async fn upkeep<T: Send + 'static>(
        &self,
        statements: Vec<Statement>,
        parse: Parse<T>,
    ) -> Result<Vec<T>, Error> {
        self.writer.run(move |connection| upkeep(connection, &statements, parse)).await
    }

    async fn mutate<T: Send + 'static>(
        &self,
        mutation: Mutation,
        parse: Parse<T>,
    ) -> Result<Option<T>, Error> {
        let span = traces::store(mutation.name);
        let mutate = self.writer.run(move |connection| mutate(connection, &mutation, parse));
        waiting_for(Wait::Store, mutate.instrument(span)).await
    }

    async fn append_audit(&self, append: &Append) -> Result<bool, Error> {
        let Some((chain, records)) = audit::append(append) else { return Ok(true) };
        self.writer.run(move |connection| append_to(connection, &chain, &records)).await
    }

    async fn prepare_audit_days(&self, _: Timestamp, _: u32) -> Result<(), Error> {
        // One table for all days.
        Ok(())
    }

    async fn cut_audit(&self, before: Timestamp, keys: &Arc<Keys>) -> Result<Option<Cut>, Error> {
        let keys = keys.clone();
        self.writer.run(move |connection| cut::cut(connection, before, &keys)).await
    }

    async fn facts(&self) -> Result<Facts, Error> {
        let statement = Statement::new("SELECT now() AS now, sqlite_version() AS release", []);
        let parse: Parse<Facts> =
            |row| Ok(Facts { now: row.time("now")?, release: row.text("release")?, server: None });
        let rows = Database::read(self, statement, parse).await?;
        rows.into_iter().next().ok_or_else(|| damaged("now"))
    }

    async fn close(&self) {
        for connections in [&self.readers, &self.poller, &self.writer] {
            connections.close().await;
        }
    }
}

fn rows<T>(connection: &Connection, statement: &Statement, parse: Parse<T>) -> Result<Vec<T>, Failure> {
    let mut prepared = connection.prepare_cached(&row::numbered(statement.sql))?;
    let mut rows = prepared.query(rusqlite::params_from_iter(&statement.values))?;
    let mut parsed = Vec::new();
    while let Some(row) = rows.next()? {
        parsed.push(parse(row)?);
    }
    Ok(parsed)
}

fn mutate<T>(
    connection: &mut Connection,
    mutation: &Mutation,
    parse: Parse<T>,
) -> Result<Option<T>, Failure> {
    // Dropped without a commit, it rolls back. Immediate, as an upgrade from reading to writing may fail at once.
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let last = rows(&transaction, &revision::raise(mutation), revision::parse)?;
    let last = last.into_iter().next().ok_or(Failure::NoRevision)?;
    let Some((returning, statements)) = mutation.statements.split_last() else {
        return Ok(None);
    };
    for statement in statements {
        if rows(&transaction, statement, |_| Ok(()))?.is_empty() && !statement.optional {
            return Ok(None);
        }
    }
    let Some(result) = rows(&transaction, returning, parse)?.pop() else {
        return Ok(None);
    };
    for statement in revision::record(mutation, last) {
        execute(&transaction, &statement)?;
    }
    transaction.commit()?;
    Ok(Some(result))
}

fn upkeep<T>(
    connection: &mut Connection,
    statements: &[Statement],
    parse: Parse<T>,
) -> Result<Vec<T>, Failure> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut all = Vec::new();
    for statement in statements {
        all.extend(rows(&transaction, statement, parse)?);
    }
    transaction.commit()?;
    Ok(all)
}

/// Whether the statement about the chain applied; else nothing is written.
fn append_to(connection: &mut Connection, chain: &Statement, records: &[Statement]) -> Result<bool, Failure> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    if rows(&transaction, chain, |_| Ok(()))?.is_empty() {
        return Ok(false);
    }
    for statement in records {
        execute(&transaction, statement)?;
    }
    transaction.commit()?;
    Ok(true)
}

fn execute(connection: &Connection, statement: &Statement) -> Result<(), Failure> {
    let mut prepared = connection.prepare_cached(&row::numbered(statement.sql))?;
    prepared.execute(rusqlite::params_from_iter(&statement.values))?;
    Ok(())
}
