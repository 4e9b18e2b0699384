use std::future::Future;

use super::Error;
use crate::clock::Timestamp;
use crate::contexts::Context;
use crate::id::{ContextId, IdentityId, TenantId};
use crate::limits::{DimensionKind, Policy};
use crate::name::Name;

/// Whom a stored policy is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PolicySubject {
    /// A context that is not deleted.
    Context(TenantId, ContextId),
    /// An identity.
    Identity(TenantId, IdentityId),
    /// An identity in a context that is not deleted.
    IdentityContext(TenantId, IdentityId, ContextId),
    /// A tenant.
    Tenant(TenantId),
    /// All who have none of their own.
    Default(DimensionKind),
}

/// A policy of a context, of an identity, or of both together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredPolicy {
    /// Its place in the list of a tenant's policies.
    pub place: String,
    /// Of which identity.
    pub identity: Option<(IdentityId, Name)>,
    /// Of, or in, which context.
    pub context: Option<(ContextId, Name)>,
    /// What holds.
    pub policy: Policy,
}

/// What a store does with limits.
pub trait Policies {
    /// Stores a policy in place of the one that is there, or forgets that; `false`, and nothing is changed, if there is
    /// nobody whom it could be about.
    fn set_policy(
        &self,
        subject: PolicySubject,
        policy: Option<&Policy>,
        now: Timestamp,
    ) -> impl Future<Output = Result<bool, Error>> + Send;

    /// Raises the generation of an identity's buckets; whether there is such an identity.
    fn reset_limits(
        &self,
        tenant: TenantId,
        identity: IdentityId,
        now: Timestamp,
    ) -> impl Future<Output = Result<bool, Error>> + Send;

    /// The policies of a tenant's contexts and identities in the order of their places, at most `limit`, after `after`.
    fn policies(
        &self,
        tenant: TenantId,
        after: &str,
        limit: u32,
    ) -> impl Future<Output = Result<Vec<StoredPolicy>, Error>> + Send;

    /// A context that is not deleted, by its id.
    fn context_by_id(
        &self,
        tenant: TenantId,
        id: ContextId,
    ) -> impl Future<Output = Result<Option<Context>, Error>> + Send;
}
