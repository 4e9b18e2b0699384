use std::time::Instant;

use cryptoserve_tests::{Client, Cluster, PostgresServer, TokenRequest, eventually};
use futures_util::future::join_all;
use serde_json::json;

use super::{CONTEXTS, POOL, clients, plain};
use crate::support::{DECRYPT, ENCRYPT, admin, app, encrypt, sealed};

/// The shortest time between two polls.
const POLL_INTERVAL_MS: u128 = 375;

async fn repeat(clients: &[Client], times: usize, path: &str, body: &serde_json::Value) {
    let each = times / clients.len();
    join_all(clients.iter().map(async |client| {
        for _ in 0..each {
            client.post_json(path, body).await.expect(200);
        }
    }))
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn warm_requests_ask_the_database_nothing() {
    let requests = if std::env::var_os("CRYPTOSERVE_TEST_FULL").is_some() { 10_000 } else { 2_000 };
    let server = PostgresServer::start().await;
    let cluster = Cluster::builder().database_url(server.url()).env("LOG_SAMPLE", "0").start(1).await;
    let app = app(&cluster).await;
    let count = async |application| server.statements(application).await.len();
    // The identity is new: what is loaded before the replica has polled is loaded once more.
    let polled = count("cryptoserve/poll").await;
    eventually("two polls", async || (count("cryptoserve/poll").await > polled + 1).then_some(())).await;
    let ciphertext = encrypt(&app, "warm").await;
    let apps: Vec<_> = (0..8).map(|_| app.clone()).collect();

    let (poll, audit) = (count("cryptoserve/poll").await, count("cryptoserve/audit").await);
    let pool = count(POOL).await;
    let start = Instant::now();
    repeat(&apps, requests, ENCRYPT, &plain("user-pii")).await;
    repeat(&apps, requests / 10, DECRYPT, &sealed(ciphertext)).await;
    let took = start.elapsed();
    assert_eq!(server.statements(POOL).await.split_off(pool), Vec::<String>::new(), "{requests} encrypts");

    let polls = count("cryptoserve/poll").await - poll;
    let most = usize::try_from(took.as_millis() / POLL_INTERVAL_MS + 2).expect("a short test");
    assert!(polls <= most, "{polls} in {took:?}");
    let appends = count("cryptoserve/audit").await - audit;
    // One statement appends whatever waits, so never more than there are records.
    assert!(appends <= requests + requests / 10, "{appends}");
    #[expect(clippy::print_stdout, reason = "the figures are what one runs this for")]
    {
        println!(
            "{requests} encrypts in {took:?}: 0 statements of requests, {polls} polls, {appends} appends"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counted_messages_are_reserved_in_blocks() {
    let server = PostgresServer::start().await;
    let cluster = Cluster::builder().database_url(server.url()).start(1).await;
    let body = json!({ "name": "counted", "algorithm": "AES-256-GCM" });
    admin(&cluster).await.post_json(CONTEXTS, &body).await.expect(201);
    let app = app(&cluster).await;
    app.post_json(ENCRYPT, &plain("counted")).await.expect(200);
    let before = server.statements(POOL).await.len();
    let apps: Vec<_> = (0..4).map(|_| app.clone()).collect();
    repeat(&apps, 1000, ENCRYPT, &plain("counted")).await;
    let reservations = server.statements(POOL).await.len() - before;
    // Blocks of 256, 512 and 1024; on a slow machine, where one lasts longer than ten seconds, of 256.
    assert!((1..=4).contains(&reservations), "{reservations}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_many_ask_for_at_once_is_loaded_once() {
    let server = PostgresServer::start().await;
    let cluster = Cluster::builder().database_url(server.url()).start(2).await;
    let admin = admin(&cluster).await;
    let app = &clients(&cluster, TokenRequest::identity("app")).await[1];
    admin.post_json(CONTEXTS, &json!({ "name": "cold" })).await.expect(201);
    encrypt(app, "the identity is known, and the context `user-pii`").await;
    // What is loaded before the replica has polled is loaded once more. It knows of the last change when it has
    // forgotten what it held.
    admin.delete(&format!("{CONTEXTS}/user-pii")).await.expect(200);
    eventually("the replica knows of the last change", async || {
        (app.post_json(ENCRYPT, &plain("user-pii")).await.status == 404).then_some(())
    })
    .await;
    let before = server.statements(POOL).await.len();

    let own = server.connect().await;
    own.batch_execute("BEGIN; LOCK TABLE contexts").await.expect("locked");
    let body = plain("cold");
    let asking = join_all((0..50).map(|_| app.post_json(ENCRYPT, &body)));
    let unlocking = async {
        let monitor = server.connect().await;
        let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'";
        eventually("somebody waits", async || {
            (monitor.query_one(waiting, &[]).await.expect("a count").get::<_, i64>(0) > 0).then_some(())
        })
        .await;
        own.batch_execute("COMMIT").await.expect("unlocked");
    };
    let (replies, ()) = tokio::join!(asking, unlocking);
    for reply in replies {
        reply.expect(200);
    }
    let loads = server.statements(POOL).await.split_off(before);
    assert_eq!(loads.len(), 1, "{loads:#?}");
}
