//! A PostgreSQL URL with the TLS parameters that tokio-postgres does not read.

use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};

use percent_encoding::percent_decode_str;
use tokio_postgres::config::{Host, SslMode as DriverSslMode};

use super::setting::{Parse, words};

const DEFAULT_PORT: u16 = 5432;

const EXPECTED: &str = "must be a URL such as postgres://user:password@host:5432/database?sslmode=verify-full, \
                        with the password percent-encoded and no parameters but the documented ones";

/// How to reach PostgreSQL. `Debug` shows hosts and TLS mode alone.
#[derive(Clone)]
pub struct PostgresUrl {
    driver: tokio_postgres::Config,
    ssl_mode: SslMode,
    ssl_root_cert: Option<PathBuf>,
}

/// How much TLS, with the meanings of libpq's `sslmode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SslMode {
    /// None.
    Disable,
    /// If the server offers it, with any certificate.
    Prefer,
    /// Always, with any certificate.
    Require,
    /// Always, with a certificate from a known authority.
    VerifyCa,
    /// Always, with a certificate from a known authority for the host's name.
    VerifyFull,
}

words!(SslMode, "has an unknown sslmode: use disable, prefer, require, verify-ca or verify-full",
    "disable" => Self::Disable, "prefer" => Self::Prefer, "require" => Self::Require,
    "verify-ca" => Self::VerifyCa, "verify-full" => Self::VerifyFull);

impl PostgresUrl {
    /// What the driver takes, its own `sslmode` being no stricter than `require`.
    pub fn driver(&self) -> &tokio_postgres::Config {
        &self.driver
    }

    /// How much TLS.
    pub fn ssl_mode(&self) -> SslMode {
        self.ssl_mode
    }

    /// The file of authorities (PEM) that a certificate is checked against; `None` is the system's.
    pub fn ssl_root_cert(&self) -> Option<&Path> {
        self.ssl_root_cert.as_deref()
    }

    /// `host:port` of each server, or the path of its socket; fit for logs.
    pub fn hosts(&self) -> Vec<String> {
        let ports = self.driver.get_ports();
        let port = |i: usize| ports.get(i).or(ports.first()).copied().unwrap_or(DEFAULT_PORT);
        if self.driver.get_hosts().is_empty() {
            let addresses = self.driver.get_hostaddrs().iter().enumerate();
            return addresses
                .map(|(i, address)| std::net::SocketAddr::new(*address, port(i)).to_string())
                .collect();
        }
        let hosts = self.driver.get_hosts().iter().enumerate();
        hosts
            .map(|(i, host)| match host {
                Host::Tcp(name) if name.contains(':') => format!("[{name}]:{}", port(i)),
                Host::Tcp(name) => format!("{name}:{}", port(i)),
                #[cfg(unix)]
                Host::Unix(path) => path.display().to_string(),
            })
            .collect()
    }

    /// Reads what follows `postgres://`.
    pub(super) fn parse(rest: &str) -> Result<Self, &'static str> {
        let (url, tls) = split_tls_parameters(rest)?;
        let driver: tokio_postgres::Config = url.parse().map_err(|_| EXPECTED)?;
        let mut this = Self { driver, ssl_mode: SslMode::Prefer, ssl_root_cert: None };
        this.set_tls(tls)?;
        this.check_hosts()?;
        Ok(this)
    }

    fn set_tls(&mut self, tls: TlsParameters) -> Result<(), &'static str> {
        let mode = tls.mode.as_deref().map(SslMode::parse).transpose()?;
        self.ssl_mode = match (tls.root_cert.as_deref(), mode) {
            (None, mode) => mode.unwrap_or(SslMode::Prefer),
            // As in libpq, where anyone may get a certificate from a public authority for a name of their own.
            (Some("system"), None | Some(SslMode::VerifyFull)) => SslMode::VerifyFull,
            (Some("system"), Some(_)) => {
                return Err("has sslrootcert=system, which needs sslmode=verify-full");
            }
            // As in libpq, where an authority that is named is an authority that is asked.
            (Some(_), Some(SslMode::Require)) => SslMode::VerifyCa,
            (Some(_), mode) => mode.unwrap_or(SslMode::Prefer),
        };
        self.ssl_root_cert = tls.root_cert.filter(|path| path != "system").map(PathBuf::from);
        if self.ssl_root_cert.as_ref().is_some_and(|path| File::open(path).is_err()) {
            return Err("has an sslrootcert that names no readable file");
        }
        self.driver.ssl_mode(match self.ssl_mode {
            SslMode::Disable => DriverSslMode::Disable,
            SslMode::Prefer => DriverSslMode::Prefer,
            SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => DriverSslMode::Require,
        });
        Ok(())
    }

    /// The driver takes the first `@` for the end of the password, so that a raw one puts the rest of the password
    /// into the host, and so into logs.
    fn check_hosts(&self) -> Result<(), &'static str> {
        let odd =
            |c: char| c.is_whitespace() || c.is_control() || matches!(c, '@' | '/' | '?' | '#' | '&' | '=');
        let good = |host: &Host| match host {
            Host::Tcp(name) => !name.is_empty() && !name.contains(odd),
            #[cfg(unix)]
            Host::Unix(_) => true,
        };
        let named = !self.driver.get_hosts().is_empty() || !self.driver.get_hostaddrs().is_empty();
        if named && self.driver.get_hosts().iter().all(good) { Ok(()) } else { Err(EXPECTED) }
    }
}

impl fmt::Debug for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresUrl")
            .field("hosts", &self.hosts())
            .field("ssl_mode", &self.ssl_mode)
            .finish_non_exhaustive()
    }
}

#[derive(Default)]
struct TlsParameters {
    mode: Option<String>,
    root_cert: Option<String>,
}

/// The URL without the TLS parameters, and those.
///
/// With several hosts it is no URL in the standard's sense, so this looks for the query where the driver does: behind
/// the first `@`, if there is one.
fn split_tls_parameters(rest: &str) -> Result<(String, TlsParameters), &'static str> {
    let after_credentials = rest.find('@').map_or(0, |at| at + 1);
    let query_start = rest[after_credentials..].find('?').map_or(rest.len(), |at| after_credentials + at);
    let (before, query) = rest.split_at(query_start);
    let mut tls = TlsParameters::default();
    let mut others = Vec::new();
    for pair in query.trim_start_matches('?').split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').ok_or(EXPECTED)?;
        let value = || percent_decode_str(value).decode_utf8().map(String::from).map_err(|_| EXPECTED);
        match key {
            // asyncpg's name for it.
            "sslmode" | "ssl" => tls.mode = Some(value()?),
            "sslrootcert" => tls.root_cert = Some(value()?),
            _ => others.push(pair),
        }
    }
    let separator = if others.is_empty() { "" } else { "?" };
    Ok((format!("postgres://{before}{separator}{}", others.join("&")), tls))
}

#[cfg(test)]
mod tests;
