use std::time::Instant;

use cryptoserve_tests::{Client, Cluster, StoreKind};
use serde_json::{Value, json};

use super::{
    apps, audited, create, is_version, keys, opening, opening_becomes, rotate, set, states, versions,
};
use crate::support::{
    COHERENCE, DECRYPT, admin, app, base64, builder, encrypt_in, on_each_store, one, restart, sealed,
};

const DISABLED: &str = "key_version_disabled";
const STATES: [&str; 5] = ["destroyed", "scheduled_for_destruction", "disabled", "decrypt_only", "enabled"];

/// A context `all` whose versions 1 to 5 are in the five [`STATES`], in their order.
async fn one_of_each(cluster: &mut Cluster, admin: &Client) {
    create(admin, "all", json!({})).await;
    for _ in 0..4 {
        rotate(admin, "all").await;
    }
    for (version, states) in [(1, &STATES[1..3]), (2, &STATES[1..3]), (3, &STATES[2..3])] {
        for state in states.iter().rev() {
            set(admin, "all", version, state).await.expect(200);
        }
    }
    let tables = cluster.tables().await;
    let past = tables.an_hour_ago();
    let sql = format!("UPDATE key_versions SET destroy_at = {past} WHERE {}", is_version("all", 1));
    assert_eq!(tables.change(&sql).await, 1);
    restart(cluster, 0).await;
    super::destruction::destroyed(admin, "all", 1).await;
    assert_eq!(
        states(admin, "all").await.into_iter().rev().map(|(_, state)| state).collect::<Vec<_>>(),
        STATES
    );
}

on_each_store! {
    async fn every_move_is_either_made_or_refused_with_advice(store) {
        let mut cluster = one(store).await;
        let client = admin(&cluster).await;
        one_of_each(&mut cluster, &client).await;
        let advice = |from: &str, to: &str| match (from, to) {
            ("destroyed", _) => "gone for good",
            ("enabled", _) => "rotate the key first",
            (_, "enabled") => "only a new version is ever enabled",
            (_, "destroyed") => "time alone destroys",
            ("decrypt_only", "scheduled_for_destruction") => "disable it first",
            ("scheduled_for_destruction", "decrypt_only" | "scheduled_for_destruction") => "setting it to `disabled` first",
            (from, to) if from == to => "in that state already",
            _ => "",
        };
        let (mut made, mut refused) = (Vec::new(), Vec::new());
        for (version, from) in (1..).zip(STATES) {
            for to in STATES {
                let reply = set(&client, "all", version, to).await;
                let advice = advice(from, to);
                if advice.is_empty() {
                    assert_eq!(reply.expect(200).json()["state"], to);
                    made.push(format!("{version} success from {from} to {to}"));
                    set(&client, "all", version, from).await.expect(200);
                    made.push(format!("{version} success from {to} to {from}"));
                } else {
                    let detail = reply.expect_problem(409, "key_state_conflict").text("detail");
                    assert!(detail.contains(advice), "{from} to {to}: {detail}");
                    assert!(detail.contains(&format!("`{from}`")) && detail.contains(&format!("`{to}`")), "{detail}");
                    refused.push(format!("{version} key_state_conflict from {from} to {to}"));
                }
            }
            let now = states(&client, "all").await;
            assert_eq!(now.iter().rev().map(|(_, state)| &state[..]).collect::<Vec<_>>(), STATES);
        }
        assert_eq!(refused.len(), 25 - 4);
        let (_, cluster) = cluster.stop().await;
        let audited = audited(&cluster.tables().await, "all", "admin.keys.set-state").await;
        for row in made.iter().chain(&refused) {
            assert!(audited.contains(row), "{row} is not in {audited:#?}");
        }
    }

    async fn a_disabled_version_does_nothing_and_returns_whole(store) {
        let cluster = one(store).await;
        let (admin, app) = (admin(&cluster).await, app(&cluster).await);
        let old = encrypt_in(&app, "user-pii", "old").await;
        rotate(&admin, "user-pii").await;
        let new = encrypt_in(&app, "user-pii", "new").await;
        let before = versions(&admin, "user-pii").await[1].clone();
        for _ in 0..2 {
            let view = set(&admin, "user-pii", 1, "disabled").await.expect(200).json();
            assert!(view["state_changed_at"].as_str() > before["state_changed_at"].as_str(), "{view}");
            assert_eq!((&view["kek_id"], &view["destroy_at"]), (&before["kek_id"], &Value::Null));
            app.post_json(DECRYPT, &sealed(&old)).await.expect_problem(409, DISABLED);
            let item = |id: &str, ciphertext: &[u8]| json!({ "id": id, "ciphertext": base64(ciphertext) });
            let items = json!({ "context": "user-pii", "items": [item("old", &old), item("new", &new)] });
            let batch = app.post_json("/api/v1/crypto/batch/decrypt", &items).await.expect(200).json();
            assert_eq!(batch["results"][0]["error"]["code"], DISABLED);
            assert_eq!(batch["results"][1]["success"], true);
            // What is altered as well says no more.
            let mut altered = old.clone();
            *altered.last_mut().expect("not empty") ^= 1;
            assert_eq!(opening(&app, &altered).await, DISABLED);
            encrypt_in(&app, "user-pii", "still").await;

            set(&admin, "user-pii", 1, "decrypt_only").await.expect(200);
            assert_eq!(opening(&app, &old).await, "-");
        }
    }

    async fn a_disabled_version_opens_no_stream(store) {
        let cluster = one(store).await;
        let (admin, app) = (admin(&cluster).await, app(&cluster).await);
        let sealed = app.post_bytes("/api/v1/crypto/encrypt/stream?context=general", "stream").await.expect(200).body;
        rotate(&admin, "general").await;
        let open = async || app.post_bytes("/api/v1/crypto/decrypt/stream", sealed.clone()).await;
        assert_eq!(open().await.expect(200).body, "stream");
        set(&admin, "general", 1, "disabled").await.expect(200);
        open().await.expect_problem(409, DISABLED);
        set(&admin, "general", 1, "decrypt_only").await.expect(200);
        assert_eq!(open().await.expect(200).body, "stream");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn states_hold_on_all_replicas_soon_after() {
    let cluster = builder(StoreKind::Postgres).start(3).await;
    let admin = admin(&cluster).await;
    let apps = apps(&cluster).await;
    let old = encrypt_in(&apps[0], "user-pii", "old").await;
    rotate(&admin, "user-pii").await;
    opening_becomes(&apps, &old, "-").await;
    for (state, expected) in [
        ("disabled", DISABLED),
        ("decrypt_only", "-"),
        ("disabled", DISABLED),
        ("scheduled_for_destruction", DISABLED),
        ("disabled", DISABLED),
        ("decrypt_only", "-"),
    ] {
        set(&admin, "user-pii", 1, state).await.expect(200);
        let changed = Instant::now();
        assert_eq!(opening(&apps[0], &old).await, expected, "at once where it was done: {state}");
        opening_becomes(&apps, &old, expected).await;
        let took = changed.elapsed();
        assert!(took < COHERENCE, "{took:?}");
    }
    assert_eq!(admin.get(&keys("user-pii")).await.expect(200).json()["versions"][1]["state"], "decrypt_only");
}
