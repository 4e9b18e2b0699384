//! `GET /api/admin/audit`.

use std::collections::BTreeSet;

use cryptoserve_tests::{Client, Cluster, StoreKind, Tables, TokenRequest, eventually};
use serde_json::{Value, json};

use crate::support::{DECRYPT, ENCRYPT, admin, app, base64, encrypt_in, on_each_store, one, operator};

const AUDIT: &str = "/api/admin/audit";

/// Records of a page.
async fn records(client: &Client, query: &str) -> Vec<Value> {
    let reply = client.get(&format!("{AUDIT}?{query}")).await.expect(200).json();
    reply["records"].as_array().expect("records").clone()
}

/// All records, by pages.
async fn all(client: &Client, query: &str) -> Vec<Value> {
    let (mut all, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = client.get(&format!("{AUDIT}?{query}{cursor}")).await.expect(200).json();
        all.extend(page["records"].as_array().expect("records").iter().cloned());
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return all,
        }
    }
}

/// Waits until so many records of an operation are there.
async fn written(tables: &Tables, operation: &str, count: i64) {
    let sql = format!("SELECT count(*) FROM audit_records WHERE operation = '{operation}'");
    eventually(&sql, async || (tables.number(&sql).await >= count).then_some(())).await;
}

fn texts(records: &[Value], field: &str) -> Vec<String> {
    records.iter().map(|record| record[field].as_str().unwrap_or_default().to_owned()).collect()
}

/// A deployment in which something was done.
async fn busy(store: StoreKind) -> (Cluster, Tables) {
    let cluster = one(store).await;
    let app = app(&cluster).await;
    for n in 0..5 {
        let body = json!({ "context": "general", "plaintext": base64(format!("{n}")) });
        let app = app.clone().with_header("x-request-id", &format!("general-{n}"));
        app.post_json(ENCRYPT, &body).await.expect(200);
    }
    encrypt_in(&app, "user-pii", "x").await;
    let bad = app.clone().with_header("x-request-id", "bad");
    bad.post_json(DECRYPT, &json!({ "ciphertext": "" })).await.expect_problem(400, "invalid_ciphertext");
    let tables = cluster.tables().await;
    written(&tables, "decrypt", 1).await;
    written(&tables, "encrypt", 6).await;
    (cluster, tables)
}

