//! Wrapped keys as rows: what a change of the master key goes through.

use super::Error;
use crate::contexts::{StoredVersion, WrappedKey};
use crate::crypto::{KeyId, KeyVersion};
use crate::id::TenantId;

/// What names one version of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct VersionId {
    /// Whose key.
    pub tenant: TenantId,
    /// The key.
    pub key: KeyId,
    /// Its version.
    pub version: KeyVersion,
}

/// A version with bytes, of a key for whatever purpose.
#[derive(Debug)]
pub struct WrappedVersion {
    /// Which.
    pub id: VersionId,
    /// The version; an error if its row, or what belongs to it, is damaged. The others can then still be worked on.
    pub stored: Result<StoredVersion, Error>,
}

/// The bytes of a version in another wrap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rewrap {
    /// Which version.
    pub id: VersionId,
    /// The wrap that the row must still hold.
    pub from: WrappedKey,
    /// The wrap that takes its place; with the same check value, as it is the same key.
    pub to: WrappedKey,
}
