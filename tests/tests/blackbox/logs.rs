use cryptoserve_tests::{Client, Cluster, LogLine, Reply, StoreKind, TokenRequest};
use serde_json::{Value, json};

use crate::support::{DECRYPT, ENCRYPT, admin, app, base64, builder, encrypt, one, sealed, unbase64};

const REFRESH: &str = "/api/v1/auth/refresh";

async fn line(cluster: &Cluster, request_id: &str) -> Value {
    let wanted = |line: &LogLine| line.field("request_id").as_deref() == Some(request_id);
    cluster.replicas()[0].log().find(request_id, wanted).await.json()
}

#[tokio::test]
async fn a_requests_line_says_what_was_asked_of_whom_and_never_the_path() {
    let cluster = one(StoreKind::Sqlite).await;
    let (admin, app) = (admin(&cluster).await, app(&cluster).await);
    let with_id = |client: &Client, id: &str| client.clone().with_header("x-request-id", id);
    let body = json!({ "context": "user-pii", "plaintext": "" });
    with_id(&app, "good").post_json("/v1/crypto/encrypt?secret=1", &body).await.expect(200);
    let entry = line(&cluster, "good").await;
    for (field, expected) in [
        ("level", json!("info")),
        ("instance_id", json!("replica-0")),
        ("method", json!("POST")),
        ("route", json!("/api/v1/crypto/encrypt")),
        ("status", json!(200)),
        ("context", json!("user-pii")),
    ] {
        assert_eq!(entry[field], expected, "{field} in {entry}");
    }
    assert!(
        entry["message"].is_string() && entry["identity_id"].as_str().is_some_and(|id| id.len() == 36),
        "{entry}"
    );
    assert!(entry["latency_ms"].as_f64().is_some_and(|latency| latency > 0.0), "{entry}");

    with_id(&admin, "parameter").get("/api/admin/contexts/general").await.expect(200);
    assert_eq!(line(&cluster, "parameter").await["route"], "/api/admin/contexts/{name}");
    with_id(&app, "refused").post_json(DECRYPT, &sealed("x")).await.expect(400);
    let entry = line(&cluster, "refused").await;
    assert_eq!((&entry["status"], &entry["code"]), (&json!(400), &json!("invalid_ciphertext")), "{entry}");
    with_id(&app, "unknown").get("/secret?secret").await.expect(404);
    let entry = line(&cluster, "unknown").await;
    assert_eq!((&entry["status"], &entry["route"]), (&json!(404), &json!("none")), "{entry}");

    let lines = cluster.replicas()[0].log().lines();
    for line in lines {
        let entry = line.json();
        assert!(!line.0.contains("secret="), "{entry}");
        let time = entry["timestamp"].as_str().unwrap_or_else(|| panic!("no time in {}", line.0));
        assert!(time.len() == "2026-11-01T12:00:00.123Z".len() && time.ends_with('Z'), "{time}");
        for field in ["level", "message", "instance_id"] {
            assert!(entry[field].is_string(), "{field} in {entry}");
        }
        assert!(
            ["debug", "info", "warn", "error"].contains(&entry["level"].as_str().unwrap_or_default()),
            "{entry}"
        );
    }
}

#[tokio::test]
async fn levels_and_samples_leave_out_what_they_should_and_never_an_error() {
    let cluster = builder(StoreKind::Sqlite).env("LOG_SAMPLE", "0").start(1).await;
    let app = app(&cluster).await;
    for _ in 0..5 {
        encrypt(&app, "x").await;
    }
    app.clone().with_header("x-request-id", "failed").post_bytes(ENCRYPT, "nonsense").await.expect(400);
    line(&cluster, "failed").await;
    assert!(!cluster.replicas()[0].log().text().contains("request completed"));
}

/// Something secret, in all the forms in which it could show.
struct Canary {
    what: &'static str,
    forms: Vec<String>,
}

impl Canary {
    fn new(what: &'static str, bytes: impl AsRef<[u8]>) -> Self {
        let bytes = bytes.as_ref();
        let hex = hex::encode(bytes);
        let mut forms = vec![hex.to_uppercase(), hex];
        forms.extend(std::str::from_utf8(bytes).map(str::to_owned));
        // What comes before it decides how its base64 is aligned; the letters that mix with neighbours are cut off.
        for before in 0..3 {
            let padded = [&vec![0; before], bytes].concat();
            let whole = base64_simd::STANDARD_NO_PAD.encode_to_string(padded);
            let inner = whole[[0, 2, 3][before]..whole.len() - 1].to_owned();
            forms.extend([inner.replace('+', "-").replace('/', "_"), inner]);
        }
        Self { what, forms }
    }

    /// A fresh random one of 16 bytes, as text.
    fn fresh(what: &'static str) -> (String, Self) {
        let mut random = [0; 16];
        aws_lc_rs::rand::fill(&mut random).expect("the system's random numbers");
        let text = format!("canary{}", hex::encode(random));
        let canary = Self::new(what, &text);
        (text, canary)
    }

    fn absent_from(&self, place: &str, text: &str) {
        for form in &self.forms {
            assert!(form.len() >= 12, "{form} is too short to mean anything");
            if let Some(at) = text.find(form.as_str()) {
                let line = text[..at].lines().count();
                panic!("{} is in the {place}, as {form}, in line {line}", self.what);
            }
        }
    }
}

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

    cluster.replicas()[0].process().terminate();
    assert!(cluster.replica_mut(0).ended().await.success());
    let log = cluster.replicas()[0].log().text();
    assert!(log.lines().count() > 50 && log.contains("request refused"), "the log was kept");
    let database = cluster.database().connect().await;
    let rows =
        database.query("SELECT row_to_json(audit)::text FROM audit", &[]).await.expect("the audit trail");
    let audit: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    assert!(audit.len() > 30, "{} records", audit.len());

    let secrets = cluster.secrets();
    let mut canaries = vec![in_plaintext, in_associated, in_garbage, in_mac_key];
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
    assert_eq!(kept.len(), 3, "a token, its successor, and their family");
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
        canary.absent_from("audit trail", &audit.join("\n"));
    }
    assert!(!log.contains(cluster.database().url().as_str()), "the database's address is in the log");
}

async fn issued_tokens(admin: &Client) -> Reply {
    let made = admin.post_json("/api/admin/identities", &json!({ "name": "other" })).await.expect(201);
    let path = format!("/api/admin/identities/{}/tokens", made.text("id"));
    admin.post_json(&path, &json!({ "refresh": true })).await.expect(200)
}
