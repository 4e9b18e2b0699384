//! Where bytes go.

use std::fs::{File, Permissions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use super::input::{DASH, Input};
use super::{Direction, Error};

/// What names of encrypted files end in.
const EXTENSION: &str = "cs";
/// As any program makes a file: the process' umask takes from it.
const CIPHERTEXT_MODE: u32 = 0o666;
/// A plaintext was encrypted for a reason.
const PLAINTEXT_MODE: u32 = 0o600;

/// What was asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Destination {
    Stdout,
    File(PathBuf),
}

/// Where the output of `input` (`None` is standard input) goes if `output` was asked for.
pub(super) fn decide(
    direction: Direction,
    input: Option<&Path>,
    output: Option<&Path>,
    stdout_is_terminal: bool,
) -> Result<Destination, Error> {
    let asked_for_stdout = output == Some(Path::new(DASH));
    match (output.filter(|_| !asked_for_stdout), input) {
        (Some(output), _) => return Ok(Destination::File(output.into())),
        (None, Some(input)) if !asked_for_stdout => {
            return named_after(direction, input).map(Destination::File);
        }
        _ => {}
    }
    match direction {
        Direction::Encrypt if stdout_is_terminal => {
            Err(Error::Terminal("a ciphertext is not for a terminal: name the output with -o"))
        }
        Direction::Decrypt if stdout_is_terminal && !asked_for_stdout => {
            Err(Error::Terminal("name the output with -o; `-o -` is this terminal"))
        }
        _ => Ok(Destination::Stdout),
    }
}

fn named_after(direction: Direction, input: &Path) -> Result<PathBuf, Error> {
    match direction {
        Direction::Encrypt => {
            let mut name = input.as_os_str().to_owned();
            name.push(".");
            name.push(EXTENSION);
            Ok(name.into())
        }
        Direction::Decrypt if input.extension().is_some_and(|extension| extension == EXTENSION) => {
            Ok(input.with_extension(""))
        }
        Direction::Decrypt => Err(Error::NoSuffix(input.into())),
    }
}

/// An output that does not count until it is kept. If it is dropped before, its file is gone.
#[derive(Debug)]
pub(super) enum Output {
    Stdout,
    File {
        /// In the directory of the target, so that renaming it cannot fail for want of space.
        unfinished: NamedTempFile,
        target: PathBuf,
        replace: bool,
    },
}

impl Output {
    /// Makes sure that `destination` may be written, and prepares it; an existing file is replaced only by `force`.
    pub(super) fn create(
        direction: Direction,
        destination: Destination,
        input: &Input,
        force: bool,
    ) -> Result<Self, Error> {
        let Destination::File(path) = destination else { return Ok(Self::Stdout) };
        // A symbolic link stays, and what it points to is replaced.
        let target = path.canonicalize().unwrap_or_else(|_| path.clone());
        if let Ok(existing) = target.symlink_metadata() {
            let input = input.file.metadata().map_err(Error::Input)?;
            if (existing.dev(), existing.ino()) == (input.dev(), input.ino()) {
                return Err(Error::SameFile(path));
            }
            if !existing.is_file() && !existing.is_symlink() {
                return Err(Error::NotAFile(path));
            }
            if !force {
                return Err(Error::Exists(path));
            }
        }
        let mode = match direction {
            Direction::Encrypt => CIPHERTEXT_MODE,
            Direction::Decrypt => PLAINTEXT_MODE,
        };
        let directory = target.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new("."));
        let unfinished = tempfile::Builder::new()
            .prefix(".cryptoserve-")
            .permissions(Permissions::from_mode(mode))
            .tempfile_in(directory)
            .map_err(Error::Output)?;
        Ok(Self::File { unfinished, target, replace: force })
    }

    /// A handle to write to.
    pub(super) fn file(&self) -> Result<File, Error> {
        let file = match self {
            // Not `io::Stdout`, which holds back what does not end in a line break.
            Self::Stdout => io::stdout().as_fd().try_clone_to_owned().map(File::from),
            Self::File { unfinished, .. } => unfinished.as_file().try_clone(),
        };
        file.map_err(Error::Output)
    }

    /// Gives the file its name, now that it is whole and on disk.
    pub(super) fn keep(self) -> Result<(), Error> {
        match self {
            Self::Stdout => Ok(()),
            Self::File { unfinished, target, replace: true } => {
                unfinished.persist(target).map(drop).map_err(|error| Error::Output(error.error))
            }
            Self::File { unfinished, target, replace: false } => {
                unfinished.persist_noclobber(&target).map(drop).map_err(|error| match error.error.kind() {
                    io::ErrorKind::AlreadyExists => Error::Exists(target.clone()),
                    _ => Error::Output(error.error),
                })
            }
        }
    }
}

#[cfg(test)]
mod tests;
