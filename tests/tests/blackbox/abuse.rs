//! What one client must not be able to do to others, or for itself.

use std::time::{Duration, Instant};

use cryptoserve_tests::{RawConnection, StoreKind, TokenRequest};
use futures_util::future::join_all;
use serde_json::json;

use crate::support::{ENCRYPT, admin, app, builder, encrypt, on_each_store, one};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_that_nobody_asked_for_take_no_memory_from_others() {
    let cluster = one(StoreKind::Sqlite).await;
    let app = app(&cluster).await;
    let mut idle = Vec::new();
    for _ in 0..20 {
        let mut connection = RawConnection::open(cluster.replicas()[0].address()).await;
        connection.send("GET /health HTTP/1.1\r\nHost: x\r\nContent-Length: 16777216\r\n\r\n").await;
        idle.push(connection);
    }
    for mut connection in idle {
        assert!(connection.read_head().await.starts_with("HTTP/1.1 200"));
        encrypt(&app, "x").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_identity_cannot_take_all_memory_for_bodies() {
    let cluster = builder(StoreKind::Sqlite)
        .env("MAX_BODY_BYTES", "1MiB")
        .env("MAX_INFLIGHT_BYTES", "4MiB")
        .start(1)
        .await;
    let greedy = cluster.token(&TokenRequest::identity("greedy")).await;
    let app = app(&cluster).await;
    let mut held = Vec::new();
    for _ in 0..8 {
        let mut connection = RawConnection::open(cluster.replicas()[0].address()).await;
        let head = format!(
            "POST {ENCRYPT} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {greedy}\r\nContent-Length: 1000000\r\n\r\n"
        );
        connection.send(head).await;
        connection.send(vec![b' '; 900_000]).await;
        held.push(connection);
    }
    // Six of them found no room in the half that one identity gets, and were told.
    for _ in 0..5 {
        encrypt(&app, vec![7; 300_000]).await;
    }
}

/// Large messages are worked on by the threads that the embedded store needs too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_large_messages_at_once_do_not_lock_up_the_embedded_store() {
    let cluster = builder(StoreKind::Sqlite)
        .env("AUDIT_MODE", "strict")
        .env("MAX_INFLIGHT_BYTES", "2GiB")
        .start(1)
        .await;
    let app = app(&cluster).await;
    // Large enough to be worked on there, and little work: so many are more than there are threads.
    let space = " ".repeat(256 * 1024);
    let body = format!(r#"{{ "context": "general", {space} "plaintext": "" }}"#);
    let replies = join_all((0..540).map(|_| app.post_bytes(ENCRYPT, body.clone()))).await;
    assert!(replies.into_iter().all(|reply| reply.status == 200));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_that_can_never_fit_is_not_free() {
    let cluster = builder(StoreKind::Sqlite).default_limits().start(1).await;
    let app = app(&cluster).await;
    let items: Vec<_> = (0..60).map(|n| json!({ "id": n.to_string(), "plaintext": "" })).collect();
    let body = json!({ "context": "general", "items": items });
    let path = "/api/v1/crypto/batch/encrypt";
    let refused = app.post_json(path, &body).await.expect_problem(422, "cost_exceeds_limit");
    assert!(refused.text("detail").contains("at most 20 items"), "{}", refused.text("detail"));
    let statuses = join_all((0..60).map(|_| app.post_json(path, &body))).await;
    assert!(statuses.iter().any(|reply| reply.status == 429));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_a_head_does_not_hold_up_the_shutdown() {
    let mut cluster = one(StoreKind::Sqlite).await;
    let mut connection = RawConnection::open(cluster.replicas()[0].address()).await;
    connection.send("GET /health HTTP/1.1\r\nHo").await;
    // The same connection has not been answered, another has: so the first bytes have been read.
    cluster.client(0).get("/health").await.expect(200);
    let started = Instant::now();
    cluster.replicas()[0].process().terminate();
    assert!(cluster.replica_mut(0).ended().await.success());
    // SHUTDOWN_TIMEOUT is 30 s.
    assert!(started.elapsed() < Duration::from_secs(15), "{:?}", started.elapsed());
    drop(connection);
}

on_each_store! {
    async fn a_new_role_ends_the_tokens_of_the_old_one(store) {
        let cluster = one(store).await;
        let admin = admin(&cluster).await;
        let body = json!({ "name": "job", "contexts": ["general"], "scopes": ["encrypt"] });
        let id = admin.post_json("/api/admin/identities", &body).await.expect(201).text("id");
        let path = format!("/api/admin/identities/{id}");
        let ttl = json!({ "ttl_seconds": 90 * 24 * 3600 });
        let issued = admin.post_json(&format!("{path}/tokens"), &ttl).await.expect(200);
        let job = cluster.client(0).with_token(&issued.text("access_token"));
        let body = json!({ "context": "general", "plaintext": "" });
        job.post_json(ENCRYPT, &body).await.expect(200);

        // The same role again changes nothing: what is absent stays.
        let same = admin.put_json(&path, &json!({ "role": "service" })).await.expect(200);
        assert_eq!(same.json()["scopes"], json!(["encrypt"]));
        job.post_json(ENCRYPT, &body).await.expect(200);
        admin.put_json(&path, &json!({ "role": "admin" })).await.expect(200);
        job.get("/api/admin/identities").await.expect_problem(401, "unauthenticated");
    }

    async fn a_token_neither_widens_nor_prolongs_itself(store) {
        let cluster = one(store).await;
        let admin = admin(&cluster).await;
        let listed = admin.get("/api/admin/identities").await.expect(200).json();
        let id = listed["identities"][0]["id"].as_str().expect("the administrator").to_owned();
        let path = format!("/api/admin/identities/{id}/tokens");
        let narrow = json!({ "ttl_seconds": 60, "scopes": ["identities:manage", "encrypt"], "contexts": ["general"] });
        let issued = admin.post_json(&path, &narrow).await.expect(200);
        let narrowed = cluster.client(0).with_token(&issued.text("access_token"));
        narrowed.post_json(&path, &json!({})).await.expect_problem(403, "role_forbidden");
        let wide = json!({ "name": "wide", "contexts": ["*"], "scopes": ["encrypt"] });
        narrowed.post_json("/api/admin/identities", &wide).await.expect_problem(403, "role_forbidden");
        let same = json!({ "ttl_seconds": 3600, "scopes": ["encrypt"], "contexts": ["general"] });
        let again = narrowed.post_json(&path, &same).await.expect(200);
        assert!(again.text("expires_at") <= issued.text("expires_at"), "{again:?}");

        let names: Vec<_> = (0..150).map(|n| format!("{n:0>64}")).collect();
        let long = json!({ "contexts": names });
        admin.post_json(&path, &long).await.expect_problem(422, "token_too_long");
    }
}
