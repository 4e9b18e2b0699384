use cryptoserve_tests::StoreKind;
use serde_json::json;

use super::{connect, head, status, token};
use crate::support::{ENCRYPT, one};

fn body() -> String {
    json!({ "context": "general", "plaintext": "" }).to_string()
}

#[tokio::test]
async fn a_client_that_asks_before_it_sends_is_told_to_go_on_or_why_not() {
    let cluster = one(StoreKind::Sqlite).await;
    let (token, body) = (token(&cluster).await, body());
    let asking = |length: usize| format!("Content-Length: {length}\r\nExpect: 100-continue\r\n");

    let mut connection = connect(&cluster).await;
    connection.send(head(ENCRYPT, &token, &asking(body.len()))).await;
    assert_eq!(connection.read_head().await, "HTTP/1.1 100 Continue\r\n\r\n");
    connection.send(&body).await;
    assert_eq!(status(&connection.read_reply().await), "200");

    for (path, token, length, expected) in [
        (ENCRYPT, "nonsense", body.len(), "401"),
        ("/nowhere", "nonsense", body.len(), "404"),
        (ENCRYPT, &*token, 17 << 20, "413"),
    ] {
        let mut connection = connect(&cluster).await;
        connection.send(head(path, token, &asking(length))).await;
        // The body is never sent, so whatever follows is not taken for one.
        assert_eq!(status(&connection.read_reply().await), expected);
        assert_eq!(connection.read_to_end().await, "");
    }
}

#[tokio::test]
async fn requests_in_a_row_are_answered_in_their_order() {
    let cluster = one(StoreKind::Sqlite).await;
    let (token, body) = (token(&cluster).await, body());
    let mut connection = connect(&cluster).await;
    let requests: String = (0..20)
        .map(|n| match n % 4 {
            0 => {
                head(ENCRYPT, &token, &format!("X-Request-ID: n-{n}\r\nContent-Length: {}\r\n", body.len()))
                    + &body
            }
            1 => format!("GET /health HTTP/1.1\r\nHost: x\r\nX-Request-ID: n-{n}\r\n\r\n"),
            2 => {
                head(ENCRYPT, "bad", &format!("X-Request-ID: n-{n}\r\nContent-Length: {}\r\n", body.len()))
                    + &body
            }
            _ => format!("HEAD /health HTTP/1.1\r\nHost: x\r\nX-Request-ID: n-{n}\r\n\r\n"),
        })
        .collect();
    connection.send(requests).await;
    for n in 0..20 {
        let reply = if n % 4 == 3 { connection.read_head().await } else { connection.read_reply().await };
        assert_eq!(status(&reply), ["200", "200", "401", "200"][n % 4], "{n}: {reply}");
        assert!(reply.contains(&format!("x-request-id: n-{n}\r\n")), "{n}: {reply}");
    }
}

#[tokio::test]
async fn a_refusal_with_a_small_body_keeps_the_connection() {
    let cluster = one(StoreKind::Sqlite).await;
    let mut connection = connect(&cluster).await;
    for _ in 0..3 {
        connection.send(head(ENCRYPT, "bad", "Content-Length: 2\r\n")).await;
        connection.send("{}").await;
        assert_eq!(status(&connection.read_reply().await), "401");
    }
}
