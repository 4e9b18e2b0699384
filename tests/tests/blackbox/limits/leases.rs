//! Hot buckets, from which replicas take in advance.

use std::time::{Duration, Instant};

use cryptoserve_tests::{Client, Cluster, RedisServer, Reply, StoreKind, TokenRequest};
use futures_util::future::join_all;
use serde_json::json;

use super::encrypt_in;
use crate::support::{base64, builder};

/// Of the identity: so many tokens per second, and the burst.
const RATE: u64 = 1000;
const BURST: u64 = 400;
const ITEMS: u64 = 30;
const CLIENTS: usize = 24;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hot_buckets_ask_redis_seldom_and_give_no_more_than_they_may() {
    let redis = RedisServer::start().await;
    let cluster: Cluster = builder(StoreKind::Postgres)
        .env("REDIS_URL", redis.url())
        .env("RATE_LIMIT_IDENTITY", format!("{}:{BURST}", 60 * RATE))
        .env("RATE_LIMIT_CONTEXT", "600000:10000")
        .env("RATE_LIMIT_IP", "600000:10000")
        // Waits as long as a test machine may take.
        .env("RATE_LIMIT_REDIS_TIMEOUT", "10s")
        .start(3)
        .await;
    let token = cluster.token(&TokenRequest::identity("app").contexts(["*"])).await;
    let clients: Vec<_> =
        (0..CLIENTS).map(|n| cluster.client(n % cluster.replicas().len()).with_token(&token)).collect();
    for replica in cluster.replicas() {
        replica.process().stderr().message("limits are shared through Redis").await;
    }

    // Replicas that have something to do ask for many requests at once. Those of a machine that is too slow have not.
    let (mut ratio, mut was_hot) = (f64::INFINITY, false);
    for _ in 0..5 {
        let (asked, begun) = (redis.calls("evalsha").await, Instant::now());
        let each = |client: &Client| {
            let client = client.clone();
            async move {
                for _ in 0..40 {
                    encrypt_in(&client, "general").await;
                }
            }
        };
        join_all(clients.iter().map(each)).await;
        #[expect(clippy::cast_precision_loss, reason = "small numbers")]
        let per_request = (redis.calls("evalsha").await - asked) as f64 / (CLIENTS * 40) as f64;
        ratio = ratio.min(per_request);
        // Twice what makes a bucket hot.
        was_hot |= begun.elapsed() < Duration::from_secs(2);
        if ratio <= 0.2 {
            break;
        }
    }
    // Without leases it is 1. What is between is the machine's: requests that come in fits outlive leases.
    assert!(ratio <= 0.5 || !was_hot, "{ratio} questions per request");

    // More than it gives is asked of the identity's bucket, in batches.
    let items: Vec<_> =
        (0..ITEMS).map(|n| json!({ "id": n.to_string(), "plaintext": base64("x") })).collect();
    let batch = json!({ "context": "general", "items": items });
    let time_of = async || {
        let mut connection = redis.connect().await;
        let (secs, micros): (u64, u64) = redis::cmd("TIME").query_async(&mut connection).await.expect("TIME");
        secs * 1_000_000 + micros
    };
    let begun = time_of().await;
    let each = |client: &Client| {
        let (client, batch) = (client.clone(), batch.clone());
        async move {
            let mut admitted = 0;
            for _ in 0..20 {
                let reply: Reply = client.post_json("/api/v1/crypto/batch/encrypt", &batch).await;
                assert!(matches!(reply.status, 200 | 429), "{reply:?}");
                admitted += if reply.status == 200 { ITEMS } else { 0 };
            }
            admitted
        }
    };
    let admitted: u64 = join_all(clients.iter().map(each)).await.iter().sum();
    let micros = time_of().await - begun;
    let allowed = BURST + RATE * micros / 1_000_000;
    assert!(admitted <= allowed, "{admitted} in {micros} µs");
    assert!(admitted >= BURST / 2, "{admitted} in {micros} µs");
}
