use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use tempfile::PersistError;

use super::error::At;
use super::files;
use super::{BackupError, DATABASE, MANIFEST, Manifest, SECRETS};
use crate::data_dir::{DESTRUCTIONS_FILE, DataDir, ServerLock};
use crate::store::sqlite::Inspected;

/// What SQLite keeps beside a database: it belongs to one file and would damage another.
const BESIDE: [&str; 4] = ["", "-wal", "-shm", "-journal"];

/// Puts the backup in the directory `from` in place in `into`, whose server is not running and which has no database;
/// whole or not at all, whenever the process ends. Afterwards it is [pending](DataDir::check_restored).
///
/// # Errors
///
/// [`BackupError`]; nothing that was there is lost then, and what was added can be added again.
pub fn restore(from: &Path, into: &DataDir, _lock: &ServerLock) -> Result<Manifest, BackupError> {
    let database = into.database_file();
    for suffix in BESIDE {
        let path = suffixed(database, suffix);
        if path.try_exists().at(&path)? {
            return Err(BackupError::DatabaseExists { path });
        }
    }
    let source = from.join(DATABASE);
    let manifest_file = from.join(MANIFEST);
    let manifest = Manifest::read(&manifest_file)?;

    files::remove_drafts(into.path())?;
    // What is checked is the copy, since it is the one that is used.
    let mut draft = files::draft(into.path())?;
    let copied = files::copy(&source, draft.as_file_mut())?;
    manifest.check(&copied, &source)?;
    let inspected = Inspected::read(draft.path())?;
    if !manifest.describes(&inspected) {
        return Err(BackupError::damaged(
            &manifest_file,
            "does not describe the database beside it; use another backup",
        ));
    }
    inspected.check_release()?;

    if manifest.has_secrets {
        restore_secrets(&from.join(SECRETS), into, &manifest)?;
    }
    append_destructions(&from.join(DESTRUCTIONS_FILE), &into.path().join(DESTRUCTIONS_FILE))?;
    into.mark_restored()?;
    match draft.persist_noclobber(database) {
        Ok(_) => {}
        Err(PersistError { error, .. }) if error.kind() == io::ErrorKind::AlreadyExists => {
            return Err(BackupError::DatabaseExists { path: database.to_owned() });
        }
        Err(PersistError { error, .. }) => return Err(error).at(database),
    }
    files::sync_directory(into.path())?;
    Ok(manifest)
}

/// Puts the secrets in place, before the database that needs them.
fn restore_secrets(from: &Path, into: &DataDir, manifest: &Manifest) -> Result<(), BackupError> {
    let lost =
        || BackupError::damaged(from, "does not exist, although the manifest says so; use another backup");
    let secrets = files::read_small(from)?.ok_or_else(lost)?;
    let to = into.secrets_file();
    if let Some(present) = files::read_small(&to)? {
        // Those of an attempt before, or the deployment's own that were never lost.
        if *present == *secrets {
            return Ok(());
        }
        let fingerprint = manifest.master_key_fingerprint.clone();
        return Err(BackupError::OtherSecrets { path: to, fingerprint });
    }
    let mut draft = files::draft(into.path())?;
    draft.write_all(&secrets).and_then(|()| draft.as_file().sync_all()).at(&to)?;
    draft.persist_noclobber(&to).map_err(|PersistError { error, .. }| error).at(&to)?;
    files::sync_directory(into.path())
}

/// Adds the backup's destructions to those of the directory, which may be newer. Adding some twice does no harm.
fn append_destructions(from: &Path, to: &Path) -> Result<(), BackupError> {
    if !from.try_exists().at(from)? {
        return Ok(());
    }
    let mut file = OpenOptions::new().create(true).append(true).mode(0o600).open(to).at(to)?;
    // A line that was cut by a crash ends here.
    if file.metadata().at(to)?.len() > 0 {
        file.write_all(b"\n").at(to)?;
    }
    files::copy(from, &mut file)?;
    Ok(())
}

fn suffixed(path: &Path, suffix: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(suffix);
    path.into()
}
