use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use super::PostgresOptions;
use crate::config::SslMode;
use crate::store::Error;

/// How connections are encrypted, and whom they trust.
pub(super) fn client_config(options: &PostgresOptions) -> Result<ClientConfig, Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = verifier(options.ssl_mode, options.ssl_root_cert.as_deref(), provider.clone())?;
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(invalid)?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    Ok(config)
}

fn verifier(
    ssl_mode: SslMode,
    root_cert: Option<&Path>,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, Error> {
    Ok(match ssl_mode {
        SslMode::Disable | SslMode::Prefer | SslMode::Require => {
            Arc::new(LenientVerifier { roots: None, provider })
        }
        SslMode::VerifyCa => Arc::new(LenientVerifier { roots: Some(roots(root_cert)?), provider }),
        SslMode::VerifyFull => {
            let roots = Arc::new(roots(root_cert)?);
            WebPkiServerVerifier::builder_with_provider(roots, provider).build().map_err(invalid)?
        }
    })
}

/// The authorities of the file, or the system's.
fn roots(file: Option<&Path>) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    if let Some(file) = file {
        for certificate in CertificateDer::pem_file_iter(file).map_err(invalid)? {
            roots.add(certificate.map_err(invalid)?).map_err(invalid)?;
        }
    } else {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    if roots.is_empty() { Err(invalid("no certificate authority was found")) } else { Ok(roots) }
}

fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::Invalid(error.into())
}

/// Checks less than rustls would: the certificate's authority but not its name (libpq's `verify-ca`), or, without
/// roots, neither (`prefer` and `require`). That the server holds the certificate's key is always checked.
#[derive(Debug)]
struct LenientVerifier {
    roots: Option<RootCertStore>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for LenientVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if let Some(roots) = &self.roots {
            let certificate = ParsedCertificate::try_from(end_entity)?;
            let algorithms = self.provider.signature_verification_algorithms.all;
            verify_server_cert_signed_by_trust_anchor(&certificate, roots, intermediates, now, algorithms)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// What to do about a connection that TLS made fail; `None` for other failures.
pub(super) fn advice(error: &(dyn std::error::Error + 'static)) -> Option<&'static str> {
    use rustls::CertificateError as Bad;
    let mut cause = Some(error);
    while let Some(error) = cause {
        // `source` of an I/O error passes over what it holds.
        let held = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        let tls = held.and_then(|held| held.downcast_ref()).or_else(|| error.downcast_ref());
        match tls {
            Some(rustls::Error::InvalidCertificate(bad)) => {
                return Some(match bad {
                    Bad::NotValidForName | Bad::NotValidForNameContext { .. } => {
                        "name the host in DATABASE_URL as the server's certificate does"
                    }
                    Bad::UnknownIssuer | Bad::BadSignature => {
                        "the server's certificate is from an authority that is not trusted: name the file of the right \
                         one as sslrootcert in DATABASE_URL"
                    }
                    _ => "the server needs another certificate",
                });
            }
            Some(_) => return Some("the server's TLS and this side's have nothing in common"),
            None => {}
        }
        // The driver has no other sign of it.
        if error.to_string().ends_with(NO_TLS) {
            return Some(
                "turn on ssl in the server, or set sslmode=disable in DATABASE_URL if nobody else can listen",
            );
        }
        cause = error.source();
    }
    None
}

const NO_TLS: &str = "server does not support TLS";

#[cfg(test)]
mod tests;
