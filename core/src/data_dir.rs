//! The directory of the embedded store: private to its owner, on a local disk, used by one server.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

mod destructions;
mod filesystem;
mod restored;
mod secrets;

pub use destructions::{DESTRUCTIONS_FILE, DestructionLog};
pub use filesystem::is_on_mounted_volume;
pub use secrets::ResolvedSecrets;

use crate::config::{Database, DatabaseUrl, SecretName};

const DIRECTORY_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;
/// Any permission of group and others.
const NOT_PRIVATE: u32 = 0o077;

/// May put anything anywhere anyway.
const ROOT: u32 = 0;

const LOCK_FILE: &str = "server.lock";

/// An existing directory with mode 0700 on a local file system.
#[derive(Clone, Debug)]
pub struct DataDir {
    path: PathBuf,
    database_file: PathBuf,
}

impl DataDir {
    /// The directory of the embedded store; `None` with PostgreSQL, which needs none.
    pub fn of_store(database: &Database) -> Result<Option<Self>, DataDirError> {
        match &database.url {
            DatabaseUrl::Postgres(_) => Ok(None),
            DatabaseUrl::Sqlite(file) => Self::open(&database.data_dir, file).map(Some),
        }
    }

    /// Makes the directory if there is none. One that is open to other users is closed to them while it is empty and
    /// refused afterwards, as they may have read what is in it; a network file system is refused always.
    pub fn open(path: &Path, database_file: &Path) -> Result<Self, DataDirError> {
        let this = Self { path: path.to_owned(), database_file: database_file.to_owned() };
        this.create().and_then(|()| this.close_if_empty()).map_err(|source| this.io(path, source))?;
        check_private(path)?;
        if filesystem::is_network(path).map_err(|source| this.io(path, source))? {
            return Err(DataDirError::NetworkFileSystem { path: path.to_owned() });
        }
        Ok(this)
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The embedded store's file, which need not exist yet.
    pub fn database_file(&self) -> &Path {
        &self.database_file
    }

    /// Takes the place of the one server that may use this directory, until the guard is dropped or the process ends.
    pub fn lock_server(&self) -> Result<ServerLock, DataDirError> {
        let path = self.path.join(LOCK_FILE);
        let file = OpenOptions::new().create(true).truncate(false).write(true).mode(FILE_MODE).open(&path);
        let file = file.map_err(|source| self.io(&path, source))?;
        match file.try_lock() {
            Ok(()) => Ok(ServerLock { _file: file }),
            Err(TryLockError::WouldBlock) => Err(DataDirError::InUse { path: self.path.clone() }),
            Err(TryLockError::Error(source)) => Err(self.io(&path, source)),
        }
    }

    fn create(&self) -> io::Result<()> {
        if let Some(parent) = self.path.parent() {
            fs::create_dir_all(parent)?;
        }
        match DirBuilder::new().mode(DIRECTORY_MODE).create(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            result => result,
        }
    }

    /// A fresh volume or a `mkdir` by hand is 0755; closing it loses nothing.
    fn close_if_empty(&self) -> io::Result<()> {
        let metadata = fs::metadata(&self.path)?;
        if !metadata.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        let is_ours = metadata.uid() == rustix::process::geteuid().as_raw();
        if is_ours && metadata.mode() & NOT_PRIVATE != 0 && is_empty(&self.path)? {
            fs::set_permissions(&self.path, fs::Permissions::from_mode(DIRECTORY_MODE))?;
        }
        Ok(())
    }

    fn io(&self, path: &Path, source: io::Error) -> DataDirError {
        DataDirError::Io { path: path.to_owned(), source }
    }
}

/// Held by the one server that uses a [`DataDir`].
#[derive(Debug)]
pub struct ServerLock {
    _file: File,
}

/// Why the embedded store's directory cannot be used. Paths are shown, secrets never.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataDirError {
    /// The system refused.
    #[error("DATA_DIR: {}: {source}", path.display())]
    Io {
        /// What was used.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// Other users have access.
    #[error("DATA_DIR: {} has mode {mode:04o}, so other users may have access: check who had, then `chmod go= {}`",
        path.display(), path.display())]
    NotPrivate {
        /// The directory or file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// Somebody else made it, and may know or choose what is in it.
    #[error("DATA_DIR: {} belongs to user {owner}, not to the user of this process: use another directory, or `chown` it",
        path.display())]
    NotOurs {
        /// The directory or file.
        path: PathBuf,
        /// Its owner's number.
        owner: u32,
    },
    /// Locks and memory maps do not work there as SQLite needs them.
    #[error("DATA_DIR: {} is on a network file system: use a local disk, or PostgreSQL", path.display())]
    NetworkFileSystem {
        /// The directory.
        path: PathBuf,
    },
    /// A server holds the lock.
    #[error("DATA_DIR: another server process is running on {}: stop it, or use PostgreSQL for several", path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// The database came from a backup, and what must follow has not been done.
    #[error("DATA_DIR: {} was restored from a backup: run `cryptoserve doctor --after-restore` first", path.display())]
    Restored {
        /// The directory.
        path: PathBuf,
    },
    /// There is data, but not what it is encrypted with.
    #[error("DATA_DIR: {} exists, but its secrets do not: restore {}, or set {}; without them the data is lost",
        database.display(), secrets.display(), list(missing))]
    SecretsLost {
        /// The embedded store's file.
        database: PathBuf,
        /// Where the secrets should be.
        secrets: PathBuf,
        /// Those that the environment does not set.
        missing: Vec<SecretName>,
    },
    /// The secrets file is not as it was written.
    #[error("DATA_DIR: {} {reason}: restore it from a backup; it is never made anew, as that would lose the data",
        path.display())]
    SecretsDamaged {
        /// The file.
        path: PathBuf,
        /// What is wrong; holds no values.
        reason: String,
    },
    /// Neither the environment nor a directory gives them.
    #[error("{} must be set", list(missing))]
    SecretsMissing {
        /// Which.
        missing: Vec<SecretName>,
    },
}

fn check_private(path: &Path) -> Result<(), DataDirError> {
    let metadata = fs::metadata(path).map_err(|source| DataDirError::Io { path: path.to_owned(), source })?;
    let owner = metadata.uid();
    if owner != rustix::process::geteuid().as_raw() && owner != ROOT {
        return Err(DataDirError::NotOurs { path: path.to_owned(), owner });
    }
    match metadata.mode() & 0o7777 {
        mode if mode & NOT_PRIVATE != 0 => Err(DataDirError::NotPrivate { path: path.to_owned(), mode }),
        _ => Ok(()),
    }
}

/// Empty but for what a new ext4 volume holds.
fn is_empty(directory: &Path) -> io::Result<bool> {
    for entry in fs::read_dir(directory)? {
        if entry?.file_name() != "lost+found" {
            return Ok(false);
        }
    }
    Ok(true)
}

fn list(names: &[SecretName]) -> String {
    names.iter().map(|name| name.variable()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
