//! `cryptoserve-client` 0.3.0.

use cryptoserve_tests::TokenRequest;
use serde_json::json;

use super::{addresses, python, replicas, script};
use crate::support::{admin, on_each_store};

on_each_store! {
    async fn every_method_works_or_is_refused_as_the_documents_say_and_one_refresh_token_lasts(store) {
        let burst = "1000";
        let cluster = replicas(store, |builder| builder.env("RATE_LIMIT_IDENTITY", format!("{burst}:{burst}"))).await;
        let token = async |name: &str, context: &str| {
            cluster.token(&TokenRequest::identity(name).contexts([context])).await
        };
        let admin = admin(&cluster).await;
        let body = json!({ "name": "refreshing", "contexts": ["general"] });
        let made = admin.post_json("/api/admin/identities", &body).await.expect(201);
        let path = format!("/api/admin/identities/{}/tokens", made.text("id"));
        let issued = admin.post_json(&path, &json!({ "refresh": true })).await.expect(200);
        let home = tempfile::tempdir().expect("a home");
        let python = python(home.path())
            .env("SERVERS", addresses(&cluster))
            .env("TOKEN", token("app", "*").await)
            .env("NARROW", token("narrow", "general").await)
            .env("LIMITED", token("limited", "general").await)
            .env("BURST", burst)
            .env("REFRESH", issued.text("refresh_token"));
        script(python.clone(), "library.py").await;
        script(python, "refresh.py").await;
    }
}
