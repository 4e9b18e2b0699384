//! A client that speaks TLS, and says what was agreed on.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{
    ClientConfig, NamedGroup, ProtocolVersion, RootCertStore, SupportedProtocolVersion,
};

use crate::certificates::{Authority, ServerCertificate};
use crate::eventually::LIMIT;
use crate::raw::RawConnection;

/// A connection with TLS.
pub type TlsConnection = RawConnection<TlsStream<TcpStream>>;

/// Connects to servers whose certificate an authority signed for `localhost`.
#[derive(Clone, Debug)]
pub struct TlsClient {
    roots: RootCertStore,
    provider: CryptoProvider,
    versions: Vec<&'static SupportedProtocolVersion>,
    certificate: Option<ServerCertificate>,
}

impl TlsClient {
    /// One that speaks all versions and groups that there are.
    ///
    /// # Panics
    ///
    /// If the authority's file is gone.
    pub fn new(authority: &Authority) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(authority.path()).expect("PEM")).expect("an authority");
        let versions = tokio_rustls::rustls::ALL_VERSIONS.to_vec();
        Self { roots, provider: aws_lc_rs::default_provider(), versions, certificate: None }
    }

    /// Speaks one version alone.
    pub fn version(mut self, version: &'static SupportedProtocolVersion) -> Self {
        self.versions = vec![version];
        self
    }

    /// Offers one group alone.
    pub fn group(mut self, group: NamedGroup) -> Self {
        self.provider.kx_groups.retain(|known| known.name() == group);
        self
    }

    /// Shows `certificate` when it is asked for one.
    pub fn certificate(mut self, certificate: &ServerCertificate) -> Self {
        self.certificate = Some(certificate.clone());
        self
    }

    /// Connects to `server`.
    ///
    /// # Errors
    ///
    /// If there is no connection, or no agreement.
    ///
    /// # Panics
    ///
    /// If there is neither within [`LIMIT`].
    pub async fn connect(&self, server: SocketAddr) -> io::Result<TlsConnection> {
        let builder = ClientConfig::builder_with_provider(Arc::new(self.provider.clone()))
            .with_protocol_versions(&self.versions)
            .expect("versions of the provider")
            .with_root_certificates(self.roots.clone());
        let mut config = match &self.certificate {
            Some(ServerCertificate { chain, key }) => {
                let chain = CertificateDer::pem_slice_iter(chain.as_bytes()).collect::<Result<_, _>>();
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("a key");
                builder.with_client_auth_cert(chain.expect("PEM"), key).expect("a certificate and its key")
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let connecting = async {
            let stream = TcpStream::connect(server).await?;
            let name = "localhost".try_into().expect("a name");
            TlsConnector::from(Arc::new(config)).connect(name, stream).await
        };
        let stream = timeout(LIMIT, connecting).await.expect("the server says yes or no");
        Ok(RawConnection::over(stream?))
    }
}

impl TlsConnection {
    /// The version, the group, and the protocol beneath that were agreed on.
    ///
    /// # Panics
    ///
    /// If nothing was.
    pub fn agreed(&self) -> (ProtocolVersion, NamedGroup, Vec<u8>) {
        let (_, session) = self.stream().get_ref();
        let group = session.negotiated_key_exchange_group().expect("a group").name();
        let protocol = session.alpn_protocol().unwrap_or_default().to_vec();
        (session.protocol_version().expect("a version"), group, protocol)
    }

    /// The server's own certificate; DER.
    ///
    /// # Panics
    ///
    /// If it showed none.
    pub fn server_certificate(&self) -> Vec<u8> {
        let (_, session) = self.stream().get_ref();
        session.peer_certificates().expect("certificates")[0].to_vec()
    }

    /// `GET path` with further header lines; the reply, head and body.
    ///
    /// # Panics
    ///
    /// As [`RawConnection::read_reply`].
    pub async fn get(&mut self, path: &str, headers: &str) -> String {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n")).await;
        self.read_reply().await
    }
}
