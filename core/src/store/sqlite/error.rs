use rusqlite::ErrorCode;
use rusqlite::ffi::{SQLITE_CONSTRAINT_PRIMARYKEY, SQLITE_CONSTRAINT_UNIQUE};

use crate::store::Error;
use crate::store::sql::damaged;

/// Why work on a connection failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    #[error("the migrations failed")]
    Migration(#[from] refinery::Error),
    #[error("the database file or its lock cannot be opened")]
    File(#[source] std::io::Error),
    #[error("all connections are busy")]
    Busy,
    #[error("the store is closed")]
    Closed,
    #[error("the work was interrupted")]
    Task(#[source] tokio::task::JoinError),
    #[error("the row `revision` is missing")]
    NoRevision,
    #[error(transparent)]
    Store(#[from] Error),
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Store(error) => error,
            Failure::Sqlite(error) => from_sqlite(error),
            Failure::Migration(ref error) => match sqlite_source(error) {
                Some(error) if is_unavailable(error) => Self::Unavailable(Box::new(failure)),
                _ => Self::Invalid(Box::new(failure)),
            },
            Failure::File(_) | Failure::Busy | Failure::Closed | Failure::Task(_) => {
                Self::Unavailable(Box::new(failure))
            }
            Failure::NoRevision => damaged("value"),
        }
    }
}

fn from_sqlite(error: rusqlite::Error) -> Error {
    if is_unavailable(&error) {
        return Error::Unavailable(Box::new(error));
    }
    match &error {
        // SQLite names the columns of the index: `UNIQUE constraint failed: contexts.tenant_id, contexts.name`.
        rusqlite::Error::SqliteFailure(code, Some(message))
            if matches!(code.extended_code, SQLITE_CONSTRAINT_UNIQUE | SQLITE_CONSTRAINT_PRIMARYKEY)
                && [".name", "identities.id", "identities.certificate"]
                    .iter()
                    .any(|column| message.ends_with(column)) =>
        {
            Error::Exists
        }
        rusqlite::Error::SqlInputError { msg, .. } if msg.starts_with("no such table") => Error::NoSchema,
        rusqlite::Error::SqliteFailure(_, Some(message)) if message.starts_with("no such table") => {
            Error::NoSchema
        }
        _ => Error::Invalid(Box::new(error)),
    }
}

fn is_unavailable(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(
            ErrorCode::DatabaseBusy
                | ErrorCode::DatabaseLocked
                | ErrorCode::DiskFull
                | ErrorCode::SystemIoFailure
                | ErrorCode::CannotOpen
                | ErrorCode::OutOfMemory
                | ErrorCode::FileLockingProtocolFailed
                | ErrorCode::OperationInterrupted
        )
    )
}

fn sqlite_source(error: &refinery::Error) -> Option<&rusqlite::Error> {
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        source = error.source();
    }
    None
}
