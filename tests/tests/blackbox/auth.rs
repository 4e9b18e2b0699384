use cryptoserve_tests::{Client, TokenRequest};
use serde_json::{Value, json};

use crate::forged::{forge, jwt_key, now, parts, with};
use crate::support::{ENCRYPT, admin, app, base64, on_each_store, one};

fn request() -> Value {
    json!({ "context": "general", "plaintext": base64("x") })
}

async fn expect(client: &Client, status: u16, code: &str) {
    client.post_json(ENCRYPT, &request()).await.expect_problem(status, code);
}

on_each_store! {
    /// What the service refuses is in the tests of `rights`, for every route.
    async fn a_token_is_of_the_documented_profile_and_its_claims_only_narrow(store) {
        let cluster = one(store).await;
        let token = cluster.token(&TokenRequest::identity("app")).await;
        let (header, claims) = parts(&token);
        assert_eq!(header, json!({ "alg": "HS256", "typ": "at+jwt" }));
        for claim in ["iss", "aud", "sub", "tid", "jti", "iat", "exp", "epoch"] {
            assert!(!claims[claim].is_null(), "{claim} in {claims}");
        }
        let key = jwt_key(&cluster, store);
        let claiming = |name: &str, value: &str| {
            cluster.client(0).with_token(&forge(&header, &with(&claims, name, value.into()), key.as_bytes()))
        };
        expect(&claiming("scope", "decrypt"), 403, "scope_missing").await;
        expect(&claiming("contexts", "user-pii"), 403, "context_forbidden").await;
        let wide = claiming("scope", "contexts:manage identities:manage").get("/api/admin/contexts").await;
        wide.expect_problem(403, "scope_missing");
    }

    async fn an_expired_token_says_so(store) {
        let cluster = one(store).await;
        let token = cluster.token(&TokenRequest::identity("app")).await;
        let (header, mut claims) = parts(&token);
        claims["exp"] = (now() - 10).into();
        let token = forge(&header, &claims, jwt_key(&cluster, store).as_bytes());
        let refused = cluster.client(0).with_token(&token).post_json(ENCRYPT, &request()).await;
        let refused = refused.expect_problem(401, "unauthenticated");
        assert!(refused.text("detail").contains("expired"), "{}", refused.text("detail"));
    }

    async fn deleting_disabling_and_revoking_end_tokens(store) {
        let cluster = one(store).await;
        let admin = admin(&cluster).await;
        let make = async |name: &str| {
            let body = json!({ "name": name, "contexts": ["general"] });
            let id = admin.post_json("/api/admin/identities", &body).await.expect(201).text("id");
            let path = format!("/api/admin/identities/{id}");
            let issued = admin.post_json(&format!("{path}/tokens"), &json!({})).await.expect(200);
            (path, cluster.client(0).with_token(&issued.text("access_token")))
        };

        let (path, client) = make("deleted").await;
        client.post_json(ENCRYPT, &request()).await.expect(200);
        admin.delete(&path).await.expect(200);
        expect(&client, 401, "unauthenticated").await;
        admin.get(&path).await.expect_problem(404, "identity_not_found");

        let (path, client) = make("disabled").await;
        client.post_json(ENCRYPT, &request()).await.expect(200);
        admin.put_json(&path, &json!({ "enabled": false })).await.expect(200);
        expect(&client, 401, "unauthenticated").await;
        admin.put_json(&path, &json!({ "enabled": true })).await.expect(200);
        client.post_json(ENCRYPT, &request()).await.expect(200);

        let (path, client) = make("revoked").await;
        client.post_json(ENCRYPT, &request()).await.expect(200);
        admin.delete(&format!("{path}/tokens")).await.expect(200);
        expect(&client, 401, "unauthenticated").await;
        let issued = admin.post_json(&format!("{path}/tokens"), &json!({})).await.expect(200);
        let client = cluster.client(0).with_token(&issued.text("access_token"));
        client.post_json(ENCRYPT, &request()).await.expect(200);

        let (path, client) = make("narrowed").await;
        admin.put_json(&path, &json!({ "scopes": ["decrypt"] })).await.expect(200);
        expect(&client, 403, "scope_missing").await;
        admin.put_json(&path, &json!({ "scopes": ["encrypt"], "contexts": ["user-pii"] })).await.expect(200);
        expect(&client, 403, "context_forbidden").await;
    }

    async fn failed_authentication_has_a_limit_that_never_refuses_a_valid_token(store) {
        let cluster = one(store).await;
        let app = app(&cluster).await;
        let stranger = cluster.client(0).with_token("nonsense");
        let mut statuses = Vec::new();
        for _ in 0..40 {
            statuses.push(stranger.post_json(ENCRYPT, &request()).await.status);
        }
        assert_eq!(statuses[0], 401);
        assert!(statuses.contains(&429), "{statuses:?}");
        app.post_json(ENCRYPT, &request()).await.expect(200);
    }

    async fn roles_do_not_reach_beyond_themselves(store) {
        let cluster = one(store).await;
        let (app, admin) = (app(&cluster).await, admin(&cluster).await);
        let operator = cluster.client(0).with_token(&cluster.token(&TokenRequest::operator()).await);
        for path in ["/api/admin/contexts", "/api/admin/identities"] {
            app.get(path).await.expect_problem(403, "scope_missing");
            admin.get(path).await.expect(200);
        }
        expect(&operator, 403, "scope_missing").await;
        let make = |name: &str, role: &str| json!({ "name": name, "role": role });
        let refused = admin.post_json("/api/admin/identities", &make("root", "operator")).await;
        refused.expect_problem(403, "role_forbidden");
        operator.post_json("/api/admin/identities", &make("root", "operator")).await.expect(201);

        // An administrator cannot take an operator's identity over, whatever it would become.
        let listed = admin.get("/api/admin/identities").await.expect(200).json();
        let of_role = |role: &str| {
            let found = listed["identities"].as_array().into_iter().flatten().find(|one| one["role"] == role);
            found.expect("an identity of that role")["id"].as_str().expect("an id").to_owned()
        };
        let path = format!("/api/admin/identities/{}", of_role("operator"));
        admin.put_json(&path, &json!({ "role": "service" })).await.expect_problem(403, "role_forbidden");
        admin.delete(&path).await.expect_problem(403, "role_forbidden");
        admin.post_json(&format!("{path}/tokens"), &json!({})).await.expect_problem(403, "role_forbidden");
        admin.delete(&format!("{path}/tokens")).await.expect_problem(403, "role_forbidden");
        // Nor give a service more than services may have.
        let path = format!("/api/admin/identities/{}", of_role("service"));
        let scopes = json!({ "scopes": ["identities:manage"] });
        admin.put_json(&path, &scopes).await.expect_problem(400, "invalid_request");
        let path = format!("/api/admin/identities/{}/tokens", of_role("admin"));
        let too_long = json!({ "ttl_seconds": 12 * 3600 + 1 });
        admin.post_json(&path, &too_long).await.expect_problem(422, "invalid_ttl");
    }
}
