//! What holds while Redis does not do its part.

use std::time::{Duration, Instant};

use cryptoserve_tests::{Client, Cluster, RedisServer, StoreKind, eventually};
use redis::aio::MultiplexedConnection;

use super::encrypt_in;
use crate::metrics::{prometheus, scrape, value};
use crate::support::{app, builder};

pub(super) const DOWN: &str = "Redis cannot be used for limits";
pub(super) const UP_AGAIN: &str = "limits are shared through Redis again";
pub(super) const LOST: &str = "Redis lost its state: each limit may admit one burst more than it should";

const STILL_DOWN: &str = "Redis still cannot be used for limits";
const REPLACED: &str =
    "Redis was restarted or replaced and may have lost what was taken last: each limit may admit that again";

/// Whether a line tells of Redis' own words.
fn says_why(cluster: &Cluster, why: &str) -> bool {
    let lines = cluster.replicas()[0].process().stderr().lines();
    lines.iter().any(|line| {
        let message = line.field("message");
        matches!(message.as_deref(), Some(DOWN | STILL_DOWN))
            && line.field("error").is_some_and(|error| error.contains(why))
    })
}

/// Waits until readiness says `status`, with this HTTP status.
pub(super) async fn ready(cluster: &Cluster, status: &str, code: u16) {
    let client = cluster.client(0);
    eventually(&format!("readiness {status}"), async || {
        let reply = client.get("/health/ready").await;
        (reply.json()["status"] == status).then(|| assert_eq!(reply.status, code, "{reply:?}"))
    })
    .await;
}

async fn run(connection: &mut MultiplexedConnection, command: &str) {
    let mut words = command.split(' ');
    let mut built = redis::cmd(words.next().expect("a command"));
    for word in words {
        built.arg(word);
    }
    let _: redis::Value =
        built.query_async(connection).await.unwrap_or_else(|error| panic!("{command}: {error}"));
}

/// Ten requests, all of which succeed; how long the slowest took, and all.
pub(super) async fn served(client: &Client) -> (Duration, Duration) {
    let (begun, mut slowest) = (Instant::now(), Duration::ZERO);
    for _ in 0..10 {
        let one = Instant::now();
        encrypt_in(client, "general").await.expect(200);
        slowest = slowest.max(one.elapsed());
    }
    (slowest, begun.elapsed())
}

