//! The requests of the published Python clients, as they send them.

use serde_json::{Value, json};

use super::{generate, text};
use crate::support::{admin, app, base64, on_each_store, one, service};

on_each_store! {
    /// `cryptoserve-client` 0.3.0, with either base path.
    async fn cryptoserve_client(store) {
        let cluster = one(store).await;
        let (app, admin) = (app(&cluster).await, admin(&cluster).await);
        for base in ["", "/api"] {
            for (algorithm, context, expected) in [
                ("ed25519", "default", "general"), ("ecdsa-p256", "user-pii", "user-pii"),
            ] {
                let body = json!({ "algorithm": algorithm, "context": context });
                let key = app.post_json(&format!("{base}/v1/signatures/keys/generate"), &body).await.expect(200).json();
                assert_eq!(key["context"], expected);
                let body = json!({ "message": base64("data"), "key_id": key["key_id"] });
                let signed = app.post_json(&format!("{base}/v1/signatures/sign"), &body).await.expect(200);
                let body = json!({
                    "message": base64("data"), "signature": signed.text("signature"), "key_id": key["key_id"],
                });
                let verify = format!("{base}/v1/signatures/verify");
                assert_eq!(app.post_json(&verify, &body).await.expect(200).json()["valid"], true);
                // verify(data, signature, public_key=pem)
                let body = json!({
                    "message": base64("data"), "signature": signed.text("signature"), "key_id": "",
                    "public_key": key["public_key_pem"],
                });
                assert_eq!(app.post_json(&verify, &body).await.expect(200).json()["valid"], true);
            }
        }
        // What it sends when it was given no name means no other context than it says, if there is one of that name.
        let general = service(&cluster, "general-only", ["general"]).await;
        let path = "/v1/signatures/keys/generate";
        let body = json!({ "algorithm": "ed25519", "context": "default" });
        general.post_json(path, &body).await.expect(200);
        let other = service(&cluster, "other", ["user-pii"]).await;
        other.post_json(path, &body).await.expect_problem(403, "context_forbidden");
        admin.post_json("/api/admin/contexts", &json!({ "name": "default" })).await.expect(201);
        assert_eq!(app.post_json(path, &body).await.expect(200).json()["context"], "default");
        general.post_json(path, &body).await.expect_problem(403, "context_forbidden");
    }

    /// `cryptoserve` 1.4.3.
    async fn cryptoserve(store) {
        let cluster = one(store).await;
        let app = app(&cluster).await;
        let key: Value = generate(&app, "Ed25519", "general").await;
        for base in ["", "/api"] {
            let body = json!({ "message": base64("data"), "key_id": key["key_id"] });
            let signed = app.post_json(&format!("{base}/v1/crypto/sign"), &body).await.expect(200).text("signature");
            let verify = format!("{base}/v1/crypto/verify");
            let mut body = json!({ "message": base64("data"), "signature": signed, "key_id": key["key_id"] });
            assert_eq!(app.post_json(&verify, &body).await.expect(200).json()["valid"], true);
            body["public_key"] = json!(base64(text(&key, "public_key_pem")));
            assert_eq!(app.post_json(&verify, &body).await.expect(200).json()["valid"], true);
            body["message"] = json!(base64("other"));
            assert_eq!(app.post_json(&verify, &body).await.expect(200).json()["valid"], false);
        }
        app.get("/v1/crypto/sign").await.expect_problem(405, "method_not_allowed");
    }
}
