use serde_json::json;

use super::{GENERATE, KEYS, SIGN, VERIFY, ed25519, generate, is_valid, sign, text, to_verify};
use crate::support::{admin, app, base64, on_each_store, one, service};

on_each_store! {
    /// As for ciphertexts: the context of the key decides, whatever the caller says that it is.
    async fn a_key_is_for_those_who_may_use_its_context(store) {
        let cluster = one(store).await;
        let app = app(&cluster).await;
        let billing = service(&cluster, "billing", ["payment-data"]).await;
        let foreign = text(&generate(&app, "Ed25519", "health-data").await, "key_id");
        let own = text(&generate(&billing, "Ed25519", "payment-data").await, "key_id");
        let signature = sign(&app, &foreign, "m").await;

        for context in ["health-data", "payment-data"] {
            let body = json!({ "message": "", "key_id": foreign, "context": context });
            billing.post_json(SIGN, &body).await.expect_problem(403, "context_forbidden");
        }
        billing.post_json(VERIFY, &to_verify(&foreign, "m", &signature)).await.expect_problem(403, "context_forbidden");
        billing.get(&format!("{KEYS}/{foreign}/public")).await.expect_problem(403, "context_forbidden");
        billing.delete(&format!("{KEYS}/{foreign}")).await.expect_problem(403, "context_forbidden");
        let restore = format!("{KEYS}/{foreign}/restore");
        billing.post_json(&restore, &json!({})).await.expect_problem(403, "context_forbidden");
        let body = json!({ "algorithm": "Ed25519", "context": "health-data" });
        billing.post_json(GENERATE, &body).await.expect_problem(403, "context_forbidden");

        let listed = billing.get(KEYS).await.expect(200).json();
        let ids: Vec<_> = listed["keys"].as_array().expect("a list").iter().map(|key| text(key, "key_id")).collect();
        assert_eq!(ids, [own]);
        assert!(is_valid(&app, &to_verify(&foreign, "m", &signature)).await);
    }

    async fn each_operation_needs_its_scope(store) {
        let cluster = one(store).await;
        let (app, admin) = (app(&cluster).await, admin(&cluster).await);
        let key_id = ed25519(&app).await;
        let signature = sign(&app, &key_id, "m").await;
        let made = json!({ "name": "narrow", "contexts": ["*"] });
        let made = admin.post_json("/api/admin/identities", &made).await.expect(201).text("id");
        for scopes in ["sign", "verify", "sign:manage", "encrypt"] {
            let path = format!("/api/admin/identities/{made}");
            admin.put_json(&path, &json!({ "scopes": [scopes] })).await.expect(200);
            let issued = admin.post_json(&format!("{path}/tokens"), &json!({})).await.expect(200);
            let narrow = cluster.client(0).with_token(&issued.text("access_token"));
            let generated = narrow.post_json(GENERATE, &json!({ "algorithm": "ed25519", "context": "general" })).await;
            let replies = [
                ("sign", narrow.post_json(SIGN, &json!({ "message": base64("m"), "key_id": key_id })).await),
                ("verify", narrow.post_json(VERIFY, &to_verify(&key_id, "m", &signature)).await),
                ("verify", narrow.get(KEYS).await),
                ("verify", narrow.get(&format!("{KEYS}/{key_id}/public")).await),
                ("sign:manage", generated),
                ("sign:manage", narrow.delete(&format!("{KEYS}/{key_id}")).await),
                ("sign:manage", narrow.post_json(&format!("{KEYS}/{key_id}/restore"), &json!({})).await),
            ];
            for (needed, reply) in replies {
                if needed == scopes {
                    reply.expect(200);
                } else {
                    reply.expect_problem(403, "scope_missing");
                }
            }
        }
        assert!(is_valid(&app, &to_verify(&key_id, "m", &signature)).await);
    }

    async fn the_keys_of_a_deleted_context_are_gone_and_come_back_with_it(store) {
        let cluster = one(store).await;
        let (app, admin) = (app(&cluster).await, admin(&cluster).await);
        let key_id = ed25519(&app).await;
        let signature = sign(&app, &key_id, "m").await;
        admin.delete("/api/admin/contexts/general").await.expect(200);
        for client in [&app, &service(&cluster, "billing", ["payment-data"]).await] {
            client.post_json(SIGN, &json!({ "message": "", "key_id": key_id })).await.expect_problem(404, "signing_key_not_found");
            client.post_json(VERIFY, &to_verify(&key_id, "m", &signature)).await.expect_problem(404, "signing_key_not_found");
            client.get(&format!("{KEYS}/{key_id}/public")).await.expect_problem(404, "signing_key_not_found");
            client.delete(&format!("{KEYS}/{key_id}")).await.expect_problem(404, "signing_key_not_found");
        }
        assert_eq!(app.get(KEYS).await.expect(200).json()["keys"], json!([]));
        admin.post_json("/api/admin/contexts/general/restore", &json!({})).await.expect(200);
        assert!(is_valid(&app, &to_verify(&key_id, "m", &signature)).await);
        sign(&app, &key_id, "m").await;
    }
}
