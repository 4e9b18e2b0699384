//! What went wrong in the service before this one, by name; none of it can happen here.

use std::collections::BTreeSet;
use std::time::Instant;

use cryptoserve_tests::{Client, Program, StoreKind, TokenRequest, eventually};
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::signatures::{ALGORITHMS, KEYS, generate, is_valid, sign, text, to_verify};
use crate::support::{
    DECRYPT, ENCRYPT, admin, app, base64, builder, encrypt, encrypt_in, on_each_store, one,
    refused_everywhere, replicas, restart, sealed, service, unbase64,
};

/// Bytes of a ciphertext that say which key and algorithm it needs.
const PREFIX: usize = 24;
const BATCH_ENCRYPT: &str = "/api/v1/crypto/batch/encrypt";

async fn refused(app: &Client, ciphertext: &[u8], what: &str) -> String {
    let reply = app.post_json(DECRYPT, &sealed(ciphertext)).await;
    assert_eq!(reply.status, 400, "{what}: {reply:?}");
    reply.text("code")
}

fn plaintexts(count: usize) -> Value {
    let item = |n: usize| json!({ "id": n.to_string(), "plaintext": base64(format!("message {n}")) });
    json!({ "context": "user-pii", "items": (0..count).map(item).collect::<Vec<_>>() })
}

