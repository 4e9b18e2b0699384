use cryptoserve_tests::{Authority, Cluster, Finished, PostgresServer, Secrets, TokenRequest};
use url::Url;

use super::clients;
use crate::support::encrypt;

fn with(server: &PostgresServer, host: &str, parameters: &str) -> Url {
    let mut url = server.url();
    url.set_host(Some(host)).expect("a host");
    url.set_query(Some(parameters));
    url
}

/// `cryptoserve migrate` over `url`.
async fn migrate(url: &Url) -> Finished {
    let Secrets { master_key, jwt_secret_key, hkdf_salt } = Secrets::generate();
    let program = cryptoserve_tests::Program::cryptoserve()
        .env("CRYPTOSERVE_MASTER_KEY", master_key)
        .env("JWT_SECRET_KEY", jwt_secret_key)
        .env("HKDF_SALT", hkdf_salt)
        .env("DATABASE_URL", url.as_str());
    program.arg("migrate").run().await
}

/// The connection is not made, and the message says `words`, and nothing secret.
async fn refused(server: &PostgresServer, url: &Url, words: &[&str]) {
    let done = migrate(url).await;
    assert_eq!(done.status.code(), Some(1), "{}", done.stderr);
    for word in words {
        assert!(done.stderr.contains(word), "{word:?} in {}", done.stderr);
    }
    assert!(!done.stderr.contains(server.password()), "{}", done.stderr);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn as_much_is_checked_as_was_asked_for() {
    let (authority, other) = (Authority::new(), Authority::new());
    let certificate = authority.certificate("localhost");
    let server = PostgresServer::builder().certificate(certificate).start().await;
    let known = format!("sslrootcert={}", authority.path().display());
    let unknown = format!("sslrootcert={}", other.path().display());

    let full = with(&server, "localhost", &format!("sslmode=verify-full&{known}"));
    let cluster = Cluster::builder().database_url(full).start(1).await;
    encrypt(&clients(&cluster, TokenRequest::identity("app")).await[0], "x").await;
    let encrypted = "SELECT count(*), count(*) FILTER (WHERE s.ssl) FROM pg_stat_activity a \
                     JOIN pg_stat_ssl s USING (pid) WHERE a.usename = 'cryptoserve'";
    let row = server.connect().await.query_one(encrypted, &[]).await.expect("counts");
    let (all, encrypted): (i64, i64) = (row.get(0), row.get(1));
    assert!(all >= 2 && encrypted == all, "{encrypted} of {all}");
    let (program, _cluster) = cluster.stop().await;
    for (host, mode) in [
        ("127.0.0.1", "sslmode=require".to_owned()),
        ("127.0.0.1", format!("sslmode=verify-ca&{known}")),
        ("127.0.0.1", format!("sslmode=require&{known}")),
        ("127.0.0.1", "sslmode=prefer".to_owned()),
        ("127.0.0.1", "sslmode=disable".to_owned()),
    ] {
        let url = with(&server, host, &mode);
        let done = program.clone().env("DATABASE_URL", url.as_str()).arg("migrate").run().await;
        assert!(done.status.success(), "{mode}: {}", done.stderr);
    }

    for mode in ["verify-ca", "verify-full", "require"] {
        let url = with(&server, "localhost", &format!("sslmode={mode}&{unknown}"));
        refused(&server, &url, &["certificate", "sslrootcert"]).await;
    }
    let url = with(&server, "127.0.0.1", &format!("sslmode=verify-full&{known}"));
    refused(&server, &url, &["certificate", "localhost", "127.0.0.1", "DATABASE_URL"]).await;
    let url = with(&server, "localhost", "sslmode=verify-full");
    refused(&server, &url, &["certificate", "sslrootcert"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_tls_is_refused_where_tls_was_asked_for() {
    let server = PostgresServer::start().await;
    let url = with(&server, "localhost", "sslmode=require");
    refused(&server, &url, &["TLS", "sslmode"]).await;
    let done = migrate(&with(&server, "localhost", "sslmode=prefer")).await;
    assert!(done.status.success(), "{}", done.stderr);
}
