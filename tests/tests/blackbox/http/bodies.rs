use cryptoserve_tests::StoreKind;
use serde_json::json;

use super::{connect, head, status, token};
use crate::support::{DECRYPT, ENCRYPT, app, base64, builder, one};

const LIMIT: usize = 64 * 1024;

#[tokio::test]
async fn a_body_beyond_the_limit_is_413_to_a_client_that_is_still_sending() {
    let cluster = builder(StoreKind::Sqlite).env("MAX_BODY_BYTES", "64KiB").start(1).await;
    let token = token(&cluster).await;
    for length in [LIMIT + 1, 8 << 20] {
        let body = "x".repeat(length);
        let sized = head(ENCRYPT, &token, &format!("Content-Length: {length}\r\n")) + &body;
        let chunked = head(ENCRYPT, &token, "Transfer-Encoding: chunked\r\n")
            + &format!("{length:x}\r\n{body}\r\n0\r\n\r\n");
        for request in [sized, chunked] {
            let mut connection = connect(&cluster).await;
            // All of it before a look at the reply, as simple clients do.
            assert!(connection.send(request).await, "reset before it could read why");
            let reply = connection.read_to_end().await;
            assert_eq!(status(&reply), "413", "{length}: {reply:?}");
            assert!(reply.contains(r#""code":"body_too_large""#), "{reply:?}");
        }
    }
    let mut fits = json!({ "context": "general", "plaintext": "" });
    let padding = LIMIT - fits.to_string().len();
    fits["plaintext"] = base64(vec![0; padding / 4 * 3]).into();
    app(&cluster).await.post_json(ENCRYPT, &fits).await.expect(200);
}

#[tokio::test]
async fn a_refusal_that_needs_no_body_reaches_a_client_that_is_still_sending() {
    let cluster = one(StoreKind::Sqlite).await;
    let body = "x".repeat(8 << 20);
    for (path, token, expected) in [
        (ENCRYPT, "nonsense", "401"),
        ("/nowhere", "nonsense", "404"),
        ("/api/v1/crypto/encrypt/stream", "nonsense", "401"),
        ("/api/v1/crypto/encrypt/stream?context=none", &*token(&cluster).await, "404"),
    ] {
        let mut connection = connect(&cluster).await;
        let request = head(path, token, &format!("Content-Length: {}\r\n", body.len())) + &body;
        assert!(connection.send(request).await, "{path}: reset before it could read why");
        let reply = connection.read_to_end().await;
        assert_eq!(status(&reply), expected, "{path}: {reply:?}");
    }
}

#[tokio::test]
async fn a_message_of_twelve_megabytes_goes_there_and_back() {
    let cluster = one(StoreKind::Sqlite).await;
    let app = app(&cluster).await;
    // Both requests are close to the 16 MiB that a body may have. "WlpaWlpa" is base64 of "ZZZZZZ".
    let plaintext = "WlpaWlpa".repeat((2 << 20) - 1024);
    let request = format!(r#"{{"context":"general","plaintext":"{plaintext}"}}"#);
    let ciphertext = app.post_bytes(ENCRYPT, request).await.expect(200).text("ciphertext");
    let reply = app.post_bytes(DECRYPT, format!(r#"{{"ciphertext":"{ciphertext}"}}"#)).await.expect(200);
    assert!(reply.text("plaintext") == plaintext);
}

#[tokio::test]
async fn clients_that_go_away_leave_the_server_well_and_a_line_in_the_log() {
    let cluster = one(StoreKind::Sqlite).await;
    let token = token(&cluster).await;
    let whole = json!({ "context": "general", "plaintext": base64(vec![0; 1 << 20]) }).to_string();
    for (id, framing, sent) in [
        ("cut-sized", format!("Content-Length: {}\r\n", whole.len()), &whole[..whole.len() - 1]),
        ("cut-chunked", "Transfer-Encoding: chunked\r\n".to_owned(), "ff\r\n{"),
    ] {
        let mut connection = connect(&cluster).await;
        connection.send(head(ENCRYPT, &token, &format!("X-Request-ID: {id}\r\n{framing}")) + sent).await;
        drop(connection);
        let line = cluster.replicas()[0].log();
        let line = line.find(id, |line| line.field("request_id").as_deref() == Some(id)).await;
        assert_eq!(line.field("code").as_deref(), Some("body_incomplete"), "{}", line.0);
    }
    for _ in 0..20 {
        let mut connection = connect(&cluster).await;
        connection
            .send(head(ENCRYPT, &token, &format!("Content-Length: {}\r\n", whole.len())) + &whole)
            .await;
        drop(connection);
        let mut connection = connect(&cluster).await;
        connection
            .send(head("/api/v1/crypto/encrypt/stream?context=general", &token, "Content-Length: 90000\r\n"))
            .await;
        connection.send(vec![0; 40_000]).await;
        drop(connection);
    }
    app(&cluster).await.post_bytes(ENCRYPT, whole).await.expect(200);
    assert!(!cluster.replicas()[0].log().text().contains("panicked"));
}
