//! An outside identity provider: keys that sign tokens, and the endpoint that publishes them.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::certificates::ServerCertificate;

mod token_key;

pub use token_key::TokenKey;

/// Serves a key set over real sockets; ends with the value.
#[derive(Debug)]
pub struct IdentityProvider {
    address: SocketAddr,
    scheme: &'static str,
    /// `None` hangs.
    keys: Arc<Mutex<Option<Value>>>,
    requests: Arc<AtomicUsize>,
    serving: JoinHandle<()>,
}

impl IdentityProvider {
    /// The `iss` of its tokens.
    pub const ISSUER: &str = "https://id.example/realms/test";
    /// The `aud` of its tokens.
    pub const AUDIENCE: &str = "cryptoserve-test";

    /// One without TLS, with these keys.
    ///
    /// # Panics
    ///
    /// If there is no free port on loopback.
    pub async fn start(keys: &[&TokenKey]) -> Self {
        Self::serve(keys, None).await
    }

    /// One for `https://localhost`, with these keys.
    ///
    /// # Panics
    ///
    /// As [`IdentityProvider::start`], and if the certificate is none.
    pub async fn start_tls(keys: &[&TokenKey], certificate: &ServerCertificate) -> Self {
        let chain = CertificateDer::pem_slice_iter(certificate.chain.as_bytes());
        let chain = chain.collect::<Result<Vec<_>, _>>().expect("certificates");
        let key = PrivateKeyDer::from_pem_slice(certificate.key.as_bytes()).expect("a private key");
        let config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key);
        Self::serve(keys, Some(Arc::new(config.expect("the key is the certificate's")).into())).await
    }

    async fn serve(keys: &[&TokenKey], tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port on loopback");
        let address = listener.local_addr().expect("a bound socket has an address");
        let scheme = if tls.is_some() { "https" } else { "http" };
        let (answer, requests) = (Arc::new(Mutex::new(Some(set(keys)))), Arc::new(AtomicUsize::new(0)));
        let serving = tokio::spawn(accept(listener, tls, answer.clone(), requests.clone()));
        Self { address, scheme, keys: answer, requests, serving }
    }

    /// What `JWT_JWKS_URL` is.
    pub fn url(&self) -> String {
        format!("{}://localhost:{}/keys", self.scheme, self.address.port())
    }

    /// Publishes these keys from now on.
    pub fn publish(&self, keys: &[&TokenKey]) {
        self.set(Some(set(keys)));
    }

    /// Takes requests and never answers, from now on.
    pub fn hang(&self) {
        self.set(None);
    }

    /// How often the keys were asked for.
    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }

    fn set(&self, keys: Option<Value>) {
        *self.keys.lock().unwrap_or_else(PoisonError::into_inner) = keys;
    }
}

impl Drop for IdentityProvider {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

fn set(keys: &[&TokenKey]) -> Value {
    json!({ "keys": keys.iter().map(|key| key.jwk()).collect::<Vec<_>>() })
}

async fn accept(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    keys: Arc<Mutex<Option<Value>>>,
    requests: Arc<AtomicUsize>,
) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let (tls, keys, requests) = (tls.clone(), keys.clone(), requests.clone());
        tokio::spawn(async move {
            match tls {
                None => answer(stream, keys, requests).await,
                Some(tls) => {
                    if let Ok(stream) = tls.accept(stream).await {
                        answer(stream, keys, requests).await;
                    }
                }
            }
        });
    }
}

async fn answer<S>(stream: S, keys: Arc<Mutex<Option<Value>>>, requests: Arc<AtomicUsize>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let service = service_fn(|request: Request<Incoming>| {
        assert_eq!(request.uri().path(), "/keys");
        requests.fetch_add(1, Ordering::SeqCst);
        let keys = keys.lock().unwrap_or_else(PoisonError::into_inner).clone();
        async move {
            match keys {
                Some(keys) => {
                    Ok::<_, std::convert::Infallible>(Response::new(Full::new(Bytes::from(keys.to_string()))))
                }
                None => std::future::pending().await,
            }
        }
    });
    // A client that goes away is no fault of the test's.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}
