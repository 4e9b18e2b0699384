use rusqlite::Row;
use rusqlite::types::{FromSql, ToSql, ToSqlOutput, ValueRef};
use uuid::Uuid;

use crate::clock::Timestamp;
use crate::store::Error;
use crate::store::sql::{Columns, Value, damaged};

/// The statement with its parameters written as SQLite numbers them: `?1` where PostgreSQL has `$1`, which SQLite would
/// take for a name and count by its first appearance.
pub(super) fn numbered(sql: &str) -> String {
    sql.replace('$', "?")
}

impl ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        let value = match self {
            Self::Boolean(Some(value)) => ValueRef::Integer((*value).into()),
            Self::Integer(Some(value)) => ValueRef::Integer(*value),
            Self::Text(Some(value)) => ValueRef::Text(value.as_bytes()),
            Self::Bytes(value) => ValueRef::Blob(value),
            Self::Uuid(Some(value)) => ValueRef::Blob(value.as_bytes()),
            Self::Time(Some(value)) => {
                ValueRef::Integer(i64::try_from(value.as_micros()).unwrap_or(i64::MAX))
            }
            Self::Boolean(None)
            | Self::Integer(None)
            | Self::Text(None)
            | Self::Uuid(None)
            | Self::Time(None) => ValueRef::Null,
        };
        Ok(ToSqlOutput::Borrowed(value))
    }
}

impl Columns for Row<'_> {
    fn optional_boolean(&self, column: &'static str) -> Result<Option<bool>, Error> {
        get(self, column)
    }

    fn optional_integer(&self, column: &'static str) -> Result<Option<i64>, Error> {
        get(self, column)
    }

    fn optional_text(&self, column: &'static str) -> Result<Option<String>, Error> {
        get(self, column)
    }

    fn optional_bytes(&self, column: &'static str) -> Result<Option<Vec<u8>>, Error> {
        get(self, column)
    }

    fn optional_uuid(&self, column: &'static str) -> Result<Option<Uuid>, Error> {
        let bytes: Option<Vec<u8>> = get(self, column)?;
        bytes.map(|bytes| Uuid::from_slice(&bytes).map_err(|_| damaged(column))).transpose()
    }

    fn optional_time(&self, column: &'static str) -> Result<Option<Timestamp>, Error> {
        let micros: Option<i64> = get(self, column)?;
        let micros = micros.map(u64::try_from).transpose().map_err(|_| damaged(column))?;
        Ok(micros.map(Timestamp::from_micros))
    }
}

fn get<T: FromSql>(row: &Row<'_>, column: &'static str) -> Result<T, Error> {
    row.get(column).map_err(|_| damaged(column))
}
