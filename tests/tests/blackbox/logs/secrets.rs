//! Nothing secret is told, whatever is asked and however it ends.

mod canary;

use cryptoserve_core::api::ROUTES;
use cryptoserve_tests::{Client, Cluster, Reply, StoreKind, TokenRequest};
use serde_json::{Value, json};

use crate::metrics::{prometheus, scrape};
use crate::support::{DECRYPT, ENCRYPT, admin, base64, builder, operator, sealed, unbase64};
use canary::Canary;

const REFRESH: &str = "/api/v1/auth/refresh";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_secret_reaches_a_log_line_or_the_audit_trail_at_any_level() {
    let mut cluster = builder(StoreKind::Postgres).env("LOG_LEVEL", "trace").start(1).await;
    let token = cluster.token(&TokenRequest::identity("app")).await;
    let admin = admin(&cluster).await;
    let app = cluster.client(0).with_token(&token);
    let (plaintext, in_plaintext) = Canary::fresh("a plaintext");
    let (associated, in_associated) = Canary::fresh("associated data");
    let (sent, in_garbage) = Canary::fresh("what a client sent in a wrong place");

    let good = json!({ "context": "user-pii", "plaintext": base64(&plaintext), "associated_data": base64(&associated) });
    let ciphertext = unbase64(&app.post_json(ENCRYPT, &good).await.expect(200).text("ciphertext"));
    let mut to_open = sealed(&ciphertext);
    to_open["associated_data"] = base64(&associated).into();
    app.post_json(DECRYPT, &to_open).await.expect(200);
    let batch = json!({ "context": "user-pii", "items": [
        { "id": sent, "plaintext": base64(&plaintext) }, { "id": "2", "plaintext": sent },
    ] });
    app.post_json("/v1/crypto/batch/encrypt", &batch).await.expect(200);
    let streaming = app.clone().with_header("x-associated-data", &base64(&associated));
    let path = "/v1/crypto/encrypt/stream?context=user-pii";
    let stream = streaming.post_bytes(path, plaintext.clone()).await.expect(200).body;
    streaming.post_bytes("/v1/crypto/decrypt/stream", stream.clone()).await.expect(200);

    let (mac_key, in_mac_key) = Canary::fresh("a caller's MAC key");
    let mac = json!({ "data": base64(&plaintext), "key": base64(&mac_key), "expected_tag": "00" });
    let keyed = json!({ "data": base64(&plaintext), "key": base64(&mac_key) });
    let tag = app.post_json("/v1/crypto/mac", &keyed).await.expect(200).text("hex");
    app.post_json("/v1/crypto/mac/verify", &mac).await.expect(200);
    app.post_json("/v1/crypto/hash", &json!({ "data": base64(&plaintext) })).await.expect(200);
    app.post_json("/v1/crypto/rewrap", &to_open).await.expect(200);
    streaming.post_bytes("/v1/crypto/rewrap/stream", stream.clone()).await.expect(200);
    let issued_by_others = everything_else(&cluster, &admin, &app, &ciphertext, &plaintext).await;
    let data_key = app.post_json("/v1/crypto/datakey", &json!({ "context": "general", "bits": 256 })).await;
    let random = app.post_json("/v1/crypto/random", &json!({ "bytes": 32 })).await.expect(200);
    let generated = app.post_json("/v1/crypto/mac/generate-key", &json!({})).await.expect(200);

    // And now everything wrong.
    let issued = issued_tokens(&admin).await;
    let refreshing = |token: &str| json!({ "refresh_token": token, "rotate": true });
    let refreshed = app.post_json(REFRESH, &refreshing(&issued.text("refresh_token"))).await.expect(200);
    for token in [&sent, &format!("csrt_{sent}"), &issued.text("refresh_token")[..60].to_owned()] {
        app.post_json(REFRESH, &refreshing(token)).await.expect(401);
        app.post_json("/v1/auth/revoke", &json!({ "token": token, "token_type_hint": sent }))
            .await
            .expect(200);
    }
    app.post_json("/v1/auth/revoke", &json!({ "token": refreshed.text("access_token") })).await.expect(200);
    let mut altered = ciphertext.clone();
    altered[60] ^= 1;
    to_open["ciphertext"] = base64(&altered).into();
    app.post_json(DECRYPT, &to_open).await.expect_problem(400, "authentication_failed");
    app.post_json("/v1/crypto/rewrap", &to_open).await.expect_problem(400, "authentication_failed");
    app.post_bytes("/v1/crypto/decrypt/stream", stream.clone()).await.expect(400);
    app.post_bytes("/v1/crypto/rewrap/stream", stream).await.expect(400);
    for (field, value) in
        [("key", format!("{mac_key}*")), ("algorithm", sent.clone()), ("expected_tag", sent.clone())]
    {
        let mut wrong = mac.clone();
        wrong[field] = value.into();
        assert!(app.post_json("/v1/crypto/mac/verify", &wrong).await.status >= 400);
        app.post_json("/v1/crypto/mac", &wrong).await.expect(400);
    }
    for body in [
        plaintext.clone(),
        format!(r#"{{"{sent}":1}}"#),
        format!(r#"{{"context":"{}","plaintext":"{sent}"}}"#, sent.to_uppercase()),
        format!(r#"{{"context":"general","plaintext":"{sent}*"}}"#),
        format!(r#"{{"context":"general","plaintext":"","associated_data":"{sent}*"}}"#),
        format!(r#"{{"context":"general","plaintext":"","algorithm_override":"{sent}"}}"#),
        format!(r#"{{"context":["{sent}"]}}"#),
    ] {
        for path in [
            ENCRYPT,
            DECRYPT,
            "/v1/crypto/batch/encrypt",
            "/v1/crypto/batch/decrypt",
            "/v1/crypto/batch/rewrap",
            "/v1/crypto/rewrap",
            "/v1/crypto/datakey",
            "/v1/crypto/hash",
            "/v1/crypto/hash/verify",
            "/v1/crypto/mac",
            "/v1/crypto/mac/verify",
            "/v1/crypto/mac/generate-key",
            "/v1/crypto/random",
        ] {
            assert!(app.post_bytes(path, body.clone()).await.status >= 400);
        }
        admin.post_bytes("/api/admin/contexts", body.clone()).await.expect(400);
        admin.post_bytes("/api/admin/identities", body).await.expect(400);
    }
    for path in [
        format!("/{sent}?{sent}"),
        format!("/v1/crypto/encrypt/{token}"),
        format!("/v1/contexts?token={token}&{sent}"),
        format!("/api/admin/contexts?after={}", sent.to_uppercase()),
        format!("/api/admin/contexts/{}", sent.to_uppercase()),
        format!("/api/admin/identities/{token}"),
    ] {
        app.get(&path).await;
        admin.get(&path).await;
    }
    for scheme in [
        format!("Bearer {token}x"),
        format!("Basic {}", base64(&sent)),
        sent.clone(),
        format!("Bearer {sent}"),
    ] {
        let stranger = cluster
            .client(0)
            .with_header("authorization", &scheme)
            .with_header("x-request-id", &format!("{sent}/"));
        assert!(stranger.post_json(ENCRYPT, &good).await.status >= 400);
    }
    let cookie = app
        .clone()
        .with_header("cookie", &format!("access_token={sent}"))
        .with_header("x-associated-data", &sent);
    cookie.post_bytes(path, "x").await;

    every_route_with_garbage(&cluster, &[&admin, &app, &operator(&cluster).await], &sent).await;
    let (of_commands, issued_by_commands) = commands(&cluster, &token, &plaintext).await;
    let shown = scrape(&prometheus(&cluster).await).await;
    for route in ROUTES {
        let labels = format!(r#"route="{}",method="{}""#, route.path, route.method);
        assert!(shown.contains(&labels), "nothing was asked of {labels}");
    }

    cluster.replicas()[0].process().terminate();
    assert!(cluster.replica_mut(0).ended().await.success());
    let log = cluster.replicas()[0].log().text();
    assert!(log.lines().count() > 50 && log.contains("request refused"), "the log was kept");
    let database = cluster.database().connect().await;
    let rows = database
        .query("SELECT row_to_json(audit_records)::text FROM audit_records", &[])
        .await
        .expect("the audit trail");
    let audit: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    assert!(audit.len() > 30, "{} records", audit.len());

    let secrets = cluster.secrets();
    let mut canaries = vec![in_plaintext, in_associated, in_garbage, in_mac_key];
    canaries.push(Canary::new("what a client sent in a path", sent.to_uppercase()));
    for token in issued_by_others.iter().chain(&issued_by_commands) {
        canaries.extend(token.split('.').map(|part| Canary::new("a part of a token", part)));
    }
    canaries.push(Canary::new("a tag", hex::decode(tag).expect("hex")));
    canaries.push(Canary::new("a data key", unbase64(&data_key.expect(200).text("plaintext"))));
    canaries.push(Canary::new("random bytes", unbase64(&random.text("random_bytes"))));
    canaries.push(Canary::new("a generated key", unbase64(&generated.text("key"))));
    canaries.push(Canary::new("a ciphertext", &ciphertext[44..]));
    for key in [&secrets.master_key, &secrets.jwt_secret_key, &secrets.hkdf_salt] {
        canaries.push(Canary::new("a secret as it was configured", key));
        canaries.push(Canary::new("a secret's bytes", hex::decode(key).expect("hex")));
    }
    for token in [&token, &issued.text("access_token"), &refreshed.text("access_token")] {
        canaries.extend(token.split('.').map(|part| Canary::new("a part of a token", part)));
    }
    let sql = "SELECT row_to_json(t)::text FROM refresh_tokens t UNION ALL SELECT row_to_json(f)::text FROM refresh_families f";
    let kept: Vec<String> =
        database.query(sql, &[]).await.expect("rows").iter().map(|row| row.get(0)).collect();
    assert_eq!(kept.len(), 7, "a token and its successor, two others, and three families");
    for reply in [&issued, &refreshed] {
        let token = reply.text("refresh_token");
        let bytes = base64_simd::URL_SAFE_NO_PAD.decode_to_vec(&token["csrt_".len()..]).expect("base64url");
        // Behind the id of the tenant, which is no secret.
        for canary in
            [Canary::new("a refresh token", &token), Canary::new("a refresh token's secret", &bytes[16..])]
        {
            canary.absent_from("store", &kept.join("\n"));
            canaries.push(canary);
        }
    }
    for canary in &canaries {
        canary.absent_from("log", &log);
        canary.absent_from("output of commands for people", &of_commands);
        canary.absent_from("metrics", &shown);
        canary.absent_from("audit trail", &audit.join("\n"));
    }
    assert!(!log.contains(cluster.database().url().as_str()), "the database's address is in the log");
}

async fn issued_tokens(admin: &Client) -> Reply {
    let made = admin.post_json("/api/admin/identities", &json!({ "name": "other" })).await.expect(201);
    let path = format!("/api/admin/identities/{}/tokens", made.text("id"));
    admin.post_json(&path, &json!({ "refresh": true })).await.expect(200)
}

/// What else there is to ask, with nothing wrong in it; the tokens that came of it.
async fn everything_else(
    cluster: &Cluster,
    admin: &Client,
    app: &Client,
    ciphertext: &[u8],
    plaintext: &str,
) -> Vec<String> {
    let item = |field: &str, value: String| json!([{ "id": "1", field: value }]);
    let batch = json!({ "context": "user-pii", "items": item("ciphertext", base64(ciphertext)) });
    for path in ["/v1/crypto/batch/decrypt", "/v1/crypto/batch/rewrap"] {
        app.post_json(path, &batch).await.expect(200);
    }
    let digest = app.post_json("/v1/crypto/hash", &json!({ "data": base64(plaintext) })).await.text("hex");
    let verify = json!({ "data": base64(plaintext), "expected_digest": digest });
    app.post_json("/v1/crypto/hash/verify", &verify).await;
    let of_context = json!({ "data": base64(plaintext), "context": "user-pii" });
    app.post_json("/v1/crypto/mac", &of_context).await.expect(200);
    let generate = json!({ "algorithm": "Ed25519", "context": "user-pii" });
    let key = app.post_json("/v1/signatures/keys/generate", &generate).await.expect(200).text("key_id");
    let sign = json!({ "message": base64(plaintext), "key_id": key });
    let signature = app.post_json("/v1/signatures/sign", &sign).await.expect(200).text("signature");
    let verify = json!({ "message": base64(plaintext), "key_id": key, "signature": signature });
    app.post_json("/v1/signatures/verify", &verify).await.expect(200);
    app.get(&format!("/v1/signatures/keys/{key}/public")).await.expect(200);
    let register =
        json!({ "app_name": "shop", "team": "t", "environment": "test", "contexts": ["user-pii"] });
    let registered = admin.post_json("/v1/applications/sdk/register", &register).await.expect(200);
    let tenant = operator(cluster).await.post_json("/api/admin/tenants", &json!({ "name": "acme" })).await;
    vec![
        registered.text("access_token"),
        registered.text("refresh_token"),
        tenant.expect(201).text("access_token"),
    ]
}

/// Sends `sent` wherever each route takes something, as every caller.
async fn every_route_with_garbage(cluster: &Cluster, callers: &[&Client], sent: &str) {
    // In capitals, as a name in its right form is told, and must be.
    let name = sent.to_uppercase();
    let cut = |part: &str| if part.starts_with('{') { name.clone() } else { part.to_owned() };
    let stranger = cluster.client(0);
    for route in ROUTES {
        let path: Vec<String> = route.path.split('/').map(cut).collect();
        let path = format!("{}?{sent}={sent}&context={name}", path.join("/"));
        for caller in callers.iter().copied().chain([&stranger]) {
            for body in [sent.to_owned(), json!({ "context": name, "token": sent, sent: sent }).to_string()] {
                let request =
                    caller.request(route.method.clone(), &path).header("content-type", "application/json");
                let request = request.body(body).expect("a request");
                // What is refused early may be so by a connection that is closed.
                let _ = caller.try_send(request).await;
            }
        }
    }
}

/// What commands beside the server tell people, and the tokens that they print for programs.
async fn commands(cluster: &Cluster, token: &str, plaintext: &str) -> (String, Vec<String>) {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("plain");
    std::fs::write(&file, plaintext).expect("a writable directory");
    let program = cluster.program().env("PLAIN", file.to_string_lossy());
    let server = format!("http://{}", cluster.replicas()[0].address());
    let transfer = program.clone().env("CRYPTOSERVE_SERVER", server).env("CRYPTOSERVE_TOKEN", token);
    let script = "cryptoserve encrypt --context user-pii \"$PLAIN\"; cryptoserve decrypt -o \"$PLAIN.2\" \"$PLAIN.cs\"; \
                  cryptoserve decrypt -o \"$PLAIN.3\" \"$PLAIN\" || cmp \"$PLAIN\" \"$PLAIN.2\"";
    let transferred = transfer.shell(script).run().await;
    assert!(transferred.status.success(), "{}", transferred.stderr);
    let script = "cryptoserve migrate >&2; cryptoserve rewrap-keys >&2; cryptoserve doctor --after-restore --dry-run >&2 || true; \
                  cryptoserve token --identity busy --refresh; cryptoserve token --identity busy";
    let others = program.shell(script).run().await;
    assert!(others.status.success(), "{}", others.stderr);
    let tokens = others.stdout.lines().flat_map(|line| {
        // With --refresh it is a document that holds both.
        match serde_json::from_str::<Value>(line) {
            Ok(Value::Object(fields)) => {
                fields.values().filter_map(Value::as_str).map(str::to_owned).collect()
            }
            _ => vec![line.to_owned()],
        }
    });
    let tokens: Vec<String> = tokens.filter(|text| text.len() > 60).collect();
    assert!(tokens.len() >= 2, "{}", others.stdout);
    (transferred.stdout + &transferred.stderr + &others.stderr, tokens)
}
