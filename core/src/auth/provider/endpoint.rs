//! Where the keys come from: one GET, within bounds.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Empty, Limited};
use url::Url;

use crate::auth::provider::key_set::KeySet;
use crate::https::{self, HttpsClient};

/// For the name, the connection, TLS and the whole reply together.
pub(super) const FETCH_TIMEOUT: Duration = Duration::from_secs(5);
/// Largest key set, in bytes; those of large providers have some 20 KiB.
const MAX_BYTES: usize = 256 * 1024;

/// Fetches the keys. Follows no redirect and no proxy variable.
pub(super) struct Endpoint {
    client: HttpsClient<Empty<Bytes>>,
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
        let client = https::client(url.scheme() == "https", FETCH_TIMEOUT);
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
