//! What holds whatever happens to PostgreSQL: it is asked seldom, and its troubles are outlived.

use std::time::{Duration, Instant};

use cryptoserve_tests::{Client, Cluster, ClusterBuilder, Reply, TokenRequest, Traffic, eventually};
use serde_json::{Value, json};

use crate::support::ENCRYPT;

mod failover;
mod outage;
mod pgbouncer;
mod pool;
mod restart;
mod tls;
mod warm;

/// The connections that requests use.
const POOL: &str = "cryptoserve/pool";
const CONTEXTS: &str = "/api/admin/contexts";

/// A cluster whose time-outs are short enough for a test to wait for.
fn impatient() -> ClusterBuilder {
    Cluster::builder().env("DB_POOL_TIMEOUT", "2s").env("DB_QUERY_TIMEOUT", "1s")
}

/// Longest that a request of an [`impatient`] cluster may take: it may wait for a connection, find it dead or slow, and
/// for the reads before a change once more. The rest is for a machine that does other things meanwhile.
const PATIENCE: Duration = Duration::from_secs(10);

/// Something to encrypt.
fn plain(context: &str) -> Value {
    json!({ "context": context, "plaintext": "" })
}

/// A client of each replica with one token.
async fn clients(cluster: &Cluster, request: TokenRequest) -> Vec<Client> {
    let token = cluster.token(&request).await;
    (0..cluster.replicas().len()).map(|n| cluster.client(n).with_token(&token)).collect()
}

/// Clients of each replica for an administrator whom it knows, and encryption that goes on there.
async fn warmed(cluster: &Cluster) -> (Vec<Client>, Vec<Traffic>) {
    let admins = clients(cluster, TokenRequest::admin()).await;
    for admin in &admins {
        admin.get(CONTEXTS).await.expect(200);
    }
    let apps = clients(cluster, TokenRequest::identity("app")).await;
    let traffic: Vec<_> =
        apps.into_iter().map(|app| Traffic::start(app, ENCRYPT, plain("user-pii"))).collect();
    go_on(&traffic).await;
    (admins, traffic)
}

async fn go_on(traffic: &[Traffic]) {
    for traffic in traffic {
        traffic.goes_on().await;
    }
}

/// Asks for what the database must be asked for: refused as it should be, and in time.
async fn refused_in_time(admin: &Client) {
    for creates in [false, true] {
        let start = Instant::now();
        let reply = match creates {
            false => admin.get(CONTEXTS).await,
            true => admin.post_json(CONTEXTS, &json!({ "name": "never" })).await,
        };
        let took = start.elapsed();
        is_unavailable(reply);
        assert!(took < PATIENCE, "{took:?}");
    }
}

/// Creates a context, as soon as the database can be used.
async fn creates(admin: &Client, name: &str) {
    eventually("a change is made", async || {
        let reply = admin.post_json(CONTEXTS, &json!({ "name": name })).await;
        assert!([201, 503].contains(&reply.status), "{reply:?}");
        (reply.status == 201).then_some(())
    })
    .await;
}

fn is_unavailable(reply: Reply) {
    let reply = reply.expect_problem(503, "store_unavailable");
    assert_eq!(reply.header("retry-after"), Some("1"), "{reply:?}");
}
