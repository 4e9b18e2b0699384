use cryptoserve_tests::Client;
use serde_json::{Value, json};

use super::{paged, refuses_bad_queries};
use crate::support::{
    DECRYPT, ENCRYPT, admin, app, base64, encrypt_in, on_each_store, one, sealed, unbase64,
};

const CONTEXTS: &str = "/api/admin/contexts";

async fn create(admin: &Client, body: Value) -> Value {
    admin.post_json(CONTEXTS, &body).await.expect(201).json()
}

async fn usable(app: &Client) -> Vec<String> {
    let listed = app.get("/api/v1/contexts").await.expect(200).json();
    listed["contexts"].as_array().expect("a list").iter().map(super::name).collect()
}

on_each_store! {
    async fn a_context_is_made_shown_and_used_at_once(store) {
        let cluster = one(store).await;
        let (admin, app) = (admin(&cluster).await, app(&cluster).await);
        let made = create(&admin, json!({
            "name": "a.b_c-1", "description": "Ünïcode\n\"quoted\"", "algorithm": "aes-256-gcm",
        })).await;
        assert_eq!(made["algorithm"], "AES-256-GCM");
        assert_eq!(made["allowed_algorithms"], json!(["AES-256-GCM"]));
        assert_eq!(made["description"], "Ünïcode\n\"quoted\"");
        assert_eq!(made["deleted_at"], Value::Null);
        assert_eq!(admin.get(&format!("{CONTEXTS}/a.b_c-1")).await.expect(200).json(), made);
        // RFC 3986 section 6.2.2.2: the same path in other letters.
        assert_eq!(admin.get(&format!("{CONTEXTS}/%61.b%5Fc-1")).await.expect(200).json(), made);

        let reply = app.post_json(ENCRYPT, &json!({ "context": "a.b_c-1", "plaintext": "" })).await.expect(200);
        assert_eq!(reply.json()["key_id"], made["key_id"]);
        assert_eq!(reply.json()["algorithm"]["name"], "AES-256-GCM");

        let plain = create(&admin, json!({ "name": "plain" })).await;
        assert_eq!((&plain["algorithm"], &plain["description"]), (&json!("XAES-256-GCM"), &json!("")));
        // What callers may choose always holds what they get unasked.
        let both = create(&admin, json!({
            "name": "both", "algorithm": "ChaCha20-Poly1305", "allowed_algorithms": ["AES-256-GCM-SIV"],
        })).await;
        let mut allowed: Vec<_> = both["allowed_algorithms"].as_array().expect("a list").clone();
        allowed.sort_by_key(ToString::to_string);
        assert_eq!(allowed, ["AES-256-GCM-SIV", "ChaCha20-Poly1305"]);
    }

    async fn what_cannot_be_a_context_is_refused(store) {
        let cluster = one(store).await;
        let admin = admin(&cluster).await;
        let long = "x".repeat(65);
        for name in ["", "A", "a b", "ä", "a/b", "a\0", "*", "a\n", &long] {
            let refused = admin.post_json(CONTEXTS, &json!({ "name": name })).await;
            refused.expect_problem(400, "invalid_request");
        }
        create(&admin, json!({ "name": "x".repeat(64), "description": "d".repeat(1024) })).await;
        let existing = format!("{CONTEXTS}/general");
        let too_long = "d".repeat(1025);
        for description in ["a\0b", "\0", &too_long] {
            let body = json!({ "name": "new", "description": description });
            admin.post_json(CONTEXTS, &body).await.expect_problem(400, "invalid_request");
            let body = json!({ "description": description });
            admin.put_json(&existing, &body).await.expect_problem(400, "invalid_request");
        }
        for algorithms in [json!({ "algorithm": "rot13" }), json!({ "allowed_algorithms": ["AES-256-GCM", "none"] })] {
            admin.put_json(&existing, &algorithms).await.expect_problem(422, "unknown_algorithm");
            let mut body = algorithms;
            body["name"] = "new".into();
            admin.post_json(CONTEXTS, &body).await.expect_problem(422, "unknown_algorithm");
        }
        for body in [json!({}), json!({ "name": 1 }), json!({ "name": "new", "more": 1 }), json!([]), json!(null)] {
            admin.post_json(CONTEXTS, &body).await.expect_problem(400, "invalid_request");
        }
        // A name never changes.
        admin.put_json(&existing, &json!({ "name": "other" })).await.expect_problem(400, "invalid_request");
        admin.get(&format!("{CONTEXTS}/new")).await.expect_problem(404, "context_not_found");
        for missing in ["none", "Not%20A%20Name", "%00", "%zz", "%ff"] {
            let path = format!("{CONTEXTS}/{missing}");
            admin.get(&path).await.expect_problem(404, "context_not_found");
            admin.put_json(&path, &json!({})).await.expect_problem(404, "context_not_found");
            admin.delete(&path).await.expect_problem(404, "context_not_found");
            admin.post_json(&format!("{path}/restore"), &json!({})).await.expect_problem(404, "context_not_found");
        }
    }

    async fn lists_come_in_pages_in_the_order_of_names(store) {
        let cluster = one(store).await;
        let admin = admin(&cluster).await;
        for name in ["zz", "a-1", "a.1", "a_1", "a1"] {
            create(&admin, json!({ "name": name })).await;
        }
        let all = paged(&admin, CONTEXTS, "contexts", 1000).await;
        assert_eq!(all.len(), 9 + 5);
        assert!(all.is_sorted(), "{all:?}");
        for size in [1, 2, 7, 13, 14, 15] {
            assert_eq!(paged(&admin, CONTEXTS, "contexts", size).await, all, "pages of {size}");
        }
        refuses_bad_queries(&admin, CONTEXTS).await;
        admin.get(&format!("{CONTEXTS}?deleted=maybe")).await.expect_problem(400, "invalid_request");
    }

    async fn a_deleted_context_answers_as_if_it_did_not_exist_and_comes_back_whole(store) {
        let cluster = one(store).await;
        let (admin, app) = (admin(&cluster).await, app(&cluster).await);
        let before = create(&admin, json!({ "name": "gone" })).await;
        let ciphertext = encrypt_in(&app, "gone", "kept").await;
        let path = format!("{CONTEXTS}/gone");
        let deleted = admin.delete(&path).await.expect(200).json();
        assert!(deleted["deleted_at"].is_string(), "{deleted}");
        for _ in 0..2 {
            let body = json!({ "context": "gone", "plaintext": "" });
            app.post_json(ENCRYPT, &body).await.expect_problem(404, "context_not_found");
            app.post_json(DECRYPT, &sealed(&ciphertext)).await.expect_problem(400, "invalid_ciphertext");
            assert!(!usable(&app).await.contains(&"gone".to_owned()));
            assert!(!paged(&admin, CONTEXTS, "contexts", 100).await.contains(&"gone".to_owned()));
            let listed = admin.get(&format!("{CONTEXTS}?deleted=true")).await.expect(200).json();
            assert_eq!(listed["contexts"].as_array().map(Vec::len), Some(1), "{listed}");
            assert_eq!(admin.get(&path).await.expect(200).json(), deleted);
            // Its name stays taken: a new key under an old name would hide the old one for good.
            admin.post_json(CONTEXTS, &json!({ "name": "gone" })).await.expect_problem(409, "name_taken");
            admin.delete(&path).await.expect_problem(404, "context_not_found");
        }
        let restored = admin.post_json(&format!("{path}/restore"), &json!({})).await.expect(200).json();
        assert_eq!((&restored["deleted_at"], &restored["key_id"]), (&Value::Null, &before["key_id"]));
        let reply = app.post_json(DECRYPT, &sealed(ciphertext)).await.expect(200);
        assert_eq!(unbase64(&reply.text("plaintext")), b"kept");
        let again = app.post_json(ENCRYPT, &json!({ "context": "gone", "plaintext": "" })).await.expect(200).json();
        assert_eq!((&again["key_id"], &again["key_version"]), (&before["key_id"], &json!(1)));
        admin.post_json(&format!("{path}/restore"), &json!({})).await.expect_problem(404, "context_not_found");
        admin.post_json(CONTEXTS, &json!({ "name": "gone" })).await.expect_problem(409, "name_taken");
        admin.post_json(CONTEXTS, &json!({ "name": "general" })).await.expect_problem(409, "name_taken");
    }

    async fn a_changed_algorithm_holds_for_what_is_encrypted_from_now_on(store) {
        let cluster = one(store).await;
        let (admin, app) = (admin(&cluster).await, app(&cluster).await);
        let path = format!("{CONTEXTS}/general");
        let mut ciphertexts = vec![(encrypt_in(&app, "general", "1").await, 1)];
        for (algorithm, id) in [("AES-256-GCM", 2), ("aes-128-gcm", 3), ("ChaCha20-Poly1305", 4), ("AES-256-GCM-SIV", 5)] {
            let changed = admin.put_json(&path, &json!({ "algorithm": algorithm })).await.expect(200).json();
            assert_eq!(changed["algorithm"].as_str().map(str::to_lowercase), Some(algorithm.to_lowercase()));
            ciphertexts.push((encrypt_in(&app, "general", id.to_string()).await, id));
        }
        for (ciphertext, id) in &ciphertexts {
            assert_eq!(ciphertext[3], *id);
            let reply = app.post_json(DECRYPT, &sealed(ciphertext)).await.expect(200);
            assert_eq!(unbase64(&reply.text("plaintext")), id.to_string().as_bytes());
        }
        let changed = json!({ "description": "new", "allowed_algorithms": ["XAES-256-GCM"] });
        let view = admin.put_json(&path, &changed).await.expect(200).json();
        assert_eq!(view["description"], "new");
        // Its own algorithm is not to be taken away.
        assert_eq!(view["allowed_algorithms"].as_array().map(Vec::len), Some(2), "{view}");
        let with = |name: &str| json!({ "context": "general", "plaintext": base64("x"), "algorithm_override": name });
        app.post_json(ENCRYPT, &with("XAES-256-GCM")).await.expect(200);
        app.post_json(ENCRYPT, &with("AES-256-GCM")).await.expect_problem(422, "algorithm_not_allowed");
        // Nothing asked, nothing changed.
        let same = admin.put_json(&path, &json!({})).await.expect(200).json();
        assert_eq!((&same["algorithm"], &same["description"]), (&view["algorithm"], &view["description"]));
    }
}
