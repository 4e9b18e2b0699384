use cryptoserve_tests::{Cluster, RawConnection, StoreKind};
use serde_json::json;

use super::{head, status, token};
use crate::support::{ENCRYPT, one};

async fn exchange(cluster: &Cluster, request: impl AsRef<[u8]>) -> String {
    RawConnection::exchange(cluster.replicas()[0].address(), request).await
}

#[tokio::test]
async fn what_is_no_good_head_is_refused_and_the_connection_closed() {
    let cluster = one(StoreKind::Sqlite).await;
    let get = |rest: &str| format!("GET /health HTTP/1.1\r\nHost: x\r\n{rest}\r\n");
    let many: String = (0..200).map(|n| format!("x-{n}: y\r\n")).collect();
    for (what, request, expected) in [
        ("HTTP/1.0", "GET /health HTTP/1.0\r\nHost: x\r\n\r\n".to_owned(), &["505"][..]),
        ("HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_owned(), &["", "400", "505"]),
        ("TLS", "\x16\x03\x01\x02\0\x01\0\x01\u{fc}\x03\x03\r\n\r\n".to_owned(), &["400"]),
        ("no request line", "nonsense\r\n\r\n".to_owned(), &["400"]),
        ("an unknown version", "GET /health HTTP/9.9\r\nHost: x\r\n\r\n".to_owned(), &["400"]),
        ("a word too many", "GET /health now HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(), &["400"]),
        ("no method", "\u{1} /health HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(), &["400"]),
        ("a header without a colon", get("nonsense\r\n"), &["400"]),
        ("a space in a header's name", get("x : y\r\n"), &["400"]),
        ("a NUL in a header", get("x: \0\r\n"), &["400"]),
        ("a header of 100 KB", get(&format!("x: {}\r\n", "y".repeat(100_000))), &["431"]),
        ("200 headers", get(&many), &["431"]),
        (
            "a path of 100 KB",
            format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "y".repeat(100_000)),
            &["414", "431"],
        ),
    ] {
        let reply = exchange(&cluster, request).await;
        assert!(expected.contains(&status(&reply)), "{what}: {reply:?}");
        cluster.client(0).get("/health").await.expect(200);
    }
}

/// A proxy in front that reads the same bytes otherwise would let a client put a second request into the first.
#[tokio::test]
async fn a_body_of_two_lengths_is_refused_and_nothing_behind_it_answered() {
    let cluster = one(StoreKind::Sqlite).await;
    let token = token(&cluster).await;
    let hidden = "GET /health HTTP/1.1\r\nHost: x\r\nX-Request-ID: hidden\r\n\r\n";
    for (framing, body) in [
        ("Content-Length: 1\r\nContent-Length: 2\r\n", "{}"),
        ("Content-Length: 1, 2\r\n", "{}"),
        ("Content-Length: +2\r\n", "{}"),
        ("Content-Length: -1\r\n", ""),
        ("Content-Length: 0x2\r\n", "{}"),
        ("Content-Length: 99999999999999999999\r\n", "{}"),
        ("Transfer-Encoding: chunked, identity\r\n", "0\r\n\r\n"),
        ("Transfer-Encoding: xchunked\r\n", "0\r\n\r\n"),
        ("Transfer-Encoding: identity\r\n", ""),
        ("Transfer-Encoding: chunked\r\n", "2;\u{1}\r\n{}\r\nx\r\n\r\n"),
        ("Transfer-Encoding: chunked\r\n", "-2\r\n{}\r\n0\r\n\r\n"),
        ("Transfer-Encoding: chunked\r\n", "ffffffffffffffffff\r\n{}\r\n0\r\n\r\n"),
        ("Transfer-Encoding: chunked\r\n", "2\r\n{}garbage\r\n0\r\n\r\n"),
    ] {
        let request = head(ENCRYPT, &token, framing) + body + hidden;
        let reply = exchange(&cluster, request).await;
        assert_eq!(status(&reply), "400", "{framing:?} {body:?}: {reply:?}");
        assert_eq!(reply.matches("HTTP/1.1 ").count(), 1, "{framing:?} {body:?}: {reply:?}");
    }
    cluster.client(0).get("/health").await.expect(200);
}

/// RFC 9112 section 6.3 lets a server take the chunks alone, if it then closes the connection.
#[tokio::test]
async fn a_length_beside_chunks_counts_for_nothing_and_ends_the_connection() {
    let cluster = one(StoreKind::Sqlite).await;
    let token = token(&cluster).await;
    let body = json!({ "context": "general", "plaintext": "" }).to_string();
    let chunks = format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    let hidden = "GET /health HTTP/1.1\r\nHost: x\r\n\r\n";
    for length in [0, 1, body.len(), chunks.len() + hidden.len()] {
        for framing in [
            format!("Content-Length: {length}\r\nTransfer-Encoding: chunked\r\n"),
            format!("Transfer-Encoding: chunked\r\nContent-Length: {length}\r\n"),
        ] {
            let reply = exchange(&cluster, head(ENCRYPT, &token, &framing) + &chunks + hidden).await;
            assert_eq!(status(&reply), "200", "{framing:?}: {reply:?}");
            assert_eq!(reply.matches("HTTP/1.1 ").count(), 1, "{framing:?}: {reply:?}");
        }
    }
}
