use serde_json::json;

use crate::support::{
    DECRYPT, ENCRYPT, admin, app, base64, encrypt, on_each_store, one, sealed, service, unbase64,
};

on_each_store! {
    async fn what_is_encrypted_can_be_decrypted(store) {
        let cluster = one(store).await;
        let app = app(&cluster).await;
        let every_byte: Vec<u8> = (0..=255).collect();
        for plaintext in [&b""[..], b"x", &every_byte, &vec![7; 1 << 20]] {
            for associated_data in [None, Some(&b"row 17"[..])] {
                let mut body = json!({ "context": "user-pii", "plaintext": base64(plaintext) });
                if let Some(associated_data) = associated_data {
                    body["associated_data"] = base64(associated_data).into();
                }
                let reply = app.post_json(ENCRYPT, &body).await.expect(200);
                assert_eq!(reply.json()["algorithm"]["name"], "XAES-256-GCM");
                assert_eq!(reply.json()["algorithm"]["key_bits"], 256);
                assert_eq!(reply.json()["key_version"], 1);
                assert_eq!(reply.json()["warnings"], json!([]));

                let mut body = sealed(unbase64(&reply.text("ciphertext")));
                if let Some(associated_data) = associated_data {
                    body["associated_data"] = base64(associated_data).into();
                }
                let reply = app.post_json(DECRYPT, &body).await.expect(200);
                assert_eq!(unbase64(&reply.text("plaintext")), plaintext);
                assert_eq!(reply.text("context"), "user-pii");
                assert_eq!(reply.json()["key_version"], 1);
            }
        }
    }

    async fn both_base_paths_lead_to_the_same(store) {
        let cluster = one(store).await;
        let app = app(&cluster).await;
        let body = json!({ "context": "general", "plaintext": base64("hello") });
        let reply = app.post_json("/v1/crypto/encrypt", &body).await.expect(200);
        let reply = app.post_json(DECRYPT, &json!({ "ciphertext": reply.text("ciphertext") })).await;
        assert_eq!(unbase64(&reply.expect(200).text("plaintext")), b"hello");
        app.get("/v1/contexts").await.expect(200);
    }

    async fn an_override_outside_of_the_allowed_is_refused(store) {
        let cluster = one(store).await;
        let app = app(&cluster).await;
        let body = |algorithm| json!({ "context": "general", "plaintext": "", "algorithm_override": algorithm });
        let refused = app.post_json(ENCRYPT, &body("AES-128-GCM")).await;
        let refused = refused.expect_problem(422, "algorithm_not_allowed");
        assert!(refused.text("detail").contains("it allows XAES-256-GCM"), "{}", refused.text("detail"));
        app.post_json(ENCRYPT, &body("ROT-13")).await.expect_problem(422, "unknown_algorithm");
    }

    async fn bad_requests_get_a_clear_error_that_repeats_nothing(store) {
        let cluster = one(store).await;
        let app = app(&cluster).await;
        for (body, status, code) in [
            (json!({ "context": "general", "plaintext": "CANARY*" }), 400, "invalid_base64"),
            (json!({ "context": "general", "plaintext": "Q0FOQVJZ=" }), 400, "invalid_base64"),
            (json!({ "context": "general", "plaintext": "Q0FOQV\nJZ" }), 400, "invalid_base64"),
            (json!({ "context": "general", "plaintext": "CANA-_==" }), 400, "invalid_base64"),
            (json!({ "context": "general", "plaintext": "", "associated_data": "CANARY" }), 400, "invalid_base64"),
            (json!({ "context": "general", "plaintext": "", "CANARY": 1 }), 400, "invalid_request"),
            (json!({ "context": "general", "plaintext": 7 }), 400, "invalid_request"),
            (json!({ "context": "general" }), 400, "invalid_request"),
            (json!({ "context": "CANARY", "plaintext": "" }), 404, "context_not_found"),
            (json!({ "context": "canary", "plaintext": "" }), 404, "context_not_found"),
            (json!(["CANARY"]), 400, "invalid_request"),
            (json!("CANARY"), 400, "invalid_request"),
        ] {
            let reply = app.post_json(ENCRYPT, &body).await.expect_problem(status, code);
            let text = String::from_utf8_lossy(&reply.body).to_lowercase();
            assert!(!text.contains("canary"), "{text}");
            assert_eq!(Some(reply.text("request_id").as_str()), reply.header("x-request-id"));
        }
        for body in ["", "{", "nonsense", "{\"context\":\"a\",\"context\":\"a\"}", "\u{0}", "[[[[[[[[["] {
            app.post_bytes(ENCRYPT, body).await.expect_problem(400, "invalid_request");
            app.post_bytes(DECRYPT, body).await.expect_problem(400, "invalid_request");
        }
        let deep = "[".repeat(100_000);
        app.post_bytes(ENCRYPT, deep).await.expect_problem(400, "invalid_request");
    }

    async fn the_field_usage_of_older_clients_is_accepted_and_warned_of(store) {
        let cluster = one(store).await;
        let body = json!({ "context": "general", "plaintext": "", "usage": "at_rest" });
        let reply = app(&cluster).await.post_json(ENCRYPT, &body).await.expect(200);
        assert_eq!(reply.json()["warnings"].as_array().map(Vec::len), Some(1));
    }

    async fn a_token_may_use_only_its_contexts(store) {
        let cluster = one(store).await;
        let everything = app(&cluster).await;
        let one_only = service(&cluster, "billing", ["payment-data"]).await;
        let ciphertext = encrypt(&everything, "secret").await;

        let body = json!({ "context": "user-pii", "plaintext": "" });
        one_only.post_json(ENCRYPT, &body).await.expect_problem(403, "context_forbidden");
        one_only.post_json(DECRYPT, &sealed(&ciphertext)).await.expect_problem(403, "context_forbidden");
        let listed = one_only.get("/api/v1/contexts").await.expect(200).json();
        let names: Vec<_> = listed["contexts"].as_array().into_iter().flatten().map(|c| &c["name"]).collect();
        assert_eq!(names, ["payment-data"]);
        assert_eq!(listed["contexts"][0]["max_batch"], 1000);

        // Who asks, and what the token is worth: what it claims and the identity has.
        let (id, admin) = (listed["identity"]["id"].as_str().expect("an id"), admin(&cluster).await);
        let body = json!({ "scopes": ["encrypt", "contexts:read"], "ttl_seconds": 60 });
        let issued = admin.post_json(&format!("/api/admin/identities/{id}/tokens"), &body).await.expect(200);
        let narrowed = cluster.client(0).with_token(&issued.text("access_token"));
        let body = json!({ "scopes": ["contexts:read", "decrypt", "encrypt"] });
        admin.put_json(&format!("/api/admin/identities/{id}"), &body).await.expect(200);
        let expected = json!({
            "id": id,
            "name": "billing",
            "role": "service",
            "tenant": "default",
            "scopes": ["encrypt", "contexts:read"],
            "token_expires_at": issued.json()["expires_at"],
        });
        assert_eq!(narrowed.get("/api/v1/contexts").await.expect(200).json()["identity"], expected);
    }

    async fn the_context_of_decrypt_must_be_the_ciphertexts_own(store) {
        let cluster = one(store).await;
        let app = app(&cluster).await;
        let mut body = sealed(encrypt(&app, "secret").await);
        body["context"] = "user-pii".into();
        app.post_json(DECRYPT, &body).await.expect(200);
        body["context"] = "general".into();
        app.post_json(DECRYPT, &body).await.expect_problem(400, "context_mismatch");
    }
}
