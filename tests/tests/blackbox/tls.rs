//! The listener with TLS, for clients of ours and for others.

mod clients;
mod files;
mod listener;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use cryptoserve_tests::{Program, ServerCertificate};
use tempfile::TempDir;

/// Where a server finds its certificate and key.
struct Files {
    dir: TempDir,
}

impl Files {
    fn new(certificate: &ServerCertificate) -> Self {
        let this = Self { dir: tempfile::tempdir().expect("a directory") };
        this.put(certificate);
        this
    }

    /// Replaces both, as a tool that renews certificates does: one after the other.
    fn put(&self, certificate: &ServerCertificate) {
        write(&self.chain(), &certificate.chain);
        write(&self.key(), &certificate.key);
    }

    fn chain(&self) -> PathBuf {
        self.dir.path().join("chain.pem")
    }

    fn key(&self) -> PathBuf {
        self.dir.path().join("key.pem")
    }

    /// A server of the embedded store that speaks TLS.
    fn program(&self) -> Program {
        Program::cryptoserve()
            .env("DATA_DIR", self.dir.path().join("data").to_string_lossy())
            .env("TLS_CERT_FILE", self.chain().to_string_lossy())
            .env("TLS_KEY_FILE", self.key().to_string_lossy())
    }
}

/// At once, so that nobody reads a half.
fn write(path: &Path, content: &str) {
    let new = path.with_extension("new");
    fs::write(&new, content).expect("written");
    fs::set_permissions(&new, fs::Permissions::from_mode(0o600)).expect("ours");
    fs::rename(new, path).expect("renamed");
}
