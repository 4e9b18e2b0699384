use std::io;
use std::path::{Path, PathBuf};

use crate::data_dir::DataDirError;
use crate::store;

/// Why there is no backup, or no restore. Paths are shown, secrets never.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackupError {
    /// The system refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// What was used.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// Nothing to back up.
    #[error("{} does not exist: there is nothing to back up; DATA_DIR and DATABASE_URL say where the store is", path.display())]
    NoDatabase {
        /// Where the store should be.
        path: PathBuf,
    },
    /// One directory is made, not those above it.
    #[error("{} cannot be made: the directory in which it lies must exist; make it, or mount it, first", path.display())]
    NoParent {
        /// The directory that was named.
        path: PathBuf,
    },
    /// A backup must not mix with anything.
    #[error("{} is not empty: name a directory that does not exist or is empty (without a manifest.json it is what an \
        interrupted backup left, and can be deleted)", path.display())]
    NotEmpty {
        /// The directory that was named.
        path: PathBuf,
    },
    /// Something is where the restored database would be.
    #[error("{} exists: a restore never overwrites; stop the server and move this file away first", path.display())]
    DatabaseExists {
        /// The file in the way.
        path: PathBuf,
    },
    /// The data directory has secrets already.
    #[error("{} has other values than the backup's secrets.env: move one of them away; the database needs the master \
        key with the fingerprint {fingerprint}", path.display())]
    OtherSecrets {
        /// The file in the data directory.
        path: PathBuf,
        /// Of the master key that the backup was made with.
        fingerprint: String,
    },
    /// The secrets in use do not open the database.
    #[error(
        "the secrets of this configuration are not the database's, which needs the master key with the \
        fingerprint {fingerprint}: correct CRYPTOSERVE_MASTER_KEY and HKDF_SALT, or back up without --with-secrets"
    )]
    WrongSecrets {
        /// Of the master key that the database needs.
        fingerprint: String,
    },
    /// A secret cannot stand in a line of its own.
    #[error(
        "a secret holds a line break, so it cannot be written to secrets.env: back up without --with-secrets, and \
        keep the secrets by hand"
    )]
    SecretsUnwritable,
    /// The directory is no backup, or not a whole one.
    #[error("{}: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The copy, or the database that was to be copied.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The data directory.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
}

impl BackupError {
    /// Whether another command line or configuration helps, rather than another attempt.
    pub fn is_usage(&self) -> bool {
        match self {
            Self::NoDatabase { .. } | Self::NoParent { .. } => true,
            Self::NotEmpty { .. } | Self::DatabaseExists { .. } => true,
            Self::OtherSecrets { .. } | Self::WrongSecrets { .. } | Self::SecretsUnwritable => true,
            Self::DataDir(_) => true,
            Self::Io { .. } | Self::Damaged { .. } | Self::Store(_) => false,
        }
    }

    pub(super) fn damaged(path: &Path, reason: impl Into<String>) -> Self {
        Self::Damaged { path: path.to_owned(), reason: reason.into() }
    }
}

/// Names the path that an answer of the system is about.
pub(super) trait At<T> {
    fn at(self, path: &Path) -> Result<T, BackupError>;
}

impl<T> At<T> for io::Result<T> {
    fn at(self, path: &Path) -> Result<T, BackupError> {
        self.map_err(|source| BackupError::Io { path: path.to_owned(), source })
    }
}
