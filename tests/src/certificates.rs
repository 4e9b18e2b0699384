//! A certificate authority of the test's own.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair, SanType,
    date_time_ymd,
};
use tempfile::TempDir;

/// Signs certificates of servers; its own certificate is in a file.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    dir: TempDir,
}

/// What a server or client shows, and proves to own; PEM.
#[derive(Clone, Debug)]
pub struct ServerCertificate {
    /// The certificate.
    pub chain: String,
    /// Its private key.
    pub key: String,
}

impl Authority {
    /// A new one, unknown to everybody.
    ///
    /// # Panics
    ///
    /// If the file cannot be written.
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "test authority");
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate");
        let dir = tempfile::tempdir().expect("a temporary directory");
        fs::write(file(dir.path()), certificate.pem()).expect("a writable directory");
        Self { issuer: Issuer::new(params, key), dir }
    }

    /// A certificate for the host `name`.
    ///
    /// # Panics
    ///
    /// If it cannot be one.
    pub fn certificate(&self, name: &str) -> ServerCertificate {
        self.sign(CertificateParams::new([name.to_owned()]).expect("a name"))
    }

    /// The same, expired in 2025.
    ///
    /// # Panics
    ///
    /// As [`Authority::certificate`].
    pub fn expired(&self, name: &str) -> ServerCertificate {
        let mut params = CertificateParams::new([name.to_owned()]).expect("a name");
        params.not_after = date_time_ymd(2025, 1, 1);
        self.sign(params)
    }

    /// A client's certificate with the subject `CN=<name>,O=Example`, and with `uri` as alternative name.
    ///
    /// # Panics
    ///
    /// If it cannot be one.
    pub fn client(&self, name: &str, uri: Option<&str>) -> ServerCertificate {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "Example");
        params.distinguished_name.push(DnType::CommonName, name);
        params.subject_alt_names =
            uri.into_iter().map(|uri| SanType::URI(uri.try_into().expect("ASCII"))).collect();
        self.sign(params)
    }

    fn sign(&self, params: CertificateParams) -> ServerCertificate {
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        ServerCertificate { chain: certificate.pem(), key: key.serialize_pem() }
    }

    /// The authority's own certificate, as `sslrootcert` takes it.
    pub fn path(&self) -> PathBuf {
        file(self.dir.path())
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").field("path", &self.path()).finish_non_exhaustive()
    }
}

fn file(dir: &Path) -> PathBuf {
    dir.join("authority.pem")
}
