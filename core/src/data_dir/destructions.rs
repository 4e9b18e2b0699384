//! Which key versions were destroyed, beside the database: a backup that is restored brings their bytes back.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::FILE_MODE;
use crate::config::{Database, DatabaseUrl};
use crate::contexts::{Destruction, DestructionList, DestructionListError};

/// In the directory of an embedded store: one JSON object per line.
pub const DESTRUCTIONS_FILE: &str = "destructions.ndjson";

/// The list of an embedded store, which only grows. Every method blocks.
#[derive(Clone, Debug)]
pub struct DestructionLog {
    path: PathBuf,
}

impl DestructionLog {
    /// That of the embedded store; `None` with PostgreSQL, where the servers' logs have it.
    pub fn of_store(database: &Database) -> Option<Self> {
        match database.url {
            DatabaseUrl::Sqlite(_) => Some(Self::in_directory(&database.data_dir)),
            DatabaseUrl::Postgres(_) => None,
        }
    }

    fn in_directory(directory: &Path) -> Self {
        Self { path: directory.join(DESTRUCTIONS_FILE) }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it holds; nothing if it does not exist.
    ///
    /// # Errors
    ///
    /// As [`DestructionList::read`].
    pub fn read(&self) -> Result<DestructionList, DestructionListError> {
        match File::open(&self.path) {
            Ok(file) => DestructionList::read(BufReader::new(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(DestructionList::default()),
            Err(error) => Err(error.into()),
        }
    }

    /// Adds to it, durably.
    ///
    /// # Errors
    ///
    /// When the system refuses; some lines may then be there.
    pub fn append(&self, destructions: &[Destruction]) -> io::Result<()> {
        let mut file =
            OpenOptions::new().create(true).read(true).append(true).mode(FILE_MODE).open(&self.path)?;
        let mut lines: String = destructions.iter().map(Destruction::line).collect();
        if !ends_with_line_break(&mut file)? {
            // What a crash has cut stays a line of its own.
            lines.insert(0, '\n');
        }
        file.write_all(lines.as_bytes())?;
        file.sync_all()?;
        let directory = self.path.parent().unwrap_or(Path::new("."));
        File::open(directory)?.sync_all()
    }
}

/// Also if it is empty.
fn ends_with_line_break(file: &mut File) -> io::Result<bool> {
    if file.metadata()?.len() == 0 {
        return Ok(true);
    }
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(last == *b"\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::crypto::{KeyId, KeyVersion};
    use crate::id::TenantId;

    fn destruction() -> Destruction {
        Destruction {
            tenant_id: TenantId::random(),
            key_id: KeyId([7; 16]),
            version: KeyVersion::FIRST,
            destroyed_at: Timestamp::from_secs(1_800_000_000),
        }
    }

    #[test]
    fn it_grows_and_survives_a_line_that_was_cut() {
        let directory = tempfile::tempdir().expect("a directory");
        let log = DestructionLog::in_directory(directory.path());
        assert_eq!(log.read().expect("nothing yet"), DestructionList::default());
        let [a, b, c] = [destruction(), destruction(), destruction()];
        log.append(&[a]).expect("written");
        log.append(&[]).expect("written");
        let mut file = OpenOptions::new().append(true).open(log.path()).expect("there");
        file.write_all(&b.line().as_bytes()[..30]).expect("written");
        log.append(&[b, c]).expect("written");
        let list = log.read().expect("read");
        assert_eq!(list.destructions, [a, b, c]);
        assert_eq!(list.unreadable, [2]);
        let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(log.path()).expect("there"));
        assert_eq!(mode & 0o7777, 0o600);
    }
}
