//! Wrapped keys as rows: what a change of the master key goes through.

use std::future::Future;

use super::{Error, KekRecord};
use crate::clock::Timestamp;
use crate::contexts::{StoredVersion, WrappedKey};
use crate::crypto::{KekId, KeyId, KeyVersion};
use crate::id::TenantId;

/// What a store does while the master key changes.
pub trait WrappedKeys {
    /// Makes a key-encryption key the active one, under which new keys are wrapped from then on; `false`, and nothing is
    /// changed, if it is already, if a process that serves lacks it, or if another check value is known of it.
    fn activate_kek(
        &self,
        kek: &KekRecord,
        now: Timestamp,
    ) -> impl Future<Output = Result<bool, Error>> + Send;

    /// How many keys are wrapped under each key-encryption key that is in use.
    fn count_wrapped(&self) -> impl Future<Output = Result<Vec<(KekId, u64)>, Error>> + Send;

    /// Versions of keys for any purpose, of any tenant, that are wrapped under another key-encryption key than `kek`; in
    /// the order of their ids behind `after`, at most `limit`.
    fn wrapped_under_others(
        &self,
        kek: KekId,
        after: Option<VersionId>,
        limit: u32,
    ) -> impl Future<Output = Result<Vec<WrappedVersion>, Error>> + Send;

    /// Exchanges wraps for such under `kek` in one transaction, where the row still holds the former one; returns how
    /// many did. Raises no revision, as the keys stay the same.
    ///
    /// # Errors
    ///
    /// [`Error::KekNotActive`], and nothing is changed, when `kek` is not, or no longer, the active one.
    fn rewrap(&self, kek: KekId, rewraps: &[Rewrap]) -> impl Future<Output = Result<u64, Error>> + Send;
}

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
