//! `cryptoserve doctor --after-restore` on databases in all conditions. A database that nobody restored will do: the
//! command cannot know.

use cryptoserve_tests::{Client, Cluster, Program, StoreKind, TokenRequest, eventually};
use serde_json::json;

use super::{refused, sql, succeeded};
use crate::support::{DECRYPT, ENCRYPT, admin, app, base64, encrypt_in, on_each_store, one, sealed};

fn doctor(machine: &Cluster) -> Program {
    machine.program().arg("doctor").arg("--after-restore")
}

/// Makes contexts whose messages are counted; a ciphertext of each.
async fn counted(machine: &Cluster, contexts: usize) -> Vec<(String, Vec<u8>)> {
    let (manager, app) = (admin(machine).await, app(machine).await);
    let mut made = Vec::new();
    for number in 0..contexts {
        let name = format!("counted-{number}");
        let context = json!({ "name": name, "algorithm": "ChaCha20-Poly1305" });
        manager.post_json("/api/admin/contexts", &context).await.expect(201);
        let ciphertext = encrypt_in(&app, &name, "before").await;
        made.push((name, ciphertext));
    }
    made
}

async fn key_version(app: &Client, context: &str) -> u64 {
    let body = json!({ "context": context, "plaintext": base64("again") });
    let reply = app.post_json(ENCRYPT, &body).await.expect(200);
    reply.json()["key_version"].as_u64().expect("a number")
}

/// Everything that the command changes.
async fn state(machine: &Cluster, store: StoreKind) -> Vec<String> {
    let mut state = Vec::new();
    for statement in [
        "SELECT value FROM revision",
        "SELECT name, epoch FROM identities ORDER BY name",
        "SELECT key_id, version, state, messages_reserved FROM key_versions ORDER BY key_id, version",
        "SELECT count(*) FROM audit_records",
    ] {
        state.push(sql(machine, store, statement).await);
    }
    state
}

