use std::sync::Arc;

use crate::auth::Identity;
use crate::clock::Timestamp;
use crate::contexts::StoredVersion;
use crate::id::TenantId;
use crate::limits::Policy;
use crate::name::Name;

/// A tenant: the outermost boundary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tenant {
    /// Bound into every wrapped key.
    pub id: TenantId,
    /// Unique in the deployment; never changes.
    pub name: Name,
}

/// A tenant to make.
#[derive(Clone, Debug)]
pub struct NewTenant {
    /// Which.
    pub tenant: Tenant,
    /// What it is for, in words.
    pub description: String,
    /// Its first contexts.
    pub contexts: Vec<StoredVersion>,
    /// Its first administrator.
    pub admin: Identity,
    /// When.
    pub at: Timestamp,
}

/// A tenant as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TenantRecord {
    /// Which.
    pub tenant: Tenant,
    /// What it is for, in words.
    pub description: String,
    /// No token of a disabled tenant counts.
    pub enabled: bool,
    /// How much all of its identities together may do.
    pub limits: Option<Arc<Policy>>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

/// Changes of a tenant; `None` leaves it as it is.
#[derive(Clone, Debug, Default)]
pub struct TenantUpdate {
    /// What it is for, in words.
    pub description: Option<String>,
    /// No token of a disabled tenant counts.
    pub enabled: Option<bool>,
}
