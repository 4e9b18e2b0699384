//! Where bytes come from.

use std::fs::File;
use std::io::{self, Seek};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use super::Error;

/// The name that means standard input, or standard output.
pub(super) const DASH: &str = "-";

/// An open input.
#[derive(Debug)]
pub(super) struct Input {
    pub(super) file: File,
    /// `None` for standard input.
    pub(super) path: Option<PathBuf>,
    /// What is left to read, in bytes, of a regular file.
    pub(super) length: Option<u64>,
}

impl Input {
    /// Opens the file at `path`, or standard input for none or `-`.
    pub(super) fn open(path: Option<&Path>) -> Result<Self, Error> {
        let Some(path) = path.filter(|path| *path != Path::new(DASH)) else {
            let stdin = io::stdin().as_fd().try_clone_to_owned().map_err(Error::Input)?;
            return Self::new(stdin.into(), None).map_err(Error::Input);
        };
        let error = |cause| Error::File { path: path.into(), cause };
        let input = Self::new(File::open(path).map_err(error)?, Some(path.into())).map_err(error)?;
        Ok(input)
    }

    fn new(mut file: File, path: Option<PathBuf>) -> io::Result<Self> {
        let metadata = file.metadata()?;
        if metadata.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        let length = match metadata.is_file() {
            // Standard input may have been read from before it came here. Files of /proc say 0 and have content.
            true => metadata.len().checked_sub(file.stream_position()?).filter(|&length| length > 0),
            false => None,
        };
        Ok(Self { file, path, length })
    }
}
