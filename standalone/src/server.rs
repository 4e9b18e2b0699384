//! The HTTP/1.1 server: connections in, replies of the application out.
//!
//! Whatever a client sends or fails to send ends in an answer or a closed connection within bounded time and memory:
//! the number of connections, the size and time of heads and bodies, and all bodies together have limits.

mod body;
mod canned;
mod closing;
mod connection;
mod listener;
mod reply;
mod room;

use std::sync::Arc;
use std::time::Duration;

use cryptoserve_core::app::App;
use cryptoserve_core::config;
use cryptoserve_core::store::Store;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

pub(crate) use listener::{accept, raise_file_limit};
use room::Room;

/// Refused connections at once that are closed with care; the rest may not get to read why.
const MOST_REFUSED: usize = 32;

/// What one connection may use.
#[derive(Clone)]
struct Limits {
    /// The longest body that is read into memory.
    body: u64,
    /// Memory for all bodies and replies.
    room: Room,
    /// Longest pause between requests, time for a head, for a body in memory, and between two pieces of a stream.
    idle: Duration,
}

impl Limits {
    fn new(config: &config::Server) -> Self {
        Self {
            body: config.max_body_bytes,
            room: Room::new(config.max_inflight_bytes),
            idle: config.http_idle_timeout,
        }
    }
}

/// How a server ended.
pub(crate) struct Drained {
    /// Connections that were still busy when the time was over.
    pub(crate) cut: usize,
}

/// Serves until `stop` completes, then drains: not ready at once, the listener closed after `SHUTDOWN_DELAY`, and
/// requests under way finished within `SHUTDOWN_TIMEOUT`.
pub(crate) async fn run<S: Store>(
    app: App<S>,
    listener: TcpListener,
    config: &config::Server,
    most_connections: usize,
    stop: impl Future<Output = ()>,
) -> Drained {
    let limits = Limits::new(config);
    let slots = Arc::new(Semaphore::new(most_connections));
    let refused = Arc::new(Semaphore::new(MOST_REFUSED));
    let (drain, draining) = watch::channel(());
    let mut connections = JoinSet::new();

    let draining_app = app.clone();
    let delay = async move {
        stop.await;
        draining_app.drain();
        tracing::info!(delay_ms = millis(config.shutdown_delay), "draining: no longer ready");
        tokio::time::sleep(config.shutdown_delay).await;
    };
    tokio::pin!(delay);
    loop {
        tokio::select! {
            () = &mut delay => break,
            Some(_) = connections.join_next() => {}
            (stream, peer) = accept(&listener) => match slots.clone().try_acquire_owned() {
                Ok(slot) => {
                    let (app, limits, draining) = (app.clone(), limits.clone(), draining.clone());
                    connections.spawn(async move {
                        connection::serve(app, stream, peer, limits, draining).await;
                        drop(slot);
                    });
                }
                Err(_) => {
                    listener::refuse(&stream);
                    if let Ok(slot) = refused.clone().try_acquire_owned() {
                        connections.spawn(async move {
                            closing::close(stream).await;
                            drop(slot);
                        });
                    }
                }
            },
        }
    }
    drop(listener);
    drop(app);
    let _ = drain.send(());
    let finished = async { while connections.join_next().await.is_some() {} };
    let in_time = tokio::time::timeout(config.shutdown_timeout, finished).await.is_ok();
    let cut = if in_time { 0 } else { connections.len() };
    connections.shutdown().await;
    Drained { cut }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
