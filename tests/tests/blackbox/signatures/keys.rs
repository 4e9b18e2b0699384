use cryptoserve_tests::{Client, LIMIT, StoreKind, eventually};
use serde_json::{Value, json};

use super::{KEYS, SIGN, VERIFY, ed25519, generate, is_valid, sign, text, to_verify};
use crate::support::{app, on_each_store, one, restart};

/// The key as the list shows it.
async fn listed(client: &Client, key_id: &str) -> Value {
    let page = client.get(KEYS).await.expect(200).json();
    let keys = page["keys"].as_array().expect("a list");
    keys.iter().find(|key| key["key_id"] == key_id).unwrap_or_else(|| panic!("{key_id} in {page}")).clone()
}

async fn does_nothing(client: &Client, key_id: &str) {
    client
        .post_json(SIGN, &json!({ "message": "", "key_id": key_id }))
        .await
        .expect_problem(409, "signing_key_disabled");
    client.post_json(VERIFY, &to_verify(key_id, "", "")).await.expect_problem(409, "signing_key_disabled");
    client.get(&format!("{KEYS}/{key_id}/public")).await.expect_problem(409, "signing_key_disabled");
}

on_each_store! {
    async fn lists_come_in_pages_in_the_order_of_ids(store) {
        let cluster = one(store).await;
        let app = app(&cluster).await;
        assert_eq!(app.get(KEYS).await.expect(200).json(), json!({ "keys": [] }));
        let mut made = Vec::new();
        for context in ["general", "user-pii", "general", "user-pii", "general"] {
            made.push(text(&generate(&app, "Ed25519", context).await, "key_id"));
        }
        made.sort_unstable();
        for size in 1..=6 {
            let (mut ids, mut after) = (Vec::new(), String::new());
            loop {
                let page = app.get(&format!("{KEYS}?limit={size}{after}")).await.expect(200).json();
                let keys = page["keys"].as_array().expect("a list");
                assert!(keys.len() <= size, "{page}");
                ids.extend(keys.iter().map(|key| text(key, "key_id")));
                match page["next"].as_str() {
                    Some(next) => after = format!("&after={next}"),
                    None => break,
                }
            }
            assert_eq!(ids, made, "pages of {size}");
        }
        for query in ["limit=0", "limit=1001", "limit=x", "after=", "after=x", "unknown=1"] {
            app.get(&format!("{KEYS}?{query}")).await.expect_problem(400, "invalid_request");
        }
    }

    async fn a_deleted_key_does_nothing_and_is_restored(store) {
        let cluster = one(store).await;
        let app = app(&cluster).await;
        let key_id = ed25519(&app).await;
        let signature = sign(&app, &key_id, "m").await;
        let before = listed(&app, &key_id).await;
        assert_eq!((&before["state"], &before["destroy_at"]), (&json!("enabled"), &Value::Null));
        let (path, restore) = (format!("{KEYS}/{key_id}"), format!("{KEYS}/{key_id}/restore"));
        app.post_json(&restore, &json!({})).await.expect_problem(409, "key_state_conflict");
        for days in ["", "?waiting_days=1", "?waiting_days=365"] {
            let deleted = app.delete(&format!("{path}{days}")).await.expect(200).json();
            assert_eq!(deleted["state"], "scheduled_for_destruction");
            assert!(deleted["destroy_at"].is_string(), "{deleted}");
            assert_eq!(listed(&app, &key_id).await["destroy_at"], deleted["destroy_at"]);
            does_nothing(&app, &key_id).await;
            app.delete(&path).await.expect_problem(409, "key_state_conflict");
            let restored = app.post_json(&restore, &json!({})).await.expect(200).json();
            assert_eq!((&restored["state"], &restored["destroy_at"]), (&json!("enabled"), &Value::Null));
            assert!(is_valid(&app, &to_verify(&key_id, "m", &signature)).await);
            sign(&app, &key_id, "again").await;
        }
        // Other keys of the same context went on meanwhile.
        let other = ed25519(&app).await;
        app.delete(&path).await.expect(200);
        sign(&app, &other, "m").await;
    }

    /// As many at once as will not all fit beside each other. Without optimisation each takes seconds.
    async fn rsa_keys_are_made_beside_other_requests(store) {
        let cluster = one(store).await;
        let app = app(&cluster).await.with_limit(LIMIT * 10);
        let keys = futures_util::future::join_all((0..4).map(|_| generate(&app, "rsa", "general")));
        let others = async {
            for _ in 0..20 {
                cluster.client(0).get("/health/live").await.expect(200);
            }
        };
        let (keys, ()) = tokio::join!(keys, others);
        let mut public: Vec<_> = keys.iter().map(|key| text(key, "public_key_pem")).collect();
        public.sort_unstable();
        public.dedup();
        assert_eq!(public.len(), 4);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_whose_waiting_period_is_over_is_destroyed() {
    let mut cluster = one(StoreKind::Postgres).await;
    let app = app(&cluster).await;
    let (key_id, other) = (ed25519(&app).await, ed25519(&app).await);
    for id in [&key_id, &other] {
        app.delete(&format!("{KEYS}/{id}?waiting_days=1")).await.expect(200);
    }
    let database = cluster.database().connect().await;
    let id = hex::decode(key_id.replace('-', "")).expect("a UUID");
    let over = "UPDATE key_versions SET destroy_at = now() - interval '1 second' WHERE key_id = $1";
    assert_eq!(database.execute(over, &[&id]).await.expect("changed"), 1);
    restart(&mut cluster, 0).await;
    eventually("the key is destroyed", async || {
        (listed(&app, &key_id).await["state"] == "destroyed").then_some(())
    })
    .await;
    does_nothing(&app, &key_id).await;
    let restore = format!("{KEYS}/{key_id}/restore");
    app.post_json(&restore, &json!({})).await.expect_problem(409, "key_state_conflict");
    app.delete(&format!("{KEYS}/{key_id}")).await.expect_problem(409, "key_state_conflict");
    let bytes = database.query("SELECT 1 FROM wrapped_keys WHERE key_id = $1", &[&id]).await.expect("read");
    assert!(bytes.is_empty(), "the bytes are gone");
    app.post_json(&format!("{KEYS}/{other}/restore"), &json!({})).await.expect(200);
    sign(&app, &other, "m").await;
}
