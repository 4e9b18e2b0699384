use uuid::Uuid;

use crate::clock::Timestamp;
use crate::crypto::KeyVersion;
use crate::name::Name;
use crate::store::Error;

/// Reads a row into what it stands for.
pub(crate) type Parse<T> = fn(&dyn Columns) -> Result<T, Error>;

/// The columns of one row, by name. `None` is SQL's null; another type than asked for is [`Error::Invalid`].
pub(crate) trait Columns {
    fn optional_boolean(&self, column: &'static str) -> Result<Option<bool>, Error>;
    fn optional_integer(&self, column: &'static str) -> Result<Option<i64>, Error>;
    fn optional_text(&self, column: &'static str) -> Result<Option<String>, Error>;
    fn optional_bytes(&self, column: &'static str) -> Result<Option<Vec<u8>>, Error>;
    fn optional_uuid(&self, column: &'static str) -> Result<Option<Uuid>, Error>;
    fn optional_time(&self, column: &'static str) -> Result<Option<Timestamp>, Error>;
}

impl dyn Columns + '_ {
    pub(crate) fn boolean(&self, column: &'static str) -> Result<bool, Error> {
        self.optional_boolean(column)?.ok_or_else(|| damaged(column))
    }

    /// An integer of the width that it should have.
    pub(crate) fn integer<T: TryFrom<i64>>(&self, column: &'static str) -> Result<T, Error> {
        let value = self.optional_integer(column)?.ok_or_else(|| damaged(column))?;
        T::try_from(value).map_err(|_| damaged(column))
    }

    /// What a small number stands for.
    pub(super) fn number<T>(&self, column: &'static str, from_id: fn(u8) -> Option<T>) -> Result<T, Error> {
        from_id(self.integer(column)?).ok_or_else(|| damaged(column))
    }

    pub(super) fn key_version(&self, column: &'static str) -> Result<KeyVersion, Error> {
        KeyVersion::try_from(self.integer::<u32>(column)?).map_err(|_| damaged(column))
    }

    pub(crate) fn text(&self, column: &'static str) -> Result<String, Error> {
        self.optional_text(column)?.ok_or_else(|| damaged(column))
    }

    /// What a text stands for.
    pub(super) fn parsed<T: std::str::FromStr>(&self, column: &'static str) -> Result<T, Error> {
        self.text(column)?.parse().map_err(|_| damaged(column))
    }

    /// What a text stands for, if there is one.
    pub(super) fn optional_parsed<T: std::str::FromStr>(
        &self,
        column: &'static str,
    ) -> Result<Option<T>, Error> {
        self.optional_text(column)?.map(|text| text.parse().map_err(|_| damaged(column))).transpose()
    }

    pub(super) fn name(&self, column: &'static str) -> Result<Name, Error> {
        self.parsed(column)
    }

    pub(super) fn bytes(&self, column: &'static str) -> Result<Vec<u8>, Error> {
        self.optional_bytes(column)?.ok_or_else(|| damaged(column))
    }

    /// Bytes of a fixed length.
    pub(super) fn array<const N: usize>(&self, column: &'static str) -> Result<[u8; N], Error> {
        self.bytes(column)?.try_into().map_err(|_| damaged(column))
    }

    pub(super) fn uuid(&self, column: &'static str) -> Result<Uuid, Error> {
        self.optional_uuid(column)?.ok_or_else(|| damaged(column))
    }

    pub(crate) fn time(&self, column: &'static str) -> Result<Timestamp, Error> {
        self.optional_time(column)?.ok_or_else(|| damaged(column))
    }
}

/// The error of a row that cannot be what this release, or any, wrote. Names the column and not its content.
pub(crate) fn damaged(column: &'static str) -> Error {
    Error::Invalid(Box::new(Damaged(column)))
}

#[derive(Debug, thiserror::Error)]
#[error("a row's column `{0}` holds no valid value")]
struct Damaged(&'static str);
