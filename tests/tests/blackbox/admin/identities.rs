use cryptoserve_tests::{Client, Cluster};
use serde_json::{Value, json};

use super::{paged, refuses_bad_queries};
use crate::forged::claims;
use crate::support::{DECRYPT, ENCRYPT, admin, on_each_store, one, sealed};

const IDENTITIES: &str = "/api/admin/identities";

async fn create(admin: &Client, body: Value) -> (Value, String) {
    let made = admin.post_json(IDENTITIES, &body).await.expect(201).json();
    let path = format!("{IDENTITIES}/{}", made["id"].as_str().expect("an id"));
    (made, path)
}

/// A client with a token of the identity at `path`, narrowed as `request` says.
async fn with_token(cluster: &Cluster, admin: &Client, path: &str, request: &Value) -> Client {
    let issued = admin.post_json(&format!("{path}/tokens"), request).await.expect(200);
    cluster.client(0).with_token(&issued.text("access_token"))
}

async fn encrypts(client: &Client, context: &str) -> u16 {
    client.post_json(ENCRYPT, &json!({ "context": context, "plaintext": "" })).await.status
}

on_each_store! {
    async fn an_identity_is_made_shown_changed_and_deleted(store) {
        let cluster = one(store).await;
        let admin = admin(&cluster).await;
        let (made, path) = create(&admin, json!({ "name": "billing", "contexts": ["payment-data", "general"] })).await;
        assert_eq!((&made["role"], &made["enabled"]), (&json!("service"), &json!(true)));
        assert_eq!(made["contexts"], json!(["general", "payment-data"]));
        assert_eq!(admin.get(&path).await.expect(200).json(), made);
        let (none, _) = create(&admin, json!({ "name": "none" })).await;
        assert_eq!(none["contexts"], json!([]));

        let change = json!({ "name": "invoices", "contexts": ["*"], "scopes": ["decrypt"] });
        let changed = admin.put_json(&path, &change).await.expect(200).json();
        assert_eq!((&changed["id"], &changed["name"]), (&made["id"], &json!("invoices")));
        assert_eq!((&changed["contexts"], &changed["scopes"]), (&json!(["*"]), &json!(["decrypt"])));
        assert_eq!(admin.get(&path).await.expect(200).json(), changed);
        admin.put_json(&path, &json!({ "name": "none" })).await.expect_problem(409, "name_taken");
        admin.post_json(IDENTITIES, &json!({ "name": "none" })).await.expect_problem(409, "name_taken");

        admin.delete(&path).await.expect(200);
        for reply in [
            admin.get(&path).await,
            admin.put_json(&path, &json!({})).await,
            admin.delete(&path).await,
            admin.post_json(&format!("{path}/tokens"), &json!({})).await,
            admin.delete(&format!("{path}/tokens")).await,
        ] {
            reply.expect_problem(404, "identity_not_found");
        }
        // The name is free again, for another identity.
        let (again, _) = create(&admin, json!({ "name": "invoices" })).await;
        assert_ne!(again["id"], made["id"]);
    }

    async fn what_cannot_be_an_identity_is_refused(store) {
        let cluster = one(store).await;
        let admin = admin(&cluster).await;
        let (_, path) = create(&admin, json!({ "name": "app" })).await;
        for body in [
            json!({ "name": "" }), json!({ "name": "A" }), json!({ "name": "a\0" }), json!({ "name": "x".repeat(65) }),
            json!({ "name": "new", "role": "root" }), json!({ "name": "new", "scopes": ["all"] }),
            json!({ "name": "new", "scopes": ["contexts:manage"] }), json!({ "name": "new", "contexts": ["Not A Name"] }),
            json!({ "name": "new", "contexts": ["*", "general"] }), json!({ "name": "new", "id": "x" }),
            json!({ "name": "new", "contexts": "*" }),
        ] {
            admin.post_json(IDENTITIES, &body).await.expect_problem(400, "invalid_request");
            let mut change = body;
            if change["name"] == "new" {
                change.as_object_mut().expect("an object").remove("name");
            }
            admin.put_json(&path, &change).await.expect_problem(400, "invalid_request");
        }
        admin.post_json(IDENTITIES, &json!({})).await.expect_problem(400, "invalid_request");
        for id in ["none", "00000000-0000-4000-8000-000000000000", "0", "%00", "x".repeat(1000).as_str()] {
            let path = format!("{IDENTITIES}/{id}");
            admin.get(&path).await.expect_problem(404, "identity_not_found");
            admin.put_json(&path, &json!({})).await.expect_problem(404, "identity_not_found");
            admin.delete(&path).await.expect_problem(404, "identity_not_found");
            admin.post_bytes(&format!("{path}/tokens"), "").await.expect_problem(404, "identity_not_found");
            admin.delete(&format!("{path}/tokens")).await.expect_problem(404, "identity_not_found");
        }
    }

    async fn lists_come_in_pages_in_the_order_of_names(store) {
        let cluster = one(store).await;
        let admin = admin(&cluster).await;
        for name in ["zz", "a-1", "a.1", "a_1", "a1"] {
            create(&admin, json!({ "name": name })).await;
        }
        let all = paged(&admin, IDENTITIES, "identities", 1000).await;
        assert_eq!(all.len(), 1 + 5);
        assert!(all.is_sorted(), "{all:?}");
        for size in [1, 2, 5, 6, 7] {
            assert_eq!(paged(&admin, IDENTITIES, "identities", size).await, all, "pages of {size}");
        }
        refuses_bad_queries(&admin, IDENTITIES).await;
    }

    async fn a_token_narrows_its_identity_and_follows_its_changes(store) {
        let cluster = one(store).await;
        let admin = admin(&cluster).await;
        let (_, path) = create(&admin, json!({ "name": "app", "contexts": ["general", "user-pii"] })).await;
        let whole = with_token(&cluster, &admin, &path, &json!({})).await;
        let one_context = with_token(&cluster, &admin, &path, &json!({ "contexts": ["general"] })).await;
        let wide = with_token(&cluster, &admin, &path, &json!({ "contexts": ["*"] })).await;
        let reader = with_token(&cluster, &admin, &path, &json!({ "scopes": ["decrypt"] })).await;
        for (client, expected) in [(&whole, [200, 200, 403]), (&one_context, [200, 403, 403]), (&wide, [200, 200, 403])] {
            for (context, expected) in ["general", "user-pii", "payment-data"].into_iter().zip(expected) {
                assert_eq!(encrypts(client, context).await, expected, "{context}");
            }
        }
        let other = with_token(&cluster, &admin, &path, &json!({ "contexts": ["payment-data", "user-pii"] })).await;
        assert_eq!(paged(&other, "/api/v1/contexts", "contexts", 1).await, ["user-pii"]);
        let page = other.get("/api/v1/contexts?limit=1").await.expect(200).json();
        assert_eq!(page["contexts"][0]["name"], "user-pii", "{page}");
        reader.post_json(ENCRYPT, &json!({})).await.expect_problem(403, "scope_missing");
        reader.post_json(DECRYPT, &sealed("x")).await.expect_problem(400, "invalid_ciphertext");

        admin.put_json(&path, &json!({ "contexts": ["payment-data"] })).await.expect(200);
        assert_eq!((encrypts(&whole, "general").await, encrypts(&whole, "payment-data").await), (403, 200));
        assert_eq!(encrypts(&one_context, "payment-data").await, 403);
    }

    async fn a_token_lives_as_long_as_asked_within_its_roles_limit(store) {
        let cluster = one(store).await;
        let admin = admin(&cluster).await;
        let (_, service) = create(&admin, json!({ "name": "app", "contexts": ["*"] })).await;
        let (_, other) = create(&admin, json!({ "name": "another-admin", "role": "admin" })).await;
        const DAY: u64 = 86_400;
        for (path, longest) in [(&service, 90 * DAY), (&other, DAY / 2)] {
            let path = format!("{path}/tokens");
            for ttl in [1, 60, longest] {
                let issued = admin.post_json(&path, &json!({ "ttl_seconds": ttl })).await.expect(200);
                assert_eq!(issued.text("token_type"), "Bearer");
                assert_eq!(lifetime(&issued.text("access_token")), ttl);
                assert!(issued.text("expires_at").ends_with('Z'));
            }
            for ttl in [0, longest + 1, u64::MAX] {
                let refused = admin.post_json(&path, &json!({ "ttl_seconds": ttl })).await;
                refused.expect_problem(422, "invalid_ttl");
            }
            for body in [json!({ "ttl_seconds": -1 }), json!({ "ttl_seconds": "1" }), json!({ "ttl": 1 }), json!(null)] {
                admin.post_json(&path, &body).await.expect_problem(400, "invalid_request");
            }
            // Without a body, or with an empty object: an hour.
            let issued = [admin.post_bytes(&path, "").await, admin.post_json(&path, &json!({})).await];
            for issued in issued {
                assert_eq!(lifetime(&issued.expect(200).text("access_token")), 3600);
            }
        }
    }
}

/// Seconds from `iat` to `exp` of a token.
fn lifetime(token: &str) -> u64 {
    let claims = claims(token);
    claims["exp"].as_u64().zip(claims["iat"].as_u64()).map(|(exp, iat)| exp - iat).expect("numbers")
}
