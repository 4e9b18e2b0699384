//! Who may not, and what is no request.

use cryptoserve_tests::{StoreKind, TokenRequest};
use http::Method;
use serde_json::{Value, json};

use super::{CONTEXTS, audited, create, keys, rotate, set, states, versions};
use crate::support::{admin, on_each_store, one};

const IDENTITIES: &str = "/api/admin/identities";

on_each_store! {
    async fn an_edited_row_makes_no_version_that_inherits_the_edit(store) {
        let cluster = one(store).await;
        let admin = admin(&cluster).await;
        create(&admin, "a", json!({})).await;
        let tables = cluster.tables().await;
        tables.change("UPDATE keys SET exportable = NOT exportable").await;
        admin.post_json(&format!("{CONTEXTS}/a/rotate-key"), &json!({})).await.expect_problem(500, "internal");
        assert_eq!(versions(&admin, "a").await.len(), 1);
        tables.change("UPDATE keys SET exportable = NOT exportable").await;
        rotate(&admin, "a").await;
    }

    async fn versions_and_states_that_do_not_exist_are_refused(store) {
        let cluster = one(store).await;
        let admin = admin(&cluster).await;
        create(&admin, "a", json!({})).await;
        rotate(&admin, "a").await;
        let disabled = json!({ "state": "disabled" });
        let long = "1".repeat(300);
        for version in [
            "0", "3", "4294967295", "4294967296", "18446744073709551617", "-1", "+1", "01", "1x", "x", "1.0", "%31x",
            "%00", "%ff", "1%20", "0x1", "1e0", "\u{661}", &long,
        ] {
            let version: String = version.chars().map(|c| if c.is_ascii() { c.to_string() } else { "%D9%A1".into() }).collect();
            let reply = admin.put_json(&format!("{}/{version}", keys("a")), &disabled).await;
            assert_eq!(reply.status, 404, "{version}: {reply:?}");
            reply.expect_problem(404, "key_version_not_found");
        }
        for path in [format!("{}/", keys("a")), format!("{}/1/2", keys("a"))] {
            admin.put_json(&path, &disabled).await.expect_problem(404, "not_found");
        }
        for body in [
            json!({}), json!({ "state": "" }), json!({ "state": "Disabled" }), json!({ "state": "DISABLED" }),
            json!({ "state": "scheduled" }), json!({ "state": "disabled\0" }), json!({ "state": null }),
            json!({ "state": 3 }), json!({ "state": ["disabled"] }), json!({ "state": "disabled", "more": 1 }),
            json!({ "state": "x".repeat(10_000) }), json!([]), json!("disabled"), json!(null),
        ] {
            let reply = admin.put_json(&format!("{}/1", keys("a")), &body).await;
            assert_eq!(reply.status, 400, "{body}: {reply:?}");
            let problem = reply.expect_problem(400, "invalid_request");
            assert!(problem.body.len() < 1000, "repeats what was sent");
        }
        for body in ["", "{", "{\"state\":\"disabled\"}}", "{\"state\":\"disabled\",\"state\":\"disabled\"}", "\u{feff}{}"] {
            let request = admin.request(Method::PUT, &format!("{}/1", keys("a")));
            let request = request.body(http_body_util::Full::new(bytes::Bytes::from(body))).expect("a request");
            let reply = admin.try_send(request).await.expect("a reply");
            reply.expect_problem(400, "invalid_request");
        }
        for name in ["none", "Not%20A%20Name", "%00", "%zz", "%ff", "..", "%2e%2e", "*"] {
            let path = format!("{CONTEXTS}/{name}");
            for reply in [
                admin.post_json(&format!("{path}/rotate-key"), &json!({})).await,
                admin.get(&format!("{path}/keys")).await,
                admin.put_json(&format!("{path}/keys/1"), &disabled).await,
            ] {
                assert_eq!(reply.status, 404, "{name}: {reply:?}");
            }
        }
        for (method, path) in [
            (Method::GET, format!("{CONTEXTS}/a/rotate-key")),
            (Method::POST, keys("a")),
            (Method::DELETE, format!("{}/1", keys("a"))),
            (Method::GET, format!("{}/1", keys("a"))),
        ] {
            let request = admin.request(method, &path).body(http_body_util::Empty::<bytes::Bytes>::new());
            let reply = admin.try_send(request.expect("a request")).await.expect("a reply");
            reply.expect_problem(405, "method_not_allowed");
        }
        // After all that, the key is as it was.
        assert_eq!(states(&admin, "a").await, [(2, "enabled".to_owned()), (1, "decrypt_only".to_owned())]);
    }

    async fn each_of_the_operations_needs_its_scope(store) {
        let cluster = one(store).await;
        let admin = admin(&cluster).await;
        create(&admin, "a", json!({})).await;
        rotate(&admin, "a").await;
        let made = admin.post_json(IDENTITIES, &json!({ "name": "other-admin", "role": "admin", "contexts": ["*"] })).await;
        let tokens = format!("{IDENTITIES}/{}/tokens", made.expect(201).text("id"));
        let with = async |scopes: Value| {
            let issued = admin.post_json(&tokens, &json!({ "scopes": scopes })).await.expect(200);
            cluster.client(0).with_token(&issued.text("access_token"))
        };
        let rotating = with(json!(["rotate"])).await;
        let managing = with(json!(["keys:manage"])).await;
        let neither = with(json!(["contexts:manage", "identities:manage", "keys:export", "encrypt", "decrypt"])).await;
        let service = cluster.client(0).with_token(&cluster.token(&TokenRequest::identity("app")).await);
        let operator = cluster.client(0).with_token(&cluster.token(&TokenRequest::operator()).await);
        let rotate_key = format!("{CONTEXTS}/a/rotate-key");
        for client in [&managing, &neither, &service, &operator] {
            client.post_json(&rotate_key, &json!({})).await.expect_problem(403, "scope_missing");
        }
        for client in [&rotating, &neither, &service, &operator] {
            client.get(&keys("a")).await.expect_problem(403, "scope_missing");
            set(client, "a", 1, "disabled").await.expect_problem(403, "scope_missing");
        }
        cluster.client(0).post_json(&rotate_key, &json!({})).await.expect_problem(401, "unauthenticated");
        cluster.client(0).get(&keys("a")).await.expect_problem(401, "unauthenticated");
        assert_eq!(versions(&admin, "a").await.len(), 2);
        rotating.post_json(&rotate_key, &json!({})).await.expect(200);
        set(&managing, "a", 1, "disabled").await.expect(200);
        assert_eq!(managing.get(&keys("a")).await.expect(200).json()["versions"][2]["state"], "disabled");

        let (_, cluster) = cluster.stop().await;
        let tables = cluster.tables().await;
        let rotations = tables.rows(
            "SELECT outcome, count(*) FROM audit_records WHERE operation = 'admin.keys.rotate' GROUP BY 1 ORDER BY 1",
        );
        assert_eq!(rotations.await, ["scope_missing 4", "success 2", "unauthenticated 1"]);
        assert_eq!(audited(&tables, "a", "admin.keys.set-state").await, ["1 success from decrypt_only to disabled"]);
    }

    async fn the_contexts_of_another_tenant_have_no_keys_here(store) {
        let cluster = one(store).await;
        let admin = admin(&cluster).await;
        let tables = cluster.tables().await;
        let other = match store {
            StoreKind::Sqlite => "x'00112233445566778899aabbccddeeff'",
            StoreKind::Postgres => "'00112233-4455-6677-8899-aabbccddeeff'::uuid",
        };
        tables.change(&format!("INSERT INTO tenants (id, name, created_at) SELECT {other}, 'other', created_at FROM deployment")).await;
        for (table, columns, also) in [
            ("contexts", "id, name, description, algorithm, allowed_algorithms, key_id, created_at, updated_at", "name"),
            ("keys", "id, context_id, purpose, key_type, origin, exportable, created_at", ""),
            ("key_versions", "key_id, version, state, created_at, state_changed_at", ""),
            ("wrapped_keys", "key_id, version, kek_id, bytes, check_value", ""),
        ] {
            let ours = "tenant_id = (SELECT tenant_id FROM deployment)";
            // Only their names differ from those that this tenant has.
            let selected = if also.is_empty() { columns.to_owned() } else { columns.replace(also, "'their-' || name") };
            tables.change(&format!("INSERT INTO {table} (tenant_id, {columns}) SELECT {other}, {selected} FROM {table} WHERE {ours}")).await;
        }
        for missing in ["their-general", "nobody-s"] {
            let refused = [
                admin.get(&format!("{CONTEXTS}/{missing}")).await,
                admin.get(&keys(missing)).await,
                set(&admin, missing, 1, "disabled").await,
                admin.post_json(&format!("{CONTEXTS}/{missing}/rotate-key"), &json!({})).await,
            ];
            for reply in refused {
                reply.expect_problem(404, "context_not_found");
            }
        }
        rotate(&admin, "general").await;
        set(&admin, "general", 1, "disabled").await.expect(200);
        let theirs = tables.number(&format!("SELECT count(*) FROM key_versions WHERE tenant_id = {other} AND state <> 1")).await;
        assert_eq!(theirs, 0, "another tenant's key of the same id stays as it is");
        assert_eq!(versions(&admin, "general").await.len(), 2);
    }
}
