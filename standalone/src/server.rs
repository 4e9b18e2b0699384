//! The HTTP/1.1 server: connections in, with TLS or without, replies of the application out.
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

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use cryptoserve_core::app::App;
use cryptoserve_core::config;
use cryptoserve_core::store::Store;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

pub(crate) use listener::{accept, raise_file_limit};
use room::Room;

use crate::tls::Tls;

/// Refused connections at once that are closed with care; the rest may not get to read why.
const MOST_REFUSED: usize = 32;

/// How long connections get to say that they were cut.
const LAST_WORDS: Duration = Duration::from_secs(1);

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

/// What connections are told of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Serving,
    /// The next reply on a connection is its last.
    Draining,
    /// What is not done now never will be.
    Over,
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    /// Nobody waits for anything.
    Finished,
    /// In the middle of a request.
    Cut,
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
    tls: Option<Tls>,
    config: &config::Server,
    most_connections: usize,
    stop: impl Future<Output = ()>,
) -> Drained {
    let limits = Limits::new(config);
    let slots = Arc::new(Semaphore::new(most_connections));
    let refused = Arc::new(Semaphore::new(MOST_REFUSED));
    let (phase, watched) = watch::channel(Phase::Serving);
    let mut connections = JoinSet::new();
    let take = |(stream, peer): (TcpStream, SocketAddr), connections: &mut JoinSet<Ended>| match slots
        .clone()
        .try_acquire_owned()
    {
        Ok(slot) => {
            let (app, tls, limits, watched) = (app.clone(), tls.clone(), limits.clone(), watched.clone());
            connections.spawn(async move {
                let ended = connection::begin(app, stream, peer, tls, limits, watched).await;
                drop(slot);
                ended
            });
        }
        // Without a handshake there is nothing to say it in.
        Err(_) if tls.is_some() => drop(stream),
        Err(_) => {
            listener::refuse(&stream);
            if let Ok(slot) = refused.clone().try_acquire_owned() {
                connections.spawn(async move {
                    closing::close(stream).await;
                    drop(slot);
                    Ended::Finished
                });
            }
        }
    };

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
            accepted = accept(&listener) => take(accepted, &mut connections),
        }
    }
    // Whoever is connected, as far as it knows, gets an answer.
    for accepted in listener::waiting(listener) {
        take(accepted, &mut connections);
    }
    drop(app);
    phase.send_replace(Phase::Draining);
    let finished = async { while connections.join_next().await.is_some() {} };
    let in_time = tokio::time::timeout(config.shutdown_timeout, finished).await.is_ok();
    if in_time {
        return Drained { cut: 0 };
    }
    phase.send_replace(Phase::Over);
    let mut cut = 0;
    let counted = async {
        while let Some(ended) = connections.join_next().await {
            cut += usize::from(matches!(ended, Ok(Ended::Cut)));
        }
    };
    // Those that are left are being closed with care, and nobody waits for anything.
    let _ = tokio::time::timeout(LAST_WORDS, counted).await;
    connections.shutdown().await;
    Drained { cut }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
