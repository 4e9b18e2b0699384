//! A mark that the database was restored and nothing may use it before `cryptoserve doctor --after-restore`.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;

use super::{DataDir, DataDirError, FILE_MODE};

const MARK: &str = "restored";

const TEXT: &str = "\
The database in this directory came from a backup. Run `cryptoserve doctor --after-restore`, which removes this file:
until then no server starts, as it would accept revoked tokens and count messages from the backup on.
";

impl DataDir {
    /// Says that a database that is about to be put here came from a backup. Durable.
    pub fn mark_restored(&self) -> Result<(), DataDirError> {
        let path = self.path.join(MARK);
        let write = || {
            let mut file =
                OpenOptions::new().create(true).truncate(true).write(true).mode(FILE_MODE).open(&path)?;
            file.write_all(TEXT.as_bytes())?;
            file.sync_all()?;
            File::open(&self.path)?.sync_all()
        };
        write().map_err(|source| self.io(&path, source))
    }

    /// Whether the database may be used.
    ///
    /// # Errors
    ///
    /// [`DataDirError::Restored`] while it may not.
    pub fn check_restored(&self) -> Result<(), DataDirError> {
        let path = self.path.join(MARK);
        match path.try_exists() {
            Ok(false) => Ok(()),
            Ok(true) => Err(DataDirError::Restored { path: self.path.clone() }),
            Err(source) => Err(self.io(&path, source)),
        }
    }

    /// Says that what must follow a restore has been done. Durable.
    pub fn clear_restored(&self) -> Result<(), DataDirError> {
        let path = self.path.join(MARK);
        match fs::remove_file(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed
                .and_then(|()| File::open(&self.path)?.sync_all())
                .map_err(|source| self.io(&path, source)),
        }
    }
}
