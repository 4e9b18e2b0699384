//! Limits that replicas share through a Redis Cluster.

use std::time::Instant;

use cryptoserve_tests::{Cluster, RedisCluster, StoreKind, TokenRequest, eventually};
use futures_util::future::join_all;

use super::encrypt_in;
use super::shared::RIGHTS;
use super::trouble::{DOWN, LOST, UP_AGAIN, count, ready, served};
use crate::support::{app, builder};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_share_what_the_nodes_of_a_cluster_count() {
    let redis = RedisCluster::start().await;
    for node in redis.nodes() {
        node.run(&format!("ACL SETUSER {RIGHTS} +cluster|slots")).await;
    }
    let cluster: Cluster = builder(StoreKind::Postgres)
        .env("REDIS_URL", redis.tls_url("limits", "canary"))
        .env("SSL_CERT_FILE", redis.authority().path().to_string_lossy())
        .env("RATE_LIMIT_IDENTITY", "6:6")
        .env("RATE_LIMIT_REDIS_TIMEOUT", "10s")
        .env("TRUSTED_PROXIES", "127.0.0.1")
        .start(2)
        .await;
    let clients = [0, 1].map(|replica| cluster.client(replica));
    for replica in cluster.replicas() {
        replica.process().stderr().message("limits are shared through Redis").await;
    }

    // One tenant is on one node: what two replicas admit there at once is the burst, and what comes back meanwhile.
    let token = cluster.token(&TokenRequest::identity("app").contexts(["*"])).await;
    let apps = clients.clone().map(|client| client.with_token(&token));
    let begun = Instant::now();
    let replies = join_all((0..20).map(|n| encrypt_in(&apps[n % 2], "general"))).await;
    let admitted = replies.iter().filter(|reply| reply.status == 200).count() as u64;
    assert!((6..=6 + begun.elapsed().as_secs() / 10).contains(&admitted), "{admitted}");

    let admin = clients[0].clone().with_token(&cluster.token(&TokenRequest::admin()).await);
    let listed = admin.get("/api/admin/rate-limits/exhausted?limit=1").await.expect(200).json();
    assert_eq!(
        (&listed["complete"], &listed["buckets"][0]["identity"]),
        (&true.into(), &"app".into()),
        "{listed}"
    );

    // Addresses whose tokens are wrong are spread over the nodes, and each node forgets the script in between.
    for address in ["192.0.2.1", "192.0.2.2", "192.0.2.9"] {
        let [a, b] =
            clients.clone().map(|client| client.with_token("wrong").with_header("x-forwarded-for", address));
        for node in redis.nodes() {
            node.run("SCRIPT FLUSH").await;
        }
        let begun = Instant::now();
        let replies = join_all((0..15).flat_map(|_| [&a, &b]).map(|from| encrypt_in(from, "general"))).await;
        let failed = replies.iter().filter(|reply| reply.status == 401).count() as u64;
        assert!((20..=20 + begun.elapsed().as_secs()).contains(&failed), "{failed} of {address}");
    }
    for node in redis.nodes() {
        let keys: Vec<String> = node.ask("KEYS cs:{*}f*").await;
        assert!(!keys.is_empty(), "none on {}", node.address());
    }
    for replica in cluster.replicas() {
        let log = replica.process().stderr();
        assert!(!log.text().contains(DOWN), "{log:?}");
        assert!(!log.text().contains("canary"), "{log:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_may_lose_a_node_and_move_slots() {
    let mut redis = RedisCluster::start().await;
    let cluster = builder(StoreKind::Sqlite)
        .env("REDIS_URL", redis.url())
        // Some more than the test needs; the last of them is back only long after it.
        .env("RATE_LIMIT_IDENTITY", "100:100")
        .env("RATE_LIMIT_ON_REDIS_FAILURE", "open")
        .env("RATE_LIMIT_REDIS_TIMEOUT", "1s")
        .start(1)
        .await;
    let app = app(&cluster).await;
    ready(&cluster, "ready", 200).await;
    encrypt_in(&app, "general").await.expect(200);
    let mut keys: Vec<String> = Vec::new();
    for node in redis.nodes() {
        keys.extend(node.ask::<Vec<String>>("KEYS cs:*}i*").await);
    }
    let [key] = &keys[..] else { panic!("one bucket of an identity in {keys:?}") };
    let ours = redis.place(key).await;

    // A node that is needed by nobody at the moment, and the one that is.
    for (losses, dead) in [(1, (ours + 1) % 3), (2, ours)] {
        redis.node_mut(dead).kill().await;
        let address = redis.nodes()[dead].address().to_string();
        served(&app).await;
        ready(&cluster, "degraded", 200).await;
        served(&app).await;
        let log = cluster.replicas()[0].process().stderr();
        assert_eq!(count(&cluster, DOWN), losses, "{log:?}");
        let said = log.lines().into_iter().rfind(|line| line.field("message").as_deref() == Some(DOWN));
        let error = said.and_then(|line| line.field("error")).unwrap_or_default();
        assert!(error.contains(&address), "{error}");
        redis.node_mut(dead).start_again().await;
        redis.serves().await;
        ready(&cluster, "ready", 200).await;
        assert_eq!((count(&cluster, UP_AGAIN), count(&cluster, LOST)), (losses, losses), "{log:?}");
        let lost = log.lines().into_iter().rfind(|line| line.field("message").as_deref() == Some(LOST));
        assert_eq!(lost.and_then(|line| line.field("redis")), Some(address));
    }

    // The slot of the tenant goes to another node.
    let to = (ours + 1) % 3;
    redis.hand_over(key, ours, to).await;
    served(&app).await;
    eventually("a bucket on the other node", async || {
        encrypt_in(&app, "general").await.expect(200);
        redis.nodes()[to].ask::<bool>(&format!("EXISTS {key}")).await.then_some(())
    })
    .await;
    assert_eq!((count(&cluster, DOWN), count(&cluster, LOST)), (3, 2));
}
