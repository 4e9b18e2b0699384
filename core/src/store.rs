//! The store: the state that outlives a process and that all replicas share.
//!
//! [`postgres`] serves any number of replicas, [`sqlite`] serves one machine. Both keep the same tables and pass the
//! same conformance suite. A store knows nothing of HTTP, and holds no key that is not wrapped.

mod audit;
mod audit_search;
#[cfg(test)]
mod conformance;
mod context_update;
mod deployment;
mod error;
mod facts;
mod limits;
mod outlook;
mod pool;
pub mod postgres;
mod refresh;
mod replica;
mod revision;
mod sql;
pub mod sqlite;
mod state_change;
mod tenant;
mod usage;
mod wrapped;

use std::future::Future;
use std::time::Duration;

use prometheus_client::registry::Registry;

use crate::auth::{CertificateName, Identity, IdentityStatus};
use crate::clock::Timestamp;
use crate::contexts::{Context, Destruction, KeySummary, KeyVersionStatus, Rotation, StoredVersion};
use crate::crypto::{KeyId, KeyVersion, Purpose};
use crate::id::{IdentityId, ReplicaId, TenantId};
use crate::name::Name;

pub use audit::AuditTrail;
pub use audit_search::AuditSearch;
pub use context_update::ContextUpdate;
pub use deployment::{Bootstrap, Deployment, KekRecord};
pub use error::Error;
pub use facts::{Facts, ServerFacts};
pub use limits::{Policies, PolicySubject, StoredPolicy};
pub use outlook::Outlook;
pub use pool::PoolStatus;
pub use refresh::{Opening, RefreshTokens, Revocation, StoredRefreshToken};
pub use replica::{HEARTBEAT_INTERVAL, REPLICA_TIMEOUT, Replica, ReplicaRecord};
pub use revision::{Change, Changes, Loaded, Position, Revision};
pub use state_change::StateChange;
pub use tenant::{NewTenant, Tenant, TenantRecord, TenantUpdate};
pub use usage::Usage;
pub use wrapped::{Rewrap, VersionId, WrappedKeys, WrappedVersion};

/// The oldest release that may run on the schema that this release's migrations make.
pub const OLDEST_COMPATIBLE_RELEASE: &str = "0.1.0";

