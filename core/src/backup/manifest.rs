use std::path::Path;

use serde::{Deserialize, Serialize};

use super::BackupError;
use super::files::{self, Copied};
use crate::clock::Timestamp;
use crate::store::sqlite::Inspected;

/// The layout that this release writes, and the newest that it reads.
const FORMAT: u32 = 1;

/// What a backup is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    format: u32,
    /// Made the backup.
    pub release: String,
    /// The oldest that can run on it.
    pub oldest_release: String,
    /// The number of the database's last migration.
    pub schema_version: u32,
    /// When, as RFC 3339.
    pub created_at: String,
    /// Of the master key that wraps new keys.
    pub master_key_fingerprint: String,
    /// Of other master keys that some key is still wrapped under.
    pub other_master_key_fingerprints: Vec<String>,
    /// Length of the database in bytes.
    pub database_bytes: u64,
    /// SHA-256 of the database, in hexadecimal.
    pub database_sha256: String,
    /// Whether the secrets are there too.
    pub has_secrets: bool,
}

impl Manifest {
    pub(super) fn new(copied: &Copied, inspected: &Inspected, has_secrets: bool, now: Timestamp) -> Self {
        Self {
            format: FORMAT,
            release: env!("CARGO_PKG_VERSION").to_owned(),
            oldest_release: inspected.oldest_release.clone(),
            schema_version: inspected.schema_version,
            created_at: now.to_string(),
            master_key_fingerprint: inspected.active_kek.to_string(),
            other_master_key_fingerprints: inspected.other_keks.iter().map(ToString::to_string).collect(),
            database_bytes: copied.bytes,
            database_sha256: copied.sha256.clone(),
            has_secrets,
        }
    }

    /// Of every master key that is needed.
    pub fn fingerprints(&self) -> impl Iterator<Item = &String> {
        std::iter::once(&self.master_key_fingerprint).chain(&self.other_master_key_fingerprints)
    }

    /// Reads the manifest of a backup.
    pub(super) fn read(path: &Path) -> Result<Self, BackupError> {
        let bytes = files::read_small(path)?.ok_or_else(|| {
            BackupError::damaged(path, "does not exist: this is no backup, or one that was interrupted")
        })?;
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        // First of all, as a later format may have other fields.
        let parsed = serde_json::from_slice::<Format>(&bytes).and_then(|Format { format }| match format {
            FORMAT => serde_json::from_slice(&bytes).map(Some),
            _ => Ok(None),
        });
        match parsed {
            Ok(Some(manifest)) => Ok(manifest),
            Ok(None) => Err(BackupError::damaged(
                path,
                "is of another format than this release reads; use the release that made it",
            )),
            Err(error) => {
                Err(BackupError::damaged(path, format!("is not the manifest of a backup: {error}")))
            }
        }
    }

    /// Whether `copied` is the database that this is about.
    pub(super) fn check(&self, copied: &Copied, database: &Path) -> Result<(), BackupError> {
        if (copied.bytes, &copied.sha256) == (self.database_bytes, &self.database_sha256.to_lowercase()) {
            return Ok(());
        }
        let reason = format!(
            "has {} bytes and the SHA-256 {}, and the manifest says {} and {}: it was altered or cut; use another backup",
            copied.bytes, copied.sha256, self.database_bytes, self.database_sha256
        );
        Err(BackupError::damaged(database, reason))
    }

    /// Whether `inspected` is the same as was written down.
    pub(super) fn describes(&self, inspected: &Inspected) -> bool {
        self.schema_version == inspected.schema_version
            && self.oldest_release == inspected.oldest_release
            && self.master_key_fingerprint == inspected.active_kek.to_string()
    }
}
