//! The package `cryptoserve` asks for the raw key after each encrypt and decrypt, to go on without the service.

use serde_json::json;

use crate::support::{admin, app, on_each_store, one, service, with_scopes};

const PATH: &str = "/api/v1/crypto/key-bundle";

on_each_store! {
    async fn no_key_leaves_in_the_clear_whoever_asks_and_for_whichever_context(store) {
        let cluster = one(store).await;
        let (app, admin) = (app(&cluster).await, admin(&cluster).await);
        let open = json!({ "name": "open", "exportable": true });
        admin.post_json("/api/admin/contexts", &open).await.expect(201);
        let narrow = service(&cluster, "narrow", ["general"]).await;
        for client in [&app, &admin, &narrow] {
            for context in ["user-pii", "open", "general", "nothing", ""] {
                for path in [PATH, "/v1/crypto/key-bundle"] {
                    let body = json!({ "context": context });
                    let refused = client.post_json(path, &body).await.expect_problem(403, "key_export_forbidden");
                    assert!(refused.text("detail").contains("/api/v1/crypto/datakey"), "{}", refused.text("detail"));
                }
            }
        }
        app.post_json(PATH, &json!({})).await.expect_problem(400, "invalid_request");
        let signer = with_scopes(&cluster, "signer", &["sign"]).await;
        signer.post_json(PATH, &json!({ "context": "general" })).await.expect_problem(403, "scope_missing");
        cluster.client(0).post_json(PATH, &json!({})).await.expect_problem(401, "unauthenticated");
    }
}
