use cryptoserve_tests::{Cluster, PostgresServer, Reply, StoreKind, TokenRequest, eventually};
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::{admin, app, on_each_store, one, operator};

const DEEP: &str = "/health/deep";

#[tokio::test]
async fn whoever_asks_learns_whether_the_process_runs() {
    let cluster = one(StoreKind::Sqlite).await;
    for client in [cluster.client(0), cluster.client(0).with_token("nonsense")] {
        for (path, status) in [("/health", "healthy"), ("/health/live", "alive"), ("/health/ready", "ready")]
        {
            let reply = client.get(path).await.expect(200);
            assert_eq!(reply.json(), json!({ "status": status }), "{path}");
            assert_eq!(reply.header("content-type"), Some("application/json"));
        }
    }
}

/// The names of the checks, each with nothing but its state.
fn states(reply: &Reply) -> Vec<String> {
    let report = reply.json();
    let checks = report["checks"].as_object().expect("checks");
    assert_eq!(report, json!({ "status": "healthy", "checks": checks }));
    for (name, check) in checks {
        assert_eq!(check, &json!({ "status": "healthy" }), "{name}");
    }
    checks.keys().cloned().collect()
}

on_each_store! {
    async fn details_are_for_administrators(store) {
        let cluster = one(store).await;
        let anonymous = states(&cluster.client(0).get(DEEP).await.expect(200));
        assert!(["store", "keyring", "audit", "crypto"].iter().all(|name| anonymous.contains(&(*name).to_owned())));
        assert_eq!(states(&app(&cluster).await.get(DEEP).await.expect(200)), anonymous);
        cluster.client(0).with_token("nonsense").get(DEEP).await.expect_problem(401, "unauthenticated");

        // Of those who run the deployment: what a tenant's administrator sees must not tell of other tenants.
        let operator = cluster.client(0).with_token(&cluster.token(&TokenRequest::operator()).await);
        let tenant = operator.post_json("/api/admin/tenants", &json!({ "name": "acme" })).await.expect(201);
        let theirs = cluster.client(0).with_token(&tenant.text("access_token"));
        assert_eq!(states(&theirs.get(DEEP).await.expect(200)), anonymous);
        assert!(operator.get(DEEP).await.expect(200).json()["checks"]["keyring"]["identities"].is_u64());

        let report = admin(&cluster).await.get(DEEP).await.expect(200).json();
        let checks = &report["checks"];
        assert!(checks["store"]["latency_ms"].as_f64().is_some_and(|latency| latency > 0.0), "{report}");
        assert!(checks["keyring"]["age_ms"].is_u64(), "{report}");
        let algorithms = checks["crypto"]["algorithms"].as_array().expect("algorithms");
        assert!(algorithms.len() == 5 && algorithms.iter().all(|one| one["status"] == "healthy"), "{report}");
        assert_eq!(checks["pool"].is_object(), store == StoreKind::Postgres, "{report}");
        assert_eq!(checks["service"]["version"], env!("CARGO_PKG_VERSION"));
        assert_eq!(checks["service"]["instance_id"], "replica-0");
    }
}

#[tokio::test]
async fn however_many_ask_the_deep_check_runs_at_most_once_a_second() {
    let cluster = one(StoreKind::Sqlite).await;
    let admin = admin(&cluster).await;
    // Two checks do not take the same time to the nanosecond.
    let latency = |reply: Reply| reply.expect(200).json()["checks"]["store"]["latency_ms"].to_string();
    let started = std::time::Instant::now();
    let mut seen: Vec<String> =
        join_all((0..50).map(|_| admin.get(DEEP))).await.into_iter().map(latency).collect();
    seen.dedup();
    seen.sort();
    seen.dedup();
    let most = 1 + started.elapsed().as_secs();
    assert!(seen.len() as u64 <= most, "{seen:?}");
    eventually("another check", async || (!seen.contains(&latency(admin.get(DEEP).await))).then_some(()))
        .await;
}