/// What every store does. Every change raises the [`Revision`] in its own transaction.
///
/// All methods fail with [`Error::Unavailable`] when the store cannot be reached in time. Nothing that returned `Ok` is
/// lost afterwards; what returned an error other than a definite refusal may or may not have happened.
pub trait Store:
    RefreshTokens + WrappedKeys + Policies + AuditTrail + AuditSearch + Clone + Send + Sync + 'static
{
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

    /// Asks for a sign of life over a connection of those for requests, within `limit`.
    ///
    /// # Errors
    ///
    /// When none comes, with the reason.
    fn ping(&self, limit: Duration) -> impl Future<Output = Result<(), Error>> + Send;

    /// The connections for requests; `None` where there is no server to connect to.
    fn pool(&self) -> Option<PoolStatus>;

    /// Shows what it measures in `registry`.
    fn register_metrics(&self, registry: &mut Registry);

    /// The last revision.
    fn revision(&self) -> impl Future<Output = Result<Revision, Error>> + Send;

    /// The last revision, and which server says so.
    fn position(&self) -> impl Future<Output = Result<Position, Error>> + Send;

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
    ) -> impl Future<Output = Result<Loaded<StoredVersion>, Error>> + Send;

    /// One version of a key that is for `purpose`, with its context, deleted or not.
    fn key_version(
        &self,
        tenant: TenantId,
        key: KeyId,
        version: KeyVersion,
        purpose: Purpose,
    ) -> impl Future<Output = Result<Loaded<StoredVersion>, Error>> + Send;

    /// Versions of a key, newest first, at most `limit`, older than `before`.
    fn key_versions(
        &self,
        tenant: TenantId,
        key: KeyId,
        before: Option<KeyVersion>,
        limit: u32,
    ) -> impl Future<Output = Result<Vec<KeyVersionStatus>, Error>> + Send;

    /// Enables the next version of a context's key and lets the previous one only decrypt; `false`, and nothing is
    /// changed, if the previous one is no longer enabled, the next is not wrapped under the active key-encryption key,
    /// or the transport key that brought it was used meanwhile.
    fn rotate(&self, rotation: &Rotation) -> impl Future<Output = Result<bool, Error>> + Send;

    /// Enabled versions of contexts whose time has come, or of which `worn` messages are reserved; at most `limit`.
    fn rotations_due(
        &self,
        now: Timestamp,
        worn: u64,
        limit: u32,
    ) -> impl Future<Output = Result<Vec<StoredVersion>, Error>> + Send;

    /// Moves a version from one state to another; `None` if it is no longer in the first.
    fn set_key_state(
        &self,
        version: &StoredVersion,
        change: &StateChange,
        now: Timestamp,
    ) -> impl Future<Output = Result<Option<KeyVersionStatus>, Error>> + Send;

    /// Stores a key of a context that exists, for another purpose than encryption, with its one version; `destroy_at`
    /// is set if that is [`KeyState::Scheduled`](crate::contexts::KeyState::Scheduled).
    ///
    /// # Errors
    ///
    /// [`Error::KekNotActive`] as for [`Store::create_context`].
    fn create_key(
        &self,
        new: &StoredVersion,
        destroy_at: Option<Timestamp>,
    ) -> impl Future<Output = Result<(), Error>> + Send;

    /// Keys of one version that are for `purpose` and belong to contexts that are not deleted, by their id; at most
    /// `limit`, after the id `after`.
    fn keys(
        &self,
        tenant: TenantId,
        purpose: Purpose,
        after: Option<KeyId>,
        limit: u32,
    ) -> impl Future<Output = Result<Vec<KeySummary>, Error>> + Send;

    /// Before the bytes of a version leave: from now on at least [`KNOWN_ELSEWHERE`] messages count as encrypted with
    /// it.
    /// `false`, and nothing is changed, if it may not decrypt. Raises no revision.
    ///
    /// [`KNOWN_ELSEWHERE`]: crate::contexts::KNOWN_ELSEWHERE
    fn mark_exported(&self, version: &StoredVersion) -> impl Future<Output = Result<bool, Error>> + Send;

    /// Versions whose waiting period is over; at most `limit`.
    fn destructions_due(
        &self,
        now: Timestamp,
        limit: u32,
    ) -> impl Future<Output = Result<Vec<StoredVersion>, Error>> + Send;

    /// Deletes the bytes of a version whose waiting period is over; whether it did.
    fn destroy(
        &self,
        version: &StoredVersion,
        now: Timestamp,
    ) -> impl Future<Output = Result<bool, Error>> + Send;

    /// Whether the tenant has a key of that check value, in whatever context.
    fn has_check_value(
        &self,
        tenant: TenantId,
        check_value: [u8; 16],
    ) -> impl Future<Output = Result<bool, Error>> + Send;

    /// Adds to the counts of how often versions were used; all or nothing. Raises no revision.
    fn record_usage(&self, usage: &[Usage], now: Timestamp)
    -> impl Future<Output = Result<(), Error>> + Send;

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
    /// [`Error::Exists`] when the tenant has a context of that name, deleted or not; [`Error::KekNotActive`] when the
    /// key is wrapped under another key-encryption key than the active one.
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

    /// Stores a tenant with its first contexts and its first administrator.
    ///
    /// # Errors
    ///
    /// [`Error::Exists`] when there is a tenant of that name; [`Error::KekNotActive`] as for [`Store::create_context`].
    fn create_tenant(&self, new: &NewTenant) -> impl Future<Output = Result<(), Error>> + Send;

    /// A tenant by name.
    fn tenant(&self, name: &Name) -> impl Future<Output = Result<Option<TenantRecord>, Error>> + Send;

    /// Tenants by name, at most `limit`, after the name `after`.
    fn tenants(
        &self,
        after: Option<&Name>,
        limit: u32,
    ) -> impl Future<Output = Result<Vec<TenantRecord>, Error>> + Send;

    /// Changes a tenant; returns it as changed.
    fn update_tenant(
        &self,
        tenant: TenantId,
        update: &TenantUpdate,
        now: Timestamp,
    ) -> impl Future<Output = Result<Option<TenantRecord>, Error>> + Send;

    /// Raises the epoch of every identity of a tenant, so that none of their tokens counts any more.
    fn revoke_tokens_of_tenant(
        &self,
        tenant: TenantId,
        now: Timestamp,
    ) -> impl Future<Output = Result<(), Error>> + Send;

    /// What decides whether the tokens of an identity count at `now`, and how much it may do.
    fn identity_status(
        &self,
        tenant: TenantId,
        id: IdentityId,
        now: Timestamp,
    ) -> impl Future<Output = Result<Loaded<IdentityStatus>, Error>> + Send;

    /// Refuses one token of an identity until `expires_at`, if no more than
    /// [`MAX_REVOKED`](crate::auth::MAX_REVOKED) of it are refused.
    fn revoke_token(
        &self,
        tenant: TenantId,
        id: IdentityId,
        token: &str,
        expires_at: Timestamp,
        now: Timestamp,
    ) -> impl Future<Output = Result<Revocation, Error>> + Send;

    /// Forgets revoked tokens that have expired by any clock. Raises no revision.
    fn prune_revoked_tokens(&self, now: Timestamp) -> impl Future<Output = Result<(), Error>> + Send;

    /// An identity by its id.
    fn identity(
        &self,
        tenant: TenantId,
        id: IdentityId,
    ) -> impl Future<Output = Result<Loaded<Identity>, Error>> + Send;

    /// An identity by name.
    fn identity_by_name(
        &self,
        tenant: TenantId,
        name: &Name,
    ) -> impl Future<Output = Result<Option<Identity>, Error>> + Send;

    /// Whose certificate of that name is, in the whole deployment.
    fn identity_by_certificate(
        &self,
        name: &CertificateName,
    ) -> impl Future<Output = Result<Loaded<(TenantId, IdentityId)>, Error>> + Send;

    /// Stores an identity.
    ///
    /// # Errors
    ///
    /// [`Error::Exists`] when the tenant has an identity of that name, or that id, or any has its certificate.
    fn create_identity(&self, identity: &Identity) -> impl Future<Output = Result<(), Error>> + Send;

    /// Identities of a tenant by name, at most `limit`, after the name `after`.
    fn identities(
        &self,
        tenant: TenantId,
        after: Option<&Name>,
        limit: u32,
    ) -> impl Future<Output = Result<Vec<Identity>, Error>> + Send;

    /// Replaces name, role, scopes, contexts, enabled, certificate and the rotation of refresh tokens of the identity with this
    /// tenant and id, if nobody changed it since it was read, by its epoch and `updated_at`; `raise_epoch` revokes all
    /// its tokens. Returns it as changed.
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

    /// Registers a process that is about to serve, before it reads the deployment: then no key-encryption key becomes
    /// the active one that it lacks without either of the two noticing. Returns the database's time.
    fn register(
        &self,
        replica: &Replica,
        now: Timestamp,
    ) -> impl Future<Output = Result<Timestamp, Error>> + Send;

    /// Says that a registered process still serves. Returns the database's time.
    fn heartbeat(&self, replica: &Replica) -> impl Future<Output = Result<Timestamp, Error>> + Send;

    /// Forgets a process that ends.
    fn remove_replica(&self, id: ReplicaId) -> impl Future<Output = Result<(), Error>> + Send;

    /// Forgets processes that were last seen `before`.
    fn prune_replicas(&self, before: Timestamp) -> impl Future<Output = Result<(), Error>> + Send;

    /// Processes that serve, or did so lately.
    fn replicas(&self) -> impl Future<Output = Result<Vec<ReplicaRecord>, Error>> + Send;

    /// What is set up; `None` before [`Store::bootstrap`].
    fn deployment(&self) -> impl Future<Output = Result<Option<Deployment>, Error>> + Send;

    /// How much there is that a restore makes stale.
    fn outlook(&self) -> impl Future<Output = Result<Outlook, Error>> + Send;

    /// Makes what is stale after a restore worthless, all or nothing: no token of an identity is valid any more, no
    /// version encrypts any more with an algorithm whose messages are counted and is due for rotation instead, and
    /// every replica drops its view. Returns the new revision.
    fn invalidate(&self, now: Timestamp) -> impl Future<Output = Result<Revision, Error>> + Send;

    /// The version that a destruction is about, whatever its key is for.
    fn recorded_version(
        &self,
        destruction: &Destruction,
    ) -> impl Future<Output = Result<Option<StoredVersion>, Error>> + Send;

    /// Deletes the bytes of a version that were deleted before at `destroyed_at`, and came back from a backup; `false`,
    /// and nothing is changed, if they are gone, the version was made later, or it is its context's enabled one.
    fn destroy_again(
        &self,
        version: &StoredVersion,
        destroyed_at: Timestamp,
        now: Timestamp,
    ) -> impl Future<Output = Result<bool, Error>> + Send;

    /// Versions that were destroyed, in the order of their tenants, keys and numbers; at most `limit`, after `after`.
    fn destroyed(
        &self,
        after: Option<&Destruction>,
        limit: u32,
    ) -> impl Future<Output = Result<Vec<Destruction>, Error>> + Send;

    /// What the database says of itself.
    fn facts(&self) -> impl Future<Output = Result<Facts, Error>> + Send;

    /// Closes connections in good order.
    fn close(&self) -> impl Future<Output = ()> + Send;
}

/// The messages after which a key version encrypts no more with an algorithm that counts them.
pub const MESSAGES_EXHAUSTED: u64 = 1 << 32;
