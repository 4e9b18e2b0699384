//! What both databases are told: one set of statements and one reading of their rows, so that the two stores cannot
//! come to differ. A [`Database`] runs statements, and knows transactions, time-outs and its own errors.

mod asymmetric;
pub(crate) mod audit;
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

use crate::audit::Record;
use crate::store::Error;

pub(crate) use row::{Columns, Parse, damaged};
pub(crate) use statement::{Mutation, Statement, Value};

/// A database that runs the statements of this module.
pub(crate) trait Database: Clone + Send + Sync + 'static {
    /// As [`Store::migrate`](super::Store::migrate).
    fn migrate(&self) -> impl Future<Output = Result<(), Error>> + Send;

    /// As [`Store::check_schema`](super::Store::check_schema).
    fn check_schema(&self) -> impl Future<Output = Result<(), Error>> + Send;

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

    /// As [`Store::append_audit`](super::Store::append_audit).
    fn append_audit(&self, records: &[Record]) -> impl Future<Output = Result<(), Error>> + Send;

    /// As [`Store::close`](super::Store::close).
    fn close(&self) -> impl Future<Output = ()> + Send;
}
