//! Serves `/metrics`, on an address of its own that is not for clients.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cryptoserve_core::telemetry::Metrics;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::server;

const PATH: &str = "/metrics";
/// Connections at once; others wait until they are accepted.
const MOST_CONNECTIONS: usize = 16;
/// Longest time for a request and its reply. Each has a connection of its own.
const LONGEST: Duration = Duration::from_secs(10);
/// Longest time for a request's head: connections that say nothing must not keep others waiting.
const LONGEST_HEAD: Duration = Duration::from_secs(2);

/// Serves for ever.
pub(crate) async fn serve(metrics: Arc<Metrics>, listener: TcpListener) {
    let slots = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    loop {
        let slot = slots.clone().acquire_owned().await.expect("never closed");
        let (stream, _) = server::accept(&listener).await;
        let metrics = metrics.clone();
        tokio::spawn(async move {
            // A client that is gone, too slow, or does not speak HTTP gets nothing.
            let _ = tokio::time::timeout(LONGEST, answer_one(&metrics, stream)).await;
            drop(slot);
        });
    }
}

async fn answer_one(metrics: &Metrics, stream: TcpStream) -> hyper::Result<()> {
    let service = service_fn(|request| async move { Ok::<_, Infallible>(answer(metrics, &request)) });
    http1::Builder::new()
        .keep_alive(false)
        .timer(TokioTimer::new())
        .header_read_timeout(LONGEST_HEAD)
        .serve_connection(TokioIo::new(stream), service)
        .await
}

fn answer<B>(metrics: &Metrics, request: &Request<B>) -> Response<Full<Bytes>> {
    let (status, name, value, body) = if request.uri().path() != PATH {
        (StatusCode::NOT_FOUND, header::CONTENT_TYPE, "text/plain", "only /metrics is here\n".into())
    } else if [Method::GET, Method::HEAD].contains(request.method()) {
        (StatusCode::OK, header::CONTENT_TYPE, Metrics::CONTENT_TYPE, metrics.text().into())
    } else {
        (StatusCode::METHOD_NOT_ALLOWED, header::ALLOW, "GET, HEAD", Bytes::new())
    };
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response.headers_mut().insert(name, HeaderValue::from_static(value));
    response
}
