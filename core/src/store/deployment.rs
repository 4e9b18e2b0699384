use crate::clock::Timestamp;
use crate::contexts::StoredVersion;
use crate::crypto::KekId;
use crate::limits::DefaultPolicies;
use crate::store::Tenant;

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
    /// Limits of those who have none of their own.
    pub default_limits: DefaultPolicies,
}

/// What a replica's key-encryption key must check to before it may serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KekRecord {
    /// Its fingerprint.
    pub id: KekId,
    /// Derived from it.
    pub check_value: [u8; 32],
}