on_each_store! {
    async fn a_dry_run_says_what_would_be_done_and_changes_nothing(store) {
        let machine = one(store).await;
        counted(&machine, 2).await;
        let (_, machine) = machine.stop().await;
        let before = state(&machine, store).await;
        let done = succeeded(doctor(&machine).arg("--dry-run").run().await);
        for text in ["nothing was changed", "2 identities", "2 contexts", "0 key versions again"] {
            assert!(done.stdout.contains(text), "{text}: {}", done.stdout);
        }
        assert!(!done.stdout.contains("recorded"), "{}", done.stdout);
        assert_eq!(state(&machine, store).await, before);
        succeeded(doctor(&machine).run().await);
        assert_ne!(state(&machine, store).await, before);
    }

    async fn run_again_it_ends_tokens_again_and_breaks_nothing(store) {
        let machine = one(store).await;
        let made = counted(&machine, 3).await;
        let (_, mut machine) = machine.stop().await;
        for _ in 0..3 {
            let done = succeeded(doctor(&machine).run().await);
            assert!(done.stdout.contains("the keys of 3 contexts"), "{}", done.stdout);
        }
        machine.grow(1).await;
        let app = app(&machine).await;
        for (name, ciphertext) in &made {
            assert_eq!(key_version(&app, name).await, 4, "{name}");
            app.post_json(DECRYPT, &sealed(ciphertext)).await.expect(200);
        }
    }

    async fn lists_that_are_none_are_refused_before_anything_is_done(store) {
        let machine = one(store).await;
        let (_, machine) = machine.stop().await;
        let before = state(&machine, store).await;
        let directory = tempfile::tempdir().expect("a directory");
        let list = directory.path().join("list");
        let path = list.to_str().expect("UTF-8");
        let with_list = || doctor(&machine).arg("--destructions").arg(path);
        refused(&with_list().run().await, 1, "No such file");
        for (content, says) in [
            (&b"\x00\x01\x02"[..], "no line is a JSON object"),
            (b"{}\n{\"destroyed_at\":\"2026-11-01T12:00:00Z\"}", "line 2 has `destroyed_at` and no valid tenant_id"),
        ] {
            std::fs::write(&list, content).expect("written");
            refused(&with_list().run().await, 1, says);
        }
        assert_eq!(state(&machine, store).await, before);
        let unknown = r#"{"tenant_id":"00000000-0000-4000-8000-000000000001","key_id":"00112233-4455-6677-8899-aabbccddeeff","version":7,"destroyed_at":"2026-11-01T12:00:00.000Z"}"#;
        std::fs::write(&list, format!("{unknown}\n{unknown}\n{{\"cut")).expect("written");
        let done = succeeded(with_list().run().await);
        let recorded = "0 key versions again; of the 1 recorded, destroyed before the backup: 0, not in it: 1\n";
        for text in [recorded, "1 line is no JSON", "(line 3)"] {
            assert!(done.stdout.contains(text), "{text}: {}", done.stdout);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn there_must_be_something_and_no_server_on_it() {
    let machine = Cluster::builder().store(StoreKind::Postgres).start(0).await;
    refused(&doctor(&machine).run().await, 1, "there is nothing in this database: restore it first");
    let tables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'";
    assert_eq!(sql(&machine, StoreKind::Postgres, tables).await, "0");
    let machine = Cluster::builder().start(0).await;
    refused(&doctor(&machine).run().await, 64, "run `cryptoserve restore` first");
    let machine = one(StoreKind::Sqlite).await;
    refused(&doctor(&machine).run().await, 64, "another server process is running");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_runs_drops_what_it_knows() {
    let machine = one(StoreKind::Postgres).await;
    let made = counted(&machine, 1).await;
    let old = app(&machine).await;
    old.post_json(DECRYPT, &sealed(&made[0].1)).await.expect(200);
    let done = succeeded(doctor(&machine).run().await);
    assert!(done.stdout.contains("replicas were running on this database a moment ago"), "{}", done.stdout);
    eventually("the end of the old token", async || {
        (old.get("/api/v1/contexts").await.status == 401).then_some(())
    })
    .await;
    let new = app(&machine).await;
    assert_eq!(key_version(&new, &made[0].0).await, 2);
    new.post_json(DECRYPT, &sealed(&made[0].1)).await.expect(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_any_moment_it_can_be_run_again() {
    const STORE: StoreKind = StoreKind::Postgres;
    let (rounds, contexts) =
        if std::env::var_os("CRYPTOSERVE_TEST_FULL").is_some() { (20, 40) } else { (5, 12) };
    let machine = one(STORE).await;
    let made = counted(&machine, contexts).await;
    let token = machine.token(&TokenRequest::identity("app").contexts(["*"])).await;
    let (_, mut machine) = machine.stop().await;
    let database = machine.database().connect().await;
    let count = async || -> i64 {
        let row = database.query_one("SELECT count(*) FROM key_versions", &[]).await.expect("counted");
        row.get(0)
    };
    for round in 0..rounds {
        // Killed after so many rotations, or at its end; where exactly is left to the machine.
        let enough = count().await + round % 4;
        let mut process = doctor(&machine).spawn();
        while process.status().is_none() && count().await <= enough {
            tokio::task::yield_now().await;
        }
        process.kill();
        process.ended().await;
    }
    succeeded(doctor(&machine).run().await);
    let stale = "SELECT count(*) FROM key_versions v JOIN contexts c ON c.key_id = v.key_id \
        WHERE v.state = 1 AND c.name LIKE 'counted-%' AND (v.messages_reserved > 0 OR v.version = 1)";
    assert_eq!(sql(&machine, STORE, stale).await, "0");
    machine.grow(1).await;
    machine.client(0).with_token(&token).get("/api/v1/contexts").await.expect_problem(401, "unauthenticated");
    let app = app(&machine).await;
    for (name, ciphertext) in &made {
        assert!(key_version(&app, name).await > 1, "{name}");
        app.post_json(DECRYPT, &sealed(ciphertext)).await.expect(200);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_starts_writes_down_the_destructions_that_a_crash_has_left_out() {
    const STORE: StoreKind = StoreKind::Sqlite;
    let mut machine = one(STORE).await;
    let path = "/api/admin/contexts/general/rotate-key";
    for _ in 0..2 {
        admin(&machine).await.post_json(path, &json!({})).await.expect(200);
    }
    let list = machine.data_dir().join("destructions.ndjson");
    let read = || std::fs::read_to_string(&list).unwrap_or_default();
    assert_eq!(read(), "");
    sql(&machine, STORE, "UPDATE key_versions SET state = 5 WHERE state = 2 AND version = 1").await;
    for _ in 0..2 {
        machine = machine.stop().await.1;
        machine.grow(1).await;
        assert_eq!(read().lines().count(), 1, "{}", read());
    }
    // The second crash also cut the line.
    sql(&machine, STORE, "UPDATE key_versions SET state = 5 WHERE state = 2").await;
    std::fs::write(&list, &read()[..50]).expect("written");
    machine = machine.stop().await.1;
    machine.grow(1).await;
    assert_eq!(read().lines().count(), 3, "{}", read());
    let (_, machine) = machine.stop().await;
    let done = succeeded(doctor(&machine).arg("--dry-run").run().await);
    for text in ["of the 2 recorded, destroyed before the backup: 2", "(line 1)"] {
        assert!(done.stdout.contains(text), "{text}: {}", done.stdout);
    }
}
