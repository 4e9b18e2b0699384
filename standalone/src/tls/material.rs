use std::path::Path;
use std::sync::Arc;

use cryptoserve_core::certificate::Certificate;
use cryptoserve_core::clock::Timestamp;
use cryptoserve_core::config;
use cryptoserve_core::config::SecretFile;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
use zeroize::Zeroizing;

const CERT: &str = "TLS_CERT_FILE";
const KEY: &str = "TLS_KEY_FILE";
const CLIENT_CA: &str = "TLS_CLIENT_CA_FILE";

/// A chain has a few KiB, a list of authorities seldom more than 200.
const MAX_BYTES: u64 = 1 << 20;

/// Why the files cannot be used. Names the variable, and nothing of a file's content.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{variable} {problem}")]
pub(super) struct Unusable {
    pub(super) variable: &'static str,
    problem: String,
}

/// The content of the files.
#[derive(PartialEq, Eq)]
pub(super) struct Material {
    chain: Vec<u8>,
    key: Zeroizing<String>,
    client_ca: Option<Vec<u8>>,
    /// What stands beside the key for whoever looks for it.
    pub(super) readable_by_others: bool,
}

/// What it comes to.
pub(super) struct Served {
    pub(super) config: Arc<ServerConfig>,
    /// When the first certificate of the chain expires that does.
    pub(super) expires_at: Timestamp,
}

impl Material {
    pub(super) fn read(config: &config::Tls) -> Result<Self, Unusable> {
        let key = SecretFile::read(&config.key_file).map_err(|problem| unusable(KEY, problem))?;
        Ok(Self {
            chain: read(&config.cert_file).map_err(|problem| unusable(CERT, problem))?,
            key: key.text,
            client_ca: match &config.client_ca_file {
                Some(path) => Some(read(path).map_err(|problem| unusable(CLIENT_CA, problem))?),
                None => None,
            },
            readable_by_others: key.readable_by_others,
        })
    }

    /// What connections are served with, if the files fit together and count at `now`.
    pub(super) fn serve(&self, now: Timestamp) -> Result<Served, Unusable> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let chain = certificates(&self.chain, CERT)?;
        let expires_at = check_times(&chain, now)?;
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes())
            .map_err(|_| unusable(KEY, "must name a PEM file with one private key that is not encrypted"))?;
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .expect("the provider has cipher suites of every version");
        let builder = match &self.client_ca {
            Some(pem) => builder.with_client_cert_verifier(client_verifier(pem, provider)?),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_single_cert(chain, key).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => {
                unusable(KEY, "must name the private key of the certificate in TLS_CERT_FILE")
            }
            rustls::Error::InvalidCertificate(_) => unusable(CERT, NO_CERTIFICATES),
            _ => unusable(KEY, "must name a private key of a kind that TLS can use: ECDSA, Ed25519 or RSA"),
        })?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        if self.client_ca.is_some() {
            // A session that goes on later would not look at the client's certificate again.
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
        }
        Ok(Served { config: Arc::new(config), expires_at })
    }
}

const NO_CERTIFICATES: &str = "must name a file of certificates in PEM, the server's own first";

/// Clients may show a certificate and need not: who shows none brings a token, or asks what needs none.
fn client_verifier(
    pem: &[u8],
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn rustls::server::danger::ClientCertVerifier>, Unusable> {
    const PROBLEM: &str = "must name a file of authorities' certificates in PEM";
    let mut roots = RootCertStore::empty();
    for certificate in certificates(pem, CLIENT_CA)? {
        roots.add(certificate).map_err(|_| unusable(CLIENT_CA, PROBLEM))?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    builder.allow_unauthenticated().build().map_err(|_| unusable(CLIENT_CA, PROBLEM))
}

fn certificates(pem: &[u8], variable: &'static str) -> Result<Vec<CertificateDer<'static>>, Unusable> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let certificates = certificates.ok().filter(|certificates| !certificates.is_empty());
    certificates.ok_or_else(|| {
        let problem =
            if variable == CERT { NO_CERTIFICATES } else { "must name a file of certificates in PEM" };
        unusable(variable, problem)
    })
}

/// Returns when the first of them expires.
fn check_times(chain: &[CertificateDer<'_>], now: Timestamp) -> Result<Timestamp, Unusable> {
    let mut expires_at = None;
    for certificate in chain {
        let certificate = Certificate::from_der(certificate).map_err(|_| unusable(CERT, NO_CERTIFICATES))?;
        let Certificate { not_before, not_after, .. } = certificate;
        if now > not_after {
            return Err(unusable(CERT, format!("names a certificate that expired at {not_after}")));
        }
        if now < not_before {
            return Err(unusable(CERT, format!("names a certificate that counts from {not_before} on")));
        }
        expires_at = Some(expires_at.map_or(not_after, |first: Timestamp| first.min(not_after)));
    }
    expires_at.ok_or_else(|| unusable(CERT, NO_CERTIFICATES))
}

fn read(path: &Path) -> Result<Vec<u8>, &'static str> {
    const UNREADABLE: &str = "must name a file that this process can read";
    let metadata = std::fs::metadata(path).map_err(|_| UNREADABLE)?;
    // Asked before opening, as opening a pipe would wait for its writer.
    if !metadata.is_file() {
        return Err("must name a regular file");
    }
    if metadata.len() > MAX_BYTES {
        return Err("must name a file of at most 1 MiB");
    }
    std::fs::read(path).map_err(|_| UNREADABLE)
}

fn unusable(variable: &'static str, problem: impl Into<String>) -> Unusable {
    Unusable { variable, problem: problem.into() }
}