pub(super) fn count(cluster: &Cluster, message: &str) -> usize {
    let lines = cluster.replicas()[0].process().stderr().lines();
    lines.iter().filter(|line| line.field("message").as_deref() == Some(message)).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_go_on_whatever_becomes_of_redis() {
    let mut redis = RedisServer::absent();
    let cluster = builder(StoreKind::Sqlite)
        .env("REDIS_URL", redis.url())
        .env("RATE_LIMIT_REDIS_TIMEOUT", "1s")
        .start(1)
        .await;
    let app = app(&cluster).await;
    ready(&cluster, "degraded", 200).await;
    served(&app).await;
    assert_eq!(cluster.client(0).get("/health/deep").await.expect(200).json()["status"], "degraded");
    redis.start_again().await;
    ready(&cluster, "ready", 200).await;
    let mut troubles = 1;

    redis.freeze();
    let (slowest, all) = served(&app).await;
    assert!(slowest < Duration::from_secs(5) && all < Duration::from_secs(6), "{slowest:?} of {all:?}");
    ready(&cluster, "degraded", 200).await;
    redis.thaw();
    ready(&cluster, "ready", 200).await;
    troubles += 1;
    assert_eq!(count(&cluster, LOST), 0);

    redis.kill().await;
    served(&app).await;
    ready(&cluster, "degraded", 200).await;
    redis.start_again().await;
    ready(&cluster, "ready", 200).await;
    troubles += 1;
    cluster.replicas()[0].process().stderr().message(LOST).await;

    let mut connection = redis.connect().await;
    run(&mut connection, "SCRIPT FLUSH").await;
    served(&app).await;
    run(&mut connection, "FLUSHALL").await;
    served(&app).await;
    eventually("the second loss", async || (count(&cluster, LOST) == 2).then_some(())).await;
    assert_eq!(count(&cluster, DOWN), troubles, "none of this is a trouble");

    let secret = format!("CONFIG SET requirepass {}", redis.password());
    for (breaks, why, heals) in [
        ("CONFIG SET requirepass another", "Password authentication failed", &*secret),
        ("CONFIG SET maxmemory 1", "OOM", "CONFIG SET maxmemory 0"),
        ("REPLICAOF 127.0.0.1 1", "read only replica", "REPLICAOF NO ONE"),
    ] {
        run(&mut connection, breaks).await;
        if heals == secret {
            // Who is connected needs no password.
            run(&mut connection, "CLIENT KILL TYPE normal").await;
        }
        served(&app).await;
        ready(&cluster, "degraded", 200).await;
        eventually(why, async || says_why(&cluster, why).then_some(())).await;
        served(&app).await;
        run(&mut connection, heals).await;
        ready(&cluster, "ready", 200).await;
        troubles += 1;
    }
    run(&mut connection, "SAVE").await;
    redis.kill().await;
    served(&app).await;
    redis.start_again().await;
    ready(&cluster, "ready", 200).await;
    troubles += 1;
    cluster.replicas()[0].process().stderr().message(REPLACED).await;
    assert_eq!(count(&cluster, LOST), 2, "it has what was saved");

    let log = cluster.replicas()[0].process().stderr();
    assert_eq!((count(&cluster, DOWN), count(&cluster, UP_AGAIN)), (troubles, troubles), "{log:?}");
    assert!(!log.text().contains(redis.password()), "{log:?}");

    let text = scrape(&prometheus(&cluster).await).await;
    let of_redis = |name: &str, label: &str| {
        value(&text, &format!("cryptoserve_{name}{{instance_id=\"replica-0\"{label}}}"))
    };
    let troubles = f64::from(u32::try_from(troubles).expect("a few"));
    let lost = u32::try_from(count(&cluster, LOST) + count(&cluster, REPLACED)).expect("a few");
    for (name, label, expected) in [
        ("redis_up", "", 1.0),
        ("redis_transitions_total", ",to=\"down\"", troubles),
        ("redis_transitions_total", ",to=\"up\"", troubles),
        ("redis_state_losses_total", "", lost.into()),
    ] {
        assert_eq!(of_redis(name, label), expected, "{name}: {text}");
    }
    assert!(of_redis("limit_local_requests_total", ",dimension=\"identity\"") >= 10.0, "{text}");
    // Most are served by leases.
    assert!(of_redis("redis_request_seconds_count", "") > 0.0, "{text}");
    assert!(!text.contains(redis.password()), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_policy_decides_what_holds_meanwhile() {
    for (policy, during) in [("local", "degraded"), ("open", "degraded"), ("closed", "unready")] {
        let mut redis = RedisServer::start().await;
        let mut connection = redis.connect().await;
        run(&mut connection, "CONFIG SET maxmemory-policy allkeys-lru").await;
        let cluster = builder(StoreKind::Sqlite)
            .env("REDIS_URL", redis.url())
            .env("RATE_LIMIT_IDENTITY", "60:2")
            .env("RATE_LIMIT_LOCAL_SHARE", "0.001")
            .env("RATE_LIMIT_ON_REDIS_FAILURE", policy)
            .env("RATE_LIMIT_REDIS_TIMEOUT", "1s")
            .start(1)
            .await;
        let log = cluster.replicas()[0].process().stderr();
        log.find("the eviction policy", |line| line.json()["policy"] == "allkeys-lru").await;
        let app = app(&cluster).await;
        encrypt_in(&app, "general").await.expect(200);
        redis.kill().await;
        ready(&cluster, during, if policy == "closed" { 503 } else { 200 }).await;
        let reply = encrypt_in(&app, "general").await;
        match policy {
            // A thousandth of one a second, from an empty bucket.
            "local" => drop(super::refused(reply, "identity")),
            "closed" => {
                let reply = reply.expect_problem(503, "limits_unavailable");
                assert_eq!(reply.header("retry-after"), Some("1"));
                let deep = cluster.client(0).get("/health/deep").await.expect(503);
                assert_eq!(deep.json()["checks"]["limits"]["status"], "unhealthy");
            }
            _ => {
                assert_eq!(reply.expect(200).header("ratelimit"), None);
                for _ in 0..5 {
                    encrypt_in(&app, "general").await.expect(200);
                }
            }
        }
        redis.start_again().await;
        ready(&cluster, "ready", 200).await;
        encrypt_in(&app, "general").await.expect(200);
    }
}
