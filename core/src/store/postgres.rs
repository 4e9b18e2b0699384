//! The shared store: PostgreSQL 14 or later, or what speaks like it, for any number of replicas.
//!
//! Nothing depends on the state of a session (no named statements, `SET`, or session locks), so that poolers that
//! hand out a connection per transaction may stand in between.

mod audit;
mod connector;
mod error;
mod facts;
mod lane;
mod metrics;
mod migrate;
mod partitions;
mod row;
#[cfg(test)]
mod tests;
mod tls;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::registry::Registry;
use tokio_postgres::config::TargetSessionAttrs;
use tracing::Instrument;

use crate::audit::{Append, Cut, Keys};
use crate::clock::Timestamp;
use crate::config::{self, PostgresUrl, SslMode};
use crate::store::sql::{Database, Mutation, Parse, Statement};
use crate::store::{Error, Facts, PoolStatus};
use crate::telemetry::{Wait, traces, waiting_for};
use connector::Connector;
use lane::Lane;
use metrics::DatabaseMetrics;

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
    metrics: DatabaseMetrics,
}

impl PostgresStore {
    /// Connects once, to fail early, and prepares to connect more. Needs tokio's runtime.
    ///
    /// # Errors
    ///
    /// [`Error::Unavailable`] when the database cannot be reached, [`Error::Invalid`] when a certificate file is bad.
    pub async fn connect(options: &PostgresOptions) -> Result<Self, Error> {
        let connector = Connector::new(options)?;
        let metrics = DatabaseMetrics::new();
        let lane = |name, size, overflow| {
            Lane::new(&connector, options, (name, metrics.of_lane(name)), size, overflow)
        };
        let lanes = Lanes {
            pool: lane("pool", options.pool_size, options.max_overflow)?,
            poll: lane("poll", 1, 0)?,
            audit: lane("audit", 1, 0)?,
            upkeep: lane("upkeep", 1, 0)?,
            connector,
            metrics,
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

    async fn ping(&self, limit: Duration) -> Result<(), Error> {
        Ok(self.0.pool.ping(limit).await?)
    }

    fn pool(&self) -> Option<PoolStatus> {
        Some(self.0.pool.status())
    }

    fn register_metrics(&self, registry: &mut Registry) {
        self.0.metrics.register(registry, self.0.pool.pool());
    }

    async fn read<T: Send + 'static>(&self, statement: Statement, parse: Parse<T>) -> Result<Vec<T>, Error> {
        let read = self.0.pool.query_again(&statement).instrument(traces::store("read"));
        let rows = waiting_for(Wait::Store, read).await?;
        rows.iter().map(|row| parse(row)).collect()
    }

    async fn poll<T: Send + 'static>(&self, statement: Statement, parse: Parse<T>) -> Result<Vec<T>, Error> {
        let rows = self.0.poll.query_again(&statement).await?;
        rows.iter().map(|row| parse(row)).collect()
    }

    async fn write<T: Send + 'static>(&self, statement: Statement, parse: Parse<T>) -> Result<Vec<T>, Error> {
        let write = self.0.pool.query(&statement).instrument(traces::store("write"));
        let rows = waiting_for(Wait::Store, write).await?;
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
        let mutate = self.0.pool.mutate(&mutation).instrument(traces::store(mutation.name));
        let row = waiting_for(Wait::Store, mutate).await?;
        row.map(|row| parse(&row)).transpose()
    }

    async fn append_audit(&self, append: &Append) -> Result<bool, Error> {
        audit::append(&self.0.audit, append).await
    }

    async fn prepare_audit_days(&self, from: Timestamp, days: u32) -> Result<(), Error> {
        partitions::prepare(&self.0.upkeep, from, days).await
    }

    async fn cut_audit(&self, before: Timestamp, keys: &Arc<Keys>) -> Result<Option<Cut>, Error> {
        partitions::cut(&self.0.upkeep, before, keys).await
    }

    async fn facts(&self) -> Result<Facts, Error> {
        facts::ask(self).await
    }

    async fn close(&self) {
        for lane in [&self.0.pool, &self.0.poll, &self.0.audit, &self.0.upkeep] {
            lane.close();
        }
    }
}
