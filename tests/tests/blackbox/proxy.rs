//! Replicas behind the real Nginx with the shipped configuration.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use cryptoserve_tests::{Client, Cluster, ClusterBuilder, Nginx, StoreKind, TokenRequest, eventually};
use futures_util::future::join_all;
use serde_json::json;

use crate::support::{DECRYPT, ENCRYPT, base64, builder, encrypt, sealed, unbase64};

/// Replicas on PostgreSQL, Nginx in front, and a client through it with a token for everything.
async fn behind_nginx(builder: ClusterBuilder, replicas: usize) -> (Cluster, Nginx, Client) {
    let cluster = builder.env("TRUSTED_PROXIES", "127.0.0.1").start(replicas).await;
    let nginx = Nginx::start(&cluster.addresses()).await;
    let token = cluster.token(&TokenRequest::identity("app")).await;
    let client = nginx.client().with_token(&token);
    (cluster, nginx, client)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_pass_and_both_logs_agree_on_their_ids() {
    let (cluster, nginx, client) = behind_nginx(builder(StoreKind::Postgres), 2).await;
    for n in 0..10 {
        let ciphertext = encrypt(&client, format!("message {n}")).await;
        let reply = client.post_json(DECRYPT, &sealed(ciphertext)).await.expect(200);
        assert_eq!(unbase64(&reply.text("plaintext")), format!("message {n}").as_bytes());
    }
    // Of the client, and made by Nginx: one id everywhere.
    let given = client.clone().with_header("x-request-id", "given-1").get("/v1/contexts").await.expect(200);
    assert_eq!(given.header("x-request-id"), Some("given-1"));
    let made = client.get("/v1/contexts").await.expect(200);
    for id in ["given-1", made.header("x-request-id").expect("an id")] {
        let line = nginx.access_log().find(id, |line| line.field("request_id").as_deref() == Some(id)).await;
        assert_eq!(line.field("route").as_deref(), Some("contexts"));
        eventually("the replica's line", async || {
            cluster.replicas().iter().any(|replica| replica.log().text().contains(id)).then_some(())
        })
        .await;
    }
    // Both took part.
    for replica in cluster.replicas() {
        assert!(replica.log().text().contains("request completed"));
    }
}

/// Nginx passes no more of a request on once the reply has begun: a stream would hang.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_are_refused_at_once_and_not_left_hanging() {
    let (_cluster, _nginx, client) = behind_nginx(builder(StoreKind::Postgres), 1).await;
    for path in ["/api/v1/crypto/encrypt/stream?context=backup-data", "/v1/crypto/decrypt/stream"] {
        let refused = client.post_bytes(path, "small").await.expect_problem(501, "streaming_unavailable");
        assert_eq!(Some(refused.text("request_id").as_str()), refused.header("x-request-id"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_dies_under_load_costs_no_request() {
    let (cluster, _nginx, client) = behind_nginx(builder(StoreKind::Postgres), 2).await;
    let body = json!({ "context": "general", "plaintext": base64("x") });
    let (answered, killed, done) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicBool::new(false));
    let callers = join_all((0..4).map(|_| async {
        while !done.load(Ordering::Relaxed) {
            client.post_json(ENCRYPT, &body).await.expect(200);
            answered.fetch_add(1, Ordering::Relaxed);
        }
    }));
    let killer = async {
        let passed = async |more: usize| {
            let from = answered.load(Ordering::Relaxed);
            let enough = async || (answered.load(Ordering::Relaxed) >= from + more).then_some(());
            eventually("requests to pass", enough).await;
        };
        passed(100).await;
        cluster.replicas()[0].process().kill();
        killed.store(answered.load(Ordering::Relaxed), Ordering::Relaxed);
        passed(200).await;
        done.store(true, Ordering::Relaxed);
    };
    tokio::join!(callers, killer);
    for replica in cluster.replicas() {
        assert!(replica.log().text().contains("request completed"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nginx_and_the_service_have_the_same_limit_and_the_same_word_for_it() {
    let (cluster, _nginx, client) = behind_nginx(builder(StoreKind::Postgres), 1).await;
    let token = cluster.token(&TokenRequest::identity("app")).await;
    let direct = cluster.client(0).with_token(&token);
    let body = |length: usize| {
        let (start, end) = (r#"{"context":"general","plaintext":""#, r#""}"#);
        let text = length - start.len() - end.len();
        // Base64 comes in fours; spaces fill up.
        [start, &"A".repeat(text / 4 * 4), end, &" ".repeat(text % 4)].concat()
    };
    let limit = 16 << 20;
    for client in [&client, &direct] {
        client.post_bytes(ENCRYPT, body(limit)).await.expect(200);
        let refused = client.post_bytes(ENCRYPT, body(limit + 1)).await.expect_problem(413, "body_too_large");
        assert_eq!(refused.text("type"), "urn:cryptoserve:problem:body_too_large");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_client_behind_nginx_has_its_own_limit() {
    let (_cluster, _nginx, client) =
        behind_nginx(builder(StoreKind::Postgres).env("RATE_LIMIT_IP", "3:3"), 1).await;
    let body = json!({ "context": "general", "plaintext": base64("x") });
    let from = async |address: &str| {
        let client = client.clone().with_header("x-forwarded-for", address);
        client.post_json(ENCRYPT, &body).await.status
    };
    for _ in 0..3 {
        assert_eq!(from("203.0.113.7").await, 200);
    }
    assert_eq!(from("203.0.113.7").await, 429);
    assert_eq!(from("203.0.113.8").await, 200);
}
