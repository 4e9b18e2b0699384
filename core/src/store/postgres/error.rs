use std::error::Error as StdError;
use std::io;

use deadpool_postgres::PoolError;
use tokio_postgres::error::SqlState;

use super::tls::advice;
use crate::store::Error;
use crate::store::sql::damaged;
use crate::telemetry::causes;

/// Why work on a connection failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("no connection became free in time")]
    PoolTimeout,
    #[error("no connection could be made")]
    Connect(#[source] tokio_postgres::Error),
    #[error("no connection could be made: {0}")]
    Tls(String),
    #[error("no connection could be had")]
    Pool(#[source] PoolError),
    #[error("the database did not answer in time")]
    QueryTimeout,
    #[error("the statement failed")]
    Statement(#[from] tokio_postgres::Error),
    #[error("the row `revision` is missing")]
    NoRevision,
    #[error(transparent)]
    Store(#[from] Error),
}

impl Failure {
    /// Why there is no connection, and what to do where TLS is in the way.
    pub(super) fn connecting(error: tokio_postgres::Error) -> Self {
        match advice(&error) {
            Some(advice) => Self::Tls(format!("{}; {advice}", causes(&error))),
            None => Self::Connect(error),
        }
    }

    /// What [`Failure::reason`] can be.
    pub(super) const REASONS: [&str; 6] = [
        "no_connection_in_time",
        "not_connected",
        "no_answer_in_time",
        "connection_lost",
        "conflict",
        "refused",
    ];

    /// A name for the kind of it.
    pub(super) fn reason(&self) -> &'static str {
        match self {
            Self::PoolTimeout => "no_connection_in_time",
            Self::Connect(_) | Self::Tls(_) | Self::Pool(_) => "not_connected",
            Self::QueryTimeout => "no_answer_in_time",
            Self::Statement(error) if is_connection_lost(error) => "connection_lost",
            Self::Statement(_) if self.is_conflict() => "conflict",
            Self::Statement(_) | Self::NoRevision | Self::Store(_) => "refused",
        }
    }

    /// Whether the connection is of no more use.
    pub(super) fn lost_connection(&self) -> bool {
        match self {
            Self::QueryTimeout => true,
            Self::Statement(error) => is_connection_lost(error),
            Self::PoolTimeout
            | Self::Connect(_)
            | Self::Tls(_)
            | Self::Pool(_)
            | Self::NoRevision
            | Self::Store(_) => false,
        }
    }

    /// Whether a row was on its way to the default partition when that of its day was made.
    pub(super) fn found_another_partition(&self) -> bool {
        matches!(self, Self::Statement(error) if error.code() == Some(&SqlState::CHECK_VIOLATION))
    }

    /// Whether the transaction was undone because of another one, so that it may be run again.
    pub(super) fn is_conflict(&self) -> bool {
        let code = match self {
            Self::Statement(error) => error.code(),
            _ => None,
        };
        code.is_some_and(|code| {
            [&SqlState::T_R_SERIALIZATION_FAILURE, &SqlState::T_R_DEADLOCK_DETECTED].contains(&code)
        })
    }
}

impl From<PoolError> for Failure {
    fn from(error: PoolError) -> Self {
        match error {
            PoolError::Backend(error) => Self::connecting(error),
            other => Self::Pool(other),
        }
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        let failure = match failure {
            Failure::Store(error) => return error,
            other => other,
        };
        match &failure {
            Failure::PoolTimeout
            | Failure::Connect(_)
            | Failure::Tls(_)
            | Failure::Pool(_)
            | Failure::QueryTimeout => Self::Unavailable(Box::new(failure)),
            Failure::Statement(error) if is_unavailable(error) => Self::Unavailable(Box::new(failure)),
            Failure::Statement(error) => match (error.code(), constraint(error)) {
                (
                    Some(&SqlState::UNIQUE_VIOLATION),
                    Some(
                        "contexts_name"
                        | "identities_certificate"
                        | "identities_name"
                        | "identities_pkey"
                        | "tenants_name",
                    ),
                ) => Self::Exists,
                (Some(&SqlState::UNDEFINED_TABLE), _) => Self::NoSchema,
                _ => Self::Invalid(Box::new(failure)),
            },
            Failure::NoRevision | Failure::Store(_) => damaged("value"),
        }
    }
}

fn is_connection_lost(error: &tokio_postgres::Error) -> bool {
    match error.code() {
        // 08: connection exceptions. 57P: the server shuts down, has crashed, or does not take connections. 25006: it
        // has become a standby, and connections must be made to another.
        Some(code) => ["08", "57P", "25006"].iter().any(|lost| code.code().starts_with(lost)),
        None => error.is_closed() || error.source().is_some_and(|source| source.is::<io::Error>()),
    }
}

/// Whether trying again later may help.
pub(super) fn is_unavailable(error: &tokio_postgres::Error) -> bool {
    // 08 connection, 40 undone because of another transaction, 53 out of resources, 55 in use, 57 operator
    // intervention, 58 system error; 25006 is what a primary answers once a failover has made it a standby.
    const CLASSES: [&str; 7] = ["08", "25006", "40", "53", "55", "57", "58"];
    match error.code() {
        Some(code) => CLASSES.iter().any(|class| code.code().starts_with(class)),
        None => is_connection_lost(error),
    }
}

fn constraint(error: &tokio_postgres::Error) -> Option<&str> {
    error.as_db_error().and_then(tokio_postgres::error::DbError::constraint)
}
