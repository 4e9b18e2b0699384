mod secrets;

use std::io::Read;
use std::net::SocketAddr;
use std::process::{Child, Stdio};
use std::time::Duration;

use cryptoserve_tests::{Client, Cluster, ClusterBuilder, LogLine, Port, StoreKind, eventually};
use rustix::process::{Pid, Signal};
use serde_json::{Value, json};

use crate::support::{DECRYPT, ENCRYPT, admin, app, builder, encrypt, one, sealed};

async fn line(cluster: &Cluster, request_id: &str) -> Value {
    let wanted = |line: &LogLine| line.field("request_id").as_deref() == Some(request_id);
    cluster.replicas()[0].log().find(request_id, wanted).await.json()
}

#[tokio::test]
async fn a_requests_line_says_what_was_asked_of_whom_and_never_the_path() {
    let cluster = one(StoreKind::Sqlite).await;
    let (admin, app) = (admin(&cluster).await, app(&cluster).await);
    let with_id = |client: &Client, id: &str| client.clone().with_header("x-request-id", id);
    let body = json!({ "context": "user-pii", "plaintext": "" });
    with_id(&app, "good").post_json("/v1/crypto/encrypt?secret=1", &body).await.expect(200);
    let entry = line(&cluster, "good").await;
    for (field, expected) in [
        ("level", json!("info")),
        ("instance_id", json!("replica-0")),
        ("method", json!("POST")),
        ("route", json!("/api/v1/crypto/encrypt")),
        ("status", json!(200)),
        ("context", json!("user-pii")),
    ] {
        assert_eq!(entry[field], expected, "{field} in {entry}");
    }
    assert!(
        entry["message"].is_string() && entry["identity_id"].as_str().is_some_and(|id| id.len() == 36),
        "{entry}"
    );
    assert!(entry["latency_ms"].as_f64().is_some_and(|latency| latency > 0.0), "{entry}");

    with_id(&admin, "parameter").get("/api/admin/contexts/general").await.expect(200);
    assert_eq!(line(&cluster, "parameter").await["route"], "/api/admin/contexts/{name}");
    with_id(&app, "refused").post_json(DECRYPT, &sealed("x")).await.expect(400);
    let entry = line(&cluster, "refused").await;
    assert_eq!((&entry["status"], &entry["code"]), (&json!(400), &json!("invalid_ciphertext")), "{entry}");
    with_id(&app, "unknown").get("/secret?secret").await.expect(404);
    let entry = line(&cluster, "unknown").await;
    assert_eq!((&entry["status"], &entry["route"]), (&json!(404), &json!("none")), "{entry}");

    let lines = cluster.replicas()[0].log().lines();
    for line in lines {
        let entry = line.json();
        assert!(!line.0.contains("secret="), "{entry}");
        let time = entry["timestamp"].as_str().unwrap_or_else(|| panic!("no time in {}", line.0));
        assert!(time.len() == "2026-11-01T12:00:00.123Z".len() && time.ends_with('Z'), "{time}");
        for field in ["level", "message", "instance_id"] {
            assert!(entry[field].is_string(), "{field} in {entry}");
        }
        assert!(
            ["debug", "info", "warn", "error"].contains(&entry["level"].as_str().unwrap_or_default()),
            "{entry}"
        );
    }
}

#[tokio::test]
async fn levels_and_samples_leave_out_what_they_should_and_never_an_error() {
    let cluster = builder(StoreKind::Sqlite).env("LOG_SAMPLE", "0").start(1).await;
    let app = app(&cluster).await;
    for _ in 0..5 {
        encrypt(&app, "x").await;
    }
    app.clone().with_header("x-request-id", "failed").post_bytes(ENCRYPT, "nonsense").await.expect(400);
    line(&cluster, "failed").await;
    assert!(!cluster.replicas()[0].log().text().contains("request completed"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_request_is_told_with_where_its_time_went() {
    const DELAY: Duration = Duration::from_millis(250);
    let builder = builder(StoreKind::Postgres).through_proxy();
    let cluster = builder.env("LOG_SAMPLE", "0").env("LOG_SLOW_REQUEST", "200ms").start(1).await;
    let app = app(&cluster).await;
    encrypt(&app, "x").await;
    cluster.postgres_proxy().delay(DELAY).await;
    let with_id = |id: &str| app.clone().with_header("x-request-id", id);
    // What is not in memory waits for the database.
    let made = json!({ "algorithm": "Ed25519", "context": "user-pii" });
    with_id("slow").post_json("/v1/signatures/keys/generate", &made).await.expect(200);
    let entry = line(&cluster, "slow").await;
    assert_eq!((&entry["level"], &entry["message"]), (&json!("warn"), &json!("slow request")), "{entry}");
    let parts = ["body_ms", "limits_ms", "store_ms", "audit_ms", "crypto_ms"];
    let parts = parts.map(|part| entry[part].as_f64().unwrap_or_else(|| panic!("no {part} in {entry}")));
    let [_, _, store, _, _] = parts;
    assert!(store >= DELAY.as_secs_f64() * 1e3, "{entry}");
    let (sum, latency) = (parts.iter().sum::<f64>(), entry["latency_ms"].as_f64().expect("a number"));
    assert!((sum - latency).abs() < 0.1, "{sum} of {entry}");
}

/// A pipe holds 64 KiB. Whoever waited for room in it would wait for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_waits_for_those_who_do_not_read_the_log() {
    const REQUESTS: usize = 400;
    let (cluster, mut replica) = unread(builder(StoreKind::Sqlite)).await;
    let client = Client::new(replica.address);
    for _ in 0..REQUESTS {
        client.get("/health/live").await.expect(200);
    }
    rustix::process::kill_process(Pid::from_child(&replica.child), Signal::TERM).expect("it runs");
    let mut log = String::new();
    replica.child.stderr.take().expect("a pipe").read_to_string(&mut log).expect("UTF-8");
    assert!(replica.child.wait().expect("it is ours").success(), "{log}");
    let lines = log.lines().filter(|line| line.contains("\"/health/live\"")).count();
    assert!(log.len() > 64 << 10, "{} bytes are too few", log.len());
    assert_eq!(lines, REQUESTS, "all were kept");
    drop(cluster);
}

/// A server whose standard error nobody reads.
struct Unread {
    child: Child,
    address: SocketAddr,
}

impl Drop for Unread {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn unread(builder: ClusterBuilder) -> (Cluster, Unread) {
    let cluster = builder.start(0).await;
    let port = Port::take();
    let program = cluster.program().env("BIND_ADDR", port.address().to_string());
    let program = program.env("METRICS_BIND_ADDR", "127.0.0.1:0").env("LOG_FORMAT", "json");
    let child = program.command().stdin(Stdio::null()).stderr(Stdio::piped()).spawn().expect("a process");
    let replica = Unread { child, address: port.address() };
    let client = Client::new(replica.address);
    eventually("readiness", async || {
        client.try_get("/health/ready").await.ok().filter(|reply| reply.status == 200)
    })
    .await;
    (cluster, replica)
}
