//! Secrets that stand in a file of their own, as Docker and Kubernetes mount them.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use zeroize::Zeroizing;

/// Far above any list of keys; far below what would hurt to read.
const MAX_BYTES: u64 = 64 * 1024;

/// Where container runtimes mount secrets: readable by all in a container that has one user.
const CONTAINER_SECRETS: [&str; 2] = ["/run/secrets", "/var/run/secrets"];

/// Who may not change a secret: group and others.
const WRITABLE: u32 = 0o022;
const READABLE_BY_OTHERS: u32 = 0o004;

/// A secret that stands in a file of its own.
pub struct SecretFile {
    /// Without the trailing newline that editors and `echo` leave.
    pub text: Zeroizing<String>,
    /// Kubernetes mounts secrets 0644 unless told otherwise, so this cannot be an error.
    pub readable_by_others: bool,
}

impl SecretFile {
    /// Reads a secret of at most 64 KiB.
    ///
    /// # Errors
    ///
    /// What the file must be; continues the name of the variable that holds the path.
    pub fn read(path: &Path) -> Result<Self, &'static str> {
        const UNREADABLE: &str = "must name a file that this process can read";
        // Asked before opening, as opening a pipe would wait for its writer.
        if !fs::metadata(path).map_err(|_| UNREADABLE)?.is_file() {
            return Err("must name a regular file");
        }
        let file = File::open(path).map_err(|_| UNREADABLE)?;
        let mode = file.metadata().map_err(|_| UNREADABLE)?.permissions().mode();
        if mode & WRITABLE != 0 {
            return Err(
                "must name a file that only its owner can write: take the permission from group and others",
            );
        }
        let mut text = Zeroizing::new(String::new());
        file.take(MAX_BYTES + 1)
            .read_to_string(&mut text)
            .map_err(|_| "must name a readable file of UTF-8 text")?;
        if text.len() as u64 > MAX_BYTES {
            return Err("must name a file of at most 64 KiB");
        }
        let content = text.trim_end_matches(['\r', '\n']);
        if content.is_empty() {
            return Err("names an empty file");
        }
        let in_container = CONTAINER_SECRETS.iter().any(|directory| path.starts_with(directory));
        Ok(Self {
            text: Zeroizing::new(content.to_owned()),
            readable_by_others: mode & READABLE_BY_OTHERS != 0 && !in_container,
        })
    }
}
