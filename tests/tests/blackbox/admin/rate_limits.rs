//! Limits that administrators and operators set. Rates are so low that nothing comes back during a test.

mod exhausted;

use std::time::Instant;

use cryptoserve_tests::{Client, Reply, StoreKind, TokenRequest, eventually};
use futures_util::stream;
use http::Method;
use http_body_util::StreamBody;
use hyper::body::Frame;
use serde_json::{Value, json};

use crate::admin::identity_id;
use crate::support::{
    COHERENCE, DECRYPT, ENCRYPT, admin, app, base64, builder, encrypt_in, on_each_store, one, operator,
    sealed, service,
};

const LIMITS: &str = "/api/admin/rate-limits";
const STREAM: &str = "/api/v1/crypto/encrypt/stream?context=general";

fn policy(requests_per_minute: u32, burst_size: u32) -> Value {
    json!({ "requests_per_minute": requests_per_minute, "burst_size": burst_size })
}

/// A policy of which only `window` matters.
fn window(window: Value) -> Value {
    json!({ "requests_per_minute": 10_000_000, "burst_size": 10_000_000, "windows": [window] })
}

async fn encrypt(client: &Client) -> Reply {
    client.post_json(ENCRYPT, &json!({ "context": "general", "plaintext": base64("x") })).await
}

/// The numbers that a reply tells of a dimension: tokens and seconds.
fn told(reply: &Reply, dimension: &str) -> Option<String> {
    let policies = reply.header("ratelimit-policy").unwrap_or_default();
    let (_, numbers) = policies.split_once(&format!("\"{dimension}\";"))?;
    numbers.split(',').next().map(str::to_owned)
}

async fn set(client: &Client, subject: &str, policy: &Value) -> Value {
    client.put_json(&format!("{LIMITS}/{subject}"), policy).await.expect(200).json()
}

async fn clear(client: &Client, subject: &str) -> Value {
    client.delete(&format!("{LIMITS}/{subject}")).await.expect(200).json()
}

/// That every replica tells the same numbers of a dimension within [`COHERENCE`].
async fn everywhere(clients: &[Client], dimension: &str, numbers: Option<&str>) {
    let begun = Instant::now();
    for client in clients {
        let what = format!("{dimension}: {numbers:?}");
        let holds = async || (told(&encrypt(client).await, dimension).as_deref() == numbers).then_some(());
        eventually(&what, holds).await;
    }
    assert!(begun.elapsed() < COHERENCE, "{dimension}: {numbers:?} after {:?}", begun.elapsed());
}

/// Status of the next of several requests.
async fn statuses(client: &Client, count: usize) -> Vec<u16> {
    let mut statuses = Vec::new();
    for _ in 0..count {
        statuses.push(encrypt(client).await.status);
    }
    statuses
}

