use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use cryptoserve_core::app::{App, Origin};
use cryptoserve_core::store::Store;
use http::{HeaderValue, Request, Response, Version, header};
use hyper::body::{Body as _, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::reply::{AtWork, ReplyBody};
use super::{Limits, body, canned, closing};

/// Longest head of a request, in bytes.
const MAX_HEAD: usize = 64 * 1024;
const MAX_HEADERS: usize = 100;
/// A draining connection without a request is given two of these.
const DRAIN_TICK: Duration = Duration::from_millis(500);

/// Serves one connection until it ends, or until the request under way when `draining` changes is answered.
pub(super) async fn serve<S: Store>(
    app: App<S>,
    stream: TcpStream,
    peer: SocketAddr,
    limits: Limits,
    mut draining: watch::Receiver<()>,
) {
    let idle = limits.idle;
    give_up_on_silence(&stream, idle);
    // Set by a reply that was given before the request's body was read.
    let unread = Arc::new(AtomicBool::new(false));
    let of_replies = unread.clone();
    let at_work = AtWork::default();
    let mark = at_work.clone();
    let service = service_fn(move |request| {
        let (app, limits, unread, mark) = (app.clone(), limits.clone(), of_replies.clone(), mark.clone());
        async move { Ok::<_, Infallible>(answer(&app, request, peer, &limits, &unread, mark).await) }
    });
    // Not `pipeline_flush`: it holds back replies, and the brake on streams, while anything unparsed waits.
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(idle)
        .max_buf_size(MAX_HEAD)
        .max_headers(MAX_HEADERS)
        .max_header_size(MAX_HEAD)
        .serve_connection(TokioIo::new(stream), service);
    let result = tokio::select! {
        result = &mut connection => result,
        _ = draining.changed() => {
            std::pin::Pin::new(&mut connection).graceful_shutdown();
            tokio::select! {
                result = &mut connection => result,
                // Half a head may never become a request, and nobody waits for an answer to it.
                () = idle_again(&at_work) => Ok(()),
            }
        }
    };
    let parts = connection.into_parts();
    let mut stream = parts.io.into_inner();
    let refused = match result {
        Ok(()) => false,
        Err(error) => {
            tracing::debug!(%error, "a connection ended early");
            // A head that came in part. If nothing was read the connection was idle, and is just closed.
            if error.is_timeout() && !parts.read_buf.is_empty() {
                // The client may be gone.
                let _ = tokio::time::timeout(idle, stream.write_all(canned::HEAD_TIMEOUT)).await;
            }
            error.is_parse()
        }
    };
    if refused || unread.load(Ordering::Relaxed) {
        closing::close(stream).await;
    }
}

/// Completes when no request has been at work for a while, in which a reply can leave.
async fn idle_again(at_work: &AtWork) {
    let mut ticks = tokio::time::interval(DRAIN_TICK);
    let mut quiet = 0;
    while quiet < 3 {
        ticks.tick().await;
        quiet = if at_work.is_held() { 0 } else { quiet + 1 };
    }
}

/// Ends the connection when its client takes nothing for as long, though there is something for it.
fn give_up_on_silence(stream: &TcpStream, idle: Duration) {
    #[cfg(target_os = "linux")]
    {
        let millis = u32::try_from(idle.as_millis()).unwrap_or(u32::MAX);
        if let Err(error) = rustix::net::sockopt::set_tcp_user_timeout(stream, millis) {
            tracing::debug!(%error, "TCP_USER_TIMEOUT could not be set");
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (stream, idle);
}

async fn answer<S: Store>(
    app: &App<S>,
    request: Request<Incoming>,
    peer: SocketAddr,
    limits: &Limits,
    unread: &AtomicBool,
    mark: AtWork,
) -> Response<ReplyBody> {
    let whole = |bytes| ReplyBody::whole(bytes, None, mark.clone());
    let last = |mut response: Response<Bytes>| {
        unread.store(true, Ordering::Relaxed);
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        response.map(whole)
    };
    let (mut head, mut body) = request.into_parts();
    head.extensions.insert(Origin { peer: peer.ip() });
    // HTTP/1.0 has neither chunked bodies nor reliable keep-alive.
    if head.version != Version::HTTP_11 {
        return last(app.version_not_supported(&head).await);
    }
    let admitted = match app.admit(&head).await {
        Ok(admitted) => admitted,
        Err(response) if body::skip(&head.headers, &mut body).await => return response.map(whole),
        Err(response) => return last(response),
    };
    let Some((identity, longest)) = admitted.sender() else {
        // Nobody knows who asks: a body is not worth memory.
        let skipped = body::skip(&head.headers, &mut body).await;
        let response = admitted.run(Bytes::new()).await;
        return if skipped { response.map(whole) } else { last(response) };
    };
    if admitted.is_stream() {
        let length = body.size_hint().exact();
        let stream = Box::pin(body::stream(body, limits.idle));
        return match admitted.run_stream(length, stream).await {
            Ok(response) => response.map(|stream| ReplyBody::stream(stream, mark)),
            Err(response) => last(response),
        };
    }
    let mut room = limits.room.enter(identity);
    match body::read(&mut body, longest.min(limits.body), limits.idle, &mut room).await {
        Ok(bytes) => admitted.run(bytes).await.map(|bytes| ReplyBody::whole(bytes, Some(room), mark)),
        Err(error) => last(admitted.reject(error).await),
    }
}
