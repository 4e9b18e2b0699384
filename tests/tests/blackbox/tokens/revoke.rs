use cryptoserve_tests::{Client, LogLine, TokenRequest};
use serde_json::json;

use super::{IDENTITIES, REVOKE, audited, identity, is_dead, issue, refresh, rotate, service, uses};
use crate::forged::claims;
use crate::support::{admin, on_each_store, one, operator};

async fn revoke(client: &Client, token: &str) {
    assert_eq!(
        client.post_json(REVOKE, &json!({ "token": token })).await.expect(200).json(),
        json!({ "revoked": true })
    );
}

/// The `jti` of an access token.
fn token_id(access: &str) -> String {
    claims(access)["jti"].as_str().expect("an id").to_owned()
}

on_each_store! {
    async fn whatever_ends_an_identity_ends_its_refresh_tokens(store) {
        let cluster = one(store).await;
        let (operator, client) = (operator(&cluster).await, cluster.client(0));
        let made = operator.post_json("/api/admin/tenants", &json!({ "name": "acme" })).await.expect(201);
        let admin = cluster.client(0).with_token(&made.text("access_token"));
        let app = service(&admin, "app").await;

        // Who revokes while nothing counts finds it revoked when it would count again.
        let leaked = [
            refresh(&client, &app.refresh).await.expect(200).text("access_token"),
            refresh(&client, &app.refresh).await.expect(200).text("access_token"),
        ];
        admin.put_json(&app.path, &json!({ "enabled": false })).await.expect(200);
        is_dead(&client, &app.refresh, "disabled").await;
        revoke(&client, &leaked[0]).await;
        admin.put_json(&app.path, &json!({ "enabled": true })).await.expect(200);
        let tenant = "/api/admin/tenants/acme";
        operator.put_json(tenant, &json!({ "enabled": false })).await.expect(200);
        is_dead(&client, &app.refresh, "its tenant is disabled").await;
        revoke(&client, &leaked[1]).await;
        operator.put_json(tenant, &json!({ "enabled": true })).await.expect(200);
        refresh(&client, &app.refresh).await.expect(200);
        for (access, status) in [(&app.access, 200), (&leaked[0], 401), (&leaked[1], 401)] {
            assert_eq!(uses(&cluster, access, "general").await, status);
        }

        admin.delete(&format!("{}/tokens", app.path)).await.expect(200);
        is_dead(&client, &app.refresh, "all tokens of the identity are revoked").await;
        assert_eq!(admin.get(&format!("{}/tokens", app.path)).await.expect(200).json()["refresh_tokens"], json!([]));
        let app = issue(&admin, &app.path, json!({})).await;
        operator.delete(&format!("{tenant}/tokens")).await.expect(200);
        is_dead(&client, &app.refresh, "all tokens of the tenant are revoked").await;

        // The administrator's token was the tenant's, too.
        let admin = cluster.client(0).with_token(&cluster.token(&TokenRequest::admin().tenant("acme")).await);
        let app = issue(&admin, &app.path, json!({})).await;
        admin.put_json(&app.path, &json!({ "role": "admin" })).await.expect(200);
        is_dead(&client, &app.refresh, "no longer a service").await;
        let app = service(&admin, "another").await;
        rotate(&client, &app.refresh).await.expect(200);
        admin.delete(&app.path).await.expect(200);
        is_dead(&client, &app.refresh, "deleted").await;
        let tables = cluster.tables().await;
        for table in ["refresh_tokens", "refresh_families", "revoked_tokens"] {
            let left = format!("SELECT count(*) FROM {table} t WHERE NOT EXISTS (SELECT 1 FROM identities i WHERE i.tenant_id = t.tenant_id)");
            assert_eq!(tables.number(&left).await, 0);
        }
        let gone = "SELECT count(*) FROM refresh_families f LEFT JOIN identities i ON i.id = f.identity_id WHERE i.id IS NULL";
        assert_eq!(tables.number(gone).await, 0);
    }

    async fn one_token_is_revoked_by_its_id_or_by_who_has_it(store) {
        let cluster = one(store).await;
        let (admin, client) = (admin(&cluster).await, cluster.client(0));
        let app = service(&admin, "app").await;
        let other = issue(&admin, &app.path, json!({})).await;
        let by_id = async |id: &str| admin.delete(&format!("{}/tokens/{id}", app.path)).await;

        // An access token alone.
        let second = refresh(&client, &app.refresh).await.expect(200).text("access_token");
        by_id(&token_id(&second)).await.expect(200);
        let third = refresh(&client, &app.refresh).await.expect(200).text("access_token");
        revoke(&client, &third).await;
        for (access, status) in [(&app.access, 200), (&second, 401), (&third, 401), (&other.access, 200)] {
            assert_eq!(uses(&cluster, access, "general").await, status);
        }
        // A refresh token, and with it all access tokens that it made, the first one included.
        let fourth = refresh(&client, &app.refresh).await.expect(200).text("access_token");
        let listed = admin.get(&format!("{}/tokens", app.path)).await.expect(200).json();
        assert_eq!(listed["refresh_tokens"].as_array().map(Vec::len), Some(2));
        by_id(&app.family).await.expect(200);
        is_dead(&client, &app.refresh, "revoked by its id").await;
        revoke(&client, &other.refresh).await;
        is_dead(&client, &other.refresh, "revoked by who has it").await;
        for access in [&app.access, &fourth, &other.access] {
            assert_eq!(uses(&cluster, access, "general").await, 401);
        }
        // Also by one that was replaced.
        let replaced = issue(&admin, &app.path, json!({})).await;
        let next = rotate(&client, &replaced.refresh).await.expect(200).text("refresh_token");
        revoke(&client, &replaced.refresh).await;
        is_dead(&client, &next, "of a family that was revoked").await;

        // What is none is answered alike; what is no id, or of no identity, is not.
        for token in ["", "nonsense", &third, &other.refresh, &"x".repeat(2000)] {
            revoke(&client, token).await;
        }
        let tables = cluster.tables().await;
        audited(&tables, "operation = 'auth.revoke' AND outcome = 'success' AND detail = 'no token that counts'", 5).await;
        for id in ["nonsense", "a%20b", &"x".repeat(200), "*"] {
            by_id(id).await.expect_problem(404, "token_not_found");
        }
        let stranger = identity(&admin, "stranger", &["general"]).await;
        let alive = issue(&admin, &app.path, json!({})).await;
        admin.delete(&format!("{stranger}/tokens/{}", alive.family)).await.expect(200);
        refresh(&client, &alive.refresh).await.expect(200);
        assert_eq!(uses(&cluster, &alive.access, "general").await, 200);
        let nobody = format!("{IDENTITIES}/00000000-0000-4000-8000-000000000000/tokens");
        admin.get(&nobody).await.expect_problem(404, "identity_not_found");
        admin.delete(&format!("{nobody}/{}", alive.family)).await.expect_problem(404, "identity_not_found");

        // Each of them is on record under the identity that it is about, though it brought no bearer token.
        let about = format!("identity_id = (SELECT id FROM identities WHERE name = 'app') AND detail LIKE '%{}%'", app.family);
        audited(&tables, &format!("operation = 'auth.refresh' AND outcome = 'success' AND {about}"), 3).await;
        let about = format!("identity_id = (SELECT id FROM identities WHERE name = 'app') AND detail LIKE '%{}%'", other.family);
        audited(&tables, &format!("operation = 'auth.revoke' AND outcome = 'success' AND {about}"), 1).await;
        let of_app = |line: &LogLine| {
            line.field("route").as_deref() == Some("/api/v1/auth/refresh")
                && line.field("identity_id").as_deref() == Some(&*app.identity)
        };
        cluster.replicas()[0].log().find("a refresh by the application", of_app).await;

        // However an id is written, it is that of the token; issued ones are not kept, so any may be one.
        let busy = service(&admin, "busy").await;
        let by_id = async |id: &str| admin.delete(&format!("{}/tokens/{id}", busy.path)).await;
        let spellings: [fn(&str) -> String; 3] =
            [str::to_uppercase, |id| id.replace('-', ""), |id| format!("urn:uuid:{id}")];
        for spelling in spellings {
            let access = refresh(&client, &busy.refresh).await.expect(200).text("access_token");
            let id = token_id(&access);
            assert_eq!(by_id(&spelling(&id)).await.expect(200).text("token_id"), id);
            assert_eq!(uses(&cluster, &access, "general").await, 401, "{}", spelling(&id));
        }
        let random = "6f2c5f0e-8f0c-4a53-9a0e-3f1f3d1f7a11";
        by_id(random).await.expect(200);

        // A thousand are remembered.
        let alone = admin.post_json(&format!("{}/tokens", busy.path), &json!({})).await.expect(200).text("access_token");
        let of_busy = format!("SELECT count(*) FROM revoked_tokens WHERE identity_id = (SELECT id FROM identities WHERE name = 'busy') AND token_id <> '{random}'");
        tables
            .change(&format!(
                "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 996) \
                 INSERT INTO revoked_tokens (tenant_id, identity_id, token_id, expires_at) \
                 SELECT t.tenant_id, t.identity_id, 'filler-' || CAST(x AS text), t.expires_at \
                 FROM revoked_tokens t CROSS JOIN n WHERE t.token_id = '{random}'"
            ))
            .await;
        assert_eq!(tables.number(&of_busy).await, 999);
        let full = "too_many_revoked_tokens";
        by_id("6f2c5f0e-8f0c-4a53-9a0e-3f1f3d1f7a12").await.expect_problem(409, full);
        client.post_json(REVOKE, &json!({ "token": alone })).await.expect_problem(409, full);
        admin.post_json(&format!("{}/tokens", busy.path), &json!({ "refresh": true })).await.expect_problem(409, full);
        let command = cluster.program().arg("token").arg("--identity").arg("busy").arg("--refresh").run().await;
        assert!(!command.status.success() && command.stderr.contains("1000 tokens of the identity"), "{command:?}");
        // An access token that cannot be revoked alone takes its refresh token with it.
        revoke(&client, &busy.access).await;
        is_dead(&client, &busy.refresh, "revoked with the access token").await;
        for (access, status) in [(&busy.access, 401), (&alone, 200)] {
            assert_eq!(uses(&cluster, access, "general").await, status);
        }
        admin.delete(&format!("{}/tokens", busy.path)).await.expect(200);
        assert_eq!(tables.number(&of_busy).await, 0);
        let next = issue(&admin, &busy.path, json!({})).await;
        by_id(&token_id(&next.access)).await.expect(200);
        for access in [&alone, &next.access] {
            assert_eq!(uses(&cluster, access, "general").await, 401);
        }
    }
}
