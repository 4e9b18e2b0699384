use crate::clock::Timestamp;
use crate::id::{ContextId, IdentityId, TenantId};

/// Counts changes; a later change has a higher revision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Revision(pub u64);

/// Where a database server is in its history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The last revision.
    pub revision: Revision,
    /// When the server started, by its own clock. Another server has another start, and so has one that went back to an
    /// older state, whatever their revisions.
    pub server_started_at: Timestamp,
}

/// The answer of [`Store::changes_since`](super::Store::changes_since).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changes {
    /// Everything up to here is in `changes`.
    pub revision: Revision,
    /// Oldest first; `None` when everything may have changed.
    pub changes: Option<Vec<Change>>,
}

/// What a replica may have cached and must forget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// A context or one of its key versions.
    Context(TenantId, ContextId),
    /// An identity.
    Identity(TenantId, IdentityId),
    /// A tenant, and thereby what the tokens of all its identities are worth.
    Tenant(TenantId),
    /// What [`Store::deployment`](super::Store::deployment) says, for example the active key-encryption key.
    Deployment,
}

/// What was read, and of which revision it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded<T> {
    /// Of the same moment as `value`.
    pub revision: Revision,
    /// `None` if there is nothing.
    pub value: Option<T>,
}
