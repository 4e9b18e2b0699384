//! What an operator sees of failures that no other test produces. docs/operations.md lists them all, and names their tests.

use std::fs;
use std::path::{Path, PathBuf};

use cryptoserve_tests::{StoreKind, eventually};
use serde_json::json;

use crate::metrics::{prometheus, scrape, value};
use crate::support::{ENCRYPT, base64, builder, encrypt, operator, service};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_audit_queue_refuses_what_must_be_recorded_and_says_so() {
    const RECORDS: f64 = 64.0;
    let cluster =
        builder(StoreKind::Postgres).env("AUDIT_QUEUE_BYTES", "64KiB").through_proxy().start(1).await;
    let (app, operator) = (service(&cluster, "app", ["*"]).await, operator(&cluster).await);
    let prometheus = prometheus(&cluster).await;
    encrypt(&app, "x").await;
    operator.get("/health/deep").await.expect(200);
    cluster.postgres_proxy().hang().await;
    let body = json!({ "context": "user-pii", "plaintext": base64("x") });
    let refused = eventually("the queue to fill", async || {
        let reply = app.post_json(ENCRYPT, &body).await;
        (reply.status != 200).then_some(reply)
    })
    .await;
    refused.expect_problem(503, "audit_unavailable");
    let ready = cluster.client(0).get("/health/ready").await.expect(200).json();
    assert_eq!(ready["status"], "degraded", "{ready}");
    assert!(ready["reason"].as_str().is_some_and(|reason| reason.contains("audit queue")), "{ready}");
    let text = scrape(&prometheus).await;
    for (name, expected) in [
        ("audit_queue_records", RECORDS),
        ("audit_queue_capacity_records", RECORDS),
        ("ready", 1.0),
        ("degraded", 1.0),
    ] {
        let series = format!(r#"cryptoserve_{name}{{instance_id="replica-0"}}"#);
        assert_eq!(value(&text, &series), expected, "{series} in {text}");
    }
    let report = eventually("the deep check", async || {
        let report = operator.get("/health/deep").await.json();
        (report["checks"]["audit"]["status"] == "unhealthy").then_some(report)
    })
    .await;
    assert_eq!(report["checks"]["audit"]["queued"], RECORDS, "{report}");
    cluster.client(0).get("/health/live").await.expect(200);

    cluster.postgres_proxy().restore().await;
    eventually("room again", async || (app.post_json(ENCRYPT, &body).await.status == 200).then_some(()))
        .await;
}

/// The documents' table of failures says of each row which test produces it.
#[test]
fn every_row_of_the_table_names_tests_that_are_there() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut sources = String::new();
    let mut waiting = vec![here.join("tests"), here.join("../core/src")];
    while let Some(path) = waiting.pop() {
        if path.is_dir() {
            waiting.extend(fs::read_dir(&path).expect("a directory").flatten().map(|entry| entry.path()));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            sources += &fs::read_to_string(&path).expect("UTF-8");
        }
    }
    let document = include_str!("../../../docs/operations.md");
    let (_, section) = document.split_once("## When something fails").expect("the section");
    let (section, _) = section.split_once("\n## ").expect("another one");
    let rows: Vec<&str> = section.lines().filter(|line| line.starts_with("| ")).skip(2).collect();
    assert!(rows.len() > 10, "{rows:?}");
    for row in rows {
        let tests = row.trim_end_matches(" |").rsplit(" | ").next().expect("columns");
        let named: Vec<&str> = tests.split('`').skip(1).step_by(2).collect();
        assert!(!named.is_empty() || tests.contains("the same"), "no test in {row}");
        for test in named.into_iter().filter(|name| *name != "health") {
            let name = test.rsplit(['…', ':']).next().expect("a name");
            let is_there =
                sources.contains(&format!("fn {name}(")) || PathBuf::from("..").join(test).exists();
            assert!(is_there, "{test} of {row}");
        }
    }
}
