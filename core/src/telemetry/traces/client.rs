use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, Limited};
use opentelemetry_http::{HttpClient, HttpError};
use tokio::runtime::Handle;
use url::Url;

use super::EXPORT_TIMEOUT;
use crate::https::{self, HttpsClient};

/// Longest reply that is read, in bytes; one says what was not taken, in a few words.
const MAX_REPLY: usize = 64 * 1024;

/// Posts to the collector on tokio's runtime, for the thread of the exporter, which has none. Its trouble is a line of
/// the log when it begins and one when it ends.
pub(super) struct Client {
    client: HttpsClient<Full<Bytes>>,
    runtime: Handle,
    failing: Arc<AtomicBool>,
}

impl Client {
    pub(super) fn new(endpoint: &Url) -> Self {
        let client = https::client(endpoint.scheme() == "https", EXPORT_TIMEOUT);
        Self { client, runtime: Handle::current(), failing: Arc::default() }
    }
}

type Sent<'a> = Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'a>>;

impl HttpClient for Client {
    fn send_bytes<'this, 'sent>(&'this self, request: Request<Bytes>) -> Sent<'sent>
    where
        'this: 'sent,
        Self: 'sent,
    {
        let (client, failing) = (self.client.clone(), self.failing.clone());
        let sent = self.runtime.spawn(async move {
            let sent = tokio::time::timeout(EXPORT_TIMEOUT, post(client, request)).await;
            let sent = sent.unwrap_or_else(|_| Err("no whole reply in time".into()));
            tell(&failing, &sent);
            sent
        });
        Box::pin(async move { sent.await? })
    }
}

async fn post(
    client: HttpsClient<Full<Bytes>>,
    request: Request<Bytes>,
) -> Result<Response<Bytes>, HttpError> {
    let (head, body) = client.request(request.map(Full::new)).await?.into_parts();
    let body = Limited::new(body, MAX_REPLY).collect().await?.to_bytes();
    Ok(Response::from_parts(head, body))
}

fn tell(failing: &AtomicBool, sent: &Result<Response<Bytes>, HttpError>) {
    let trouble = match sent {
        Ok(response) if response.status().is_success() => None,
        Ok(response) => Some(format!("the collector answered {}", response.status())),
        Err(error) => Some(super::super::causes(&**error).to_string()),
    };
    match trouble {
        Some(error) if !failing.swap(true, Ordering::Relaxed) => {
            tracing::warn!(error, "traces cannot be exported; those of now are lost");
        }
        None if failing.swap(false, Ordering::Relaxed) => tracing::info!("traces are exported again"),
        _ => {}
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}
