use std::net::SocketAddr;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::{TcpListener, TcpStream};

use super::canned;

/// Connections at once, if the system allows as many files.
const MOST_CONNECTIONS: u64 = 10_000;
/// Files that are not connections: the store, logs, the runtime.
const OTHER_FILES: u64 = 100;
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Allows this process as many open files as the system lets it, and returns how many connections that is.
pub(crate) fn raise_file_limit() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    // Without it the lower limit holds, which the result says.
    let _ = setrlimit(Resource::Nofile, raised);
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let connections = files.saturating_sub(OTHER_FILES).clamp(1, MOST_CONNECTIONS);
    usize::try_from(connections).expect("at most ten thousand")
}

/// The next connection. When the system is out of files or memory, waits a little rather than spinning.
pub(crate) async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%error, "TCP_NODELAY could not be set");
                }
                return (stream, peer);
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// The connections that the system has made and nobody has taken yet; then it makes no more.
pub(super) fn waiting(listener: TcpListener) -> Vec<(TcpStream, SocketAddr)> {
    let mut waiting = Vec::new();
    if let Ok(listener) = listener.into_std() {
        while let Ok((stream, peer)) = listener.accept() {
            // What fails here is a connection that is broken already.
            let stream =
                stream.set_nonblocking(true).and_then(|()| stream.set_nodelay(true)).map(|()| stream);
            waiting.extend(stream.and_then(TcpStream::from_std).ok().map(|stream| (stream, peer)));
        }
    }
    waiting
}

/// Tells a client that there is no room for it, if that needs no waiting.
pub(super) fn refuse(stream: &TcpStream) {
    // A client that is gone or takes nothing has nothing to learn.
    let _ = stream.try_write(canned::TOO_MANY_CONNECTIONS);
}
