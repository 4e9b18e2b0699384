//! Limits that replicas share through Redis.

use std::time::Instant;

use cryptoserve_tests::{Authority, Cluster, RedisServer, StoreKind, TokenRequest, eventually};
use futures_util::future::join_all;
use redis::AsyncCommands;
use serde_json::json;

use super::{encrypt_in, refused, remaining};
use crate::admin::identity_id;
use crate::support::{app, base64, builder};

/// What docs/limits.md says that a user needs.
pub(super) const RIGHTS: &str =
    "limits on >canary ~cs:* +evalsha +script|load +time +get +set +expire +info +unlink +scan +mget";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_share_what_redis_counts() {
    let redis = RedisServer::start().await;
    let mut connection = redis.connect().await;
    let rights: Vec<_> = RIGHTS.split(' ').collect();
    let made: Result<(), _> = redis::cmd("ACL").arg("SETUSER").arg(rights).query_async(&mut connection).await;
    made.expect("ACL SETUSER");
    let mut url = redis.url();
    url.set_username("limits").expect("the URL has a host");
    url.set_password(Some("canary")).expect("the URL has a host");
    let cluster: Cluster = builder(StoreKind::Postgres)
        .env("REDIS_URL", url)
        .env("RATE_LIMIT_IDENTITY", "6:6")
        .env("RATE_LIMIT_CONTEXT", "10:10")
        .env("RATE_LIMIT_IP", "600:600")
        // Waits as long as a test machine may take.
        .env("RATE_LIMIT_REDIS_TIMEOUT", "10s")
        .start(2)
        .await;
    let token = cluster.token(&TokenRequest::identity("app").contexts(["*"])).await;
    let clients = [0, 1].map(|replica| cluster.client(replica).with_token(&token));
    for replica in cluster.replicas() {
        replica.process().stderr().message("limits are shared through Redis").await;
    }

    // Two replicas asked at once admit the burst of one, and what comes back meanwhile.
    let begun = Instant::now();
    let replies = join_all((0..20).map(|n| encrypt_in(&clients[n % 2], "general"))).await;
    let admitted: Vec<_> = replies.iter().filter(|reply| reply.status == 200).collect();
    let allowed = |burst: u64| burst + begun.elapsed().as_secs() / 10;
    assert!((6..=allowed(6)).contains(&(admitted.len() as u64)), "{}", admitted.len());
    let least = admitted.iter().map(|reply| remaining(reply, "context")).min();
    assert!(least >= Some(10 - admitted.len() as u64), "refusals cost others nothing: {least:?}");

    // What was refused is refused again without a question, and says the same.
    for client in &clients {
        refused(encrypt_in(client, "general").await, "identity");
    }
    let (asked, refused_from) = (redis.calls("evalsha").await, Instant::now());
    for n in 0..40 {
        refused(encrypt_in(&clients[n % 2], "general").await, "identity");
    }
    // Whenever one comes back, each replica asks once.
    let asked = redis.calls("evalsha").await - asked;
    assert!(asked <= 2 * (1 + refused_from.elapsed().as_secs() / 10), "{asked} questions for 40 refusals");

    // A request that is admitted is one round trip; a cost that can never fit is none, but for its price.
    let other = cluster.token(&TokenRequest::identity("other").contexts(["*"])).await;
    let other = cluster.client(1).with_token(&other);
    let before = redis.calls("evalsha").await;
    let reply = encrypt_in(&other, "general").await.expect(200);
    assert_eq!(redis.calls("evalsha").await - before, 1);
    assert_eq!(remaining(&reply, "identity"), 5);
    let items: Vec<_> = (0..7).map(|n| json!({ "id": n.to_string(), "plaintext": base64("x") })).collect();
    let batch = json!({ "context": "general", "items": items });
    let reply = other.post_json("/api/v1/crypto/batch/encrypt", &batch).await;
    assert_eq!(remaining(&reply.expect_problem(422, "cost_exceeds_limit"), "identity"), 4);

    // A reset leaves nothing behind of the buckets before it.
    let admin = cluster.client(0).with_token(&cluster.token(&TokenRequest::admin()).await);
    let id = identity_id(&admin, "app").await;
    let mut of_identities = async || connection.keys::<_, Vec<Vec<u8>>>("cs:*}i*").await.expect("KEYS").len();
    let before = of_identities().await;
    admin.post_json(&format!("/api/admin/rate-limits/reset/{id}"), &json!({})).await.expect(200);
    assert_eq!(of_identities().await, before - 1);

    // Windows are shared too, each with what it counts and for which operations.
    let quota = json!({ "limit": 4, "window_seconds": 86_400, "kind": "quota", "counts": "requests",
        "operations": "encrypt" });
    let policy = json!({ "requests_per_minute": 6000, "burst_size": 60, "windows": [quota] });
    admin.put_json(&format!("/api/admin/rate-limits/identity/{id}"), &policy).await.expect(200);
    let limited = eventually("the policy on both replicas", async || {
        let replies = join_all(clients.iter().map(|client| client.get("/api/v1/contexts"))).await;
        replies.iter().all(|reply| remaining(reply, "identity") > 6).then_some(())
    });
    limited.await;
    let mut sealed = Vec::new();
    for n in 0..8 {
        let reply = encrypt_in(&clients[n % 2], "user-pii").await;
        match reply.status {
            200 => sealed.push(reply.text("ciphertext")),
            _ => {
                let reply = reply.expect_problem(429, "rate_limited");
                let detail = reply.text("detail");
                assert!(
                    detail.starts_with("the encrypt limit per identity is exhausted (4 requests"),
                    "{detail}"
                );
            }
        }
    }
    assert_eq!(sealed.len(), 2, "the larger half at once");
    for client in &clients {
        let body = json!({ "ciphertext": sealed[0] });
        client.post_json("/api/v1/crypto/decrypt", &body).await.expect(200);
    }

    // Everything in Redis is ours to tell, small, and will be gone.
    let keys: Vec<String> = connection.keys("*").await.expect("KEYS");
    for kind in ["}a", "}i", "}c", "epoch"] {
        assert!(keys.iter().any(|key| key.contains(kind)), "{kind} in {keys:?}");
    }
    for key in keys {
        assert!(key.starts_with("cs:"), "{key}");
        let expiry: i64 = connection.pttl(&key).await.expect("PTTL");
        // -2: gone by now.
        assert!(expiry > 0 || expiry == -2, "{key} stays");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn valkey_will_do() {
    let valkey = RedisServer::valkey().await;
    let cluster = builder(StoreKind::Sqlite)
        .env("REDIS_URL", valkey.url())
        .env("RATE_LIMIT_IDENTITY", "6:6")
        .env("RATE_LIMIT_REDIS_TIMEOUT", "10s")
        .start(1)
        .await;
    cluster.replicas()[0].process().stderr().message("limits are shared through Redis").await;
    let (app, begun) = (app(&cluster).await, Instant::now());
    let replies = join_all((0..12).map(|_| encrypt_in(&app, "general"))).await;
    let admitted = replies.iter().filter(|reply| reply.status == 200).count() as u64;
    assert!((6..=6 + begun.elapsed().as_secs() / 10).contains(&admitted), "{admitted}");
    assert!(valkey.calls("evalsha").await > 2, "more than the tries at the start");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_may_be_behind_tls() {
    let authority = Authority::new();
    let redis = RedisServer::with_certificate(&authority.certificate("127.0.0.1")).await;
    let mut url = redis.url().to_string();
    url.insert(url.find(':').expect("a scheme"), 's');
    for (trusts, message) in
        [(true, "limits are shared through Redis"), (false, "Redis cannot be used for limits")]
    {
        let mut cluster = builder(StoreKind::Sqlite).env("REDIS_URL", &url);
        if trusts {
            cluster = cluster.env("SSL_CERT_FILE", authority.path().to_string_lossy());
        }
        let cluster = cluster.start(1).await;
        let line = cluster.replicas()[0].process().stderr().message(message).await;
        assert!(line.field("error").is_none_or(|error| error.contains("certificate")), "{line:?}");
        encrypt_in(&app(&cluster).await, "general").await.expect(200);
    }
}
