//! What both databases are told: one set of statements and one reading of their rows, so that the two stores cannot
//! come to differ. A [`Database`] runs statements, and knows transactions, time-outs and its own errors.

mod asymmetric;
pub(crate) mod audit;
mod audit_search;
mod contexts;
mod deployment;
mod identities;
pub(crate) mod keys;
mod limits;
mod refresh;
mod replicas;
mod restored;
pub(crate) mod revision;
mod rewrap;
mod row;
pub(crate) mod schema;
mod statement;
mod store;
mod tenants;
mod usage;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::registry::Registry;

use crate::audit::{Append, Cut, Keys};
use crate::clock::Timestamp;
use crate::store::{Error, Facts, PoolStatus};

pub(crate) use row::{Columns, Parse, damaged};
pub(crate) use statement::{Mutation, Statement, Value};

/// A database that runs the statements of this module.
pub(crate) trait Database: Clone + Send + Sync + 'static {
    /// As [`Store::migrate`](super::Store::migrate).
    fn migrate(&self) -> impl Future<Output = Result<(), Error>> + Send;

    /// As [`Store::check_schema`](super::Store::check_schema).
    fn check_schema(&self) -> impl Future<Output = Result<(), Error>> + Send;

    /// As [`Store::ping`](super::Store::ping).
    fn ping(&self, limit: Duration) -> impl Future<Output = Result<(), Error>> + Send;

    /// As [`Store::pool`](super::Store::pool).
    fn pool(&self) -> Option<PoolStatus>;

    /// As [`Store::register_metrics`](super::Store::register_metrics).
    fn register_metrics(&self, registry: &mut Registry);

    /// Runs a statement that may be run twice without harm, and reads every row that it returns.
    fn read<T: Send + 'static>(
        &self,
        statement: Statement,
        parse: Parse<T>,
    ) -> impl Future<Output = Result<Vec<T>, Error>> + Send;

    /// As [`Database::read`], apart from all other work, so that the poll for changes never queues behind it.
    fn poll<T: Send + 'static>(
        &self,
        statement: Statement,
        parse: Parse<T>,
    ) -> impl Future<Output = Result<Vec<T>, Error>> + Send;

    /// Runs one statement that writes and makes no change that a replica could have cached, and reads what it returns.
    fn write<T: Send + 'static>(
        &self,
        statement: Statement,
        parse: Parse<T>,
    ) -> impl Future<Output = Result<Vec<T>, Error>> + Send;

    /// Runs statements that make no change that a replica could have cached, in one transaction, and reads every row
    /// that they return. Apart from all other work: nothing waits for it.
    fn upkeep<T: Send + 'static>(
        &self,
        statements: Vec<Statement>,
        parse: Parse<T>,
    ) -> impl Future<Output = Result<Vec<T>, Error>> + Send;

    /// Runs a mutation in a transaction of its own, and reads the last row of its last statement.
    ///
    /// `None` when some statement returned no row; then nothing has changed.
    fn mutate<T: Send + 'static>(
        &self,
        mutation: Mutation,
        parse: Parse<T>,
    ) -> impl Future<Output = Result<Option<T>, Error>> + Send;

    /// Appends to a chain of the audit trail in one transaction; `false`, and nothing is written, if the chain is not what
    /// it must be.
    fn append_audit(&self, append: &Append) -> impl Future<Output = Result<bool, Error>> + Send;

    /// As [`AuditTrail::prepare_audit_days`](super::AuditTrail::prepare_audit_days).
    fn prepare_audit_days(
        &self,
        from: Timestamp,
        days: u32,
    ) -> impl Future<Output = Result<(), Error>> + Send;

    /// As [`AuditTrail::cut_audit`](super::AuditTrail::cut_audit).
    fn cut_audit(
        &self,
        before: Timestamp,
        keys: &Arc<Keys>,
    ) -> impl Future<Output = Result<Option<Cut>, Error>> + Send;

    /// As [`Store::facts`](super::Store::facts).
    fn facts(&self) -> impl Future<Output = Result<Facts, Error>> + Send;

    /// As [`Store::close`](super::Store::close).
    fn close(&self) -> impl Future<Output = ()> + Send;
}
