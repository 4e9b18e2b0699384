//! The HTTP client of the commands: one connection, one request.

use std::time::Duration;

use http::{HeaderValue, Request, Response, Uri, header};
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1;
use hyper::rt::{Read, Write};
use hyper::service::Service;
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::service::TowerToHyperService;
use url::Url;

mod half_open;
mod refusal;
mod server_url;
mod trust;

use half_open::HalfOpen;
pub(crate) use refusal::Refusal;
pub(crate) use server_url::{InvalidServerUrl, ServerUrl};
pub(crate) use trust::Trust;

/// For all addresses of the server together, and for TLS.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a silent peer may be gone before it is noticed; there is no time-out on a transfer that is alive.
const PEER_GONE_TIMEOUT: Duration = Duration::from_secs(60);
const KEEPALIVE: Duration = Duration::from_secs(20);

/// Why there is no reply.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// No connection.
    #[error("cannot connect to {server}: {cause}")]
    Connect {
        /// The server, without path.
        server: String,
        /// In words for a person.
        cause: String,
    },
    /// The system has no usable certificate authorities.
    #[error("cannot check certificates: {0}")]
    Authorities(std::io::Error),
    /// The connection broke, or what came was no HTTP.
    #[error("the connection to the server broke: {}", cause(.0))]
    Broken(#[from] hyper::Error),
}

/// Sends `request`, whose URI is replaced by `url`, on a connection of its own. The reply may come while the request's
/// body is still being sent, and both go on at the same time.
pub(crate) async fn send<B>(url: &Url, request: Request<B>) -> Result<Response<Incoming>, Error>
where
    B: Body + Send + Unpin + 'static,
    B::Data: Send,
    B::Error: std::error::Error + Send + Sync + 'static,
{
    send_to(url, Trust::Authorities, request).await
}

/// As [`send`], to a server whose certificate is checked as `trust` says.
pub(crate) async fn send_to<B>(
    url: &Url,
    trust: Trust,
    mut request: Request<B>,
) -> Result<Response<Incoming>, Error>
where
    B: Body + Send + Unpin + 'static,
    B::Data: Send,
    B::Error: std::error::Error + Send + Sync + 'static,
{
    let target = &url[url::Position::BeforePath..url::Position::AfterQuery];
    *request.uri_mut() = target.parse().expect("a parsed URL's path and query are valid in a request");
    let authority = &url[url::Position::BeforeHost..url::Position::AfterPort];
    let host = HeaderValue::from_str(authority).expect("a parsed URL's host is ASCII");
    request.headers_mut().insert(header::HOST, host);

    let address: Uri = url.as_str().parse().expect("a parsed URL is a valid URI");
    let http = http_connector();
    if url.scheme() == "https" {
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(trust.client_config().map_err(Error::Authorities)?)
            .https_only()
            .enable_http1()
            .wrap_connector(http);
        let connected = in_time(url, TowerToHyperService::new(connector).call(address)).await?;
        exchange(connected.map_err(|error| not_connected(url, cause(&*error)))?, request).await
    } else {
        let connected = in_time(url, TowerToHyperService::new(http).call(address)).await?;
        exchange(connected.map_err(|error| not_connected(url, cause(&error)))?, request).await
    }
}

async fn in_time<F: Future>(url: &Url, connecting: F) -> Result<F::Output, Error> {
    let connected = tokio::time::timeout(CONNECT_TIMEOUT, connecting).await;
    connected.map_err(|_| not_connected(url, "it takes too long".to_owned()))
}

fn not_connected(url: &Url, cause: String) -> Error {
    Error::Connect { server: url.origin().ascii_serialization(), cause }
}

fn http_connector() -> HttpConnector {
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
    connector.set_keepalive(Some(KEEPALIVE));
    connector.set_keepalive_interval(Some(KEEPALIVE));
    #[cfg(target_os = "linux")]
    connector.set_tcp_user_timeout(Some(PEER_GONE_TIMEOUT));
    connector
}

async fn exchange<S, B>(stream: S, request: Request<B>) -> Result<Response<Incoming>, Error>
where
    S: Read + Write + Send + Unpin + 'static,
    B: Body + Send + Unpin + 'static,
    B::Data: Send,
    B::Error: std::error::Error + Send + Sync + 'static,
{
    let (mut sender, connection) = http1::handshake(HalfOpen::new(stream)).await?;
    // Its errors also reach the reply or its body, which is where somebody listens.
    tokio::spawn(connection);
    Ok(sender.send_request(request).await?)
}

/// The innermost reason, which says what happened rather than where.
fn cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

#[cfg(test)]
mod tests;
