use std::time::{Duration, Instant};

use cryptoserve_tests::{Cluster, ClusterBuilder, StoreKind, eventually};
use futures_util::future::join_all;
use serde_json::json;
use tokio_postgres::Client;

use super::{CONTEXTS, PATIENCE, go_on, is_unavailable, warmed};
use crate::support::{admin, builder};

fn postgres() -> ClusterBuilder {
    builder(StoreKind::Postgres)
}

/// The processes that serve the pool's connections.
async fn pids(database: &Client, condition: &str) -> Vec<i32> {
    let sql = format!(
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database() \
         AND application_name = 'cryptoserve/pool' {condition} ORDER BY pid"
    );
    database.query(&sql, &[]).await.expect("a list").iter().map(|row| row.get(0)).collect()
}

async fn eventually_open(database: &Client, count: usize) {
    eventually(&format!("{count} connections"), async || {
        (pids(database, "").await.len() == count).then_some(())
    })
    .await;
}

async fn locked(cluster: &Cluster, table: &str) -> Client {
    let holder = cluster.database().connect().await;
    holder.batch_execute(&format!("BEGIN; LOCK TABLE {table}")).await.expect("locked");
    holder
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_load_connections_are_opened_up_to_the_limit_and_closed_again() {
    let cluster = postgres()
        .env("DB_POOL_SIZE", "2")
        .env("DB_MAX_OVERFLOW", "3")
        .env("DB_POOL_TIMEOUT", "1s")
        .env("DB_QUERY_TIMEOUT", "30s")
        .start(1)
        .await;
    let admin = &admin(&cluster).await;
    admin.get(CONTEXTS).await.expect(200);
    let database = cluster.database().connect().await;
    let holder = locked(&cluster, "contexts").await;

    // Five wait for the table, and five for one of their connections.
    let asking = join_all((0..10).map(async |_| {
        let start = Instant::now();
        (admin.get(CONTEXTS).await, start.elapsed())
    }));
    let refusals = async {
        eventually_open(&database, 5).await;
        // None of these gets a connection any more.
        for (reply, took) in join_all((0..3).map(async |_| {
            let start = Instant::now();
            (admin.get(CONTEXTS).await, start.elapsed())
        }))
        .await
        {
            is_unavailable(reply);
            assert!((Duration::from_secs(1)..PATIENCE).contains(&took), "{took:?}");
        }
        assert_eq!(pids(&database, "").await.len(), 5);
        holder.batch_execute("ROLLBACK").await.expect("unlocked");
    };
    let (replies, ()) = tokio::join!(asking, refusals);
    let (good, refused): (Vec<_>, Vec<_>) = replies.into_iter().partition(|(reply, _)| reply.status == 200);
    assert_eq!((good.len(), refused.len()), (5, 5));
    refused.into_iter().for_each(|(reply, _)| is_unavailable(reply));

    eventually_open(&database, 2).await;
    let kept = pids(&database, "").await;
    admin.get(CONTEXTS).await.expect(200);
    assert_eq!(pids(&database, "").await, kept);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn old_connections_are_replaced_and_no_request_notices() {
    let cluster = postgres().env("DB_POOL_RECYCLE", "1s").start(1).await;
    let admin = admin(&cluster).await;
    admin.get(CONTEXTS).await.expect(200);
    let database = cluster.database().connect().await;
    let first = pids(&database, "").await;
    assert!(!first.is_empty());
    eventually("other connections", async || {
        admin.get(CONTEXTS).await.expect(200);
        let now = pids(&database, "").await;
        (!now.is_empty() && now.iter().all(|pid| !first.contains(pid))).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_locked_table_costs_bounded_time_and_nothing_is_left_waiting_for_it() {
    let cluster = postgres()
        .env("DB_POOL_SIZE", "2")
        .env("DB_MAX_OVERFLOW", "0")
        .env("DB_POOL_TIMEOUT", "1s")
        .env("DB_QUERY_TIMEOUT", "1s")
        .start(1)
        .await;
    let (admins, traffic) = warmed(&cluster).await;
    let database = cluster.database().connect().await;
    let holder = locked(&cluster, "contexts").await;
    for _ in 0..3 {
        for (reply, took) in join_all((0..3).map(async |_| {
            let start = Instant::now();
            (admins[0].get(CONTEXTS).await, start.elapsed())
        }))
        .await
        {
            is_unavailable(reply);
            assert!((Duration::from_secs(1)..PATIENCE).contains(&took), "{took:?}");
        }
    }
    go_on(&traffic).await;
    // What was given up would otherwise hold a connection of the server for as long as the lock.
    eventually("nothing waits", async || {
        pids(&database, "AND wait_event_type = 'Lock'").await.is_empty().then_some(())
    })
    .await;
    holder.batch_execute("ROLLBACK").await.expect("unlocked");
    admins[0].get(CONTEXTS).await.expect(200);
    assert!(pids(&database, "").await.len() <= 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_that_is_given_up_does_not_happen_later() {
    let cluster = postgres().env("DB_QUERY_TIMEOUT", "1s").start(1).await;
    let admin = admin(&cluster).await;
    admin.get(CONTEXTS).await.expect(200);
    let holder = locked(&cluster, "contexts").await;
    let body = json!({ "name": "late" });
    is_unavailable(admin.post_json(CONTEXTS, &body).await);
    holder.batch_execute("ROLLBACK").await.expect("unlocked");
    admin.get(&format!("{CONTEXTS}/late")).await.expect_problem(404, "context_not_found");
    admin.post_json(CONTEXTS, &body).await.expect(201);
}
