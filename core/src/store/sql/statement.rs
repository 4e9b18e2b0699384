use uuid::Uuid;

use crate::clock::Timestamp;
use crate::crypto::{KekId, KeyId, KeyVersion};
use crate::id::{ChainId, ContextId, FamilyId, IdentityId, ReplicaId, TenantId};
use crate::name::Name;
use crate::store::Change;

/// One statement with its parameters `$1`, `$2` and so on, in SQL that both databases understand.
#[derive(Clone, Debug)]
pub(crate) struct Statement {
    pub(crate) sql: &'static str,
    pub(crate) values: Vec<Value>,
    /// Whether a mutation applies though this returns no row.
    pub(crate) optional: bool,
}

impl Statement {
    pub(crate) fn new<const N: usize>(sql: &'static str, values: [Value; N]) -> Self {
        Self { sql, values: values.into(), optional: false }
    }

    /// One that may find nothing to change.
    pub(super) fn optional(self) -> Self {
        Self { optional: true, ..self }
    }
}

/// Statements that together make one or more changes.
///
/// The database first raises the revision by the number of changes, which also makes mutations wait for each other;
/// then runs the statements in order; then notes the changes.
#[derive(Clone, Debug)]
pub(crate) struct Mutation {
    /// For the log.
    pub(crate) name: &'static str,
    /// Each that is not optional returns at least one row, or the mutation does not apply and is undone. The last is not
    /// optional.
    pub(crate) statements: Vec<Statement>,
    pub(crate) changes: Vec<Change>,
    pub(crate) at: Timestamp,
}

/// A parameter. `None` is SQL's null.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Boolean(Option<bool>),
    Integer(Option<i64>),
    Text(Option<String>),
    Bytes(Vec<u8>),
    Uuid(Option<Uuid>),
    Time(Option<Timestamp>),
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Boolean(Some(value))
    }
}

impl From<Option<bool>> for Value {
    fn from(value: Option<bool>) -> Self {
        Self::Boolean(value)
    }
}

impl From<u8> for Value {
    fn from(value: u8) -> Self {
        Self::Integer(Some(value.into()))
    }
}

impl From<Option<u8>> for Value {
    fn from(value: Option<u8>) -> Self {
        Self::Integer(value.map(i64::from))
    }
}

impl From<u32> for Value {
    fn from(value: u32) -> Self {
        Self::Integer(Some(value.into()))
    }
}

impl From<Option<u32>> for Value {
    fn from(value: Option<u32>) -> Self {
        Self::Integer(value.map(i64::from))
    }
}

impl From<u64> for Value {
    /// Numbers that no column can hold become the largest that one can.
    fn from(value: u64) -> Self {
        Self::Integer(Some(i64::try_from(value).unwrap_or(i64::MAX)))
    }
}

impl From<Option<u64>> for Value {
    /// As for one that is there.
    fn from(value: Option<u64>) -> Self {
        Self::Integer(value.map(|value| i64::try_from(value).unwrap_or(i64::MAX)))
    }
}

impl From<KeyVersion> for Value {
    fn from(value: KeyVersion) -> Self {
        value.get().into()
    }
}

impl From<Option<KeyVersion>> for Value {
    fn from(value: Option<KeyVersion>) -> Self {
        Self::Integer(value.map(|version| version.get().into()))
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::Text(Some(value))
    }
}

impl From<Option<String>> for Value {
    fn from(value: Option<String>) -> Self {
        Self::Text(value)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        value.to_owned().into()
    }
}

impl From<&Name> for Value {
    fn from(value: &Name) -> Self {
        value.as_str().into()
    }
}

impl From<&[u8]> for Value {
    fn from(value: &[u8]) -> Self {
        Self::Bytes(value.to_owned())
    }
}

impl From<KeyId> for Value {
    fn from(value: KeyId) -> Self {
        value.0.as_slice().into()
    }
}

impl From<KekId> for Value {
    fn from(value: KekId) -> Self {
        value.0.as_slice().into()
    }
}

impl From<TenantId> for Value {
    fn from(value: TenantId) -> Self {
        Self::Uuid(Some(value.0))
    }
}

impl From<ContextId> for Value {
    fn from(value: ContextId) -> Self {
        Self::Uuid(Some(value.0))
    }
}

impl From<IdentityId> for Value {
    fn from(value: IdentityId) -> Self {
        Self::Uuid(Some(value.0))
    }
}

impl From<FamilyId> for Value {
    fn from(value: FamilyId) -> Self {
        Self::Uuid(Some(value.0))
    }
}

impl From<ReplicaId> for Value {
    fn from(value: ReplicaId) -> Self {
        Self::Uuid(Some(value.0))
    }
}

impl From<ChainId> for Value {
    fn from(value: ChainId) -> Self {
        Self::Uuid(Some(value.0))
    }
}

impl From<Option<Uuid>> for Value {
    fn from(value: Option<Uuid>) -> Self {
        Self::Uuid(value)
    }
}

impl From<Timestamp> for Value {
    fn from(value: Timestamp) -> Self {
        Self::Time(Some(value))
    }
}

impl From<Option<Timestamp>> for Value {
    fn from(value: Option<Timestamp>) -> Self {
        Self::Time(value)
    }
}