/// What one check says, and why.
fn told<'a>(report: &'a Value, check: &str) -> [&'a Value; 2] {
    ["status", "error"].map(|field| &report["checks"][check][field])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_path_answers_while_the_database_is_frozen_and_redis_swallows_what_it_is_sent() {
    let postgres = PostgresServer::start().await;
    let builder = Cluster::builder().database_url(postgres.url()).redis().through_proxy();
    // One that must wait as long as it is allowed to would never answer.
    let cluster = builder.env("DB_QUERY_TIMEOUT", "5m").env("DB_POOL_TIMEOUT", "5m").start(1).await;
    let operator = operator(&cluster).await;
    let report = operator.get(DEEP).await.expect(200).json();
    for check in ["store", "redis"] {
        assert_eq!(told(&report, check), [&json!("healthy"), &Value::Null], "{report}");
        assert_eq!(report["checks"][check]["timeout_ms"], 350.0, "{report}");
    }
    let pool = &report["checks"]["pool"];
    assert_eq!((&pool["status"], &pool["max"], &pool["waiting"]), (&json!("healthy"), &json!(30), &json!(0)));
    assert_eq!(
        pool["size"].as_u64(),
        pool["in_use"].as_u64().zip(pool["available"].as_u64()).map(|(a, b)| a + b)
    );
    assert!(pool["usage_percent"].as_f64().is_some_and(|percent| percent < 50.0), "{report}");

    postgres.freeze();
    cluster.redis_proxy().hang().await;
    let (live, ready) = (cluster.client(0), cluster.client(0));
    let report = eventually("both are noticed", async || {
        // All at once: whoever comes while a check runs waits for it, and nobody for longer.
        let deep = join_all((0..20).map(|_| operator.get(DEEP)));
        let (deep, live, _) = tokio::join!(deep, live.get("/health/live"), ready.get("/health/ready"));
        live.expect(200);
        let reports: Vec<Value> = deep.iter().map(Reply::json).collect();
        let noticed = |report: &Value| {
            told(report, "store")[0] == "unhealthy" && told(report, "redis")[0] == "degraded"
        };
        reports.into_iter().find(noticed)
    })
    .await;
    assert_eq!(told(&report, "store")[1], "timed out", "{report}");
    assert_eq!(
        (&report["status"], &report["checks"]["limits"]["status"]),
        (&json!("unhealthy"), &json!("degraded"))
    );
    for (check, status) in
        [("crypto", "healthy"), ("keyring", "healthy"), ("audit", "healthy"), ("service", "healthy")]
    {
        assert_eq!(report["checks"][check]["status"], status, "{check} in {report}");
    }
    cluster.client(0).get("/health").await.expect(200);
    cluster.client(0).get("/health/live").await.expect(200);
    let ready = cluster.client(0).get("/health/ready").await.expect(200).json();
    assert_eq!(ready["status"], "degraded", "what it knows still holds, and it limits on its own");
    // A stranger learns the states, and an operator whose database is gone is still one.
    let states = cluster.client(0).get(DEEP).await.expect(503).json();
    assert_eq!(states["checks"]["store"], json!({ "status": "unhealthy" }));
    let status = operator.get("/api/admin/status").await.expect(200).json();
    assert_eq!((&status["status"], &status["replicas"]), (&json!("unhealthy"), &Value::Null));

    postgres.thaw();
    cluster.redis_proxy().restore().await;
    eventually("recovery", async || (operator.get(DEEP).await.json()["status"] == "healthy").then_some(()))
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operators_see_which_replicas_there_are_and_what_they_run() {
    let mut cluster = Cluster::builder().store(StoreKind::Postgres).start(2).await;
    let operator = operator(&cluster).await;
    let status = operator.get("/api/admin/status").await.expect(200).json();
    let [first, second] = status["replicas"].as_array().expect("replicas").as_slice() else {
        panic!("{status}")
    };
    for (replica, name) in [(first, "replica-0"), (second, "replica-1")] {
        assert_eq!((&replica["instance_id"], &replica["alive"]), (&json!(name), &json!(true)), "{status}");
        assert_eq!(replica["release"], env!("CARGO_PKG_VERSION"));
        assert_eq!(replica["master_keys"].as_array().map(Vec::len), Some(1), "{status}");
        assert!(replica["replica_id"].is_string() && replica["seen_at"].is_string(), "{status}");
    }
    assert_eq!((&status["alive"], &status["instance_id"]), (&json!(2), &json!("replica-0")));
    assert_eq!(status["releases"], json!([env!("CARGO_PKG_VERSION")]));
    assert_eq!(status["dependencies"]["store"]["status"], "healthy");
    cluster.replicas()[1].process().terminate();
    assert!(cluster.replica_mut(1).ended().await.success());
    assert_eq!(operator.get("/api/admin/status").await.expect(200).json()["alive"], 1);
    admin(&cluster).await.get("/api/admin/status").await.expect_problem(403, "scope_missing");
}