on_each_store! {
    async fn editing_the_context_in_a_ciphertexts_header_reaches_no_other_context(store) {
        let cluster = one(store).await;
        let everything = app(&cluster).await;
        let one_only = service(&cluster, "billing", ["payment-data"]).await;
        let foreign = encrypt_in(&everything, "health-data", "diagnosis").await;
        let own = encrypt_in(&one_only, "payment-data", "card").await;

        // The foreign body under the own header: the own key does not open it.
        let edited = [&own[..PREFIX], &foreign[PREFIX..]].concat();
        assert_eq!(refused(&one_only, &edited, "own header").await, "authentication_failed");
        // Whatever the caller says the context is, the key named in the ciphertext decides.
        for context in ["payment-data", "health-data"] {
            let body = json!({ "ciphertext": base64(&foreign), "context": context });
            one_only.post_json(DECRYPT, &body).await.expect_problem(403, "context_forbidden");
        }
    }

    /// Two keys were created, and the context was of no use from then on.
    async fn simultaneous_first_use_of_a_context_makes_one_key(store) {
        let replicas = replicas(store);
        const CALLERS: usize = 12;
        let rounds = if std::env::var_os("CRYPTOSERVE_TEST_FULL").is_some() { 200 } else { 20 };
        let cluster = builder(store).start(replicas).await;
        let admin = cluster.token(&TokenRequest::admin()).await;
        let token = cluster.token(&TokenRequest::identity("app")).await;
        let client = |n: usize| cluster.client(n % replicas).with_token(&token);
        let admin = cluster.client(0).with_token(&admin);
        for round in 0..rounds {
            let context = format!("fresh-{round}");
            admin.post_json("/api/admin/contexts", &json!({ "name": context })).await.expect(201);
            let body = json!({ "context": context, "plaintext": base64("x") });
            // Another replica may have to hear of the context first.
            let replies = join_all((0..CALLERS).map(|n| {
                let (client, body) = (client(n), &body);
                async move {
                    cryptoserve_tests::eventually("the context is known", async || {
                        let reply = client.post_json(ENCRYPT, body).await;
                        let unheard_of = replicas > 1 && reply.status == 404;
                        assert!(reply.status == 200 || unheard_of, "{reply:?}");
                        (!unheard_of).then_some(reply)
                    })
                    .await
                }
            }))
            .await;
            let keys: BTreeSet<_> =
                replies.iter().map(|r| (r.text("key_id"), r.json()["key_version"].to_string())).collect();
            assert_eq!(keys.len(), 1, "round {round}: {keys:?}");
            for (n, reply) in replies.iter().enumerate() {
                let sealed = json!({ "ciphertext": reply.text("ciphertext") });
                client(n + 1).post_json(DECRYPT, &sealed).await.expect(200);
            }
        }
        if store == StoreKind::Postgres {
            let database = cluster.database().connect().await;
            let enabled = "SELECT count(*), count(DISTINCT key_id) FROM key_versions \
                WHERE state = 1 AND tenant_id = (SELECT tenant_id FROM deployment)";
            let row = database.query_one(enabled, &[]).await.expect("counts");
            let contexts = i64::from(9 + rounds);
            assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (contexts, contexts));
        }
    }

    async fn what_an_override_encrypted_can_be_decrypted(store) {
        let cluster = one(store).await;
        let (app, admin) = (app(&cluster).await, admin(&cluster).await);
        let algorithms =
            ["XAES-256-GCM", "AES-256-GCM", "AES-128-GCM", "ChaCha20-Poly1305", "AES-256-GCM-SIV"];
        let context = json!({ "name": "many", "allowed_algorithms": algorithms });
        admin.post_json("/api/admin/contexts", &context).await.expect(201);
        for algorithm in algorithms {
            for spelling in [algorithm.to_owned(), algorithm.to_lowercase()] {
                let body = json!({ "context": "many", "plaintext": base64("m"), "algorithm_override": spelling });
                let reply = app.post_json(ENCRYPT, &body).await.expect(200);
                assert_eq!(reply.json()["algorithm"]["name"], algorithm);
                let reply = app.post_json(DECRYPT, &json!({ "ciphertext": reply.text("ciphertext") })).await;
                assert_eq!(unbase64(&reply.expect(200).text("plaintext")), b"m");
            }
        }
    }

    async fn tampered_data_is_400_never_500(store) {
        let cluster = one(store).await;
        let app = app(&cluster).await;
        let ciphertext = encrypt(&app, "secret").await;
        for position in 0..ciphertext.len() {
            for mask in [0x01, 0x80, 0xff] {
                let mut edited = ciphertext.clone();
                edited[position] ^= mask;
                let code = refused(&app, &edited, &format!("byte {position} ^ {mask:#x}")).await;
                let expected: &[&str] = match position {
                    // Magic, format, algorithm: not a ciphertext, or one that does not open.
                    0..4 => &["invalid_ciphertext", "authentication_failed"],
                    // Key id and version: no such key.
                    4..PREFIX => &["invalid_ciphertext"],
                    _ => &["authentication_failed"],
                };
                assert!(expected.contains(&code.as_str()), "byte {position}: {code}");
            }
        }
        for length in 0..ciphertext.len() {
            refused(&app, &ciphertext[..length], &format!("cut to {length}")).await;
        }
        for extra in 1..40 {
            let extended = [&ciphertext[..], &vec![0; extra]].concat();
            assert_eq!(refused(&app, &extended, "extended").await, "authentication_failed");
        }
    }

    async fn a_revoked_token_stops_working_on_every_replica(store) {
        let replicas = replicas(store);
        let cluster = builder(store).start(replicas).await;
        let admin = admin(&cluster).await;
        let made = json!({ "name": "app", "contexts": ["general"] });
        let made = admin.post_json("/api/admin/identities", &made).await.expect(201).text("id");
        let tokens = format!("/api/admin/identities/{made}/tokens");
        let token = admin.post_json(&tokens, &json!({})).await.expect(200).text("access_token");
        let clients: Vec<_> = (0..replicas).map(|n| cluster.client(n)).collect();
        let revoke = async || drop(admin.delete(&tokens).await.expect(200));
        refused_everywhere(&clients, &token, "revoked", revoke).await;
        clients[0].clone().with_token(&token).get("/api/v1/contexts").await.expect_problem(401, "unauthenticated");
        let body = json!({ "context": "general", "plaintext": "" });
        let token = admin.post_json(&tokens, &json!({})).await.expect(200).text("access_token");
        cluster.client(0).with_token(&token).post_json(ENCRYPT, &body).await.expect(200);
    }

    async fn signing_keys_survive_a_restart(store) {
        let mut cluster = one(store).await;
        let app = app(&cluster).await;
        let mut made = Vec::new();
        for algorithm in ALGORITHMS {
            let key = generate(&app, algorithm, "general").await;
            let signature = sign(&app, &text(&key, "key_id"), "before").await;
            made.push((key, signature));
        }
        restart(&mut cluster, 0).await;
        let token = cluster.token(&TokenRequest::identity("app").contexts(["*"])).await;
        let app = cluster.client(0).with_token(&token);
        for (key, signature) in made {
            let key_id = text(&key, "key_id");
            assert_eq!(app.get(&format!("{KEYS}/{key_id}/public")).await.expect(200).json(), key);
            assert!(is_valid(&app, &to_verify(&key_id, "before", &signature)).await);
            let after = sign(&app, &key_id, "after").await;
            assert!(is_valid(&app, &to_verify(&key_id, "after", &after)).await);
        }
    }

    async fn audit_records_chain(store) {
        const CLIENTS: usize = 12;
        let replicas = replicas(store);
        let cluster = builder(store).start(replicas).await;
        let token = cluster.token(&TokenRequest::identity("app").contexts(["general"])).await;
        let clients: Vec<_> = (0..replicas).map(|n| cluster.client(n).with_token(&token)).collect();
        let body = json!({ "context": "general", "plaintext": base64("x") });
        let forbidden = json!({ "context": "user-pii", "plaintext": base64("x") });
        join_all((0..CLIENTS).map(|n| {
            let (client, body, forbidden) = (&clients[n % replicas], &body, &forbidden);
            async move {
                for _ in 0..10 {
                    client.post_json(ENCRYPT, body).await.expect(200);
                }
                client.post_json(ENCRYPT, forbidden).await.expect(403);
            }
        }))
        .await;
        let (program, cluster) = cluster.stop().await;
        assert_eq!(crate::audit::verify(&program, &[]).await, [""; 0]);
        let tables = cluster.tables().await;
        let recorded = "SELECT count(*), count(DISTINCT mac) FROM audit_records WHERE operation = 'encrypt'";
        let count = CLIENTS * 11;
        assert_eq!(tables.rows(recorded).await, [format!("{count} {count}")]);
        let edit = "UPDATE audit_records SET outcome = 'success' WHERE outcome = 'context_forbidden'";
        assert_eq!(tables.change(edit).await, CLIENTS as u64);
        let found = crate::audit::verify(&program, &[]).await;
        assert_eq!(found.len(), replicas, "{found:?}");
        assert!(found.iter().all(|one| one.contains(": edited: ")), "{found:?}");
    }

    async fn a_batch_of_n_costs_n_tokens(store) {
        let cluster = builder(store).default_limits().start(1).await;
        let app = app(&cluster).await;
        let refused = app.post_json(BATCH_ENCRYPT, &plaintexts(21)).await.expect_problem(422, "cost_exceeds_limit");
        assert!(refused.text("detail").contains("at most 20 items"), "{}", refused.text("detail"));
        assert_eq!(refused.header("retry-after"), None);
        // The refusal itself cost one.
        let reply = app.post_json(BATCH_ENCRYPT, &plaintexts(19)).await.expect(200);
        assert_eq!(reply.header("x-ratelimit-remaining"), Some("0"));
        let refused = app.post_json(BATCH_ENCRYPT, &plaintexts(5)).await.expect_problem(429, "rate_limited");
        assert!(refused.text("detail").contains("per identity"), "{}", refused.text("detail"));
        let wait: u64 = refused.header("retry-after").and_then(|wait| wait.parse().ok()).expect("seconds");
        assert!((1..=4).contains(&wait), "{wait}");
    }
}