on_each_store! {
    async fn a_policy_holds_on_every_replica_until_it_is_forgotten(store) {
        let replicas = if store == StoreKind::Postgres { 2 } else { 1 };
        let cluster = builder(store).start(replicas).await;
        let admin = admin(&cluster).await;
        let operator = operator(&cluster).await;
        let token = cluster.token(&TokenRequest::identity("app").contexts(["*"])).await;
        let clients: Vec<_> = (0..replicas).map(|index| cluster.client(index).with_token(&token)).collect();
        let unlimited = "q=10000000;w=60";
        everywhere(&clients, "context", Some(unlimited)).await;

        let path = format!("{LIMITS}/context/general");
        let shown = admin.get(&path).await.expect(200).json();
        assert_eq!((&shown["source"], &shown["requests_per_minute"]), (&json!("environment"), &json!(10_000_000)));
        let stored = set(&admin, "context/general", &policy(5, 3)).await;
        assert_eq!(stored, json!({
            "dimension": "context", "context": "general", "source": "stored", "requests_per_minute": 5,
            "burst_size": 3, "enabled": true, "shadow": false, "windows": [],
        }));
        assert_eq!(admin.get(&path).await.expect(200).json(), stored);
        everywhere(&clients, "context", Some("q=5;w=60")).await;
        for client in &clients {
            assert_eq!(statuses(client, 4).await.last(), Some(&429));
            // Others than that context are not meant.
            let body = json!({ "context": "user-pii", "plaintext": "" });
            assert_eq!(told(&client.post_json(ENCRYPT, &body).await.expect(200), "context").as_deref(), Some(unlimited));
        }
        // A policy that only counts refuses nobody, and one that is not enabled limits nobody.
        for field in ["shadow", "enabled"] {
            let mut changed = policy(5, 3);
            changed[field] = json!(field == "shadow");
            assert_eq!(set(&admin, "context/general", &changed).await[field], changed[field]);
            everywhere(&clients, "context", None).await;
            assert_eq!(statuses(&clients[0], 5).await, [200; 5], "{field}");
        }
        set(&operator, "defaults/context", &policy(77, 7)).await;
        for _ in 0..2 {
            let forgotten = clear(&admin, "context/general").await;
            assert_eq!((&forgotten["source"], &forgotten["requests_per_minute"]), (&json!("default"), &json!(77)));
        }
        everywhere(&clients, "context", Some("q=77;w=60")).await;
        assert_eq!(clear(&operator, "defaults/context").await["source"], "environment");
        everywhere(&clients, "context", Some(unlimited)).await;

        // What each kind of subject is limited by shows on every replica.
        let app = identity_id(&admin, "app").await;
        for (client, subject, dimension, without) in [
            (&admin, format!("identity/{app}"), "identity", Some(unlimited)),
            (&admin, format!("identity/{app}/context/general"), "identity-context", None),
            (&operator, "tenant/default".to_owned(), "tenant", None),
            (&operator, "defaults/tenant".to_owned(), "tenant", None),
            (&operator, "ip".to_owned(), "ip", Some(unlimited)),
        ] {
            let stored = set(client, &subject, &policy(9999, 999)).await;
            assert_eq!((&stored["dimension"], &stored["source"]), (&json!(dimension), &json!("stored")));
            everywhere(&clients, dimension, Some("q=9999;w=60")).await;
            let forgotten = clear(client, &subject).await;
            assert_eq!(forgotten["source"], without.map_or("none", |_| "environment"), "{forgotten}");
            everywhere(&clients, dimension, without).await;
        }
    }

    async fn what_cannot_be_a_policy_is_refused_with_the_field_and_what_it_may_be(store) {
        let cluster = one(store).await;
        let admin = admin(&cluster).await;
        let path = format!("{LIMITS}/context/general");
        let with = |field: &str, value: Value| {
            let mut body = policy(50, 10);
            body[field] = value;
            body
        };
        let windows = |value: Value| with("windows", json!([value]));
        for (body, said) in [
            (with("requests_per_minute", json!(0)), "`requests_per_minute` must be a whole number from 1 to 10000000"),
            (with("requests_per_minute", json!(-1)), "`requests_per_minute` must be"),
            (with("requests_per_minute", json!(1e30)), "`requests_per_minute` must be"),
            (with("requests_per_minute", json!(10_000_001)), "`requests_per_minute` must be"),
            (with("burst_size", json!(51)), "`burst_size` must be a whole number from 1 to 50"),
            (with("burst_size", json!("10")), "`burst_size` must be"),
            (with("burst_size", json!(2.5)), "`burst_size` must be"),
            (with("burst_size", Value::Null), "`burst_size` must be"),
            (json!({ "requests_per_minute": 5 }), "`burst_size` must be"),
            (with("enabled", json!("no")), "`enabled` must be true or false"),
            (with("rate", json!(5)), "no other fields than requests_per_minute, burst_size, enabled, shadow, windows"),
            (with("windows", json!({})), "`windows` must be a list of at most 4 windows"),
            (windows(json!({ "limit": 5 })), "`windows[0].window_seconds` must be a whole number from 1 to 2678400"),
            (windows(json!({ "limit": 5, "window_seconds": 60, "counts": "x" })), "`windows[0].counts` must be one of"),
            (windows(json!({ "limit": 5, "window_seconds": 60 })), "`windows`: two windows"),
            (json!([]), "must be an object"),
        ] {
            let refused = admin.put_json(&path, &body).await.expect_problem(422, "invalid_limit");
            assert!(refused.text("detail").contains(said), "{body}: {}", refused.text("detail"));
        }
        let put = |body: &'static str| {
            admin.try_send(admin.request(Method::PUT, &path).body(http_body_util::Full::from(body)).expect("a request"))
        };
        put("{").await.expect("a reply").expect_problem(400, "invalid_request");
        put("").await.expect("a reply").expect_problem(400, "invalid_request");
        let twice = r#"{"requests_per_minute": 5, "burst_size": 1, "burst_size": 5}"#;
        put(twice).await.expect("a reply").expect_problem(422, "invalid_limit");
        assert_eq!(admin.get(&path).await.expect(200).json()["source"], "environment", "nothing was stored");

        let app = service(&cluster, "app", ["*"]).await;
        encrypt(&app).await.expect(200);
        let app = identity_id(&admin, "app").await;
        for (subject, code) in [
            ("context/none".to_owned(), "context_not_found"),
            ("context/%00".to_owned(), "context_not_found"),
            ("identity/none".to_owned(), "identity_not_found"),
            ("identity/00000000-0000-4000-8000-000000000000".to_owned(), "identity_not_found"),
            (format!("identity/{app}/context/none"), "context_not_found"),
        ] {
            let path = format!("{LIMITS}/{subject}");
            admin.get(&path).await.expect_problem(404, code);
            admin.put_json(&path, &policy(5, 5)).await.expect_problem(404, code);
            admin.delete(&path).await.expect_problem(404, code);
        }
        // An administrator cannot lock operators out.
        let operator = operator(&cluster).await;
        operator.get("/api/v1/contexts").await.expect(200);
        let id = identity_id(&admin, "operator").await;
        for subject in [format!("identity/{id}"), format!("identity/{id}/context/general")] {
            let path = format!("{LIMITS}/{subject}");
            admin.put_json(&path, &policy(1, 1)).await.expect_problem(403, "role_forbidden");
            admin.delete(&path).await.expect_problem(403, "role_forbidden");
            admin.get(&path).await.expect(200);
            operator.put_json(&path, &policy(5000, 500)).await.expect(200);
        }
        let reset = format!("{LIMITS}/reset/{id}");
        admin.post_json(&reset, &json!({})).await.expect_problem(403, "role_forbidden");
        operator.post_json(&reset, &json!({})).await.expect(200);
        // What is the deployment's is not a tenant's to change, or to look at.
        for subject in ["ip", "defaults/identity", "tenant/default"] {
            let path = format!("{LIMITS}/{subject}");
            for client in [&admin, &service(&cluster, "app", ["*"]).await] {
                client.get(&path).await.expect_problem(403, "scope_missing");
                client.put_json(&path, &policy(5, 5)).await.expect_problem(403, "scope_missing");
                client.delete(&path).await.expect_problem(403, "scope_missing");
            }
            operator.get(&path).await.expect(200);
        }
        operator.put_json(&format!("{LIMITS}/tenant/none"), &policy(5, 5)).await.expect_problem(404, "tenant_not_found");
        operator.put_json(&format!("{LIMITS}/defaults/none"), &policy(5, 5)).await.expect_problem(404, "not_found");
    }

    async fn policies_are_listed_and_go_with_what_they_are_about(store) {
        let cluster = one(store).await;
        let admin = admin(&cluster).await;
        encrypt(&app(&cluster).await).await.expect(200);
        let app = identity_id(&admin, "app").await;
        let subjects = ["context/general", &format!("identity/{app}"), &format!("identity/{app}/context/general")];
        for subject in subjects {
            set(&admin, subject, &policy(1000, 100)).await;
        }
        let page = admin.get(&format!("{LIMITS}?limit=2")).await.expect(200).json();
        let dimensions = |list: &Value| -> Vec<_> {
            list.as_array().expect("a list").iter().map(|entry| entry["dimension"].clone()).collect()
        };
        let kinds = ["ip", "identity", "context", "tenant", "identity-context", "failed-authentication"];
        assert_eq!(dimensions(&page["defaults"]), kinds);
        assert_eq!((&page["tenant"]["tenant"], &page["tenant"]["source"]), (&json!("default"), &json!("none")));
        assert_eq!(dimensions(&page["policies"]), ["context", "identity"]);
        let next = page["next"].as_str().expect("another page");
        let rest = admin.get(&format!("{LIMITS}?after={next}")).await.expect(200).json();
        assert_eq!(dimensions(&rest["policies"]), ["identity-context"]);
        assert_eq!((&rest["policies"][0]["identity"], &rest["next"]), (&json!("app"), &Value::Null));
        for query in ["after=general", "after=context/A", "after=", "limit=0", "limit=1001", "x=1", "after=context/%00"] {
            admin.get(&format!("{LIMITS}?{query}")).await.expect_problem(400, "invalid_request");
        }
        admin.delete(&format!("/api/admin/identities/{app}")).await.expect(200);
        let left = admin.get(LIMITS).await.expect(200).json();
        assert_eq!(dimensions(&left["policies"]), ["context"]);
        // Each change is told in the audit trail with its numbers.
        let number = "SELECT count(*) FROM audit_records WHERE operation = 'admin.limits.set-identity' AND detail LIKE \
                      'limits of identity app (%\"requests_per_minute\":1000,%'";
        let tables = cluster.tables().await;
        eventually("the change is in the audit trail", async || (tables.number(number).await == 1).then_some(())).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn windows_have_budgets_of_their_own() {
    let cluster = one(StoreKind::Sqlite).await;
    let (admin, app) = (admin(&cluster).await, app(&cluster).await);
    let ciphertext = encrypt_in(&app, "general", "x").await;
    let id = identity_id(&admin, "app").await;
    let of_app = format!("identity/{id}");

    // What is spent on one class of operations is not missing for others.
    let few = json!({ "limit": 2, "window_seconds": 86_400, "operations": "decrypt" });
    set(&admin, &of_app, &window(few)).await;
    for expected in [200, 200, 429, 429] {
        let reply = app.post_json(DECRYPT, &sealed(&ciphertext)).await.expect(expected);
        assert_eq!(told(&reply, "identity-decrypt-86400s").as_deref(), Some("q=2;w=86400"));
    }
    assert_eq!(statuses(&app, 3).await, [200; 3]);

    // Of a quota no span sees more than the limit, so at once there is less.
    set(&admin, &of_app, &window(json!({ "limit": 5, "window_seconds": 86_400, "kind": "quota" }))).await;
    assert_eq!(statuses(&app, 4).await, [200, 200, 200, 429]);
    assert_eq!(app.get("/api/v1/contexts").await.expect(429).status, 429);

    // A batch is as many as it has items, or one.
    let batch = |count: usize| {
        let items: Vec<_> = (0..count).map(|n| json!({ "id": n.to_string(), "plaintext": "" })).collect();
        json!({ "context": "general", "items": items })
    };
    let path = "/api/v1/crypto/batch/encrypt";
    set(&admin, &of_app, &window(json!({ "limit": 2, "window_seconds": 3600, "counts": "requests" }))).await;
    for expected in [200, 200, 429] {
        app.post_json(path, &batch(10)).await.expect(expected);
    }
    set(&admin, &of_app, &policy(7, 5)).await;
    assert_eq!(app.get("/api/v1/contexts").await.expect(200).json()["contexts"][0]["max_batch"], 5);
    let refused = app.post_json(path, &batch(6)).await.expect_problem(422, "cost_exceeds_limit");
    assert!(refused.text("detail").contains("at most 5 items"), "{}", refused.text("detail"));

    // Plaintext is counted before it is encrypted.
    set(&admin, &of_app, &window(json!({ "limit": 1000, "window_seconds": 86_400, "counts": "bytes" })))
        .await;
    let of_size = |size: usize| json!({ "context": "general", "plaintext": base64(vec![7; size]) });
    let refused = app.post_json(ENCRYPT, &of_size(1001)).await.expect_problem(422, "cost_exceeds_limit");
    assert!(refused.text("detail").contains("at most 1000 bytes"), "{}", refused.text("detail"));
    app.post_json(ENCRYPT, &of_size(600)).await.expect(200);
    app.post_json(ENCRYPT, &of_size(600)).await.expect_problem(429, "rate_limited");
    app.post_bytes(STREAM, vec![7; 401]).await.expect_problem(429, "rate_limited");
    app.post_bytes(STREAM, vec![7; 300]).await.expect(200);
    let pieces = stream::iter([Ok::<_, std::io::Error>(Frame::data(bytes::Bytes::from_static(b"x")))]);
    let endless = app.request(Method::POST, STREAM).body(StreamBody::new(pieces)).expect("a request");
    app.try_send(endless).await.expect("a reply").expect_problem(422, "cost_exceeds_limit");
    app.post_json(ENCRYPT, &of_size(100)).await.expect(200);
    app.post_json(ENCRYPT, &of_size(1)).await.expect_problem(429, "rate_limited");
    // What has no plaintext is not counted in bytes.
    app.post_json(ENCRYPT, &of_size(0)).await.expect(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_identity_is_limited_in_one_context_and_begins_again_when_it_is_reset() {
    let cluster = one(StoreKind::Sqlite).await;
    let (admin, app) = (admin(&cluster).await, app(&cluster).await);
    let other = service(&cluster, "other", ["*"]).await;
    encrypt(&app).await.expect(200);
    let id = identity_id(&admin, "app").await;
    let daily = |limit: u32| window(json!({ "limit": limit, "window_seconds": 86_400 }));
    set(&admin, &format!("identity/{id}/context/general"), &daily(2)).await;
    set(&admin, "context/general", &daily(7)).await;
    let refused = async |dimension: &str| {
        let refused = encrypt(&app).await.expect_problem(429, "rate_limited");
        assert!(
            refused.text("detail").contains(&format!("per {dimension} is")),
            "{}",
            refused.text("detail")
        );
    };
    for _ in 0..3 {
        assert_eq!(statuses(&app, 2).await, [200; 2]);
        refused("identity-context").await;
        encrypt_in(&app, "user-pii", "x").await;
        let reset = admin.post_json(&format!("{LIMITS}/reset/{id}"), &json!({})).await.expect(200).json();
        assert_eq!(reset, json!({ "identity_id": id, "reset": true }));
    }
    // The context's is for all, and stays as it is.
    assert_eq!(encrypt(&other).await.status, 200);
    refused("context").await;
    for nobody in ["none", "00000000-0000-4000-8000-000000000000"] {
        let path = format!("{LIMITS}/reset/{nobody}");
        admin.post_json(&path, &json!({})).await.expect_problem(404, "identity_not_found");
    }
}
