//! Signing keys among replicas on one PostgreSQL.

use cryptoserve_tests::{Client, Cluster, StoreKind, TokenRequest, eventually};
use serde_json::json;

use super::{ALGORITHMS, KEYS, SIGN, generate, is_valid, sign, text, to_verify};
use crate::support::{builder, restart};

async fn three() -> (Cluster, Vec<Client>) {
    let cluster = builder(StoreKind::Postgres).start(3).await;
    let token = cluster.token(&TokenRequest::identity("app")).await;
    let clients = (0..3).map(|n| cluster.client(n).with_token(&token)).collect();
    (cluster, clients)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_made_on_one_replica_is_used_on_the_others_at_once() {
    let (_cluster, clients) = three().await;
    for (n, algorithm) in ALGORITHMS.iter().cycle().take(12).enumerate() {
        let key = generate(&clients[n % 3], algorithm, "general").await;
        let key_id = text(&key, "key_id");
        // Nobody waits for a poll here: neither signing nor verifying.
        for client in &clients {
            let signature = sign(client, &key_id, "m").await;
            for other in &clients {
                assert!(is_valid(other, &to_verify(&key_id, "m", &signature)).await);
            }
            assert_eq!(client.get(&format!("{KEYS}/{key_id}/public")).await.expect(200).json(), key);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_deleted_on_one_replica_is_refused_by_the_others_soon_after() {
    let (_cluster, clients) = three().await;
    let key_id = text(&generate(&clients[0], "Ed25519", "general").await, "key_id");
    let body = json!({ "message": "", "key_id": key_id });
    for client in &clients {
        client.post_json(SIGN, &body).await.expect(200);
    }
    for status in [409, 200] {
        if status == 409 {
            clients[0].delete(&format!("{KEYS}/{key_id}")).await.expect(200);
        } else {
            clients[0].post_json(&format!("{KEYS}/{key_id}/restore"), &json!({})).await.expect(200);
        }
        clients[0].post_json(SIGN, &body).await.expect(status);
        for client in &clients {
            eventually("the change holds", async || {
                (client.post_json(SIGN, &body).await.status == status).then_some(())
            })
            .await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signatures_and_verifications_of_all_replicas_are_counted() {
    let (mut cluster, clients) = three().await;
    let key_id = text(&generate(&clients[0], "Ed25519", "general").await, "key_id");
    for client in &clients {
        let signature = sign(client, &key_id, "m").await;
        for message in ["m", "other"] {
            is_valid(client, &to_verify(&key_id, message, &signature)).await;
        }
    }
    for replica in 0..3 {
        restart(&mut cluster, replica).await;
    }
    let page = clients[0].get(KEYS).await.expect(200).json();
    let key = &page["keys"][0];
    assert_eq!((&key["signatures"], &key["verifications"]), (&json!(3), &json!(6)));
    assert!(key["last_verified_at"].is_string(), "{key}");
}