/// It crashed requests: nothing starts with it, and the smallest limit that there is refuses and goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_of_zero_is_refused_and_crashes_nothing() {
    let limits = ["RATE_LIMIT_IP", "RATE_LIMIT_IDENTITY", "RATE_LIMIT_CONTEXT"];
    for zero in ["0:0", "0:1", "1:0"] {
        let directory = tempfile::tempdir().expect("a directory");
        let program = Program::cryptoserve().env("DATA_DIR", directory.path().join("data").to_string_lossy());
        let done = limits.iter().fold(program, |program, name| program.env(*name, zero)).run().await;
        assert_eq!(done.status.code(), Some(64), "{zero}: {}", done.stderr);
        assert!(limits.iter().all(|name| done.stderr.contains(name)), "{zero}: {}", done.stderr);
    }
    let cluster = limits.iter().fold(builder(StoreKind::Sqlite), |builder, name| builder.env(*name, "1:1"));
    let cluster = cluster.start(1).await;
    let app = app(&cluster).await;
    let body = json!({ "context": "general", "plaintext": "" });
    app.post_json(ENCRYPT, &body).await.expect(200);
    for _ in 0..5 {
        app.post_json(ENCRYPT, &body).await.expect_problem(429, "rate_limited");
    }
    // No batch fits into such a limit, and none is let through or crashes.
    app.post_json(BATCH_ENCRYPT, &plaintexts(2)).await.expect(429);
    cluster.client(0).get("/health/ready").await.expect(200);
}

