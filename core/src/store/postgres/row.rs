use std::error::Error as StdError;
use std::time::{Duration, SystemTime};

use bytes::BytesMut;
use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};
use uuid::Uuid;

use crate::clock::Timestamp;
use crate::store::Error;
use crate::store::sql::{Columns, Value, damaged};

/// The end of the year 9999, in microseconds; `timestamptz` ends not much later.
const LAST: u64 = 253_402_300_799_999_999;

impl Value {
    pub(super) fn postgres_type(&self) -> Type {
        match self {
            Self::Boolean(_) => Type::BOOL,
            Self::Integer(_) => Type::INT8,
            Self::Text(_) => Type::TEXT,
            Self::Bytes(_) => Type::BYTEA,
            Self::Uuid(_) => Type::UUID,
            Self::Time(_) => Type::TIMESTAMPTZ,
        }
    }
}

impl ToSql for Value {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn StdError + Sync + Send>> {
        match self {
            Self::Boolean(value) => value.to_sql(ty, out),
            Self::Integer(value) => value.to_sql(ty, out),
            Self::Text(value) => value.to_sql(ty, out),
            Self::Bytes(value) => value.to_sql(ty, out),
            Self::Uuid(value) => value.to_sql(ty, out),
            Self::Time(value) => value.map(system_time).to_sql(ty, out),
        }
    }

    fn accepts(_: &Type) -> bool {
        // Every value is sent with its own type.
        true
    }

    to_sql_checked!();
}

pub(super) fn system_time(time: Timestamp) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_micros(time.as_micros().min(LAST))
}

impl Columns for Row {
    fn optional_boolean(&self, column: &'static str) -> Result<Option<bool>, Error> {
        get(self, column)
    }

    fn optional_integer(&self, column: &'static str) -> Result<Option<i64>, Error> {
        let ty =
            self.columns().iter().find(|candidate| candidate.name() == column).map(|found| found.type_());
        match ty {
            Some(&Type::INT2) => get::<Option<i16>>(self, column).map(|value| value.map(i64::from)),
            Some(&Type::INT4) => get::<Option<i32>>(self, column).map(|value| value.map(i64::from)),
            _ => get(self, column),
        }
    }

    fn optional_text(&self, column: &'static str) -> Result<Option<String>, Error> {
        get(self, column)
    }

    fn optional_bytes(&self, column: &'static str) -> Result<Option<Vec<u8>>, Error> {
        get(self, column)
    }

    fn optional_uuid(&self, column: &'static str) -> Result<Option<Uuid>, Error> {
        get(self, column)
    }

    fn optional_time(&self, column: &'static str) -> Result<Option<Timestamp>, Error> {
        let time: Option<SystemTime> = get(self, column)?;
        Ok(time.map(Timestamp::from))
    }
}

fn get<'a, T: FromSql<'a>>(row: &'a Row, column: &'static str) -> Result<T, Error> {
    row.try_get(column).map_err(|_| damaged(column))
}
