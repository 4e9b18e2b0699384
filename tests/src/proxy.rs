//! A TCP proxy that breaks on demand.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use crate::port::{Port, bind};

/// Stands between a client and `upstream` on a port of its own, forwarding until told otherwise.
///
/// Each change holds for open connections and new ones alike, and is in force when the method returns.
#[derive(Debug)]
pub struct FaultProxy {
    address: SocketAddr,
    mode: watch::Sender<Mode>,
    listening: watch::Receiver<bool>,
    accepted: Arc<AtomicUsize>,
    /// Stays ours while a cut refuses connections.
    _port: Port,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Forward,
    Delay(Duration),
    Hang,
    Cut,
}

impl FaultProxy {
    /// Starts one in front of `upstream`.
    ///
    /// # Panics
    ///
    /// If there is no free port on loopback.
    pub async fn start(upstream: SocketAddr) -> Self {
        let port = Port::take();
        let address = port.address();
        let (mode, watched) = watch::channel(Mode::Forward);
        let accepted = Arc::new(AtomicUsize::new(0));
        let (tell, listening) = watch::channel(false);
        tokio::spawn(accept(address, upstream, watched, tell, accepted.clone()));
        let proxy = Self { address, mode, listening, accepted, _port: port };
        proxy.restore().await;
        proxy
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many connections were accepted since the start.
    pub fn connections(&self) -> usize {
        self.accepted.load(Ordering::Relaxed)
    }

    /// Resets all connections and refuses new ones, as a crashed server does.
    pub async fn cut(&self) {
        self.set(Mode::Cut).await;
    }

    /// Accepts connections and passes nothing, as a frozen server does.
    pub async fn hang(&self) {
        self.set(Mode::Hang).await;
    }

    /// Passes every request on `delay` later, and replies at once: a round trip takes `delay` longer.
    pub async fn delay(&self, delay: Duration) {
        self.set(Mode::Delay(delay)).await;
    }

    /// Forwards again. What a hang held back arrives now.
    pub async fn restore(&self) {
        self.set(Mode::Forward).await;
    }

    async fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
        let mut listening = self.listening.clone();
        let heeded = listening.wait_for(|listening| *listening == (mode != Mode::Cut)).await;
        heeded.expect("the accepting task lives as long as the proxy");
    }
}

/// Accepts connections until the proxy is dropped, and tells whether it listens.
async fn accept(
    address: SocketAddr,
    upstream: SocketAddr,
    mut mode: watch::Receiver<Mode>,
    listening: watch::Sender<bool>,
    accepted: Arc<AtomicUsize>,
) {
    let mut listener = None;
    loop {
        let cut = *mode.borrow_and_update() == Mode::Cut;
        listener = listener.filter(|_| !cut).or_else(|| (!cut).then(|| listen(address)));
        listening.send_replace(!cut);
        let client = async {
            match &listener {
                Some(open) => open.accept().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            // The sender's end is the proxy's end.
            changed = mode.changed() => if changed.is_err() { return },
            client = client => if let Ok((client, _)) = client {
                accepted.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(forward(client, upstream, mode.clone()));
            },
        }
    }
}

/// Carries one connection until either side ends or it is cut.
async fn forward(client: TcpStream, upstream: SocketAddr, mode: watch::Receiver<Mode>) {
    let mut watched = mode.clone();
    let cut = async { watched.wait_for(|mode| *mode == Mode::Cut).await.is_ok() };
    let carry = async {
        let server = TcpStream::connect(upstream).await.ok()?;
        for stream in [&client, &server] {
            // Latency is what `delay` says, not what Nagle adds; a reset is what a crash looks like.
            stream.set_nodelay(true).ok()?;
            stream.set_zero_linger().ok()?;
        }
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        tokio::join!(
            pass(from_client, to_server, mode.clone(), true),
            pass(from_server, to_client, mode, false)
        );
        Some(())
    };
    tokio::select! { _ = cut => {}, _ = carry => {} }
}

/// Carries one direction. Chunks wait in a queue, so that a delay costs latency and no throughput.
async fn pass(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut mode: watch::Receiver<Mode>,
    is_request: bool,
) {
    let (queue, mut queued) = mpsc::channel::<(Instant, Bytes)>(1024);
    let read = async move {
        let mut buffer = BytesMut::new();
        loop {
            buffer.reserve(64 * 1024);
            match from.read_buf(&mut buffer).await {
                Ok(1..) if queue.send((Instant::now(), buffer.split().freeze())).await.is_ok() => {}
                _ => return,
            }
        }
    };
    let write = async move {
        while let Some((arrived, chunk)) = queued.recv().await {
            let Ok(current) = mode.wait_for(|mode| *mode != Mode::Hang).await.map(|mode| *mode) else {
                return;
            };
            if let (Mode::Delay(delay), true) = (current, is_request) {
                sleep_until(arrived + delay).await;
            }
            if to.write_all(&chunk).await.is_err() {
                return;
            }
        }
        let _ = to.shutdown().await;
    };
    tokio::join!(read, write);
}

fn listen(address: SocketAddr) -> TcpListener {
    bind(address).listen(1024).expect("the port is ours")
}
