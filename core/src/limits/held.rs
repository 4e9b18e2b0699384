use std::net::IpAddr;

use super::bucket::{Quota, Ticks, seconds_until};
use super::dimension::{Dimension, DimensionKind, WindowId};
use crate::id::{ContextId, IdentityId, TenantId};

/// A bucket of a tenant that is not full, as it is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldBucket {
    /// Whose, within the tenant.
    pub holder: Holder,
    /// By which of its limits.
    pub window: WindowId,
    /// See [`Bucket::generation`](super::Bucket::generation).
    pub generation: u8,
    pub(super) full_at: Ticks,
}

/// Whose a bucket is, within its tenant, as far as its name tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Holder {
    /// A client address, or network.
    Ip(IpAddr),
    /// An identity.
    Identity(IdentityId),
    /// A context.
    Context(ContextId),
    /// The tenant.
    Tenant,
    /// An identity in a context, each by the first half of its id.
    IdentityContext([u8; 8], [u8; 8]),
}

impl Holder {
    /// The dimension.
    pub const fn kind(&self) -> DimensionKind {
        match self {
            Self::Ip(_) => DimensionKind::Ip,
            Self::Identity(_) => DimensionKind::Identity,
            Self::Context(_) => DimensionKind::Context,
            Self::Tenant => DimensionKind::Tenant,
            Self::IdentityContext(..) => DimensionKind::IdentityContext,
        }
    }

    /// Whose a bucket is, if it is of the tenant.
    pub(super) fn within(tenant: TenantId, dimension: &Dimension) -> Option<Self> {
        let (of, holder) = match *dimension {
            Dimension::Ip(of, address) => (of, Self::Ip(address)),
            Dimension::Identity(of, id) => (of, Self::Identity(id)),
            Dimension::Context(of, id) => (of, Self::Context(id)),
            Dimension::Tenant(of) => (of, Self::Tenant),
            Dimension::IdentityContext(of, identity, context) => (of, Self::pair(identity, context)),
            Dimension::FailedAuthentication(_) => return None,
        };
        (of == tenant).then_some(holder)
    }

    /// An identity in a context.
    pub fn pair(identity: IdentityId, context: ContextId) -> Self {
        Self::IdentityContext(half(identity.as_bytes()), half(context.as_bytes()))
    }
}

/// The first half of an id.
pub fn half(id: &[u8; 16]) -> [u8; 8] {
    *id.first_chunk().expect("16 bytes have a first half")
}

/// What was found of a tenant's buckets.
#[derive(Debug, Default)]
pub struct Held {
    /// Those that are not full.
    pub buckets: Vec<HeldBucket>,
    /// The moment of which all of this is.
    pub(super) now: Ticks,
    /// Whether these are all.
    pub complete: bool,
}

impl Held {
    /// Tokens left in a bucket, and the seconds until it is full, if it is limited so.
    pub fn level(&self, bucket: &HeldBucket, quota: Quota) -> (u64, u64) {
        (quota.remaining(bucket.full_at, self.now), seconds_until(bucket.full_at, self.now))
    }
}
