use serde_json::json;

use crate::support::{DECRYPT, admin, app, base64, on_each_store, one, service, unbase64, with_scopes};

const DATA_KEY: &str = "/api/v1/crypto/datakey";

on_each_store! {
    async fn decrypt_gives_the_data_key_back(store) {
        let cluster = one(store).await;
        let app = app(&cluster).await;
        for bits in [128, 256, 512] {
            for associated_data in ["", "file 7"] {
                let body = json!({ "context": "backup-data", "bits": bits, "associated_data": base64(associated_data) });
                let made = app.post_json(DATA_KEY, &body).await.expect(200);
                assert_eq!(unbase64(&made.text("plaintext")).len() * 8, bits);
                assert_eq!(made.json()["key_version"], 1);
                let body = json!({
                    "ciphertext": made.text("ciphertext"),
                    "context": "backup-data",
                    "associated_data": base64(associated_data),
                });
                let opened = app.post_json(DECRYPT, &body).await.expect(200);
                assert_eq!(opened.text("plaintext"), made.text("plaintext"));
                if !associated_data.is_empty() {
                    let without = json!({ "ciphertext": made.text("ciphertext") });
                    app.post_json(DECRYPT, &without).await.expect_problem(400, "authentication_failed");
                }
            }
        }
    }

    async fn without_plaintext_only_the_ciphertext_leaves(store) {
        let cluster = one(store).await;
        let app = app(&cluster).await;
        let body = json!({ "context": "general", "bits": 256, "plaintext": false });
        let made = app.post_json(DATA_KEY, &body).await.expect(200);
        assert_eq!(made.json().get("plaintext"), None);
        let opened = app.post_json(DECRYPT, &json!({ "ciphertext": made.text("ciphertext") })).await.expect(200);
        assert_eq!(unbase64(&opened.text("plaintext")).len(), 32);
        let again = app.post_json(DATA_KEY, &body).await.expect(200);
        let again = app.post_json(DECRYPT, &json!({ "ciphertext": again.text("ciphertext") })).await.expect(200);
        assert_ne!(again.text("plaintext"), opened.text("plaintext"));
    }

    async fn the_contexts_algorithm_encrypts_it(store) {
        let cluster = one(store).await;
        let (app, admin) = (app(&cluster).await, admin(&cluster).await);
        let context = json!({ "name": "siv", "algorithm": "AES-256-GCM-SIV" });
        admin.post_json("/api/admin/contexts", &context).await.expect(201);
        let made = app.post_json(DATA_KEY, &json!({ "context": "siv", "bits": 128 })).await.expect(200);
        assert_eq!(unbase64(&made.text("ciphertext"))[3], 5);
    }

    async fn what_is_wrong_is_said(store) {
        let cluster = one(store).await;
        let app = app(&cluster).await;
        for (body, status, code) in [
            (json!({ "context": "general" }), 400, "invalid_request"),
            (json!({ "bits": 256 }), 400, "invalid_request"),
            (json!({ "context": "general", "bits": 192 }), 400, "invalid_request"),
            (json!({ "context": "general", "bits": 0 }), 400, "invalid_request"),
            (json!({ "context": "general", "bits": "256" }), 400, "invalid_request"),
            (json!({ "context": "general", "bits": 256, "plaintext": "no" }), 400, "invalid_request"),
            (json!({ "context": "general", "bits": 256, "associated_data": "*" }), 400, "invalid_base64"),
            (json!({ "context": "nowhere", "bits": 256 }), 404, "context_not_found"),
        ] {
            app.post_json(DATA_KEY, &body).await.expect_problem(status, code);
        }
        let good = json!({ "context": "general", "bits": 256 });
        let billing = service(&cluster, "billing", ["payment-data"]).await;
        billing.post_json(DATA_KEY, &good).await.expect_problem(403, "context_forbidden");
        let stranger = with_scopes(&cluster, "stranger", &["encrypt", "decrypt"]).await;
        stranger.post_json(DATA_KEY, &good).await.expect_problem(403, "scope_missing");
        // The scope alone is enough to make one, and not to open it.
        let maker = with_scopes(&cluster, "maker", &["datakey"]).await;
        let made = maker.post_json(DATA_KEY, &good).await.expect(200);
        let open = json!({ "ciphertext": made.text("ciphertext") });
        maker.post_json(DECRYPT, &open).await.expect_problem(403, "scope_missing");
    }
}
