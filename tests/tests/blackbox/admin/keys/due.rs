//! Rotation on a schedule.

use cryptoserve_tests::{Client, StoreKind, Tables, eventually};
use serde_json::json;

use super::{CONTEXTS, audited, create, opening, rotate, states};
use crate::support::{admin, app, builder, encrypt_in, on_each_store, one, restart};

/// Lets the time come for every context that has a schedule.
async fn make_due(tables: &Tables) -> u64 {
    let past = tables.an_hour_ago();
    tables.change(&format!("UPDATE contexts SET rotate_at = {past} WHERE rotate_at IS NOT NULL")).await
}

async fn rotated_to(admin: &Client, context: &str, version: u64) {
    eventually("a rotation", async || (states(admin, context).await[0].0 == version).then_some(())).await;
}

on_each_store! {
    async fn a_key_is_rotated_when_it_is_due_and_then_not_again(store) {
        let mut cluster = one(store).await;
        let (admin, app) = (admin(&cluster).await, app(&cluster).await);
        create(&admin, "daily", json!({ "rotation_days": 1, "keep_last": 1 })).await;
        create(&admin, "never", json!({})).await;
        create(&admin, "deleted", json!({ "rotation_days": 1 })).await;
        let old = encrypt_in(&app, "daily", "old").await;
        admin.delete(&format!("{CONTEXTS}/deleted")).await.expect(200);
        let tables = cluster.tables().await;
        assert_eq!(make_due(&tables).await, 2);
        restart(&mut cluster, 0).await;
        rotated_to(&admin, "daily", 2).await;
        let expected = [(2, "enabled".to_owned()), (1, "disabled".to_owned())];
        assert_eq!(states(&admin, "daily").await, expected);
        let context = admin.get(&format!("{CONTEXTS}/daily")).await.expect(200).json();
        assert!(context["rotate_at"].as_str() > context["created_at"].as_str(), "{context}");
        eventually("the replica knows", async || {
            (opening(&app, &old).await == "key_version_disabled").then_some(())
        })
        .await;
        // Done by hand it counts as well.
        make_due(&tables).await;
        rotate(&admin, "daily").await;
        restart(&mut cluster, 0).await;
        let (_, cluster) = cluster.stop().await;
        let audited = audited(&tables, "daily", "keys.rotate").await;
        assert!(audited.contains(&"2 success as due; version 1 only decrypts from now on".to_owned()), "{audited:?}");
        let last = tables.number("SELECT count(*) FROM key_versions").await;
        // Two of them are those of the audit trail.
        assert_eq!(tables.number("SELECT count(*) FROM audit_records WHERE operation = 'keys.rotate'").await + 1, last - 14);
        drop(cluster);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_three_replicas_rotates_what_is_due_and_says_so_once() {
    const CONTEXTS: usize = 12;
    let mut cluster = builder(StoreKind::Postgres).start(1).await;
    let admin = admin(&cluster).await;
    for n in 0..CONTEXTS {
        create(&admin, &format!("c-{n}"), json!({ "rotation_days": 1 })).await;
    }
    assert_eq!(make_due(&cluster.tables().await).await, CONTEXTS as u64);
    // They look at once when they start, so at the same time.
    cluster.grow(3).await;
    for n in 0..CONTEXTS {
        rotated_to(&admin, &format!("c-{n}"), 2).await;
    }
    let (_, cluster) = cluster.stop().await;
    let tables = cluster.tables().await;
    assert_eq!(tables.number("SELECT count(*) FROM key_versions WHERE version = 2").await, CONTEXTS as i64);
    assert_eq!(tables.number("SELECT max(version) FROM key_versions").await, 2);
    let audited = "SELECT count(*), count(DISTINCT context), max(key_version) FROM audit_records WHERE operation = 'keys.rotate'";
    assert_eq!(tables.rows(audited).await, [format!("{CONTEXTS} {CONTEXTS} 2")]);
}
