use cryptoserve_tests::{Client, StoreKind, Tables, eventually};
use serde_json::{Value, json};

use super::{
    CONTEXTS, apps, audited, create, is_version, keys, opening, opening_becomes, rotate, set, states,
    versions,
};
use crate::support::{admin, app, builder, encrypt_in, on_each_store, one, restart};

/// Waits until the version is destroyed.
pub(super) async fn destroyed(admin: &Client, context: &str, version: u64) {
    let gone = (version, "destroyed".to_owned());
    eventually("a destruction", async || states(admin, context).await.contains(&gone).then_some(())).await;
}

/// How often the version's bytes are stored.
async fn stored(tables: &Tables, context: &str, version: u64) -> i64 {
    tables.number(&format!("SELECT count(*) FROM wrapped_keys WHERE {}", is_version(context, version))).await
}

/// Ends the waiting period of every version of these contexts that has one.
async fn end_waiting(tables: &Tables) -> u64 {
    let past = tables.an_hour_ago();
    tables.change(&format!("UPDATE key_versions SET destroy_at = {past} WHERE destroy_at IS NOT NULL")).await
}

on_each_store! {
    async fn a_version_is_destroyed_when_its_waiting_period_ends_and_not_before(store) {
        let mut cluster = one(store).await;
        let (admin, app) = (admin(&cluster).await, app(&cluster).await);
        create(&admin, "a", json!({})).await;
        let mut ciphertexts = Vec::new();
        for _ in 0..3 {
            ciphertexts.push(encrypt_in(&app, "a", "x").await);
            rotate(&admin, "a").await;
        }
        let schedule = json!({ "state": "scheduled_for_destruction", "waiting_days": 1 });
        for version in [1, 2] {
            set(&admin, "a", version, "disabled").await.expect(200);
            let path = format!("{}/{version}", keys("a"));
            let view = admin.put_json(&path, &schedule).await.expect(200).json();
            assert!(view["destroy_at"].as_str() > view["state_changed_at"].as_str(), "{view}");
        }
        restart(&mut cluster, 0).await;
        let tables = cluster.tables().await;
        assert_eq!((stored(&tables, "a", 1).await, stored(&tables, "a", 2).await), (1, 1));
        // The second one is saved in time, and from further on waits as long as it takes.
        let view = set(&admin, "a", 2, "disabled").await.expect(200).json();
        assert_eq!(view["destroy_at"], Value::Null);

        let bytes = tables.rows(&format!("SELECT bytes FROM wrapped_keys WHERE {}", is_version("a", 1))).await;
        assert_eq!(end_waiting(&tables).await, 1);
        restart(&mut cluster, 0).await;
        destroyed(&admin, "a", 1).await;
        assert_eq!((stored(&tables, "a", 1).await, stored(&tables, "a", 2).await), (0, 1));
        let view = versions(&admin, "a").await[3].clone();
        assert_eq!((&view["state"], &view["kek_id"], &view["destroy_at"]), (&json!("destroyed"), &Value::Null, &Value::Null));

        assert_eq!(opening(&app, &ciphertexts[0]).await, "key_version_disabled");
        set(&admin, "a", 2, "decrypt_only").await.expect(200);
        for ciphertext in &ciphertexts[1..] {
            assert_eq!(opening(&app, ciphertext).await, "-");
        }
        for state in ["disabled", "decrypt_only", "enabled"] {
            let detail = set(&admin, "a", 1, state).await.expect_problem(409, "key_state_conflict").text("detail");
            assert!(detail.contains("gone for good"), "{detail}");
        }
        // Neither deleting nor restoring the context, nor another rotation, changes that.
        admin.delete(&format!("{CONTEXTS}/a")).await.expect(200);
        admin.post_json(&format!("{CONTEXTS}/a/restore"), &json!({})).await.expect(200);
        rotate(&admin, "a").await;
        assert_eq!(opening(&app, &ciphertexts[0]).await, "key_version_disabled");

        let (_, cluster) = cluster.stop().await;
        assert_eq!(audited(&tables, "a", "keys.destroy").await, ["1 success the waiting period is over"]);
        if store == StoreKind::Sqlite {
            // Of the wrapped bytes nothing is left in the file either.
            drop(tables);
            let file = std::fs::read(cluster.data_dir().join("cryptoserve.db")).expect("a file");
            let bytes: Vec<u8> = (0..bytes[0].len()).step_by(2)
                .map(|n| u8::from_str_radix(&bytes[0][n..n + 2], 16).expect("hexadecimal")).collect();
            assert!(bytes.len() == 72 && !file.windows(16).any(|window| window == &bytes[24..40]));
        }
    }

    async fn the_versions_of_a_deleted_context_are_destroyed_too(store) {
        let mut cluster = one(store).await;
        let admin = admin(&cluster).await;
        create(&admin, "gone", json!({})).await;
        rotate(&admin, "gone").await;
        for state in ["disabled", "scheduled_for_destruction"] {
            set(&admin, "gone", 1, state).await.expect(200);
        }
        admin.delete(&format!("{CONTEXTS}/gone")).await.expect(200);
        let tables = cluster.tables().await;
        end_waiting(&tables).await;
        restart(&mut cluster, 0).await;
        destroyed(&admin, "gone", 1).await;
        assert_eq!(stored(&tables, "gone", 1).await, 0);
    }

    async fn a_waiting_period_is_one_to_365_days(store) {
        let cluster = one(store).await;
        let admin = admin(&cluster).await;
        create(&admin, "a", json!({})).await;
        rotate(&admin, "a").await;
        set(&admin, "a", 1, "disabled").await.expect(200);
        let path = format!("{}/1", keys("a"));
        for days in [json!(0), json!(366), json!(-1), json!(1.5), json!("7"), json!(u64::MAX), json!([])] {
            let body = json!({ "state": "scheduled_for_destruction", "waiting_days": days });
            admin.put_json(&path, &body).await.expect_problem(400, "invalid_request");
        }
        for state in ["disabled", "decrypt_only", "enabled", "destroyed"] {
            let body = json!({ "state": state, "waiting_days": 7 });
            admin.put_json(&path, &body).await.expect_problem(400, "invalid_request");
        }
        assert_eq!(states(&admin, "a").await[1].1, "disabled");
        let tables = cluster.tables().await;
        for (body, days) in [
            (json!({ "state": "scheduled_for_destruction" }), 7),
            (json!({ "state": "scheduled_for_destruction", "waiting_days": null }), 7),
            (json!({ "state": "scheduled_for_destruction", "waiting_days": 1 }), 1),
            (json!({ "state": "scheduled_for_destruction", "waiting_days": 365 }), 365),
        ] {
            admin.put_json(&path, &body).await.expect(200);
            let wait = match store {
                StoreKind::Sqlite => "(destroy_at - state_changed_at) / 1000000",
                StoreKind::Postgres => "extract(epoch FROM destroy_at - state_changed_at)::bigint",
            };
            let seconds = tables.number(&format!("SELECT {wait} FROM key_versions WHERE {}", is_version("a", 1))).await;
            // From the database's time, which was asked for just before the change.
            let asked = days * 24 * 60 * 60;
            assert!((asked - 30..=asked).contains(&seconds), "{seconds} of {asked}");
            set(&admin, "a", 1, "disabled").await.expect(200);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_three_replicas_destroys_and_says_so_once() {
    const CONTEXTS: usize = 12;
    let mut cluster = builder(StoreKind::Postgres).start(1).await;
    let admin = admin(&cluster).await;
    let first = app(&cluster).await;
    let mut ciphertexts = Vec::new();
    for n in 0..CONTEXTS {
        let name = format!("c-{n}");
        create(&admin, &name, json!({})).await;
        ciphertexts.push(encrypt_in(&first, &name, "x").await);
        rotate(&admin, &name).await;
        for state in ["disabled", "scheduled_for_destruction"] {
            set(&admin, &name, 1, state).await.expect(200);
        }
    }
    let tables = cluster.tables().await;
    assert_eq!(end_waiting(&tables).await, CONTEXTS as u64);
    // They look at once when they start, so at the same time.
    cluster.grow(3).await;
    for n in 0..CONTEXTS {
        destroyed(&admin, &format!("c-{n}"), 1).await;
    }
    let apps = apps(&cluster).await;
    for ciphertext in &ciphertexts {
        opening_becomes(&apps, ciphertext, "key_version_disabled").await;
    }
    let (_, cluster) = cluster.stop().await;
    let tables = cluster.tables().await;
    assert_eq!(
        tables.number("SELECT count(*) FROM audit_records WHERE operation = 'keys.destroy'").await,
        CONTEXTS as i64
    );
    let distinct = "SELECT count(DISTINCT context) FROM audit_records WHERE operation = 'keys.destroy' AND key_version = 1";
    assert_eq!(tables.number(distinct).await, CONTEXTS as i64);
}
