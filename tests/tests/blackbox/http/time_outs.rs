use std::time::{Duration, Instant};

use cryptoserve_tests::StoreKind;

use super::{connect, head, status, token};
use crate::support::{ENCRYPT, builder};

const STREAM: &str = "/api/v1/crypto/encrypt/stream?context=general";

/// Who falls silent is answered if a request had begun, and gone soon, whatever was sent until then.
#[tokio::test]
async fn silence_ends_a_connection_after_the_idle_time() {
    let cluster = builder(StoreKind::Sqlite).env("HTTP_IDLE_TIMEOUT", "1s").start(1).await;
    let token = &token(&cluster).await;
    let say = async |sent: String| {
        let mut connection = connect(&cluster).await;
        connection.send(sent).await;
        connection.read_to_end().await
    };
    let half = head(ENCRYPT, token, "Content-Length: 100\r\n") + "{";
    let stalled = head(STREAM, token, "Content-Length: 100000\r\n") + &"x".repeat(50_000);
    let started = Instant::now();
    let (nothing, half_head, half_body, stream, after_a_reply) = tokio::join!(
        say(String::new()),
        say("POST /api/v1/crypto/encrypt HTTP/1.1\r\nHost: x".to_owned()),
        say(half),
        say(stalled),
        say("GET /health HTTP/1.1\r\nHost: x\r\n\r\n".to_owned()),
    );
    let took = started.elapsed();

    assert_eq!(nothing, "");
    assert_eq!(status(&half_head), "408", "{half_head:?}");
    assert_eq!(status(&half_body), "408", "{half_body:?}");
    assert!(half_body.contains(r#""code":"body_timeout""#), "{half_body:?}");
    let (stream_head, rest) = stream.split_once("\r\n\r\n").expect("a head");
    let length =
        stream_head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
    assert!(length.is_some_and(|length| rest.len() < length), "a reply that looks complete: {stream_head}");
    assert_eq!(status(&after_a_reply), "200");
    assert_eq!(after_a_reply.matches("HTTP/1.1").count(), 1, "{after_a_reply:?}");
    assert!(took >= Duration::from_secs(1), "{took:?}");
    cluster.client(0).get("/health").await.expect(200);
}

/// A chunked stream that stalls has no length to betray it: the last chunk must be missing.
#[tokio::test]
async fn a_chunked_stream_that_stalls_gets_no_end() {
    let cluster = builder(StoreKind::Sqlite).env("HTTP_IDLE_TIMEOUT", "1s").start(1).await;
    let mut connection = connect(&cluster).await;
    let request = head(STREAM, &token(&cluster).await, "Transfer-Encoding: chunked\r\n");
    connection.send(request + "c350\r\n" + &"x".repeat(50_000) + "\r\n").await;
    let reply = connection.read_to_end().await;
    assert_eq!(status(&reply), "200");
    assert!(!reply.ends_with("0\r\n\r\n"), "a reply that looks complete");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_client_that_reads_nothing_is_not_waited_for() {
    let cluster = builder(StoreKind::Sqlite).env("HTTP_IDLE_TIMEOUT", "1s").start(1).await;
    let mut connection = connect(&cluster).await;
    connection.send(head(STREAM, &token(&cluster).await, "Content-Length: 1000000000\r\n")).await;
    connection.send_until_closed(&vec![0; 1 << 20]).await;
}
