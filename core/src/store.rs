//! The store: the state that outlives a process and that all replicas share.
//!
//! [`postgres`] serves any number of replicas, [`sqlite`] serves one machine. Both keep the same tables and pass the
//! same conformance suite. A store knows nothing of HTTP, and holds no key that is not wrapped.

#[cfg(test)]
mod conformance;
pub mod postgres;
mod sql;
pub mod sqlite;

use std::future::Future;

use crate::audit;
use crate::auth::Identity;
use crate::clock::Timestamp;
use crate::contexts::{Context, StoredVersion};
use crate::crypto::{Algorithm, AlgorithmSet, KekId, KeyId, KeyVersion};
use crate::id::{ContextId, IdentityId, TenantId};
use crate::name::Name;

/// The oldest release that may run on the schema that this release's migrations make.
pub const OLDEST_COMPATIBLE_RELEASE: &str = "0.1.0";

/// What every store does. Every change raises the [`Revision`] in its own transaction.
///
/// All methods fail with [`Error::Unavailable`] when the store cannot be reached in time. Nothing that returned `Ok` is
/// lost afterwards; what returned an error other than a definite refusal may or may not have happened.
pub trait Store: Clone + Send + Sync + 'static {
    /// Brings the schema up to date. Any number of processes may call it at once; a newer schema is left alone.
    ///
    /// # Errors
    ///
    /// [`Error::TooOld`] when the schema says that this release may no longer run on it.
    fn migrate(&self) -> impl Future<Output = Result<(), Error>> + Send;

    /// Whether the schema is there and allows this release; what is checked when [`Store::migrate`] is left to another.
    fn check_schema(&self) -> impl Future<Output = Result<(), Error>> + Send;

    /// Stores `first` if the deployment has never been set up; in any case returns what is set up now.
    fn bootstrap(&self, first: &Bootstrap) -> impl Future<Output = Result<Deployment, Error>> + Send;

    /// The last revision.
    fn revision(&self) -> impl Future<Output = Result<Revision, Error>> + Send;

    /// What changed after `seen`, oldest first, and the revision up to which that is everything.
    ///
    /// [`Changes::changes`] is `None` when the list is no longer complete, or `seen` lies in the future: then
    /// everything may have changed.
    fn changes_since(&self, seen: Revision) -> impl Future<Output = Result<Changes, Error>> + Send;

    /// The context of that name that is not deleted, with the enabled version of its key.
    fn enabled_version(
        &self,
        tenant: TenantId,
        context: &Name,
    ) -> impl Future<Output = Result<Option<StoredVersion>, Error>> + Send;

    /// One version of a key, with its context, deleted or not.
    fn key_version(
        &self,
        tenant: TenantId,
        key: KeyId,
        version: KeyVersion,
    ) -> impl Future<Output = Result<Option<StoredVersion>, Error>> + Send;

    /// Adds `count` to the messages reserved for a key version, unless the sum would exceed `limit`.
    ///
    /// Returns the new sum, or `None` if nothing was reserved. Raises no revision.
    fn reserve_messages(
        &self,
        tenant: TenantId,
        key: KeyId,
        version: KeyVersion,
        count: u64,
        limit: u64,
    ) -> impl Future<Output = Result<Option<u64>, Error>> + Send;

    /// Stores a context with the first version of its key.
    ///
    /// # Errors
    ///
    /// [`Error::Exists`] when the tenant has a context of that name, deleted or not.
    fn create_context(&self, new: &StoredVersion) -> impl Future<Output = Result<(), Error>> + Send;

    /// Contexts of a tenant by name, either the deleted or the others; at most `limit`, after the name `after`.
    fn contexts(
        &self,
        tenant: TenantId,
        deleted: bool,
        after: Option<&Name>,
        limit: u32,
    ) -> impl Future<Output = Result<Vec<Context>, Error>> + Send;

    /// A context by name, deleted or not.
    fn context(
        &self,
        tenant: TenantId,
        name: &Name,
    ) -> impl Future<Output = Result<Option<Context>, Error>> + Send;

    /// Changes a context that is not deleted; returns it as changed.
    fn update_context(
        &self,
        tenant: TenantId,
        name: &Name,
        update: &ContextUpdate,
        now: Timestamp,
    ) -> impl Future<Output = Result<Option<Context>, Error>> + Send;

    /// Deletes or restores a context; returns it as changed, or `None` when there is none in the other state.
    fn set_context_deleted(
        &self,
        tenant: TenantId,
        name: &Name,
        deleted: bool,
        now: Timestamp,
    ) -> impl Future<Output = Result<Option<Context>, Error>> + Send;

    /// An identity by its id.
    fn identity(
        &self,
        tenant: TenantId,
        id: IdentityId,
    ) -> impl Future<Output = Result<Option<Identity>, Error>> + Send;

    /// An identity by name.
    fn identity_by_name(
        &self,
        tenant: TenantId,
        name: &Name,
    ) -> impl Future<Output = Result<Option<Identity>, Error>> + Send;

    /// Stores an identity.
    ///
    /// # Errors
    ///
    /// [`Error::Exists`] when the tenant has an identity of that name.
    fn create_identity(&self, identity: &Identity) -> impl Future<Output = Result<(), Error>> + Send;

    /// Identities of a tenant by name, at most `limit`, after the name `after`.
    fn identities(
        &self,
        tenant: TenantId,
        after: Option<&Name>,
        limit: u32,
    ) -> impl Future<Output = Result<Vec<Identity>, Error>> + Send;

    /// Replaces name, role, scopes, contexts and enabled of the identity with this tenant and id, if nobody changed it
    /// since it was read, by its epoch and `updated_at`; `raise_epoch` revokes all its tokens. Returns it as changed.
    fn update_identity(
        &self,
        identity: &Identity,
        raise_epoch: bool,
        now: Timestamp,
    ) -> impl Future<Output = Result<Option<Identity>, Error>> + Send;

    /// Deletes an identity; whether there was one.
    fn delete_identity(
        &self,
        tenant: TenantId,
        id: IdentityId,
        now: Timestamp,
    ) -> impl Future<Output = Result<bool, Error>> + Send;

    /// Appends to the audit trail, all or nothing, durably.
    fn append_audit(&self, records: &[audit::Record]) -> impl Future<Output = Result<(), Error>> + Send;

    /// Closes connections in good order.
    fn close(&self) -> impl Future<Output = ()> + Send;
}

