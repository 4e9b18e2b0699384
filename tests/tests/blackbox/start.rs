use std::collections::BTreeSet;

use cryptoserve_tests::{Cluster, Program, Replica, Secrets, StoreKind, TokenRequest};
use futures_util::future::join_all;

use crate::support::{DECRYPT, app, encrypt, one, sealed, unbase64};

/// `EX_USAGE`: the configuration must be changed.
const CONFIGURATION: Option<i32> = Some(64);

/// A server that starts without being told anything but where to put its data, and a port.
fn plain(directory: &std::path::Path) -> Program {
    Program::cryptoserve()
        .env("DATA_DIR", directory.join("data").to_string_lossy())
        .env("BIND_ADDR", "127.0.0.1:0")
        .env("METRICS_BIND_ADDR", "127.0.0.1:0")
        .env("LOG_FORMAT", "json")
}

#[tokio::test]
async fn the_embedded_default_needs_no_variables_and_keeps_its_secrets_to_itself() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().expect("a directory");
    let program = plain(directory.path());
    let mut replica = Replica::start(&program).await;
    let token = TokenRequest::identity("app").make(&program).await;
    let client = replica.client().with_token(&token);
    let ciphertext = encrypt(&client, "kept").await;

    let data = directory.path().join("data");
    let mode =
        |path: &std::path::Path| std::fs::metadata(path).expect("it exists").permissions().mode() & 0o777;
    assert_eq!(mode(&data), 0o700);
    let mut files = 0;
    for entry in std::fs::read_dir(&data).expect("a directory") {
        let path = entry.expect("an entry").path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
        files += 1;
    }
    assert!(files >= 2, "secrets and database");

    // A second server on the same data is refused; after a restart the first finds its data and its tokens.
    let second = program.run().await;
    assert_eq!(second.status.code(), CONFIGURATION, "{}", second.stderr);
    assert!(second.stderr.contains("another server process"), "{}", second.stderr);
    replica.process().terminate();
    assert!(replica.ended().await.success());
    let replica = Replica::start(&program).await;
    let client = replica.client().with_token(&token);
    let reply = client.post_json(DECRYPT, &sealed(ciphertext)).await.expect(200);
    assert_eq!(unbase64(&reply.text("plaintext")), b"kept");

    // Nothing secret in any line of the log.
    let secrets = std::fs::read_to_string(data.join("secrets.env")).expect("secrets");
    for value in secrets.lines().filter_map(|line| line.split_once('=')).map(|(_, value)| value) {
        assert!(!replica.log().text().contains(value));
    }
    assert!(!replica.log().text().contains(&token));
}

#[tokio::test]
async fn every_mistake_is_reported_at_once_with_exit_code_64_and_no_value() {
    let program = Program::cryptoserve()
        .env("DATABASE_URL", "postgres://user:CANARY@localhost/db?sslmode=CANARY")
        .env("CRYPTOSERVE_MASTER_KEY", "CANARY")
        .env("JWT_SECRET_KEY", "CANARY")
        .env("DB_POOL_SIZE", "CANARY")
        .env("RATE_LIMIT_IP", "CANARY:1")
        .env("LOG_LEVEL", "CANARY");
    let done = program.run().await;
    assert_eq!(done.status.code(), CONFIGURATION, "{}", done.stderr);
    for name in [
        "DATABASE_URL",
        "CRYPTOSERVE_MASTER_KEY",
        "JWT_SECRET_KEY",
        "HKDF_SALT",
        "DB_POOL_SIZE",
        "RATE_LIMIT_IP",
        "LOG_LEVEL",
    ] {
        assert!(done.stderr.contains(name), "{name} in {}", done.stderr);
    }
    assert!(!done.stderr.contains("CANARY") && done.stdout.is_empty(), "{}", done.stderr);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_with_another_master_key_or_salt_refuses_to_start_and_says_which_it_lacks() {
    let cluster = one(StoreKind::Postgres).await;
    let log = cluster.replicas()[0].log().message("listening").await;
    let fingerprint = log.field("master_key_fingerprint").expect("a fingerprint");
    let other = Secrets::generate();
    for program in [
        cluster.program().env("CRYPTOSERVE_MASTER_KEY", other.master_key.clone()),
        cluster.program().env("HKDF_SALT", other.hkdf_salt.clone()),
    ] {
        for command in ["serve", "token", "migrate"] {
            let done = program.clone().env("BIND_ADDR", "127.0.0.1:0").arg(command).run().await;
            assert_eq!(done.status.code(), CONFIGURATION, "{command}: {}", done.stderr);
            assert!(done.stderr.contains(&fingerprint), "{command}: {}", done.stderr);
            assert!(!done.stderr.contains(&other.master_key) && !done.stderr.contains(&other.hkdf_salt));
        }
    }
    // With the other one as an additional key it starts.
    let program = cluster
        .program()
        .env("CRYPTOSERVE_MASTER_KEY", other.master_key)
        .env("CRYPTOSERVE_MASTER_KEY_PREVIOUS", cluster.secrets().master_key.clone());
    let replica = Replica::start(&program).await;
    let ciphertext = encrypt(&app(&cluster).await, "x").await;
    let token = cluster.token(&TokenRequest::identity("app")).await;
    replica.client().with_token(&token).post_json(DECRYPT, &sealed(ciphertext)).await.expect(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_that_start_together_on_an_empty_database_agree_on_one_deployment() {
    let cluster = Cluster::builder().store(StoreKind::Postgres).start(6).await;
    let names: BTreeSet<String> = {
        let token = cluster.token(&TokenRequest::identity("app")).await;
        let listed = cluster.client(3).with_token(&token).get("/api/v1/contexts").await.expect(200).json();
        listed["contexts"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|c| c["name"].as_str().map(str::to_owned))
            .collect()
    };
    let expected = [
        "general",
        "user-pii",
        "payment-data",
        "health-data",
        "session-tokens",
        "api-secrets",
        "business-documents",
        "internal-logs",
        "backup-data",
    ];
    assert_eq!(names, expected.map(str::to_owned).into_iter().collect());
    let database = cluster.database().connect().await;
    // With the system tenant, its context and the two keys of the audit trail.
    for (table, count) in
        [("tenants", 2), ("contexts", 10), ("key_versions", 11), ("wrapped_keys", 11), ("keks", 1)]
    {
        let row = database.query_one(&format!("SELECT count(*) FROM {table}"), &[]).await.expect("a count");
        assert_eq!(row.get::<_, i64>(0), count, "{table}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_that_start_together_on_an_empty_directory_agree_on_one_deployment() {
    let directory = tempfile::tempdir().expect("a directory");
    let program = plain(directory.path());
    let tokens = join_all((0..6).map(|_| async { TokenRequest::identity("app").make(&program).await })).await;
    let replica = Replica::start(&program).await;
    for token in tokens {
        encrypt(&replica.client().with_token(&token), "x").await;
    }
}
