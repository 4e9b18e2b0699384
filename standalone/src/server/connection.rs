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
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::reply::{AtWork, ReplyBody};
use super::{Ended, Limits, Phase, body, canned, closing};
use crate::tls::{self, Tls, Unencrypted};

/// Longest head of a request, in bytes.
const MAX_HEAD: usize = 64 * 1024;
const MAX_HEADERS: usize = 100;
/// How long a draining connection without a request may still bring one: a client may have sent it before it could know.
const LINGER: Duration = Duration::from_millis(300);
/// How long one on which half a head came may take for the rest.
const HALF_A_HEAD: Duration = Duration::from_secs(1);

/// Serves one connection until it ends; while the server drains, until the request under way, or the next one, is answered.
/// First of all agrees on keys, if there is `tls`.
pub(super) async fn begin<S: Store>(
    app: App<S>,
    stream: TcpStream,
    peer: SocketAddr,
    tls: Option<Tls>,
    limits: Limits,
    mut phase: watch::Receiver<Phase>,
) -> Ended {
    let _counted = app.metrics().connection();
    give_up_on_silence(&stream, limits.idle);
    let mut origin = Origin::from(peer.ip());
    let Some(tls) = tls else { return serve(app, stream, origin, limits, phase).await };
    let accepted = tokio::select! {
        accepted = tls.accept(stream, limits.idle) => accepted,
        // A client that has begun with it may have something to ask; nobody waits for more.
        () = reached(&mut phase, Phase::Over) => return Ended::Finished,
    };
    match accepted {
        Ok(stream) => {
            origin.certificate = tls::client_certificate(&stream);
            return serve(app, stream, origin, limits, phase).await;
        }
        Err(Unencrypted::PlainHttp(mut stream)) => {
            // The client may be gone.
            let _ = tokio::time::timeout(limits.idle, stream.write_all(canned::TLS_EXPECTED)).await;
            closing::close(stream).await;
        }
        Err(Unencrypted::Failed) => {}
    }
    Ended::Finished
}

async fn serve<S, T>(
    app: App<S>,
    stream: T,
    origin: Origin,
    limits: Limits,
    mut phase: watch::Receiver<Phase>,
) -> Ended
where
    S: Store,
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let idle = limits.idle;
    // Set by a reply that was given before the request's body was read.
    let unread = Arc::new(AtomicBool::new(false));
    let of_replies = unread.clone();
    let at_work = AtWork::default();
    let mark = at_work.clone();
    let of_service = phase.clone();
    let mut over = phase.clone();
    let service = service_fn(move |request| {
        let (app, limits, unread, mark) = (app.clone(), limits.clone(), of_replies.clone(), mark.clone());
        let (origin, phase) = (origin.clone(), of_service.clone());
        async move {
            let mut response = answer(&app, request, origin, &limits, &unread, mark).await;
            if *phase.borrow() != Phase::Serving {
                response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(response)
        }
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
        () = reached(&mut phase, Phase::Draining) => {
            let drain = async {
                tokio::select! {
                    result = &mut connection => return result,
                    () = quiet(&at_work, LINGER) => {}
                }
                std::pin::Pin::new(&mut connection).graceful_shutdown();
                tokio::select! {
                    result = &mut connection => result,
                    // It may never become a request, and nobody waits for an answer to it.
                    () = quiet(&at_work, HALF_A_HEAD) => Ok(()),
                }
            };
            tokio::select! {
                result = drain => result,
                () = reached(&mut over, Phase::Over) => {
                    return if at_work.is_held() { Ended::Cut } else { Ended::Finished };
                }
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
    Ended::Finished
}

/// Completes once the server is as far as `wanted`.
async fn reached(phase: &mut watch::Receiver<Phase>, wanted: Phase) {
    // The sender goes with the server, and this connection with it.
    let _ = phase.wait_for(|phase| *phase >= wanted).await;
}

/// Completes when no request has been at work for `time`, in which a reply can leave.
async fn quiet(at_work: &AtWork, time: Duration) {
    const LOOKS: u32 = 3;
    let mut ticks = tokio::time::interval(time / LOOKS);
    let mut quiet = 0;
    while quiet <= LOOKS {
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
    origin: Origin,
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
    head.extensions.insert(origin);
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
