use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;
use cryptoserve_tests::{Client, Cluster, StoreKind, TokenRequest};
use serde_json::{Value, json};

use crate::support::{ENCRYPT, admin, app, base64, builder, on_each_store, one};

fn request() -> Value {
    json!({ "context": "general", "plaintext": base64("x") })
}

async fn expect(client: &Client, status: u16, code: &str) {
    client.post_json(ENCRYPT, &request()).await.expect_problem(status, code);
}

/// The key that the cluster signs tokens with.
fn jwt_key(cluster: &Cluster, store: StoreKind) -> String {
    match store {
        StoreKind::Postgres => cluster.secrets().jwt_secret_key.clone(),
        StoreKind::Sqlite => {
            let file =
                std::fs::read_to_string(cluster.data_dir().join("secrets.env")).expect("generated secrets");
            let key =
                file.lines().find_map(|line| line.strip_prefix("JWT_SECRET_KEY=")).expect("the signing key");
            key.to_owned()
        }
    }
}

fn url64(bytes: impl AsRef<[u8]>) -> String {
    base64_simd::URL_SAFE_NO_PAD.encode_to_string(bytes)
}

fn parts(token: &str) -> (Value, Value) {
    let mut parts = token.split('.').map(|part| {
        let bytes = base64_simd::URL_SAFE_NO_PAD.decode_to_vec(part).expect("base64url");
        serde_json::from_slice(&bytes).unwrap_or_default()
    });
    (parts.next().expect("a header"), parts.next().expect("claims"))
}

/// A token of these parts, with an HMAC under `key` whatever the header says.
fn forge(header: &Value, claims: &Value, key: &[u8]) -> String {
    let signed = format!("{}.{}", url64(header.to_string()), url64(claims.to_string()));
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), signed.as_bytes());
    format!("{signed}.{}", url64(tag))
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

on_each_store! {
    async fn tokens_that_are_not_ours_or_not_for_us_are_refused(store) {
        // The limit of failed authentication has a test of its own; each request here has an address of its own.
        let cluster = builder(store).env("TRUSTED_PROXIES", "127.0.0.1").start(1).await;
        let token = cluster.token(&TokenRequest::identity("app")).await;
        let key = jwt_key(&cluster, store);
        let (header, claims) = parts(&token);
        assert_eq!(header, json!({ "alg": "HS256", "typ": "at+jwt" }));
        for claim in ["iss", "aud", "sub", "tid", "jti", "iat", "exp", "epoch"] {
            assert!(!claims[claim].is_null(), "{claim} in {claims}");
        }
        let with = |part: &Value, name: &str, value: Value| {
            let mut part = part.clone();
            part[name] = value;
            part
        };
        let sign = |header: &Value, claims: &Value| forge(header, claims, key.as_bytes());
        let client = |n: usize| cluster.client(0).with_header("x-forwarded-for", &format!("192.0.2.{n}"));

        // The forge is able: the same parts signed with the right key are a good token.
        client(0).with_token(&sign(&header, &claims)).post_json(ENCRYPT, &request()).await.expect(200);

        let (signed, _) = token.rsplit_once('.').expect("three parts");
        let none = |alg: &str| format!("{}.{}.", url64(with(&header, "alg", alg.into()).to_string()), url64(claims.to_string()));
        let cases = [
            ("expired", sign(&header, &with(&claims, "exp", (now() - 1).into()))),
            ("no expiry", sign(&header, &with(&claims, "exp", Value::Null))),
            ("another audience", sign(&header, &with(&claims, "aud", "another-api".into()))),
            ("another issuer", sign(&header, &with(&claims, "iss", "another".into()))),
            ("a refresh token's type", sign(&with(&header, "typ", "refresh+jwt".into()), &claims)),
            ("no type", sign(&with(&header, "typ", Value::Null), &claims)),
            ("another tenant", sign(&header, &with(&claims, "tid", "00000000-0000-4000-8000-000000000000".into()))),
            ("another epoch", sign(&header, &with(&claims, "epoch", 1.into()))),
            ("an unknown identity", sign(&header, &with(&claims, "sub", "00000000-0000-4000-8000-000000000000".into()))),
            ("alg none", none("none")),
            ("alg None", none("None")),
            ("alg none with the old signature", format!("{}.{}", none("nOnE").trim_end_matches('.'), token.rsplit('.').next().unwrap_or_default())),
            // Confusion of RS256 with HS256: the header says RSA, the tag is an HMAC.
            ("alg RS256", sign(&with(&header, "alg", "RS256".into()), &claims)),
            ("alg HS512", sign(&with(&header, "alg", "HS512".into()), &claims)),
            ("another key", forge(&header, &claims, b"a key that is not the deployment's own")),
            ("an empty key", forge(&header, &claims, b"")),
            ("no signature", format!("{signed}.")),
            ("an opaque refresh token as access token", url64([7; 32])),
            ("nonsense", "nonsense".to_owned()),
            ("dots", "..".to_owned()),
            ("long", "x".repeat(20_000)),
        ];
        for (n, (what, token)) in cases.into_iter().enumerate() {
            let reply = client(n + 1).with_token(&token).post_json(ENCRYPT, &request()).await;
            assert_eq!(reply.status, 401, "{what}: {reply:?}");
            assert_eq!(reply.text("code"), "unauthenticated", "{what}");
            assert_eq!(reply.header("www-authenticate"), Some("Bearer"), "{what}");
        }
        expect(&client(100), 401, "unauthenticated").await;
        for scheme in ["Basic dXNlcjpwYXNz", "Bearer", "Bearer ", &format!("Token {token}")] {
            expect(&client(101).with_header("authorization", scheme), 401, "unauthenticated").await;
        }
        expect(&client(102).with_token(&sign(&header, &with(&claims, "scope", "decrypt".into()))), 403, "scope_missing").await;
        expect(&client(103).with_token(&sign(&header, &with(&claims, "contexts", "user-pii".into()))), 403, "context_forbidden").await;
        // Claims only narrow.
        let wide = sign(&header, &with(&claims, "scope", "contexts:manage identities:manage".into()));
        let refused = client(104).with_token(&wide).get("/api/admin/contexts").await;
        refused.expect_problem(403, "scope_missing");
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

    /// Defect of the former service: a revoked token kept working.
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
