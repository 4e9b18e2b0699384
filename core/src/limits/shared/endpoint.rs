use std::io;
use std::sync::Arc;

use futures_util::future::select_ok;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, ConnectionAddr, IntoConnectionInfo, RedisResult};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

use crate::secret::Secret;

/// Where a server is, and as whom to go there.
#[derive(Clone)]
pub(super) struct Endpoint {
    url: Secret<String>,
    pub(super) host: String,
    port: u16,
    tls: Option<TlsConnector>,
}

/// An open connection; closed when dropped.
pub(super) struct Opened {
    pub(super) redis: MultiplexedConnection,
    _driver: JoinSet<()>,
}

/// Requests that may wait to be written.
const PIPELINE: usize = 1024;

impl Endpoint {
    /// Of each URL of a [`crate::config::RedisUrl`]. Certificates are read here, and never again.
    pub(super) fn all(urls: &[Secret<String>]) -> Vec<Self> {
        let mut connector = None;
        let endpoint = |url: &Secret<String>| {
            let info = url.expose().as_str().into_connection_info();
            let (host, port, is_tls) = match info.expect("checked with the configuration").addr() {
                ConnectionAddr::Tcp(host, port) => (host.clone(), *port, false),
                ConnectionAddr::TcpTls { host, port, .. } => (host.clone(), *port, true),
                _ => unreachable!("a RedisUrl names a host"),
            };
            let tls = is_tls.then(|| connector.get_or_insert_with(tls_connector).clone());
            Self { url: url.clone(), host, port, tls }
        };
        urls.iter().map(endpoint).collect()
    }

    /// Another server, for the same user.
    pub(super) fn at(&self, host: &str, port: u16) -> Self {
        Self { host: host.to_owned(), port, ..self.clone() }
    }

    /// `host:port`; fit for logs.
    pub(super) fn address(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// Connects and signs in.
    pub(super) async fn open(&self) -> RedisResult<Opened> {
        let addresses = lookup_host((&*self.host, self.port)).await?;
        let attempts: Vec<_> = addresses.map(|address| Box::pin(TcpStream::connect(address))).collect();
        if attempts.is_empty() {
            return Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address").into());
        }
        let (stream, _) = select_ok(attempts).await?;
        stream.set_nodelay(true)?;
        match &self.tls {
            None => self.sign_in(stream).await,
            Some(connector) => {
                let name = ServerName::try_from(self.host.clone()).map_err(io::Error::other)?;
                self.sign_in(connector.connect(name, stream).await?).await
            }
        }
    }

    async fn sign_in(
        &self,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    ) -> RedisResult<Opened> {
        let info = self.url.expose().as_str().into_connection_info()?;
        // Whoever asks sets a time-out.
        let config =
            AsyncConnectionConfig::new().set_response_timeout(None).set_pipeline_buffer_size(PIPELINE);
        let (redis, driver) =
            MultiplexedConnection::new_with_config(info.redis_settings(), stream, config).await?;
        let mut task = JoinSet::new();
        task.spawn(driver);
        Ok(Opened { redis, _driver: task })
    }
}

/// Trusts the system's authorities, or those in `SSL_CERT_FILE`.
fn tls_connector() -> TlsConnector {
    let mut roots = RootCertStore::empty();
    // Without any, no server is trusted, and its failure says so.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider has cipher suites of every version")
        .with_root_certificates(roots)
        .with_no_client_auth();
    TlsConnector::from(Arc::new(config))
}
