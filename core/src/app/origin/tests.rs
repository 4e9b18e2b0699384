use proptest::prelude::*;

use super::*;

fn proxies(header: ForwardedHeader) -> Proxies {
    let trusted = ["10.0.0.0/8", "fd00::/8"].map(|network| network.parse().unwrap()).to_vec();
    Proxies { trusted, header, told: AtomicBool::new(false) }
}

fn headers(name: &'static str, lines: &[impl AsRef<[u8]>]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in lines {
        headers.append(name, HeaderValue::from_bytes(line.as_ref()).unwrap());
    }
    headers
}

fn client(header: ForwardedHeader, peer: &str, headers: &HeaderMap) -> String {
    proxies(header).client(peer.parse().unwrap(), headers).to_string()
}

/// `X-Forwarded-For` as `Forwarded`: a bracket or a port must be quoted, and so may be anything else.
fn as_forwarded(line: &str) -> String {
    let element = |hop: &str| match hop.trim() {
        v6 if v6.parse::<std::net::Ipv6Addr>().is_ok() => format!("for=\"[{v6}]\""),
        hop => format!("for=\"{hop}\""),
    };
    line.split(',').map(element).collect::<Vec<_>>().join(", ")
}

#[test]
fn only_trusted_proxies_are_believed() {
    for (peer, lines, expected) in [
        ("192.0.2.1", &["198.51.100.7"][..], "192.0.2.1"),
        ("::ffff:192.0.2.1", &["198.51.100.7"], "192.0.2.1"),
        ("10.0.0.1", &["198.51.100.7"], "198.51.100.7"),
        ("::ffff:10.0.0.1", &["198.51.100.7"], "198.51.100.7"),
        ("10.0.0.1", &["203.0.113.9, 198.51.100.7"], "198.51.100.7"),
        ("10.0.0.1", &["203.0.113.9, 198.51.100.7, 10.0.0.2"], "198.51.100.7"),
        ("10.0.0.1", &["203.0.113.9", "198.51.100.7,10.0.0.2"], "198.51.100.7"),
        ("10.0.0.1", &["203.0.113.9", "198.51.100.7", "10.0.0.2", "fd00::1"], "198.51.100.7"),
        ("10.0.0.1", &["10.0.0.9, 198.51.100.7:1234"], "198.51.100.7"),
        ("10.0.0.1", &["203.0.113.9, [::ffff:10.0.0.2]:80"], "203.0.113.9"),
        ("fd00::1", &["2001:db8::5"], "2001:db8::5"),
        ("10.0.0.1", &["::ffff:198.51.100.7"], "198.51.100.7"),
        ("10.0.0.1", &["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ("10.0.0.1", &["nonsense"], "10.0.0.1"),
        ("10.0.0.1", &["\u{ff}, 198.51.100.7"], "198.51.100.7"),
        ("10.0.0.1", &["203.0.113.9", "\u{ff}"], "10.0.0.1"),
        ("10.0.0.1", &["203.0.113.9,"], "10.0.0.1"),
        ("10.0.0.1", &["203.0.113.9", ""], "10.0.0.1"),
        ("10.0.0.1", &["198.51.100.7, nonsense, 10.0.0.2"], "10.0.0.2"),
        ("10.0.0.1", &["198.51.100.7, unknown"], "10.0.0.1"),
        ("10.0.0.1", &["198.51.100.7, _hidden, 10.0.0.2"], "10.0.0.2"),
        ("10.0.0.1", &["198.51.100.7, fd00::1%1, 10.0.0.2"], "10.0.0.2"),
        ("10.0.0.1", &[""], "10.0.0.1"),
        ("10.0.0.1", &[], "10.0.0.1"),
    ] {
        let plain = headers(X_FORWARDED_FOR, lines);
        assert_eq!(client(ForwardedHeader::XForwardedFor, peer, &plain), expected, "{peer} {lines:?}");
        let lines: Vec<_> = lines.iter().map(|line| as_forwarded(line)).collect();
        let standard = headers(FORWARDED, &lines);
        assert_eq!(client(ForwardedHeader::Forwarded, peer, &standard), expected, "{peer} {lines:?}");
        // The one header says nothing to those who read the other.
        let peer = peer.trim_start_matches("::ffff:");
        assert_eq!(client(ForwardedHeader::Forwarded, peer, &plain), peer);
        assert_eq!(client(ForwardedHeader::XForwardedFor, peer, &standard), peer);
    }
}

#[test]
fn so_many_proxies_are_believed_and_no_more() {
    for (hops, expected) in [(MAX_HOPS - 1, "198.51.100.7"), (MAX_HOPS, "10.0.0.2"), (7000, "10.0.0.2")] {
        let line = format!("198.51.100.7{}", ",10.0.0.2".repeat(hops));
        let headers = headers(X_FORWARDED_FOR, &[line]);
        assert_eq!(client(ForwardedHeader::XForwardedFor, "10.0.0.1", &headers), expected, "{hops}");
    }
}

#[test]
fn a_proxy_of_the_operators_own_that_is_not_trusted_is_told_of() {
    let told = |peer: &str, headers: &HeaderMap| {
        let proxies = proxies(ForwardedHeader::XForwardedFor);
        proxies.client(peer.parse().unwrap(), headers);
        proxies.told.into_inner()
    };
    let (plain, standard) = (headers(X_FORWARDED_FOR, &["x"]), headers(FORWARDED, &["x"]));
    for private in [
        "127.0.0.1",
        "::ffff:127.9.9.9",
        "::1",
        "172.16.0.1",
        "192.168.0.1",
        "169.254.0.1",
        "fe80::1",
        "fc00::1",
    ] {
        assert!(told(private, &plain) && told(private, &standard), "{private}");
        assert!(!told(private, &HeaderMap::new()), "{private}");
    }
    for other in
        ["10.0.0.1", "fd00::1", "192.0.2.1", "::ffff:192.0.2.1", "100.64.0.1", "0.0.0.0", "2001:db8::1"]
    {
        assert!(!told(other, &plain) && !told(other, &standard), "{other}");
    }
}

const BOTH: [(ForwardedHeader, &str); 2] =
    [(ForwardedHeader::XForwardedFor, X_FORWARDED_FOR), (ForwardedHeader::Forwarded, FORWARDED)];

/// What may stand in a header, mostly of what means something in these.
fn noise() -> impl Strategy<Value = Vec<u8>> {
    let meaningful = prop::sample::select(b",;=\"\\[]:._ \tfor10".to_vec());
    let any = prop_oneof![Just(b'\t'), 0x20..0x7f_u8, 0x80..=0xff_u8];
    prop::collection::vec(prop_oneof![4 => meaningful, 1 => any], 0..60)
}

/// A hop, and how it is written in both headers.
fn hop() -> impl Strategy<Value = (Option<IpAddr>, String, String)> {
    let bad = prop::sample::select(vec!["", "unknown", "_a", "x\\", "\"", "198.51.100.7:x", "fe80::1%1"]);
    prop_oneof![
        6 => any::<[u8; 3]>().prop_map(|[a, b, c]| [10, a, b, c].into()).prop_map(written),
        2 => any::<u8>().prop_map(|d| std::net::Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, d.into()).into()).prop_map(written),
        1 => any::<std::net::Ipv4Addr>().prop_map(|v4| written(v4.into())),
        1 => any::<std::net::Ipv6Addr>().prop_map(|v6| written(v6.into())),
        1 => bad.prop_map(|bad| (None, bad.to_owned(), format!("for={bad}"))),
    ]
}

fn written(address: IpAddr) -> (Option<IpAddr>, String, String) {
    let forwarded = match address {
        IpAddr::V4(v4) => format!("proto=https;for={v4}"),
        IpAddr::V6(v6) => format!("for=\"[{v6}]:443\";host=\"a\\\",;b\""),
    };
    (Some(address), address.to_string(), forwarded)
}

proptest! {
    #[test]
    fn nothing_that_a_client_sends_counts_beside_what_its_proxy_adds(
        lines in prop::collection::vec(noise(), 0..3),
        added_to in noise(),
    ) {
        for (header, name) in BOTH {
            for own in ["198.51.100.7", "2001:db8::7"] {
                let element = if name == FORWARDED { as_forwarded(own) } else { own.to_owned() };
                let appended = [&added_to[..], b", ", element.as_bytes()].concat();
                for last in [element.into_bytes(), appended] {
                    let lines = [&lines[..], &[last]].concat();
                    prop_assert_eq!(client(header, "10.0.0.1", &headers(name, &lines)), own);
                }
            }
            // Of a peer that is not trusted nothing counts at all, and no proxy breaks us.
            let all = headers(name, &[&lines[..], std::slice::from_ref(&added_to)].concat());
            prop_assert_eq!(client(header, "192.0.2.1", &all), "192.0.2.1");
            client(header, "10.0.0.1", &all);
        }
    }

    #[test]
    fn the_client_is_the_peer_or_named_by_a_trusted_hop(
        lines in prop::collection::vec(prop::collection::vec(hop(), 1..4), 0..4),
    ) {
        let trusted = |address: IpAddr| proxies(ForwardedHeader::Forwarded).trusts(address);
        let mut expected: IpAddr = "10.0.0.1".parse().unwrap();
        for (hop, ..) in lines.iter().flatten().rev() {
            match hop {
                Some(address) if trusted(expected) => expected = address.to_canonical(),
                _ => break,
            }
        }
        let joined = |pick: fn(&(Option<IpAddr>, String, String)) -> &str| -> Vec<String> {
            lines.iter().map(|line| line.iter().map(pick).collect::<Vec<_>>().join(",")).collect()
        };
        let plain = headers(X_FORWARDED_FOR, &joined(|hop| &hop.1));
        prop_assert_eq!(client(ForwardedHeader::XForwardedFor, "10.0.0.1", &plain), expected.to_string());
        let standard = headers(FORWARDED, &joined(|hop| &hop.2));
        prop_assert_eq!(client(ForwardedHeader::Forwarded, "10.0.0.1", &standard), expected.to_string());
    }
}
