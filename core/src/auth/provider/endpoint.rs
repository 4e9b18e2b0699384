//! Where the keys come from: one GET, within bounds.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::{ClientConfig, RootCertStore};
use url::Url;

use crate::auth::provider::key_set::KeySet;

/// For the name, the connection, TLS and the whole reply together.
pub(super) const FETCH_TIMEOUT: Duration = Duration::from_secs(5);
/// Largest key set, in bytes; those of large providers have some 20 KiB.
const MAX_BYTES: usize = 256 * 1024;

/// Fetches the keys. Follows no redirect and no proxy variable.
pub(super) struct Endpoint {
    client: Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
    uri: Uri,
}

/// Why there are no keys.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error("no whole reply within {} s", FETCH_TIMEOUT.as_secs())]
    Timeout,
    #[error("no connection, or no HTTP")]
    Request(#[from] hyper_util::client::legacy::Error),
    #[error("the reply is {0}, and not 200; redirects are not followed")]
    Status(StatusCode),
    #[error("the reply broke off, or is longer than {MAX_BYTES} bytes")]
    Body(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("the reply is no key set of RFC 7517")]
    Parse(#[from] serde_json::Error),
}

impl Endpoint {
    pub(super) fn new(url: &Url) -> Self {
        let mut roots = RootCertStore::empty();
        // Without any, an `https` endpoint is not trusted, and its failure says so.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider has cipher suites of every version")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_connect_timeout(Some(FETCH_TIMEOUT));
        let builder = HttpsConnectorBuilder::new().with_tls_config(tls);
        let builder = if url.scheme() == "https" { builder.https_only() } else { builder.https_or_http() };
        // One connection for each fetch: a kept one would have died in the minutes between two.
        let client = Client::builder(TokioExecutor::new())
            .pool_max_idle_per_host(0)
            .build(builder.enable_http1().wrap_connector(http));
        Self { client, uri: url.as_str().parse().expect("checked when the configuration was read") }
    }

    /// The keys as they are now.
    pub(super) async fn fetch(&self) -> Result<KeySet, FetchError> {
        let body =
            tokio::time::timeout(FETCH_TIMEOUT, self.get()).await.map_err(|_| FetchError::Timeout)??;
        Ok(KeySet::parse(&body)?)
    }

    async fn get(&self) -> Result<Bytes, FetchError> {
        let request = Request::get(self.uri.clone())
            .header(header::ACCEPT, "application/jwk-set+json, application/json")
            .header(header::USER_AGENT, concat!("cryptoserve/", env!("CARGO_PKG_VERSION")))
            .body(Empty::new())
            .expect("a parsed URI and constant headers");
        let reply = self.client.request(request).await?;
        if reply.status() != StatusCode::OK {
            return Err(FetchError::Status(reply.status()));
        }
        let body = Limited::new(reply.into_body(), MAX_BYTES).collect().await.map_err(FetchError::Body)?;
        Ok(body.to_bytes())
    }
}
