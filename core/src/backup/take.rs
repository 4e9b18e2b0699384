use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::error::At;
use super::files;
use super::{BackupError, DATABASE, MANIFEST, Manifest, SECRETS};
use crate::clock::Timestamp;
use crate::config::Secrets;
use crate::data_dir::{DESTRUCTIONS_FILE, DataDir};
use crate::keyring::Keks;
use crate::store;
use crate::store::sqlite::{self, Inspected};

/// Makes a backup of `source` in the directory `to`, which must not exist or be empty, while a server may run. `secrets`
/// go into it if they are given. After an error nothing of it is left.
///
/// # Errors
///
/// [`BackupError`]; above all if `to` is not empty, or `secrets` are not those of the database.
pub fn take(
    source: &DataDir,
    to: &Path,
    secrets: Option<&Secrets>,
    now: Timestamp,
) -> Result<Manifest, BackupError> {
    let database = find(source.database_file())?;
    let destination = Destination::make(to)?;

    let copy = to.join(DATABASE);
    let file = files::create(&copy)?;
    sqlite::copy_into(database, &copy)?;
    file.sync_all().at(&copy)?;
    let inspected = Inspected::read(&copy)?;
    if let Some(secrets) = secrets {
        check(secrets, &inspected)?;
        let lines = secrets.env_lines().ok_or(BackupError::SecretsUnwritable)?;
        files::write(&to.join(SECRETS), lines.expose().as_bytes())?;
    }
    // After the database, so that it lacks none that the copy lacks.
    let destructions = source.path().join(DESTRUCTIONS_FILE);
    if destructions.try_exists().at(&destructions)? {
        files::copy(&destructions, &mut files::create(&to.join(DESTRUCTIONS_FILE))?)?;
    }
    let copied = files::digest(&copy, |_| Ok(()))?;
    let manifest = Manifest::new(&copied, &inspected, secrets.is_some(), now);
    let mut json = serde_json::to_vec_pretty(&manifest).map_err(io::Error::other).at(to)?;
    json.push(b'\n');
    destination.complete(&json)?;
    Ok(manifest)
}

/// The database that a backup would be made of, for those who must not make its directory.
///
/// # Errors
///
/// [`BackupError::NoDatabase`] when there is none.
pub fn find(database: &Path) -> Result<&Path, BackupError> {
    match database.try_exists().at(database)? {
        true => Ok(database),
        false => Err(BackupError::NoDatabase { path: database.to_owned() }),
    }
}

/// Whether `secrets` open the database: a backup with others in it would be found out when it is needed.
fn check(secrets: &Secrets, inspected: &Inspected) -> Result<(), BackupError> {
    let keks = Keks::derive(&secrets.master_key, &secrets.master_key_previous, &secrets.hkdf_salt);
    let keks = keks.map_err(|error| store::Error::Invalid(Box::new(error)))?;
    match keks.get(inspected.active_kek) {
        Ok(_) => Ok(()),
        Err(_) => Err(BackupError::WrongSecrets { fingerprint: inspected.active_kek.to_string() }),
    }
}

/// The directory of a backup in the making, emptied again unless it is completed.
struct Destination {
    path: PathBuf,
    is_ours: bool,
    is_complete: bool,
}

impl Destination {
    fn make(path: &Path) -> Result<Self, BackupError> {
        let made = DirBuilder::new().mode(0o700).create(path);
        let is_ours = match made {
            Ok(()) => true,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => false,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(BackupError::NoParent { path: path.to_owned() });
            }
            Err(error) => return Err(error).at(path),
        };
        if fs::read_dir(path).at(path)?.next().is_some() {
            return Err(BackupError::NotEmpty { path: path.to_owned() });
        }
        if !is_ours {
            fs::set_permissions(path, Permissions::from_mode(0o700)).at(path)?;
        }
        Ok(Self { path: path.to_owned(), is_ours, is_complete: false })
    }

    /// Makes it a backup: from here on it counts.
    fn complete(mut self, manifest: &[u8]) -> Result<(), BackupError> {
        // What the manifest speaks of has its name on the disk before the manifest has.
        files::sync_directory(&self.path)?;
        files::write(&self.path.join(MANIFEST), manifest)?;
        files::sync_directory(&self.path)?;
        if self.is_ours {
            let parent = self.path.parent().filter(|parent| !parent.as_os_str().is_empty());
            files::sync_directory(parent.unwrap_or(Path::new(".")))?;
        }
        self.is_complete = true;
        Ok(())
    }
}

impl Drop for Destination {
    fn drop(&mut self) {
        if self.is_complete {
            return;
        }
        // Best effort, after an error that has been reported. The manifest goes first.
        for name in [MANIFEST, DATABASE, SECRETS, DESTRUCTIONS_FILE] {
            let _ = fs::remove_file(self.path.join(name));
        }
        if self.is_ours {
            let _ = fs::remove_dir(&self.path);
        }
    }
}
