use serde_json::{Value, json};

use super::{create, keys, rotate, versions};
use crate::support::{admin, on_each_store, one};

/// The numbers of all versions, over pages of `size`.
async fn paged(admin: &cryptoserve_tests::Client, context: &str, size: usize) -> Vec<u64> {
    let (mut numbers, mut before) = (Vec::new(), String::new());
    loop {
        let page = admin.get(&format!("{}?limit={size}{before}", keys(context))).await.expect(200).json();
        let found = page["versions"].as_array().expect("a list").clone();
        assert!(found.len() <= size && !found.is_empty(), "{page}");
        numbers.extend(found.iter().map(|version| version["version"].as_u64().expect("a number")));
        match page["next"].as_u64() {
            Some(next) => before = format!("&before={next}"),
            None => return numbers,
        }
    }
}

on_each_store! {
    async fn versions_come_in_pages_newest_first(store) {
        let cluster = one(store).await;
        let admin = admin(&cluster).await;
        let made = create(&admin, "a", json!({})).await;
        assert_eq!(paged(&admin, "a", 1).await, [1]);
        for _ in 1..12 {
            rotate(&admin, "a").await;
        }
        let all: Vec<u64> = (1..=12).rev().collect();
        for size in [1, 2, 5, 6, 11, 12, 13, 1000] {
            assert_eq!(paged(&admin, "a", size).await, all, "pages of {size}");
        }
        let page = admin.get(&keys("a")).await.expect(200).json();
        assert_eq!((&page["context"], &page["key_id"]), (&json!("a"), &made["key_id"]));
        assert_eq!(page.get("next"), None, "{page}");
        // The other contexts' versions are theirs.
        assert_eq!(versions(&admin, "general").await.len(), 1);

        let page = async |query: &str| {
            let page = admin.get(&format!("{}?{query}", keys("a"))).await.expect(200).json();
            page["versions"].as_array().expect("a list").len()
        };
        assert_eq!(page("before=1").await, 0);
        assert_eq!(page("before=13").await, 12);
        assert_eq!(page("before=4294967295&limit=1").await, 1);
        for query in [
            "limit=0", "limit=1001", "limit=-1", "limit=x", "limit=", "before=0", "before=-1", "before=4294967296",
            "before=x", "before=", "before=1.0", "after=1", "before=1&before=2",
        ] {
            let reply = admin.get(&format!("{}?{query}", keys("a"))).await;
            assert_eq!(reply.status, 400, "{query}: {reply:?}");
            reply.expect_problem(400, "invalid_request");
        }
    }

    async fn a_version_tells_what_one_wants_to_know_before_its_destruction(store) {
        let cluster = one(store).await;
        let admin = admin(&cluster).await;
        create(&admin, "a", json!({})).await;
        let version = versions(&admin, "a").await[0].clone();
        let fields: Vec<_> = version.as_object().expect("an object").keys().map(String::as_str).collect();
        assert_eq!(fields, [
            "created_at", "decrypts", "encrypts", "kek_id", "last_decrypt_at", "messages_reserved", "origin", "state",
            "state_changed_at", "version",
        ]);
        assert_eq!((&version["origin"], &version["last_decrypt_at"]), (&json!("generated"), &Value::Null));
        assert_eq!(version["created_at"], version["state_changed_at"]);
        // The fingerprint that the start's log shows.
        let line = cluster.replicas()[0].log().message("listening").await;
        assert_eq!(version["kek_id"].as_str().map(str::to_owned), line.field("master_key_fingerprint"));
        // Nothing of the key itself.
        let text = admin.get(&keys("a")).await.expect(200).body;
        let tables = cluster.tables().await;
        for bytes in tables.rows("SELECT bytes FROM wrapped_keys").await {
            let hex = bytes.trim_start_matches("\\x");
            assert!(!String::from_utf8_lossy(&text).contains(&hex[..16]), "wrapped bytes are shown");
        }
    }
}