/// They were off from then on, silently. `limits/trouble.rs` has the other troubles of Redis.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn losing_redis_does_not_switch_limits_off() {
    const BURST: u64 = 6;
    let cluster = builder(StoreKind::Postgres).redis().through_proxy();
    let cluster = cluster.env("RATE_LIMIT_IDENTITY", format!("{BURST}:{BURST}"));
    // Waits as long as a test machine may take; a connection that is cut is known at once.
    let cluster = cluster.env("RATE_LIMIT_REDIS_TIMEOUT", "10s").start(2).await;
    let all_say = async |what: &str, message: &str| {
        for (n, replica) in cluster.replicas().iter().enumerate() {
            let log = replica.process().stderr();
            log.find(what, |line| line.field("message").as_deref() == Some(message)).await;
            let status = if message.starts_with("Redis cannot") { "degraded" } else { "ready" };
            let client = cluster.client(n);
            eventually(what, async || {
                (client.get("/health/ready").await.json()["status"] == status).then_some(())
            })
            .await;
        }
    };
    let body = json!({ "context": "general", "plaintext": "" });
    // What both replicas together admit to one identity until each refuses, and what came back meanwhile.
    let admitted = async |name: &str| {
        let token = cluster.token(&TokenRequest::identity(name)).await;
        let (begun, mut admitted) = (Instant::now(), 0);
        for n in [0, 1] {
            let app = cluster.client(n).with_token(&token);
            loop {
                let reply = app.post_json(ENCRYPT, &body).await;
                if reply.status == 429 {
                    break;
                }
                reply.expect(200);
                admitted += 1;
                assert!(admitted <= 5 * BURST, "{name}: nothing refuses");
            }
        }
        // One in ten seconds, for each of the two, and one that was nearly there.
        (admitted, 1 + 2 * (begun.elapsed().as_secs() / 10))
    };
    all_say("shared", "limits are shared through Redis").await;
    let (with, back) = admitted("with").await;
    assert!((BURST..=BURST + back).contains(&with), "{with} of {BURST} and {back}");
    cluster.redis_proxy().cut().await;
    // Somebody has to ask for it to be missed.
    let _ = (admitted("noticing").await, all_say("the loss", "Redis cannot be used for limits").await);
    let (without, back) = admitted("without").await;
    assert!(without <= BURST + back, "{without} of {BURST} and {back}");
    cluster.redis_proxy().restore().await;
    all_say("shared again", "limits are shared through Redis again").await;
    let (again, back) = admitted("again").await;
    assert!((BURST..=BURST + back).contains(&again), "{again} of {BURST} and {back}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_token_appears_in_a_logged_path() {
    let cluster = builder(StoreKind::Sqlite).env("LOG_LEVEL", "trace").start(1).await;
    let token = cluster.token(&TokenRequest::identity("app")).await;
    let app = cluster.client(0).with_token(&token);
    for path in [
        format!("/api/v1/contexts?access_token={token}"),
        format!("/api/v1/crypto/encrypt/{token}"),
        format!("/api/v1/signatures/keys/{token}/public?token={token}"),
        format!("/api/admin/identities/{token}"),
        format!("/{token}"),
    ] {
        for client in [&app, &cluster.client(0)] {
            assert!(client.get(&path).await.status < 500, "{path}");
        }
    }
    let last = app.with_header("x-request-id", "last");
    last.get("/api/v1/contexts").await.expect(200);
    let log = cluster.replicas()[0].log();
    log.find("the last request", |line| line.field("request_id").as_deref() == Some("last")).await;
    for part in token.split('.') {
        assert!(!log.text().contains(part), "{}", log.text());
    }
}
