//! Limits of one replica. Rates are so low that nothing comes back during a test.

mod address;
mod cluster;
mod leases;
mod recorded;
mod shared;
mod trouble;

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::{SystemTime, UNIX_EPOCH};

use cryptoserve_tests::{Client, Cluster, ClusterBuilder, RawConnection, Reply, StoreKind, TokenRequest};
use serde_json::{Value, json};

use crate::support::{DECRYPT, ENCRYPT, app, base64, builder, encrypt, sealed, service};

fn limited(name: &str, limit: &str) -> ClusterBuilder {
    builder(StoreKind::Sqlite).env(name, limit)
}

fn request(context: &str) -> Value {
    json!({ "context": context, "plaintext": base64("x") })
}

async fn encrypt_in(client: &Client, context: &str) -> Reply {
    client.post_json(ENCRYPT, &request(context)).await
}

fn number(reply: &Reply, header: &str) -> u64 {
    let value = reply.header(header).and_then(|value| value.parse().ok());
    value.unwrap_or_else(|| panic!("no number {header} in {reply:?}"))
}

/// What is left in the bucket of `dimension`, from the header `RateLimit`.
fn remaining(reply: &Reply, dimension: &str) -> u64 {
    let header = reply.header("ratelimit").unwrap_or_else(|| panic!("no RateLimit in {reply:?}"));
    let (_, item) = header.split_once(&format!("\"{dimension}\";r=")).unwrap_or_else(|| panic!("{header}"));
    item.split(';').next().and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("{header}"))
}

fn refused(reply: Reply, dimension: &str) -> Reply {
    let reply = reply.expect_problem(429, "rate_limited");
    assert!(reply.text("detail").contains(dimension), "{dimension} in {}", reply.text("detail"));
    assert!(number(&reply, "retry-after") >= 1);
    assert_eq!(number(&reply, "x-ratelimit-remaining"), 0);
    assert_eq!(remaining(&reply, dimension), 0);
    reply
}