/// Counts changes; a later change has a higher revision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Revision(pub u64);

/// The answer of [`Store::changes_since`].
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
}

/// What a deployment starts with.
#[derive(Clone, Debug)]
pub struct Bootstrap {
    /// The tenant `default`.
    pub tenant: Tenant,
    /// The key-encryption key that wraps the first keys.
    pub kek: KekRecord,
    /// The default contexts.
    pub contexts: Vec<StoredVersion>,
    /// When.
    pub at: Timestamp,
}

/// What is set up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deployment {
    /// The tenant `default`.
    pub tenant: Tenant,
    /// Wraps new keys.
    pub active_kek: KekId,
    /// The active key-encryption key and every other that some row is wrapped under.
    pub keks: Vec<KekRecord>,
}

/// A tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tenant {
    /// Bound into every wrapped key.
    pub id: TenantId,
    /// Unique in the deployment.
    pub name: Name,
}

/// What a replica's key-encryption key must check to before it may serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KekRecord {
    /// Its fingerprint.
    pub id: KekId,
    /// Derived from it.
    pub check_value: [u8; 32],
}

/// Changes of a context; what is `None` stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContextUpdate {
    /// For people.
    pub description: Option<String>,
    /// What encryption uses, together with what callers may choose, which contains it.
    pub algorithms: Option<(Algorithm, AlgorithmSet)>,
    /// If set, nothing is changed unless the context's `updated_at` is still this.
    pub read_at: Option<Timestamp>,
}

/// What a store can fail with.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Not reachable, too slow, or refusing work: trying again later may help.
    #[error("the store is unavailable: {0}")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A name is taken.
    #[error("the name is taken")]
    Exists,
    /// The schema no longer allows this release.
    #[error("the database's schema needs release {oldest} or newer; this is {}", env!("CARGO_PKG_VERSION"))]
    TooOld {
        /// The oldest release that may run.
        oldest: String,
    },
    /// No schema, or one older than this release: nobody ran its migrations.
    #[error(
        "the database has not been migrated to this release; run `cryptoserve migrate`, or set MIGRATE=auto"
    )]
    NoSchema,
    /// A row does not parse, or the database refused a statement: an operator has to look.
    #[error("the store is damaged or misused: {0}")]
    Invalid(#[source] Box<dyn std::error::Error + Send + Sync>),
}
