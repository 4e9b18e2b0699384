//! The shared store: PostgreSQL 14 or later, or what speaks like it, for any number of replicas.
//!
//! Nothing depends on the state of a session (no named statements, `SET`, or session locks), so that poolers that
//! hand out a connection per transaction may stand in between.

mod audit;
mod connector;
mod error;
mod lane;
mod migrate;
mod row;
#[cfg(test)]
mod tests;
mod tls;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::audit::Record;
use tokio_postgres::config::TargetSessionAttrs;

use crate::config::{self, PostgresUrl, SslMode};
use crate::store::Error;
use crate::store::sql::{Database, Mutation, Parse, Statement};
use connector::Connector;
use lane::Lane;

/// How to reach the database, and how patiently.
#[derive(Clone, Debug)]
pub struct PostgresOptions {
    /// Hosts, credentials and database; its `application_name` is replaced.
    pub driver: tokio_postgres::Config,
    /// How much TLS.
    pub ssl_mode: SslMode,
    /// The authorities (PEM) for `verify-ca` and `verify-full`; `None` is the system's.
    pub ssl_root_cert: Option<PathBuf>,
    /// Connections that are kept.
    pub pool_size: u32,
    /// Connections beyond those under load, closed again when idle.
    pub max_overflow: u32,
    /// The age at which a connection is closed.
    pub recycle: Duration,
    /// How long to wait for a connection.
    pub pool_timeout: Duration,
    /// How long a statement, or a transaction of a few, may take.
    pub query_timeout: Duration,
}

impl PostgresOptions {
    /// As configured.
    pub fn new(url: &PostgresUrl, database: &config::Database) -> Self {
        let mut driver = url.driver().clone();
        // Each connection chooses a host for itself: one that reads from a standby would see what is no longer so.
        if driver.get_hosts().len() > 1 && driver.get_target_session_attrs() == TargetSessionAttrs::Any {
            driver.target_session_attrs(TargetSessionAttrs::ReadWrite);
        }
        Self {
            driver,
            ssl_mode: url.ssl_mode(),
            ssl_root_cert: url.ssl_root_cert().map(PathBuf::from),
            pool_size: database.pool_size,
            max_overflow: database.max_overflow,
            recycle: database.pool_recycle,
            pool_timeout: database.pool_timeout,
            query_timeout: database.query_timeout,
        }
    }
}

/// The shared store. Clones share their connections, which are closed when the last is dropped.
#[derive(Clone, Debug)]
pub struct PostgresStore(Arc<Lanes>);

#[derive(Debug)]
struct Lanes {
    connector: Connector,
    /// For requests.
    pool: Lane,
    /// For the poll for changes, which says whether this replica may still serve, and for its sign of life.
    poll: Lane,
    /// For the audit writer.
    audit: Lane,
    /// For counts of use, and what is due.
    upkeep: Lane,
}

impl PostgresStore {
    /// Connects once, to fail early, and prepares to connect more. Needs tokio's runtime.
    ///
    /// # Errors
    ///
    /// [`Error::Unavailable`] when the database cannot be reached, [`Error::Invalid`] when a certificate file is bad.
    pub async fn connect(options: &PostgresOptions) -> Result<Self, Error> {
        let connector = Connector::new(options)?;
        let lane = |name, size, overflow| Lane::new(&connector, options, name, size, overflow);
        let lanes = Lanes {
            pool: lane("cryptoserve/pool", options.pool_size, options.max_overflow)?,
            poll: lane("cryptoserve/poll", 1, 0)?,
            audit: lane("cryptoserve/audit", 1, 0)?,
            upkeep: lane("cryptoserve/upkeep", 1, 0)?,
            connector,
        };
        lanes.pool.query_again(&Statement::new("SELECT 1", [])).await?;
        Ok(Self(Arc::new(lanes)))
    }
}

impl Database for PostgresStore {
    async fn migrate(&self) -> Result<(), Error> {
        migrate::migrate(self, &self.0.connector).await
    }

    async fn check_schema(&self) -> Result<(), Error> {
        migrate::check(self).await
    }

    async fn read<T: Send + 'static>(&self, statement: Statement, parse: Parse<T>) -> Result<Vec<T>, Error> {
        let rows = self.0.pool.query_again(&statement).await?;
        rows.iter().map(|row| parse(row)).collect()
    }

    async fn poll<T: Send + 'static>(&self, statement: Statement, parse: Parse<T>) -> Result<Vec<T>, Error> {
        let rows = self.0.poll.query_again(&statement).await?;
        rows.iter().map(|row| parse(row)).collect()
    }

    async fn write<T: Send + 'static>(&self, statement: Statement, parse: Parse<T>) -> Result<Vec<T>, Error> {
        let rows = self.0.pool.query(&statement).await?;
        rows.iter().map(|row| parse(row)).collect()
    }

    async fn upkeep<T: Send + 'static>(
        &self,
        statements: Vec<Statement>,
        parse: Parse<T>,
    ) -> Result<Vec<T>, Error> {
        let rows = self.0.upkeep.query_all(&statements).await?;
        rows.iter().map(|row| parse(row)).collect()
    }

    async fn mutate<T: Send + 'static>(
        &self,
        mutation: Mutation,
        parse: Parse<T>,
    ) -> Result<Option<T>, Error> {
        let row = self.0.pool.mutate(&mutation).await?;
        row.map(|row| parse(&row)).transpose()
    }

    async fn append_audit(&self, records: &[Record]) -> Result<(), Error> {
        audit::append(&self.0.audit, records).await
    }

    async fn close(&self) {
        for lane in [&self.0.pool, &self.0.poll, &self.0.audit, &self.0.upkeep] {
            lane.close();
        }
    }
}
