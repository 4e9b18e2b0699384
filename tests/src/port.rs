//! Ports on loopback that stay ours.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::TcpSocket;

/// A port that no other process is given as long as this is held, whether a server of ours listens there or not.
#[derive(Debug)]
pub struct Port {
    address: SocketAddr,
    /// Bound and never listening, so that a server that sets `SO_REUSEADDR`, as all do, may listen beside it.
    _held: TcpSocket,
}

impl Port {
    /// Takes a free one.
    ///
    /// # Panics
    ///
    /// If there is none.
    pub fn take() -> Self {
        let held = bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        let address = held.local_addr().expect("a bound socket has an address");
        Self { address, _held: held }
    }

    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// A socket on `address` that others of ours may share as long as none listens.
pub(crate) fn bind(address: SocketAddr) -> TcpSocket {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_reuseaddr(true).expect("a fresh socket takes the option");
    socket.bind(address).expect("a free port on loopback");
    socket
}
