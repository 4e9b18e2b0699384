use cryptoserve_core::audit::Ended;
use cryptoserve_tests::{StoreKind, eventually};
use serde_json::json;

use super::chains::Trail;
use crate::support::{ENCRYPT, app, base64, builder};

const ENCRYPTED: &str =
    "SELECT count(*) FROM audit_records WHERE operation = 'encrypt' AND outcome = 'success'";
const BLOCK: &str = "LOCK TABLE audit_records IN ACCESS EXCLUSIVE MODE";
/// Records that fit into the smallest queue.
const ROOM: i64 = 64;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blocked_database_ends_in_503_and_a_crash_costs_what_was_in_the_queue() {
    let mut cluster = builder(StoreKind::Postgres)
        .env("AUDIT_QUEUE_BYTES", "64KiB")
        .env("DB_QUERY_TIMEOUT", "500ms")
        .start(1)
        .await;
    let app = app(&cluster).await;
    let body = json!({ "context": "general", "plaintext": base64("x") });
    app.post_json(ENCRYPT, &body).await.expect(200);
    let mut acknowledged = 1;
    let (mut blocker, database) = (cluster.database().connect().await, cluster.database().connect().await);
    let count = async || database.query_one(ENCRYPTED, &[]).await.expect("a count").get::<_, i64>(0);
    eventually("the first record", async || (count().await == 1).then_some(())).await;

    let block = blocker.transaction().await.expect("begun");
    block.batch_execute(BLOCK).await.expect("locked");
    loop {
        let reply = app.post_json(ENCRYPT, &body).await;
        if reply.status != 200 {
            reply.expect_problem(503, "audit_unavailable");
            break;
        }
        acknowledged += 1;
        assert!(acknowledged <= ROOM + 1, "more than the queue holds");
    }
    app.get("/health/live").await.expect(200);
    block.rollback().await.expect("unlocked");
    eventually("an answer", async || (app.post_json(ENCRYPT, &body).await.status == 200).then_some(())).await;
    acknowledged += 1;
    eventually("every record, once", async || (count().await == acknowledged).then_some(())).await;

    // Batched: what is in the queue and not yet in the database is lost with the process, and nothing else is.
    let block = blocker.transaction().await.expect("begun");
    block.batch_execute(BLOCK).await.expect("locked");
    for _ in 0..10 {
        app.post_json(ENCRYPT, &body).await.expect(200);
    }
    cluster.replicas()[0].process().kill();
    cluster.replica_mut(0).ended().await;
    // The server would go on with what it was asked last.
    let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
        WHERE datname = current_database() AND application_name = 'cryptoserve/audit'";
    database.query_one(end, &[]).await.expect("ended");
    block.rollback().await.expect("unlocked");
    assert_eq!(count().await, acknowledged);

    let long_ago = "UPDATE replicas SET seen_at = seen_at - interval '1 hour'; \
        UPDATE audit_chains SET appended_at = appended_at - interval '1 hour'";
    database.batch_execute(long_ago).await.expect("long ago");
    cluster.replica_mut(0).start_again().await;
    let crashed = "SELECT detail FROM audit_records WHERE operation = 'audit.crashed'";
    let detail: String = eventually("the crash is recorded", async || {
        database.query_opt(crashed, &[]).await.expect("read").map(|row| row.get(0))
    })
    .await;
    let trail = Trail::of(&cluster, StoreKind::Postgres).await;
    let crashed: Vec<_> =
        trail.chains.iter().filter(|(chain, _)| chain.ended == Some(Ended::Crashed)).collect();
    let [(chain, records)] = &crashed[..] else { panic!("{} crashed", crashed.len()) };
    let mac = hex::encode(chain.head.mac);
    assert!(
        detail.starts_with(&format!("chain {}, last seq {}, mac {mac}, ", chain.id, chain.head.seq)),
        "{detail}"
    );
    assert_eq!(records.len() as u64, chain.head.seq + 1);
    let partitions = "SELECT count(*) FROM pg_inherits WHERE inhparent = 'audit_records'::regclass";
    eventually("a week of days and the default", async || {
        (database.query_one(partitions, &[]).await.expect("a count").get::<_, i64>(0) == 9).then_some(())
    })
    .await;
    let in_default =
        database.query_one("SELECT count(*) FROM audit_records_default", &[]).await.expect("a count");
    assert_eq!(in_default.get::<_, i64>(0), 0, "all have a day");

    // One that was only paused goes on in another chain.
    let app = self::app(&cluster).await;
    cluster.replicas()[0].process().pause();
    database.batch_execute(long_ago).await.expect("long ago");
    cluster.grow(1).await;
    let crashed = "SELECT count(*) FROM audit_records WHERE operation = 'audit.crashed'";
    eventually("its chain is closed", async || {
        (database.query_one(crashed, &[]).await.expect("a count").get::<_, i64>(0) == 2).then_some(())
    })
    .await;
    cluster.replicas()[0].process().resume();
    app.post_json(ENCRYPT, &body).await.expect(200);
    eventually("its record", async || (count().await == acknowledged + 1).then_some(())).await;
    let line = "somebody ended this process's audit chain, as if it had died; going on with a new one";
    cluster.replicas()[0].log().message(line).await;
    Trail::of(&cluster, StoreKind::Postgres).await;
}
