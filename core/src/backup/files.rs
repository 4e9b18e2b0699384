//! Files that are private, whole and on the disk.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use aws_lc_rs::digest::{Context, SHA256};
use tempfile::NamedTempFile;
use zeroize::Zeroizing;

use super::BackupError;
use super::error::At;

const MODE: u32 = 0o600;
/// Far above a manifest and the secrets.
const SMALL: u64 = 64 * 1024;

/// What went from one file to another.
#[derive(Clone, Debug)]
pub(super) struct Copied {
    pub(super) bytes: u64,
    /// In hexadecimal.
    pub(super) sha256: String,
}

/// A new empty file.
pub(super) fn create(path: &Path) -> Result<File, BackupError> {
    OpenOptions::new().write(true).create_new(true).mode(MODE).open(path).at(path)
}

/// A new file with this content, durably.
pub(super) fn write(path: &Path, content: &[u8]) -> Result<(), BackupError> {
    let mut file = create(path)?;
    file.write_all(content).and_then(|()| file.sync_all()).at(path)
}

/// Begins the names of drafts.
const DRAFT: &str = ".restore-";

/// A file that has no name that counts until it is persisted.
pub(super) fn draft(directory: &Path) -> Result<NamedTempFile, BackupError> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(DRAFT).permissions(Permissions::from_mode(MODE)).tempfile_in(directory).at(directory)
}

/// Removes the drafts of a process that was killed; whoever calls this is the only one who makes any.
pub(super) fn remove_drafts(directory: &Path) -> Result<(), BackupError> {
    for entry in fs::read_dir(directory).at(directory)? {
        let entry = entry.at(directory)?;
        if entry.file_name().as_encoded_bytes().starts_with(DRAFT.as_bytes()) {
            fs::remove_file(entry.path()).at(&entry.path())?;
        }
    }
    Ok(())
}

/// The content of a file that has to be small; `None` if there is none.
pub(super) fn read_small(path: &Path) -> Result<Option<Zeroizing<Vec<u8>>>, BackupError> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        result => result.at(path)?,
    };
    // Of its final size from the start: growing would leave copies of secrets behind.
    let mut content = Zeroizing::new(Vec::with_capacity(64 * 1024 + 1));
    file.take(SMALL + 1).read_to_end(&mut content).at(path)?;
    if content.len() as u64 > SMALL {
        return Err(BackupError::damaged(path, "is larger than it can be"));
    }
    Ok(Some(content))
}

/// Copies `from` into `to`, durably, and says what it was.
pub(super) fn copy(from: &Path, to: &mut File) -> Result<Copied, BackupError> {
    let copied = digest(from, |piece| to.write_all(piece))?;
    to.sync_all().at(from)?;
    Ok(copied)
}

/// Reads all of `path`, gives each piece to `each`, and says what it was.
pub(super) fn digest(
    path: &Path,
    mut each: impl FnMut(&[u8]) -> io::Result<()>,
) -> Result<Copied, BackupError> {
    let mut file = File::open(path).at(path)?;
    let mut hash = Context::new(&SHA256);
    let mut buffer = vec![0; 1 << 20];
    let mut bytes = 0;
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(Copied { bytes, sha256: hex::encode(hash.finish()) }),
            Ok(length) => {
                let piece = &buffer[..length];
                hash.update(piece);
                each(piece).at(path)?;
                bytes += length as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error).at(path),
        }
    }
}

/// Makes the names in a directory durable.
pub(super) fn sync_directory(path: &Path) -> Result<(), BackupError> {
    File::open(path).and_then(|directory| directory.sync_all()).at(path)
}