#[tokio::test]
async fn a_fresh_deployment_has_the_documented_limits_and_every_reply_says_so() {
    let cluster = builder(StoreKind::Sqlite).default_limits().start(1).await;
    let (app, other) = (app(&cluster).await, service(&cluster, "other", ["*"]).await);
    let first = encrypt_in(&app, "general").await.expect(200);
    assert_eq!(
        first.header("ratelimit-policy"),
        Some(r#""ip";q=200;w=60, "identity";q=100;w=60, "context";q=500;w=60"#)
    );
    for (dimension, left) in [("ip", 49), ("identity", 19), ("context", 99)] {
        assert_eq!(remaining(&first, dimension), left, "{first:?}");
    }
    // The tightest dimension speaks in the older headers.
    assert_eq!(number(&first, "x-ratelimit-limit"), 100);
    assert_eq!(number(&first, "x-ratelimit-remaining"), 19);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    assert!((now..now + 5).contains(&number(&first, "x-ratelimit-reset")), "{first:?}");

    let mut admitted = 1;
    let refusal = loop {
        let reply = encrypt_in(&app, "general").await;
        if reply.status != 200 {
            break reply;
        }
        admitted += 1;
        assert!(admitted < 100, "no limit");
    };
    assert!(admitted >= 20, "{admitted}");
    let refusal = refused(refusal, "identity");
    assert_eq!(number(&refusal, "x-ratelimit-limit"), 100);
    assert_eq!(refusal.header("ratelimit-policy"), Some(r#""ip";q=200;w=60, "identity";q=100;w=60"#));
    // Whoever asks less is unaffected.
    encrypt_in(&other, "general").await.expect(200);
}

#[tokio::test]
async fn a_refusal_in_one_dimension_spends_nothing_in_the_others() {
    let cluster = limited("RATE_LIMIT_CONTEXT", "3:3").env("RATE_LIMIT_IDENTITY", "10:10").start(1).await;
    let app = app(&cluster).await;
    for _ in 0..3 {
        encrypt_in(&app, "user-pii").await.expect(200);
    }
    for _ in 0..5 {
        refused(encrypt_in(&app, "user-pii").await, "context");
    }
    let reply = encrypt_in(&app, "general").await.expect(200);
    assert!(remaining(&reply, "identity") >= 6, "{reply:?}");
    assert_eq!(remaining(&reply, "context"), 2);
}

#[tokio::test]
async fn requests_that_fail_pay_too() {
    let cluster = limited("RATE_LIMIT_IDENTITY", "7:7").env("MAX_BODY_BYTES", "1KiB").start(1).await;
    let app = app(&cluster).await;
    app.post_bytes(ENCRYPT, vec![b' '; 2048]).await.expect_problem(413, "body_too_large");
    app.get("/api/admin/contexts").await.expect_problem(403, "scope_missing");
    app.post_bytes(ENCRYPT, "nonsense").await.expect(400);
    encrypt_in(&app, "none").await.expect(404);
    app.post_json(DECRYPT, &sealed("nonsense")).await.expect(400);
    app.post_json(DECRYPT, &json!({ "ciphertext": "*" })).await.expect(400);
    let reply = app.post_bytes("/v1/crypto/decrypt/stream", "nonsense").await.expect(400);
    assert_eq!(remaining(&reply, "identity"), 0);
    refused(encrypt_in(&app, "general").await, "identity");

    // Who brings a refresh token in the body pays for its identity, before anything is changed.
    let admin = cluster.client(0).with_token(&cluster.token(&TokenRequest::admin()).await);
    let made = admin.post_json("/api/admin/identities", &json!({ "name": "lively" })).await.expect(201);
    let tokens = format!("/api/admin/identities/{}/tokens", made.text("id"));
    let issued = admin.post_json(&tokens, &json!({ "refresh": true })).await.expect(200);
    let (client, path) = (cluster.client(0), |of| format!("/api/v1/auth/{of}"));
    let with_refresh = json!({ "refresh_token": issued.text("refresh_token"), "rotate": false });
    for left in (0..7).rev() {
        let reply = client.post_json(&path("refresh"), &with_refresh).await.expect(200);
        assert!(remaining(&reply, "identity") <= left, "{reply:?}");
    }
    let rotated = json!({ "refresh_token": issued.text("refresh_token"), "rotate": true });
    refused(client.post_json(&path("refresh"), &rotated).await, "identity");
    assert_eq!(cluster.tables().await.number("SELECT count(*) FROM refresh_tokens").await, 1);
    // But whoever uses up a stolen token cannot keep it from being revoked.
    for token in ["access_token", "refresh_token"] {
        client.post_json(&path("revoke"), &json!({ "token": issued.text(token) })).await.expect(200);
    }
    let revoked = cluster.client(0).with_token(&issued.text("access_token"));
    encrypt_in(&revoked, "general").await.expect_problem(401, "unauthenticated");
}

#[tokio::test]
async fn who_may_not_use_a_context_cannot_exhaust_it_for_those_who_may() {
    let cluster = limited("RATE_LIMIT_CONTEXT", "5:5").start(1).await;
    let owner = app(&cluster).await;
    let stranger = service(&cluster, "stranger", ["general"]).await;
    let ciphertext = encrypt(&owner, "x").await;
    for _ in 0..10 {
        encrypt_in(&stranger, "user-pii").await.expect_problem(403, "context_forbidden");
        stranger.post_json(DECRYPT, &sealed(&ciphertext)).await.expect_problem(403, "context_forbidden");
        let path = "/api/v1/crypto/encrypt/stream?context=user-pii";
        stranger.post_bytes(path, "x").await.expect_problem(403, "context_forbidden");
    }
    assert_eq!(remaining(&encrypt_in(&owner, "user-pii").await.expect(200), "context"), 3);
}

#[tokio::test]
async fn a_request_that_is_refused_anyway_need_not_send_its_body() {
    let cluster = limited("RATE_LIMIT_IDENTITY", "1:1").start(1).await;
    let token = cluster.token(&TokenRequest::identity("app")).await;
    encrypt_in(&cluster.client(0).with_token(&token), "general").await.expect(200);
    for path in [ENCRYPT, "/api/v1/crypto/encrypt/stream?context=general"] {
        let mut connection = RawConnection::open(cluster.replicas()[0].address()).await;
        let head = format!("POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n");
        connection.send(head + "Content-Length: 100000\r\n\r\n").await;
        let reply = connection.read_reply().await;
        assert!(reply.starts_with("HTTP/1.1 429"), "{reply}");
    }
}

async fn from(client: &Client, forwarded_for: &str) -> Reply {
    encrypt_in(&client.clone().with_header("x-forwarded-for", forwarded_for), "general").await
}

#[tokio::test]
async fn clients_behind_a_trusted_proxy_have_a_limit_each() {
    let cluster =
        limited("RATE_LIMIT_IP", "3:3").env("TRUSTED_PROXIES", "127.0.0.0/8,10.0.0.0/8").start(1).await;
    let app = app(&cluster).await;
    for _ in 0..3 {
        from(&app, "198.51.100.1").await.expect(200);
    }
    refused(from(&app, "198.51.100.1").await, "ip");
    // What a client claims stands to the left of what the proxy saw, and a second proxy of ours to the right.
    refused(from(&app, "203.0.113.9, 198.51.100.1").await, "ip");
    refused(from(&app, "203.0.113.9, 198.51.100.1, 10.0.0.7").await, "ip");
    refused(from(&app, "::ffff:198.51.100.1").await, "ip");
    from(&app, "198.51.100.2").await.expect(200);
    // A network of one subscriber is one client.
    for n in 1..=3 {
        from(&app, &format!("2001:db8::{n}")).await.expect(200);
    }
    refused(from(&app, "2001:db8::ffff").await, "ip");
    from(&app, "2001:db8:0:1::1").await.expect(200);
}

#[tokio::test]
async fn others_are_who_they_are_whatever_they_claim() {
    let cluster = limited("RATE_LIMIT_IP", "3:3").env("TRUSTED_PROXIES", "10.0.0.0/8").start(1).await;
    let app = app(&cluster).await;
    for n in 0..3 {
        from(&app, &format!("198.51.100.{n}")).await.expect(200);
    }
    refused(from(&app, "198.51.100.9").await, "ip");
    refused(encrypt_in(&app, "general").await, "ip");
}

/// A client of a replica that listens on `[::]`.
fn through(cluster: &Cluster, token: &str, address: impl Into<std::net::IpAddr>) -> Client {
    let port = cluster.replicas()[0].address().port();
    Client::new((address.into(), port).into()).with_token(token)
}

#[tokio::test]
async fn a_peer_is_the_same_over_ipv4_and_as_an_ipv4_mapped_address() {
    for (trusted, own) in [("127.0.0.1,::1", false), ("10.0.0.1", true)] {
        let cluster = limited("RATE_LIMIT_IP", "3:3")
            .env("TRUSTED_PROXIES", trusted)
            .env("BIND_ADDR", "[::]:0")
            .start(1)
            .await;
        let token = cluster.token(&TokenRequest::identity("app")).await;
        let (v4, v6) =
            (through(&cluster, &token, Ipv4Addr::LOCALHOST), through(&cluster, &token, Ipv6Addr::LOCALHOST));
        for client in [&v4, &v6, &v4] {
            from(client, "198.51.100.1").await.expect(200);
        }
        // Trusted, both speak for one client; untrusted, each for itself.
        if own {
            from(&v4, "198.51.100.2").await.expect(200);
            refused(from(&v4, "198.51.100.2").await, "ip");
            from(&v6, "198.51.100.2").await.expect(200);
        } else {
            refused(from(&v4, "198.51.100.1").await, "ip");
            refused(from(&v6, "198.51.100.1").await, "ip");
            from(&v4, "198.51.100.2").await.expect(200);
        }
    }
}
