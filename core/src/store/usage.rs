use crate::crypto::{KeyId, KeyVersion};
use crate::id::TenantId;

/// How often a key version was used since this was last recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Whose key.
    pub tenant: TenantId,
    /// The key.
    pub key: KeyId,
    /// Its version.
    pub version: KeyVersion,
    /// What was made with it: messages, MACs, signatures.
    pub encrypts: u64,
    /// What was opened or verified with it.
    pub decrypts: u64,
}