on_each_store! {
    async fn records_are_filtered_by_what_they_say(store) {
        let (cluster, tables) = busy(store).await;
        let operator = operator(&cluster).await;
        let identity = &texts(&records(&operator, "operation=decrypt").await, "identity_id")[0];
        for (query, count) in [
            ("operation=encrypt", 6),
            ("operation=encrypt&context=general", 5),
            ("operation=encrypt&context=user-pii&outcome=success", 1),
            ("context=no-such", 0),
            ("outcome=failure", 1),
            ("outcome=invalid_ciphertext", 1),
            ("outcome=internal", 0),
            ("request_id=bad", 1),
            ("request_id=general-3&operation=encrypt", 1),
            ("request_id=general-3&operation=decrypt", 0),
            ("operation=encrypt&key_version=1", 6),
            ("key_version=2", 0),
            (&format!("identity_id={identity}&operation=encrypt"), 6),
            ("identity_id=00000000-0000-4000-8000-000000000000", 0),
            ("instance=replica-0&operation=encrypt", 6),
            ("instance=replica-1", 0),
            ("operation=encrypt&to=1970-01-01T00:00:00Z", 0),
            ("operation=encrypt&from=1970-01-01T00:00:00Z&to=9999-12-30T00:00:00Z", 6),
            ("from=9999-12-30T00:00:00Z", 0),
            ("operation=encrypt&tenant=default", 6),
        ] {
            let found = records(&operator, query).await;
            assert_eq!(found.len(), count, "{query}: {found:#?}");
        }
        // Times as a record shows them: from is with it, to without it.
        let times = texts(&records(&operator, "operation=encrypt").await, "recorded_at");
        let (newest, oldest) = (&times[0], &times[5]);
        assert!(newest >= oldest, "{times:?}");
        let within = records(&operator, &format!("operation=encrypt&from={oldest}&to={newest}")).await;
        assert_eq!(within.len(), times.iter().filter(|time| *time != newest).count(), "{times:?}");

        let one = &records(&operator, "request_id=general-0").await[0];
        let expected = json!({
            "operation": "encrypt", "context": "general", "key_version": 1, "outcome": "success", "items": 1, "failed": 0,
            "bytes": 1, "address": "127.0.0.1", "detail": null, "instance": "replica-0", "request_id": "general-0",
        });
        for (field, value) in expected.as_object().expect("fields") {
            assert_eq!(&one[field], value, "{field}: {one:#}");
        }
        let stored = tables.rows("SELECT mac FROM audit_records WHERE request_id = 'general-0'").await;
        assert_eq!(Some(stored[0].trim_start_matches("\\x")), one["mac"].as_str());

        for bad in [
            "limit=0", "limit=1001", "cursor=x", "from=yesterday", "identity_id=me", "key_version=-1", "format=csv", "who=me",
            "tenant=No!",
        ] {
            operator.get(&format!("{AUDIT}?{bad}")).await.expect_problem(400, "invalid_request");
        }
        operator.get(&format!("{AUDIT}?tenant=none-such")).await.expect_problem(404, "tenant_not_found");
    }

    async fn pages_hold_every_record_once_while_others_are_written(store) {
        let (cluster, tables) = busy(store).await;
        let operator = operator(&cluster).await;
        // Each page is a record itself, newer than the first page: none of those shows.
        let before: BTreeSet<_> = tables.rows("SELECT mac FROM audit_records").await.into_iter().collect();
        let paged = all(&operator, "limit=3").await;
        let (times, macs) = (texts(&paged, "recorded_at"), texts(&paged, "mac"));
        assert!(times.is_sorted_by(|a, b| a >= b), "the newest first: {times:?}");
        let unique: BTreeSet<_> = macs.iter().collect();
        assert_eq!(unique.len(), macs.len(), "none twice");
        let stored = before.iter().map(|mac| mac.trim_start_matches("\\x").to_owned());
        assert!(stored.clone().all(|mac| unique.contains(&mac)), "none left out: {}", before.len());
        // With filters, too.
        let encrypted = all(&operator, "limit=2&operation=encrypt").await;
        assert_eq!(encrypted.len(), 6, "{encrypted:#?}");
        // Reading it is recorded, with what was asked for.
        let read = "SELECT count(*) FROM audit_records WHERE detail = 'limit=2&operation=encrypt'";
        eventually("the record", async || (tables.number(read).await > 0).then_some(())).await;
        let reads = records(&operator, "operation=admin.audit.list").await;
        assert!(reads.iter().any(|read| read["detail"] == "limit=2&operation=encrypt"), "{reads:#?}");
    }

    async fn a_tenant_sees_its_own_records_alone(store) {
        let (cluster, tables) = busy(store).await;
        let (operator, admin) = (operator(&cluster).await, admin(&cluster).await);
        let made = operator.post_json("/api/admin/tenants", &json!({ "name": "acme" })).await.expect(201);
        let theirs = cluster.client(0).with_token(&made.text("access_token"));
        theirs.get("/api/admin/contexts").await.expect(200);
        cluster.client(0).with_token("x.y.z").get("/api/v1/contexts").await.expect(401);
        written(&tables, "admin.contexts.list", 1).await;
        let everything = all(&operator, "limit=1000").await;
        let ours = texts(&records(&admin, "operation=encrypt").await, "tenant_id").remove(0);
        let of_theirs = texts(&records(&operator, "tenant=acme&operation=admin.contexts.list").await, "tenant_id");
        assert!(of_theirs.len() == 1 && of_theirs[0] != ours, "{of_theirs:?}");
        // Some have no tenant, and operators alone see those.
        let tenants: BTreeSet<_> = texts(&everything, "tenant_id").into_iter().collect();
        assert_eq!(tenants, [String::new(), ours.clone(), of_theirs[0].clone()].into());
        for (client, tenant) in [(&admin, &ours), (&theirs, &of_theirs[0])] {
            let seen = all(client, "limit=1000").await;
            assert!(!seen.is_empty() && texts(&seen, "tenant_id").iter().all(|seen| seen == tenant), "{seen:#?}");
            for other in ["acme", "default", "none-such"] {
                client.get(&format!("{AUDIT}?tenant={other}")).await.expect_problem(403, "role_forbidden");
            }
        }
        // What names the other tenant finds nothing, also by a cursor of somebody else.
        let identity = texts(&records(&operator, "tenant=acme&operation=admin.contexts.list").await, "identity_id").remove(0);
        assert_eq!(records(&admin, &format!("identity_id={identity}")).await, [Value::Null; 0]);
        let first = operator.get(&format!("{AUDIT}?limit=1")).await.expect(200).text("next");
        let seen = records(&theirs, &format!("cursor={first}&limit=1000")).await;
        assert!(texts(&seen, "tenant_id").iter().all(|seen| *seen == of_theirs[0]), "{seen:#?}");

        let service = cluster.client(0).with_token(&cluster.token(&TokenRequest::identity("app")).await);
        service.get(AUDIT).await.expect_problem(403, "scope_missing");
    }
}
