use std::collections::BTreeSet;

use cryptoserve_tests::{Client, Cluster, Reply, StoreKind, TokenRequest, eventually};
use futures_util::future::join_all;
use serde_json::{Value, json};

use super::{IDENTITIES, audited, identity, is_dead, refresh, uses};
use crate::support::{admin, builder, on_each_store, one, with_scopes};

const REGISTER: &str = "/api/v1/applications/sdk/register";

/// What version 1.4.3 of the published Python package sends, field by field.
fn request(app: &str, contexts: &[&str]) -> Value {
    json!({ "app_name": app, "team": "default", "environment": "development", "contexts": contexts, "description": null })
}

async fn register(client: &Client, app: &str, contexts: &[&str]) -> Reply {
    client.post_json(REGISTER, &request(app, contexts)).await
}

/// A client for a service with these scopes and contexts.
async fn caller(cluster: &Cluster, admin: &Client, name: &str, scopes: &[&str], contexts: &[&str]) -> Client {
    let body = json!({ "name": name, "scopes": scopes, "contexts": contexts });
    let made = admin.post_json(IDENTITIES, &body).await.expect(201).text("id");
    let issued = admin.post_json(&format!("{IDENTITIES}/{made}/tokens"), &json!({})).await.expect(200);
    cluster.client(0).with_token(&issued.text("access_token"))
}

async fn expect(cluster: &Cluster, access: &str, statuses: &[(&str, u16)]) {
    for (context, status) in statuses {
        assert_eq!(uses(cluster, access, context).await, *status, "{context}");
    }
}

