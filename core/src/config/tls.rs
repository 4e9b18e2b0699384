//! TLS of the listener: `TLS_CERT_FILE`, `TLS_KEY_FILE`, `TLS_CLIENT_CA_FILE`.

use std::path::PathBuf;

use serde::Deserialize;

use super::environment::Environment;
use super::setting::Setting;

pub(super) const VARIABLES: &[&str] = &["TLS_CERT_FILE", "TLS_KEY_FILE", "TLS_CLIENT_CA_FILE"];

/// The files of a listener that speaks TLS; all PEM, and read again when they change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// The server's certificate, and those between it and an authority.
    pub cert_file: PathBuf,
    /// Its private key.
    pub key_file: PathBuf,
    /// The authorities whose certificates clients may show; `None` asks for none.
    pub client_ca_file: Option<PathBuf>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Variables {
    tls_cert_file: Setting<PathBuf>,
    tls_key_file: Setting<PathBuf>,
    tls_client_ca_file: Setting<PathBuf>,
}

impl Tls {
    /// `None` where the listener speaks plain HTTP.
    pub(super) fn read(env: &mut Environment) -> Option<Self> {
        let vars: Variables = env.read(VARIABLES);
        let cert_file = env.optional("TLS_CERT_FILE", vars.tls_cert_file);
        let key_file = env.optional("TLS_KEY_FILE", vars.tls_key_file);
        let client_ca_file = env.optional("TLS_CLIENT_CA_FILE", vars.tls_client_ca_file);
        if cert_file.is_none() && (key_file.is_some() || client_ca_file.is_some()) {
            env.problem("TLS_CERT_FILE", "is required with TLS_KEY_FILE and TLS_CLIENT_CA_FILE");
        }
        if key_file.is_none() && (cert_file.is_some() || client_ca_file.is_some()) {
            env.problem("TLS_KEY_FILE", "is required with TLS_CERT_FILE and TLS_CLIENT_CA_FILE");
        }
        Some(Self { cert_file: cert_file?, key_file: key_file?, client_ca_file })
    }
}
