//! What holds between replicas on one PostgreSQL.

use std::time::{Duration, Instant};

use cryptoserve_tests::{Cluster, StoreKind, TokenRequest, eventually};
use serde_json::json;

use crate::support::{DECRYPT, ENCRYPT, base64, builder, encrypt, sealed, unbase64};

/// The poll comes at least every 625 ms; the rest is for a machine that does other things meanwhile.
const COHERENCE: Duration = Duration::from_secs(3);

async fn clients(cluster: &Cluster, token: &str) -> Vec<cryptoserve_tests::Client> {
    (0..cluster.replicas().len()).map(|n| cluster.client(n).with_token(token)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_replica_decrypts_what_another_encrypted() {
    let cluster = builder(StoreKind::Postgres).start(3).await;
    let token = cluster.token(&TokenRequest::identity("app")).await;
    let clients = clients(&cluster, &token).await;
    for (n, client) in clients.iter().enumerate() {
        let ciphertext = encrypt(client, format!("from {n}")).await;
        for other in &clients {
            let reply = other.post_json(DECRYPT, &sealed(&ciphertext)).await.expect(200);
            assert_eq!(unbase64(&reply.text("plaintext")), format!("from {n}").as_bytes());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deletion_on_one_replica_holds_on_all_soon_after() {
    let cluster = builder(StoreKind::Postgres).start(3).await;
    let admin = cluster.client(0).with_token(&cluster.token(&TokenRequest::admin()).await);
    let token = cluster.token(&TokenRequest::identity("app")).await;
    let clients = clients(&cluster, &token).await;
    for client in &clients {
        encrypt(client, "warm").await;
    }
    let body = json!({ "context": "user-pii", "plaintext": base64("x") });

    admin.delete("/api/admin/contexts/user-pii").await.expect(200);
    let deleted = Instant::now();
    for client in &clients {
        eventually("the context is gone", async || {
            (client.post_json(ENCRYPT, &body).await.status == 404).then_some(())
        })
        .await;
    }
    let took = deleted.elapsed();
    assert!(took < COHERENCE, "{took:?}");

    admin.post_json("/api/admin/contexts/user-pii/restore", &json!({})).await.expect(200);
    for client in &clients {
        eventually("the context is back", async || {
            (client.post_json(ENCRYPT, &body).await.status == 200).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn warm_requests_go_on_without_the_database_and_cold_ones_are_refused() {
    let cluster = Cluster::builder().store(StoreKind::Postgres).through_proxy().start(1).await;
    let token = cluster.token(&TokenRequest::identity("app")).await;
    let admin = cluster.token(&TokenRequest::admin()).await;
    let client = cluster.client(0).with_token(&token);
    let ciphertext = encrypt(&client, "warm").await;

    cluster.postgres_proxy().cut().await;
    for _ in 0..20 {
        encrypt(&client, "still").await;
        client.post_json(DECRYPT, &sealed(&ciphertext)).await.expect(200);
    }
    // Nobody was here with this token yet, so its identity would have to be looked up.
    let stranger = cluster.client(0).with_token(&admin);
    let refused = stranger.get("/api/admin/contexts").await.expect_problem(503, "store_unavailable");
    assert_eq!(refused.header("retry-after"), Some("1"));
    cluster.client(0).get("/health/ready").await.expect(200);

    cluster.postgres_proxy().restore().await;
    eventually("the database is used again", async || {
        (stranger.get("/api/admin/contexts").await.status == 200).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_view_that_cannot_be_confirmed_is_not_acted_on() {
    let cluster = Cluster::builder()
        .store(StoreKind::Postgres)
        .through_proxy()
        .env("KEYRING_MAX_STALENESS", "2s")
        .start(1)
        .await;
    let client = cluster.client(0).with_token(&cluster.token(&TokenRequest::identity("app")).await);
    encrypt(&client, "warm").await;
    cluster.postgres_proxy().hang().await;
    let body = json!({ "context": "user-pii", "plaintext": "" });
    eventually("the view is too old", async || {
        let reply = client.post_json(ENCRYPT, &body).await;
        (reply.status == 503 && reply.text("code") == "store_unavailable").then_some(())
    })
    .await;
    cluster.client(0).get("/health/ready").await.expect(503);
    cluster.client(0).get("/health/live").await.expect(200);
    cluster.postgres_proxy().restore().await;
    eventually("the view is fresh again", async || {
        (client.post_json(ENCRYPT, &body).await.status == 200).then_some(())
    })
    .await;
}