on_each_store! {
    async fn an_application_registers_with_the_cookie_and_again_on_a_second_machine(store) {
        let cluster = one(store).await;
        let admin = admin(&cluster).await;
        let token = cluster.token(&TokenRequest::admin()).await;
        let machine = cluster.client(0).with_header("cookie", &format!("theme=dark; access_token={token}"));
        let first = register(&machine, "My Service", &["default"]).await.expect(200);
        assert_eq!(first.json()["contexts"], json!(["general"]));
        assert_eq!((first.text("app_name"), first.text("environment")), ("My Service".to_owned(), "development".to_owned()));
        assert_eq!((first.json()["is_new"].clone(), first.text("message").is_empty()), (true.into(), false));
        expect(&cluster, &first.text("access_token"), &[("general", 200), ("user-pii", 403)]).await;

        // Again, at the other path, with other wishes: the identity stays, and so do the tokens of the first machine.
        let wishes = request("My Service", &["default", "user-pii"]);
        let again = machine.post_json("/api/api/v1/applications/sdk/register", &wishes).await.expect(200);
        assert_eq!((again.text("app_id"), again.json()["is_new"].clone()), (first.text("app_id"), false.into()));
        assert_eq!(again.json()["contexts"], json!(["general"]));
        assert!(again.text("message").contains("not granted: user-pii"), "{again:?}");
        for reply in [&first, &again, &first] {
            let access = refresh(&cluster.client(0), &reply.text("refresh_token")).await.expect(200).text("access_token");
            expect(&cluster, &access, &[("general", 200), ("user-pii", 403)]).await;
        }
        let path = format!("{IDENTITIES}/{}", first.text("app_id"));
        let made = admin.get(&path).await.expect(200);
        assert!(made.text("name").starts_with("my-service-development_"), "{made:?}");
        assert_eq!((made.text("role"), made.json()["contexts"].clone()), ("service".to_owned(), json!(["general"])));
        assert!(!made.json()["scopes"].as_array().expect("a list").contains(&"register".into()));
        let listed = admin.get(&format!("{path}/tokens")).await.expect(200).json();
        assert_eq!(listed["refresh_tokens"].as_array().map(Vec::len), Some(2));
        let detail = listed["refresh_tokens"][0]["detail"].as_str().expect("text").to_owned();
        assert!(detail.starts_with("registered by admin (") && detail.ends_with(", team default"), "{detail}");

        // The cookie counts where no page of somebody else can have sent it, and for this alone.
        let cookie = |value: &str| cluster.client(0).with_header("cookie", value);
        let bad = [
            machine.clone().with_header("origin", "http://127.0.0.1:8003"),
            cookie(&format!("access_token={token}; access_token={token}")),
            cookie(&format!("access_token2={token}")),
            cookie("access_token=nonsense"),
            cookie("access_token"),
            cluster.client(0),
        ];
        for client in bad {
            register(&client, "my-app", &["general"]).await.expect_problem(401, "unauthenticated");
        }
        let form = machine.clone().post_bytes(REGISTER, request("my-app", &["general"]).to_string()).await;
        form.expect_problem(401, "unauthenticated");
        machine.get("/api/v1/contexts").await.expect_problem(401, "unauthenticated");

        // Deleted and registered again it is the same application, and tokens from before stay dead.
        admin.delete(&path).await.expect(200);
        is_dead(&cluster.client(0), &first.text("refresh_token"), "deleted").await;
        let new = register(&machine, "My Service", &["general"]).await.expect(200);
        assert_eq!((new.text("app_id"), new.json()["is_new"].clone()), (first.text("app_id"), true.into()));
        expect(&cluster, &first.text("access_token"), &[("general", 401)]).await;
        expect(&cluster, &new.text("access_token"), &[("general", 200)]).await;
    }

    async fn a_registration_passes_on_what_its_caller_has_and_no_more(store) {
        let cluster = one(store).await;
        let admin = admin(&cluster).await;
        let plain = with_scopes(&cluster, "plain", &["encrypt"]).await;
        register(&plain, "billing", &["general"]).await.expect_problem(403, "scope_missing");
        let empty = with_scopes(&cluster, "empty", &["register"]).await;
        register(&empty, "billing", &["general"]).await.expect_problem(400, "invalid_request");

        let rich = caller(&cluster, &admin, "rich", &["register", "encrypt", "decrypt"], &["payment-data", "general"]).await;
        let poor = caller(&cluster, &admin, "poor", &["register", "encrypt", "hash"], &["general"]).await;
        let owned = register(&rich, "billing", &["payment-data", "general", "user-pii"]).await.expect(200);
        expect(&cluster, &owned.text("access_token"), &[("payment-data", 200), ("general", 200), ("user-pii", 403)]).await;

        // Another team registers under that name, to get its rights: it gets its own.
        let thief = register(&poor, "billing", &["*"]).await.expect(200);
        assert_eq!((thief.text("app_id"), thief.json()["contexts"].clone()), (owned.text("app_id"), json!(["general"])));
        let stolen = refresh(&cluster.client(0), &thief.text("refresh_token")).await.expect(200).text("access_token");
        for access in [&thief.text("access_token"), &stolen] {
            expect(&cluster, access, &[("payment-data", 403), ("general", 200)]).await;
            let client = cluster.client(0).with_token(access);
            for (path, scope) in [("/v1/crypto/decrypt", "decrypt"), ("/v1/crypto/hash", "hash")] {
                let refused = client.post_json(path, &json!({})).await.expect_problem(403, "scope_missing");
                assert!(refused.text("detail").contains(scope), "{refused:?}");
            }
        }
        let refused = register(&poor, "billing", &["payment-data"]).await.expect_problem(400, "invalid_request");
        assert!(refused.text("detail").contains("/api/v1/contexts"), "{refused:?}");
        // Squatting is of no use either: what an administrator adds later, tokens from before do not get.
        let squatter = register(&poor, "payroll", &["general"]).await.expect(200);
        let path = format!("{IDENTITIES}/{}", squatter.text("app_id"));
        let wide = json!({ "contexts": ["*"], "scopes": ["encrypt", "decrypt"] });
        admin.put_json(&path, &wide).await.expect(200);
        let access = refresh(&cluster.client(0), &squatter.text("refresh_token")).await.expect(200).text("access_token");
        expect(&cluster, &access, &[("payment-data", 403), ("general", 200)]).await;
        let entitled = register(&rich, "payroll", &["payment-data"]).await.expect(200);
        expect(&cluster, &entitled.text("access_token"), &[("payment-data", 200), ("general", 403)]).await;
        // A repeat changed nothing of the row.
        assert_eq!(admin.get(&path).await.expect(200).json()["contexts"], json!(["*"]));

        // What was not made by a registration is not given out, nor what an administrator took back.
        identity(&admin, "ledger-development", &["*"]).await;
        register(&rich, "ledger", &["general"]).await.expect_problem(409, "not_an_application");
        admin.put_json(&path, &json!({ "enabled": false })).await.expect(200);
        register(&rich, "payroll", &["general"]).await.expect_problem(409, "not_an_application");
        admin.put_json(&path, &json!({ "enabled": true, "role": "admin" })).await.expect(200);
        register(&rich, "payroll", &["general"]).await.expect_problem(409, "not_an_application");

        for (field, value) in [
            ("app_name", json!("")), ("app_name", json!("a\0b")), ("app_name", json!("x".repeat(300))), ("app_name", Value::Null),
            ("environment", json!(" ")), ("contexts", json!(["NOT A NAME"])), ("contexts", json!(vec!["general"; 101])),
            ("contexts", json!("general")), ("scopes", json!(["admin"])),
        ] {
            let mut body = request("hostile", &["general"]);
            body[field] = value;
            rich.post_json(REGISTER, &body).await.expect_problem(400, "invalid_request");
        }
        // A token that would be too long is none, and leaves nothing behind.
        let long: Vec<_> = (0..100).map(|n| format!("{n:0>64}")).collect();
        let long: Vec<_> = long.iter().map(String::as_str).collect();
        let anywhere = caller(&cluster, &admin, "anywhere", &["register", "encrypt"], &["*"]).await;
        register(&anywhere, "long", &long).await.expect_problem(422, "token_too_long");
        assert_eq!(register(&anywhere, "long", &["general"]).await.expect(200).json()["is_new"], true);
        // Nothing asked for is nothing given, and enough to hash with.
        let none = register(&poor, "hasher", &[]).await.expect(200);
        assert_eq!(none.json()["contexts"], json!([]));
        expect(&cluster, &none.text("access_token"), &[("general", 403)]).await;

        for n in 2..20 {
            let reply = register(&rich, "billing", &["general"]).await;
            assert_eq!(reply.status, 200, "{n}: {reply:?}");
        }
        register(&rich, "billing", &["general"]).await.expect_problem(409, "too_many_refresh_tokens");
        refresh(&cluster.client(0), &owned.text("refresh_token")).await.expect(200);

        let (app, tables) = (owned.text("app_id"), cluster.tables().await);
        audited(&tables, &format!("operation = 'applications.register' AND outcome = 'success' AND detail LIKE '%{app}%'"), 20).await;
        let log = cluster.replicas()[0].log();
        eventually("24 lines on registrations", async || {
            (log.text().matches("an application was registered").count() == 24).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twelve_machines_that_register_at_the_same_moment_are_one_application() {
    let cluster = builder(StoreKind::Postgres).start(3).await;
    let token = cluster.token(&TokenRequest::admin()).await;
    let clients: Vec<_> = (0..3).map(|n| cluster.client(n).with_token(&token)).collect();
    let replies = join_all((0..12).map(|n| register(&clients[n % 3], "billing", &["general"]))).await;
    let replies: Vec<_> = replies.into_iter().map(|reply| reply.expect(200)).collect();
    let distinct = |field: &str| replies.iter().map(|reply| reply.text(field)).collect::<BTreeSet<_>>();
    let [app] = &Vec::from_iter(distinct("app_id"))[..] else { panic!("{:?}", distinct("app_id")) };
    assert_eq!(replies.iter().filter(|reply| reply.json()["is_new"] == true).count(), 1);
    assert_eq!(distinct("refresh_token").len(), 12);
    let listed = clients[0].get(&format!("{IDENTITIES}/{app}/tokens")).await.expect(200).json();
    assert_eq!(listed["refresh_tokens"].as_array().map(Vec::len), Some(12));
    for (n, reply) in replies.iter().enumerate() {
        refresh(&clients[(n + 1) % 3], &reply.text("refresh_token")).await.expect(200);
    }
}
