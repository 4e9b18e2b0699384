use cryptoserve_tests::{Client, Cluster, StoreKind, TokenRequest};
use serde_json::{Value, json};

use super::{paged, refuses_bad_queries};
use crate::support::{
    DECRYPT, ENCRYPT, admin, app, builder, encrypt, on_each_store, one, operator, refused_everywhere, sealed,
};

const TENANTS: &str = "/api/admin/tenants";
const IDENTITIES: &str = "/api/admin/identities";

/// A tenant, and a client of its administrator.
async fn create(cluster: &Cluster, operator: &Client, name: &str) -> (Value, Client) {
    let made = operator.post_json(TENANTS, &json!({ "name": name })).await.expect(201);
    let admin = cluster.client(0).with_token(&made.text("access_token"));
    (made.json(), admin)
}

/// The token of a service that an administrator makes.
async fn service(admin: &Client) -> String {
    let made = admin.post_json(IDENTITIES, &json!({ "name": "app", "contexts": ["*"] })).await.expect(201);
    let tokens = format!("{IDENTITIES}/{}/tokens", made.text("id"));
    admin.post_json(&tokens, &json!({})).await.expect(200).text("access_token")
}

on_each_store! {
    async fn an_operator_makes_a_tenant_that_its_administrator_runs(store) {
        let cluster = one(store).await;
        let operator = operator(&cluster).await;
        let body = json!({ "name": "acme", "description": "a customer", "admin": "root" });
        let made = operator.post_json(TENANTS, &body).await.expect(201).json();
        assert_eq!(
            (&made["name"], &made["description"], &made["enabled"], &made["admin"]["name"]),
            (&json!("acme"), &json!("a customer"), &json!(true), &json!("root"))
        );
        let theirs = cluster.client(0).with_token(made["access_token"].as_str().expect("a token"));
        let contexts = paged(&theirs, "/api/admin/contexts", "contexts", 100).await;
        assert_eq!(contexts, paged(&admin(&cluster).await, "/api/admin/contexts", "contexts", 100).await);
        assert_eq!(paged(&theirs, IDENTITIES, "identities", 100).await, ["root"]);

        let (app, own) = (cluster.client(0).with_token(&service(&theirs).await), app(&cluster).await);
        let ciphertext = encrypt(&app, "of acme").await;
        app.post_json(DECRYPT, &sealed(&ciphertext)).await.expect(200);
        own.post_json(DECRYPT, &sealed(&ciphertext)).await.expect_problem(400, "invalid_ciphertext");
        app.post_json(DECRYPT, &sealed(encrypt(&own, "of default").await)).await.expect_problem(400, "invalid_ciphertext");

        let path = format!("{TENANTS}/acme");
        let shown = operator.get(&path).await.expect(200).json();
        assert_eq!((&shown["id"], &shown["name"]), (&made["id"], &json!("acme")));
        assert_eq!(shown.get("access_token"), None);
        let changed = operator.put_json(&path, &json!({ "description": "" })).await.expect(200).json();
        assert_eq!((&changed["description"], &changed["enabled"]), (&json!(""), &json!(true)));
        let _ = create(&cluster, &operator, "b").await;
        assert_eq!(paged(&operator, TENANTS, "tenants", 2).await, ["acme", "b", "default"]);
        refuses_bad_queries(&operator, TENANTS).await;

        // A key to the tenant that is not given over HTTP.
        let again = cluster.token(&TokenRequest::admin().tenant("acme")).await;
        let again = cluster.client(0).with_token(&again);
        assert_eq!(paged(&again, IDENTITIES, "identities", 100).await, ["admin", "app", "root"]);
        let who = &again.get("/api/v1/contexts").await.expect(200).json()["identity"];
        assert_eq!((&who["name"], &who["tenant"]), (&json!("admin"), &json!("acme")));
    }

    async fn what_cannot_be_a_tenant_is_refused(store) {
        let cluster = one(store).await;
        let operator = operator(&cluster).await;
        for body in [
            json!({}), json!({ "name": "" }), json!({ "name": "A" }), json!({ "name": "a", "admin": "" }),
            json!({ "name": "a", "id": "x" }), json!({ "name": "a", "description": "\0" }),
            json!({ "name": "a", "description": "x".repeat(1025) }), json!([]),
        ] {
            operator.post_json(TENANTS, &body).await.expect_problem(400, "invalid_request");
        }
        for name in ["default", "acme"] {
            let _ = operator.post_json(TENANTS, &json!({ "name": name })).await;
            operator.post_json(TENANTS, &json!({ "name": name })).await.expect_problem(409, "name_taken");
        }
        for name in ["none", "A", "%00"] {
            let path = format!("{TENANTS}/{name}");
            operator.get(&path).await.expect_problem(404, "tenant_not_found");
            operator.put_json(&path, &json!({})).await.expect_problem(404, "tenant_not_found");
            operator.delete(&format!("{path}/tokens")).await.expect_problem(404, "tenant_not_found");
        }
        let default = format!("{TENANTS}/default");
        operator.put_json(&default, &json!({ "enabled": false })).await.expect_problem(400, "invalid_request");
        operator.put_json(&default, &json!({ "name": "other" })).await.expect_problem(400, "invalid_request");
        for (args, code, said) in [
            (["token", "--tenant", "none"], 1, "POST /api/admin/tenants"),
            (["token", "--tenant", "A B"], 64, "a name is 1 to 64"),
        ] {
            let done = args.iter().fold(cluster.program(), |program, arg| program.arg(*arg)).run().await;
            assert_eq!(done.status.code(), Some(code), "{}", done.stderr);
            assert!(done.stderr.contains(said), "{}", done.stderr);
        }
    }

    async fn operators_manage_operators_and_no_keys(store) {
        let cluster = one(store).await;
        let operator = operator(&cluster).await;
        let (_, theirs) = create(&cluster, &operator, "acme").await;
        let own = admin(&cluster).await;
        for (client, role) in [(&operator, "admin"), (&operator, "service"), (&own, "operator"), (&theirs, "operator")] {
            let refused = client.post_json(IDENTITIES, &json!({ "name": "new", "role": role })).await;
            refused.expect_problem(403, "role_forbidden");
        }
        operator.post_json(IDENTITIES, &json!({ "name": "second", "role": "operator" })).await.expect(201);
        let listed = operator.get(IDENTITIES).await.expect(200).json();
        let of_role = |role: &str| {
            let all = listed["identities"].as_array().expect("a list");
            let found = all.iter().find(|identity| identity["role"] == role).expect("one of each");
            format!("{IDENTITIES}/{}", found["id"].as_str().expect("an id"))
        };
        let (administrator, second) = (of_role("admin"), of_role("operator"));
        for (client, path) in [(&operator, &administrator), (&own, &second)] {
            for reply in [
                client.put_json(path, &json!({ "enabled": true })).await,
                client.delete(path).await,
                client.post_json(&format!("{path}/tokens"), &json!({})).await,
                client.delete(&format!("{path}/tokens")).await,
            ] {
                reply.expect_problem(403, "role_forbidden");
            }
        }
        operator.put_json(&administrator, &json!({ "role": "operator" })).await.expect_problem(403, "role_forbidden");
        operator.put_json(&second, &json!({ "role": "admin" })).await.expect_problem(403, "role_forbidden");
        for client in [&own, &theirs] {
            client.get(TENANTS).await.expect_problem(403, "scope_missing");
            client.post_json(TENANTS, &json!({ "name": "x" })).await.expect_problem(403, "scope_missing");
        }
        // Nobody passes on what he does not have.
        let few = json!({ "name": "few", "role": "admin", "scopes": ["identities:manage", "decrypt"], "contexts": ["general"] });
        let few = own.post_json(IDENTITIES, &few).await.expect(201).text("id");
        let few = own.post_json(&format!("{IDENTITIES}/{few}/tokens"), &json!({})).await.expect(200).text("access_token");
        let few = cluster.client(0).with_token(&few);
        for body in [
            json!({ "name": "new" }), json!({ "name": "new", "scopes": ["encrypt"] }), json!({ "name": "new", "role": "admin" }),
            json!({ "name": "new", "scopes": ["decrypt"], "contexts": ["*"] }),
        ] {
            few.post_json(IDENTITIES, &body).await.expect_problem(403, "role_forbidden");
        }
        let fewer = json!({ "name": "new", "scopes": ["decrypt"], "contexts": ["general"] });
        few.post_json(IDENTITIES, &fewer).await.expect(201);
        few.post_json(&format!("{administrator}/tokens"), &json!({})).await.expect_problem(403, "role_forbidden");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_that_is_disabled_or_revoked_is_refused_by_every_replica() {
    let cluster = builder(StoreKind::Postgres).start(3).await;
    let operator = operator(&cluster).await;
    let (_, theirs) = create(&cluster, &operator, "acme").await;
    let token = service(&theirs).await;
    let (path, plain) = (format!("{TENANTS}/acme"), json!({ "context": "general", "plaintext": "" }));
    let clients = [0, 1, 2].map(|n| cluster.client(n));
    let own = app(&cluster).await;
    let disable = async || drop(operator.put_json(&path, &json!({ "enabled": false })).await.expect(200));
    refused_everywhere(&clients, &token, "its tenant is disabled", disable).await;
    theirs.get(IDENTITIES).await.expect_problem(401, "unauthenticated");
    own.post_json(ENCRYPT, &plain).await.expect(200);
    let refused = cluster.program().arg("token").arg("--tenant").arg("acme").run().await;
    assert!(refused.stderr.contains("disabled"), "{}", refused.stderr);
    operator.put_json(&path, &json!({ "enabled": true })).await.expect(200);

    let revoke = async || drop(operator.delete(&format!("{path}/tokens")).await.expect(200));
    refused_everywhere(&clients, &token, "all tokens of its tenant are revoked", revoke).await;
    theirs.get(IDENTITIES).await.expect_problem(401, "unauthenticated");
    own.post_json(ENCRYPT, &plain).await.expect(200);
    let fresh = cluster.token(&TokenRequest::identity("app").tenant("acme")).await;
    cluster.client(2).with_token(&fresh).post_json(ENCRYPT, &plain).await.expect(200);
}
