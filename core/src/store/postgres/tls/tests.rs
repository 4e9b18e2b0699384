//! Certificates in this directory: `server.pem` for `db.example`, signed by `ca.pem` and not by `other-ca.pem`.

use std::path::Path;
use std::time::Duration;

use rustls::client::danger::ServerCertVerifier;

use super::*;

const SERVER: &[u8] = include_bytes!("server.pem");

/// Whether a server with the certificate is believed to be `host`.
fn accepts(ssl_mode: SslMode, root: &str, host: &'static str) -> bool {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store/postgres/tls").join(root);
    let verifier =
        verifier(ssl_mode, Some(&path), Arc::new(aws_lc_rs::default_provider())).expect("a verifier");
    let certificate = CertificateDer::from_pem_slice(SERVER).expect("a certificate");
    let host = ServerName::try_from(host).expect("a host");
    // 2027, when all are valid.
    let now = UnixTime::since_unix_epoch(Duration::from_secs(1_800_000_000));
    ServerCertVerifier::verify_server_cert(&*verifier, &certificate, &[], &host, &[], now).is_ok()
}

#[test]
fn modes_check_what_libpq_checks() {
    use SslMode::{Prefer, Require, VerifyCa, VerifyFull};
    let all = |root, host| [Prefer, Require, VerifyCa, VerifyFull].map(|mode| accepts(mode, root, host));
    assert_eq!(all("ca.pem", "db.example"), [true, true, true, true]);
    assert_eq!(all("ca.pem", "evil.example"), [true, true, true, false]);
    assert_eq!(all("other-ca.pem", "db.example"), [true, true, false, false]);
}

#[test]
fn a_file_without_certificates_is_refused() {
    let provider = Arc::new(aws_lc_rs::default_provider());
    for file in ["/dev/null", "/nonexistent/ca.pem"] {
        let result = verifier(SslMode::VerifyFull, Some(Path::new(file)), provider.clone());
        assert!(matches!(result, Err(Error::Invalid(_))), "{file}");
    }
}
