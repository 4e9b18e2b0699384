use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::{HeaderMap, HeaderValue};
use ipnet::IpNet;

use crate::app::forwarded;
use crate::auth::ClientCertificate;
use crate::config::{self, ForwardedHeader};

/// Where a request came from; every front puts one into the request's extensions.
#[derive(Clone, Debug)]
pub struct Origin {
    /// The address of the connection's other end, or what the platform vouches for.
    pub peer: IpAddr,
    /// What it showed when it connected, signed by an authority of ours.
    pub certificate: Option<Arc<ClientCertificate>>,
}

impl From<IpAddr> for Origin {
    /// A client that showed no certificate.
    fn from(peer: IpAddr) -> Self {
        Self { peer, certificate: None }
    }
}

/// Which peers are believed about whom they forward for, and in which header.
pub(super) struct Proxies {
    trusted: Vec<IpNet>,
    header: ForwardedHeader,
    /// Whether the log has been told of a proxy that is not trusted.
    told: AtomicBool,
}

/// As many proxies as are believed about one request.
const MAX_HOPS: usize = 32;

const X_FORWARDED_FOR: &str = "x-forwarded-for";
const FORWARDED: &str = "forwarded";

impl Proxies {
    pub(super) fn new(config: &config::Server) -> Self {
        let trusted = config.trusted_proxies.clone();
        Self { trusted, header: config.forwarded_header, told: AtomicBool::new(false) }
    }

    /// The client's address: the peer, or if that is a trusted proxy, what the header says, read from the right until
    /// an address that is no trusted proxy. A hop that names no address ends the walk at the last address that was
    /// vouched for. The other header is ignored: a proxy that does not write it lets a client's own pass.
    pub(super) fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let peer = peer.to_canonical();
        if !self.trusts(peer) {
            self.tell_of(peer, headers);
            return peer;
        }
        let lines = |name| headers.get_all(name).iter().rev().map(HeaderValue::as_bytes);
        match self.header {
            ForwardedHeader::XForwardedFor => {
                self.walk(peer, lines(X_FORWARDED_FOR).flat_map(forwarded::x_forwarded_for))
            }
            ForwardedHeader::Forwarded => self.walk(peer, lines(FORWARDED).flat_map(forwarded::forwarded)),
        }
    }

    fn walk(&self, peer: IpAddr, hops: impl Iterator<Item = Option<IpAddr>>) -> IpAddr {
        let mut client = peer;
        for hop in hops.take(MAX_HOPS) {
            let Some(address) = hop else { break };
            client = address.to_canonical();
            if !self.trusts(client) {
                break;
            }
        }
        client
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.trusted.iter().any(|network| network.contains(&address))
    }

    /// Warns, once in this process, of a peer that looks like a proxy of the operator's own.
    fn tell_of(&self, peer: IpAddr, headers: &HeaderMap) {
        if self.told.load(Ordering::Relaxed) || !is_private(peer) {
            return;
        }
        let forwards = headers.contains_key(X_FORWARDED_FOR) || headers.contains_key(FORWARDED);
        if forwards && !self.told.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                %peer,
                "a private address that TRUSTED_PROXIES does not name sends X-Forwarded-For or Forwarded: \
                 all clients behind it share one limit; if it is a proxy of yours, set TRUSTED_PROXIES"
            );
        }
    }
}

/// Whether the address is one that a proxy of the operator's own may have: of this host, link or private network.
fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_loopback() || v4.is_private() || v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests;
