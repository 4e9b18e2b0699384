use std::time::{Duration, Instant};

use cryptoserve_tests::{Cluster, LogLine, RawConnection, StoreKind, TokenRequest, eventually};
use rustix::process::Signal;
use serde_json::json;

use crate::support::{ENCRYPT, app, base64, builder, encrypt, one};

const ENCRYPT_STREAM: &str = "/api/v1/crypto/encrypt/stream?context=general";

/// Until the listener is closed.
async fn closed(cluster: &Cluster) {
    let address = cluster.replicas()[0].address();
    eventually("the listener to close", async || {
        tokio::net::TcpStream::connect(address).await.is_err().then_some(())
    })
    .await;
}

/// A stream whose beginning was sent, and whose reply has begun.
async fn open_stream(cluster: &Cluster) -> RawConnection {
    let token = cluster.token(&TokenRequest::identity("app")).await;
    let mut connection = RawConnection::open(cluster.replicas()[0].address()).await;
    let head = format!("POST {ENCRYPT_STREAM} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n");
    connection.send(head + "Transfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n").await;
    assert!(connection.read_head().await.starts_with("HTTP/1.1 200"));
    connection
}

#[tokio::test]
async fn balancers_get_time_to_notice_while_requests_still_succeed() {
    let mut cluster = builder(StoreKind::Sqlite).env("SHUTDOWN_DELAY", "2s").start(1).await;
    let app = app(&cluster).await;
    let started = Instant::now();
    cluster.replicas()[0].process().terminate();
    let unready = eventually("unready", async || {
        let reply = cluster.client(0).get("/health/ready").await;
        (reply.status == 503).then_some(reply)
    })
    .await;
    assert_eq!(unready.json(), json!({ "status": "unready", "reason": "draining" }));
    for _ in 0..5 {
        encrypt(&app, "still").await;
        cluster.client(0).get("/health/live").await.expect(200);
    }
    assert!(cluster.replica_mut(0).ended().await.success());
    assert!(started.elapsed() >= Duration::from_secs(2));
    cluster.replicas()[0].log().message("stopped").await;
}

#[tokio::test]
async fn what_is_under_way_is_finished_and_idle_connections_are_closed() {
    let mut cluster = one(StoreKind::Sqlite).await;
    let mut idle = RawConnection::open(cluster.replicas()[0].address()).await;
    idle.send("GET /health HTTP/1.1\r\nHost: x\r\n\r\n").await;
    idle.read_reply().await;
    let mut stream = open_stream(&cluster).await;

    cluster.replicas()[0].process().terminate();
    closed(&cluster).await;
    assert_eq!(idle.read_to_end().await, "");
    stream.send("4\r\nlast\r\n0\r\n\r\n").await;
    assert!(stream.read_to_end().await.ends_with("\r\n0\r\n\r\n"), "an incomplete reply");
    assert!(cluster.replica_mut(0).ended().await.success());
}

#[tokio::test]
async fn what_does_not_end_in_time_is_cut_and_the_exit_says_so() {
    let mut cluster = builder(StoreKind::Sqlite).env("SHUTDOWN_TIMEOUT", "500ms").start(1).await;
    let (mut one, mut other) = (open_stream(&cluster).await, open_stream(&cluster).await);
    // Nobody waits for an answer here.
    let mut half_a_head = RawConnection::open(cluster.replicas()[0].address()).await;
    half_a_head.send("GET /health HT").await;
    let mut idle = RawConnection::open(cluster.replicas()[0].address()).await;
    idle.send("GET /health HTTP/1.1\r\nHost: x\r\n\r\n").await;
    idle.read_reply().await;
    cluster.replicas()[0].process().terminate();
    let status = cluster.replica_mut(0).ended().await;
    assert_eq!(status.code(), Some(1));
    let log = cluster.replicas()[0].log().text();
    assert!(log.contains("2 connections were cut"), "{log}");
    for connection in [&mut one, &mut other] {
        assert!(!connection.read_to_end().await.ends_with("0\r\n\r\n"), "a reply that looks complete");
    }
}

