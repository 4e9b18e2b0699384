//! `cryptoserve doctor` beside servers that run.

use cryptoserve_tests::{Cluster, Finished, Program, StoreKind};
use serde_json::Value;

use crate::support::{builder, on_each_store, one};

async fn doctor(program: Program, arguments: &[&str]) -> (Finished, Value) {
    let program = program.arg("doctor").arg("--json");
    let done = arguments.iter().fold(program, |program, argument| program.arg(*argument)).run().await;
    let report = serde_json::from_str(&done.stdout).unwrap_or_else(|_| panic!("no JSON: {done:?}"));
    (done, report)
}

/// `check severity` of what is not ok.
fn troubles(report: &Value) -> Vec<String> {
    let findings = report["findings"].as_array().expect("a list");
    let text = |finding: &Value, name: &str| finding[name].as_str().expect("text").to_owned();
    let bad = findings.iter().filter(|finding| finding["severity"] != "ok");
    bad.map(|finding| {
        assert!(finding["advice"].is_string(), "{finding}");
        format!("{} {}", text(finding, "check"), text(finding, "severity"))
    })
    .collect()
}

/// That nothing is wrong but that the database of tests need not survive a crash, and that the exit code says so.
fn is_well(done: &Finished, report: &Value) {
    let mut errors = troubles(report);
    errors.retain(|trouble| trouble.ends_with(" error"));
    assert_eq!(done.status.code(), Some(i32::from(!errors.is_empty())), "{done:?}");
    errors.retain(|trouble| trouble != "durability error");
    assert_eq!(errors, Vec::<String>::new(), "{report}");
}

fn said(report: &Value, check: &str) -> String {
    let findings = report["findings"].as_array().expect("a list").iter();
    let messages: Vec<_> = findings
        .filter(|finding| finding["check"] == check)
        .filter_map(|finding| finding["message"].as_str())
        .collect();
    messages.join("\n")
}

fn secrets(cluster: &Cluster) -> [&str; 3] {
    let secrets = cluster.secrets();
    [&secrets.master_key, &secrets.jwt_secret_key, &secrets.hkdf_salt]
}

on_each_store! {
    async fn what_is_well_is_said_to_be_and_nothing_is_changed(store) {
        let cluster = one(store).await;
        let (done, report) = doctor(cluster.program(), &[]).await;
        is_well(&done, &report);
        let kind = if store == StoreKind::Sqlite { "SQLite" } else { "PostgreSQL" };
        assert!(said(&report, "database").starts_with(kind), "{report}");
        assert!(said(&report, "secrets").contains("is the deployment's"), "{report}");
        assert!(said(&report, "replicas").contains("replica-0"), "{report}");
        if store == StoreKind::Sqlite {
            assert_eq!(troubles(&report), Vec::<String>::new(), "{report}");
        } else {
            // Whose certificate is not asked for on this machine; how many connections it gives is its own.
            assert!(said(&report, "connections").starts_with("1 × (DB_POOL_SIZE"), "{report}");
            let (done, report) = doctor(cluster.program(), &["--replicas", "1000"]).await;
            assert_eq!(done.status.code(), Some(1), "{done:?}");
            assert!(troubles(&report).contains(&"connections error".to_owned()), "{report}");
            assert!(troubles(&report).contains(&"limits error".to_owned()), "no Redis: {report}");
        }
        assert!(secrets(&cluster).iter().all(|secret| !done.stdout.contains(secret) && !done.stderr.contains(secret)));

        // For people.
        let done = cluster.program().arg("doctor").run().await;
        assert!(done.stdout.contains("ok       database"), "{done:?}");

        // With another master key.
        let other = cluster.program().env("CRYPTOSERVE_MASTER_KEY", cryptoserve_tests::Secrets::generate().master_key);
        let (done, report) = doctor(other, &[]).await;
        assert_eq!(done.status.code(), Some(1), "{done:?}");
        assert!(troubles(&report).contains(&"secrets error".to_owned()), "{report}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_answer_or_is_set_up_badly_is_named() {
    let cluster = builder(StoreKind::Postgres).redis().start(1).await;
    let (done, report) = doctor(cluster.program(), &[]).await;
    is_well(&done, &report);
    assert!(said(&report, "redis").contains("answers"), "{report}");
    assert!(said(&report, "clock of Redis").contains("this machine's clock"), "{report}");

    // Nobody listens on port 1; an embedded store that is not there yet is none of its troubles, and is not made.
    let directory = tempfile::tempdir().expect("a directory");
    let nobody = cluster
        .program()
        .env("DATABASE_URL", "postgres://user:CANARY@127.0.0.1:1/db")
        .env("REDIS_URL", "redis://:CANARY@127.0.0.1:1/0")
        .env("BIND_ADDR", "0.0.0.0:8003")
        .env("TRUSTED_PROXIES", "0.0.0.0/0")
        .env("TLS_CERT_FILE", "/nowhere/chain.pem")
        .env("TLS_KEY_FILE", "/nowhere/key.pem");
    let (done, report) = doctor(nobody, &[]).await;
    assert_eq!(done.status.code(), Some(1), "{done:?}");
    let troubles = troubles(&report);
    for trouble in
        ["database error", "redis error", "peers error", "certificate error", "configuration warning"]
    {
        assert!(troubles.contains(&trouble.to_owned()), "{trouble}: {report}");
    }
    assert!(said(&report, "certificate").contains("TLS_KEY_FILE"), "{report}");
    assert!(!done.stdout.contains("CANARY") && !done.stderr.contains("CANARY"), "{done:?}");

    let data = directory.path().join("data");
    let fresh = Program::cryptoserve().env("DATA_DIR", data.to_string_lossy());
    let (done, report) = doctor(fresh, &[]).await;
    assert_eq!(
        (done.status.code(), said(&report, "database").contains("none yet")),
        (Some(0), true),
        "{done:?}"
    );
    assert!(!data.exists(), "nothing was made");
}
