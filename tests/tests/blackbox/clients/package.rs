//! `cryptoserve` 1.4.3, which registers its apps.

use cryptoserve_tests::{Cluster, Nginx, StoreKind, TokenRequest};
use serde_json::{Value, json};

use super::{python, replicas, script};
use crate::support::{admin, on_each_store};

/// An access token of somebody who may register apps, for two contexts.
async fn developer(cluster: &Cluster) -> String {
    let admin = admin(cluster).await;
    let scopes =
        ["encrypt", "decrypt", "hash", "mac", "sign", "verify", "sign:manage", "contexts:read", "register"];
    let body = json!({ "name": "developer", "scopes": scopes, "contexts": ["general", "user-pii"] });
    let made = admin.post_json("/api/admin/identities", &body).await.expect(201);
    let path = format!("/api/admin/identities/{}/tokens", made.text("id"));
    admin.post_json(&path, &json!({})).await.expect(200).text("access_token")
}

on_each_store! {
    async fn an_app_registers_on_two_machines_and_both_go_on_refreshing(store) {
        let cluster = replicas(store, |builder| builder).await;
        // The package knows one address, which is Nginx's where there are several replicas.
        let nginx = match store {
            StoreKind::Postgres => Some(Nginx::start(&cluster.addresses()).await),
            StoreKind::Sqlite => None,
        };
        let address = nginx.as_ref().map_or_else(|| cluster.addresses()[0], Nginx::address);
        let server = format!("http://{address}");
        let token = developer(&cluster).await;
        let directory = tempfile::tempdir().expect("a directory");
        let on = |machine: &str| {
            let home = directory.path().join(machine);
            std::fs::create_dir_all(&home).expect("a home");
            python(&home)
                .env("SHARED", directory.path().to_string_lossy())
                .env("CRYPTOSERVE_SERVER_URL", &server)
                .env("CRYPTOSERVE_TOKEN", &token)
        };
        let unregistered = cluster.token(&TokenRequest::identity("app")).await;
        script(on("none").env("REFUSED", unregistered), "unregistered.py").await;
        for (machine, step) in [("one", "first"), ("two", "second"), ("one", "later")] {
            script(on(machine).env("STEP", step), "package.py").await;
        }
        // Every replica took part and refused its key; tokens, one of which came in a path, are in no log.
        let shared = std::fs::read(directory.path().join("shared.json")).expect("written by the script");
        let shared: Value = serde_json::from_slice(&shared).expect("JSON");
        let refresh_token = shared["refresh_token"].as_str().expect("text");
        let mut logs: Vec<_> = cluster.replicas().iter().map(|replica| replica.log().text()).collect();
        for log in &logs {
            assert!(log.contains("request completed") && log.contains("/crypto/key-bundle"));
        }
        logs.extend(nginx.as_ref().map(|nginx| nginx.access_log().text() + &nginx.error_log().text()));
        for log in &logs {
            assert!(!log.contains(&token) && !log.contains(refresh_token));
        }
    }
}