#[tokio::test]
async fn the_last_reply_on_a_connection_says_so() {
    let mut cluster = builder(StoreKind::Sqlite).env("SHUTDOWN_DELAY", "1s").start(1).await;
    let token = cluster.token(&TokenRequest::identity("app")).await;
    let body = json!({ "context": "general", "plaintext": base64("x") }).to_string();
    let (first, rest) = body.split_at(10);
    let head = format!(
        "POST {ENCRYPT} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let mut connection = RawConnection::open(cluster.replicas()[0].address()).await;
    connection.send(format!("{head}{body}")).await;
    assert!(!connection.read_reply().await.to_lowercase().contains("connection: close"));
    cluster.replicas()[0].process().terminate();
    cluster.replicas()[0].log().message("draining: no longer ready").await;
    connection.send(format!("{head}{body}")).await;
    assert!(
        !connection.read_reply().await.to_lowercase().contains("connection: close"),
        "others come as well"
    );
    connection.send(format!("{head}{first}")).await;
    closed(&cluster).await;
    connection.send(rest).await;
    let reply = connection.read_to_end().await;
    assert!(
        reply.starts_with("HTTP/1.1 200") && reply.to_lowercase().contains("connection: close"),
        "{reply}"
    );
    assert!(cluster.replica_mut(0).ended().await.success());
}

#[tokio::test]
async fn sighup_reads_the_log_level_again_and_ends_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("level");
    let write = |level: &str| std::fs::write(&file, level).expect("a writable directory");
    write("info\n");
    let cluster = builder(StoreKind::Sqlite).env("LOG_LEVEL_FILE", file.to_string_lossy()).start(1).await;
    let app = app(&cluster).await;
    let replica = &cluster.replicas()[0];
    let hang_up = async |count: usize, message: &str| {
        replica.process().signal(Signal::HUP);
        eventually(message, async || (replica.log().text().matches(message).count() == count).then_some(()))
            .await;
    };
    let encrypt = async |id: &str| {
        let app = app.clone().with_header("x-request-id", id);
        encrypt(&app, "x").await;
    };
    write("error");
    hang_up(1, "the log level is read again").await;
    // A line that comes now may come before the level is in force; one that comes after another, may not.
    eventually("silence", async || {
        let lines = replica.log().lines().len();
        encrypt("not-to-be-seen").await;
        encrypt("not-to-be-seen").await;
        (replica.log().lines().len() == lines).then_some(())
    })
    .await;
    write("nonsense");
    hang_up(1, "the log level stays as it is").await;
    write("debug");
    hang_up(1, "the log level was read again").await;
    encrypt("to-be-seen").await;
    let seen = |line: &LogLine| line.field("request_id").as_deref() == Some("to-be-seen");
    replica.log().find("the request", seen).await;
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    let mut cluster = builder(StoreKind::Sqlite).env("SHUTDOWN_DELAY", "1h").start(1).await;
    cluster.replicas()[0].process().terminate();
    cluster.replicas()[0].log().message("draining: no longer ready").await;
    cluster.replicas()[0].process().terminate();
    assert_eq!(cluster.replica_mut(0).ended().await.code(), Some(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_request_is_in_the_audit_trail_after_the_end() {
    const EACH: i64 = 10;
    let mut cluster = Cluster::builder().store(StoreKind::Postgres).through_proxy().start(1).await;
    let app = app(&cluster).await;
    app.get("/api/v1/contexts").await.expect(200);
    // Records are written later than requests come, so some still wait at the end.
    cluster.postgres_proxy().delay(Duration::from_millis(150)).await;
    for _ in 0..EACH {
        encrypt(&app, "x").await;
        let body = json!({ "context": "none", "plaintext": base64("x") });
        app.post_json(ENCRYPT, &body).await.expect_problem(404, "context_not_found");
        app.post_bytes(ENCRYPT_STREAM, "x").await.expect(200);
    }
    // One that is cut by its client counts too.
    drop(open_stream(&cluster).await);
    cluster.replicas()[0].process().terminate();
    assert!(cluster.replica_mut(0).ended().await.success());

    let database = cluster.database().connect().await;
    let counted = "SELECT operation, CASE WHEN outcome IN ('client_gone', 'body_incomplete') THEN 'cut' ELSE outcome END, \
        count(*) FROM audit_records WHERE request_id <> '' GROUP BY 1, 2 ORDER BY 1, 2";
    let rows = database.query(counted, &[]).await.expect("counts");
    let rows: Vec<(String, String, i64)> =
        rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect();
    let expected = [
        ("contexts.list", "success", 1),
        ("encrypt", "context_not_found", EACH),
        ("encrypt", "success", EACH),
        ("stream.encrypt", "cut", 1),
        ("stream.encrypt", "success", EACH),
    ];
    assert_eq!(
        rows,
        expected.map(|(operation, outcome, count)| (operation.to_owned(), outcome.to_owned(), count))
    );
}
