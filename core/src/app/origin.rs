use std::net::IpAddr;

use http::HeaderMap;
use ipnet::IpNet;

/// Where a request came from; every front puts one into the request's extensions.
#[derive(Clone, Copy, Debug)]
pub struct Origin {
    /// The address of the connection's other end, or what the platform vouches for.
    pub peer: IpAddr,
}

const FORWARDED_FOR: &str = "x-forwarded-for";

impl Origin {
    /// The client's address: the peer, or if that is a trusted proxy, what `X-Forwarded-For` says, read from the right
    /// until an address that is no trusted proxy. A header that does not parse ends the walk at the last address that
    /// was vouched for.
    pub(super) fn client(self, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
        let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.contains(&address));
        let mut client = self.peer.to_canonical();
        let values: Vec<_> = headers.get_all(FORWARDED_FOR).iter().collect();
        for hop in values.iter().rev().flat_map(|value| value.as_bytes().rsplit(|byte| *byte == b',')) {
            if !is_trusted(client) {
                break;
            }
            let address = std::str::from_utf8(hop).ok().and_then(|hop| hop.trim().parse::<IpAddr>().ok());
            let Some(address) = address else { break };
            client = address.to_canonical();
        }
        client
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn client(peer: &str, forwarded: &[&'static str]) -> String {
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append(FORWARDED_FOR, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        let trusted: [IpNet; 2] = ["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()];
        Origin { peer: peer.parse().unwrap() }.client(&headers, &trusted).to_string()
    }

    #[test]
    fn only_trusted_proxies_are_believed() {
        for (peer, forwarded, expected) in [
            ("192.0.2.1", &["198.51.100.7"][..], "192.0.2.1"),
            ("10.0.0.1", &["198.51.100.7"], "198.51.100.7"),
            ("::ffff:10.0.0.1", &["198.51.100.7"], "198.51.100.7"),
            ("10.0.0.1", &["203.0.113.9, 198.51.100.7"], "198.51.100.7"),
            ("10.0.0.1", &["203.0.113.9, 198.51.100.7, 10.0.0.2"], "198.51.100.7"),
            ("10.0.0.1", &["203.0.113.9", "198.51.100.7,10.0.0.2"], "198.51.100.7"),
            ("fd00::1", &["2001:db8::5"], "2001:db8::5"),
            ("10.0.0.1", &["::ffff:198.51.100.7"], "198.51.100.7"),
            ("10.0.0.1", &["nonsense"], "10.0.0.1"),
            ("10.0.0.1", &["\u{ff}, 198.51.100.7"], "198.51.100.7"),
            ("10.0.0.1", &["203.0.113.9", "\u{ff}"], "10.0.0.1"),
            ("10.0.0.1", &["198.51.100.7, nonsense, 10.0.0.2"], "10.0.0.2"),
            ("10.0.0.1", &[""], "10.0.0.1"),
            ("10.0.0.1", &[], "10.0.0.1"),
        ] {
            assert_eq!(client(peer, forwarded), expected, "{peer} {forwarded:?}");
        }
    }
}
