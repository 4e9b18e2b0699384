use cryptoserve_tests::{Reply, StoreKind, TokenRequest, eventually};
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::{admin, app, on_each_store, one};

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
        assert_eq!(checks["crypto"]["algorithms"].as_array().map(Vec::len), Some(5), "{report}");
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

#[tokio::test]
async fn a_store_that_hangs_is_told_soon_and_liveness_asks_it_nothing() {
    let cluster =
        cryptoserve_tests::Cluster::builder().store(StoreKind::Postgres).through_proxy().start(1).await;
    let admin = admin(&cluster).await;
    admin.get(DEEP).await.expect(200);
    cluster.postgres_proxy().hang().await;
    let report = eventually("the deep check notices", async || {
        let reply = admin.get(DEEP).await;
        (reply.status == 503).then(|| reply.json())
    })
    .await;
    assert_eq!(
        (&report["status"], &report["checks"]["store"]["status"]),
        (&json!("unhealthy"), &json!("unhealthy"))
    );
    assert!(
        report["checks"]["store"]["latency_ms"].as_f64().is_some_and(|latency| latency < 500.0),
        "{report}"
    );
    assert_ne!(report["checks"]["store"]["error"], Value::Null);
    assert_eq!(report["checks"]["crypto"]["status"], "healthy");
    for path in ["/health", "/health/live", "/health/ready"] {
        cluster.client(0).get(path).await.expect(200);
    }
}
