use std::time::{Duration, Instant};

use cryptoserve_tests::{Client, FaultProxy, StoreKind, TokenRequest, eventually};

use super::{CONTEXTS, PATIENCE, clients, go_on, impatient, is_unavailable, plain, refused_in_time, warmed};
use crate::support::{DECRYPT, ENCRYPT, encrypt, sealed};

/// Longest time between two confirmations of a view while all is well.
const POLL_INTERVAL: Duration = Duration::from_millis(625);

/// The whole of a replica's life without its database, which `break_it` takes away.
async fn outlives(break_it: impl AsyncFn(&FaultProxy)) {
    const STALENESS: Duration = Duration::from_secs(4);
    let cluster = impatient()
        .store(StoreKind::Postgres)
        .through_proxy()
        .env("KEYRING_MAX_STALENESS", "4s")
        .start(1)
        .await;
    let app = &clients(&cluster, TokenRequest::identity("app")).await[0];
    let ciphertext = encrypt(app, "warm").await;
    let (admins, traffic) = warmed(&cluster).await;
    let proxy = cluster.postgres_proxy();

    let broken = Instant::now();
    break_it(proxy).await;
    go_on(&traffic).await;
    app.post_json(DECRYPT, &sealed(&ciphertext)).await.expect(200);
    // Cold: nobody has used this context yet.
    let (cold, ()) = tokio::join!(asks_cold(app), refused_in_time(&admins[0]));
    assert!(cold < PATIENCE, "{cold:?}");

    let stale = eventually("the view is too old", async || {
        let reply = app.post_json(ENCRYPT, &plain("user-pii")).await;
        (reply.status == 503).then_some(reply)
    })
    .await;
    let took = broken.elapsed();
    is_unavailable(stale);
    assert!(took > STALENESS - POLL_INTERVAL, "{took:?}");
    let unready = cluster.client(0).get("/health/ready").await.expect(503);
    assert_eq!(unready.text("reason"), "the view of the database is too old");
    cluster.client(0).get("/health/live").await.expect(200);
    let log = cluster.replicas()[0].log();
    log.message("the database cannot be asked what changed; working on what is known").await;

    proxy.restore().await;
    eventually("the view is fresh again", async || {
        (app.post_json(ENCRYPT, &plain("user-pii")).await.status == 200).then_some(())
    })
    .await;
    log.message("the database answers again").await;
    eventually("the database is used again", async || {
        (admins[0].get(CONTEXTS).await.status == 200).then_some(())
    })
    .await;
    app.post_json(ENCRYPT, &plain("general")).await.expect(200);
    cluster.client(0).get("/health/ready").await.expect(200);
}

/// How long a context that is not in memory takes to be refused.
async fn asks_cold(app: &Client) -> Duration {
    let start = Instant::now();
    is_unavailable(app.post_json(ENCRYPT, &plain("never-heard-of")).await);
    start.elapsed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_refuses_is_outlived_for_as_long_as_allowed() {
    outlives(FaultProxy::cut).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_says_nothing_is_outlived_for_as_long_as_allowed() {
    outlives(FaultProxy::hang).await;
}
