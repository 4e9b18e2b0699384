use cryptoserve_tests::{Authority, Finished, Program};

use super::*;

async fn refused(program: Program, variable: &str, why: &str) -> Finished {
    let program = program.env("BIND_ADDR", "127.0.0.1:0").env("METRICS_BIND_ADDR", "127.0.0.1:0");
    let done = program.run().await;
    assert_eq!(done.status.code(), Some(64), "{variable} {why}: {}", done.stderr);
    let said = done.stderr.lines().any(|line| line.contains(&format!("{variable} ")) && line.contains(why));
    assert!(said, "{variable} {why}: {}", done.stderr);
    done
}

#[tokio::test]
async fn files_that_cannot_be_used_are_named_and_end_the_start_with_64() {
    let authority = Authority::new();
    let good = authority.certificate("localhost");
    let files = Files::new(&good);
    let program = || files.program();
    let (chain, key) = (files.chain(), files.key());

    refused(program().without_env("TLS_KEY_FILE"), "TLS_KEY_FILE", "is required").await;
    refused(program().without_env("TLS_CERT_FILE"), "TLS_CERT_FILE", "is required").await;
    refused(program().env("TLS_CERT_FILE", "/nowhere"), "TLS_CERT_FILE", "can read").await;
    refused(program().env("TLS_KEY_FILE", "/nowhere"), "TLS_KEY_FILE", "can read").await;
    let directory = files.dir.path().to_string_lossy();
    refused(program().env("TLS_CLIENT_CA_FILE", directory), "TLS_CLIENT_CA_FILE", "regular file").await;
    refused(program().env("TLS_CLIENT_CA_FILE", key.to_string_lossy()), "TLS_CLIENT_CA_FILE", "PEM").await;

    write(&chain, "canary");
    let done = refused(program(), "TLS_CERT_FILE", "in PEM").await;
    assert!(!done.stderr.contains("canary"));
    write(&chain, "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n");
    refused(program(), "TLS_CERT_FILE", "in PEM").await;
    write(&chain, &authority.expired("localhost").chain);
    refused(program(), "TLS_CERT_FILE", "expired at 2025-01-01T00:00:00.000Z").await;
    write(&chain, &good.chain);

    write(&key, "canary");
    refused(program(), "TLS_KEY_FILE", "private key").await;
    write(&key, &authority.certificate("localhost").key);
    refused(program(), "TLS_KEY_FILE", "of the certificate in TLS_CERT_FILE").await;
    write(&key, &good.key);
    fs::set_permissions(&key, fs::Permissions::from_mode(0o660)).expect("ours");
    refused(program(), "TLS_KEY_FILE", "only its owner can write").await;
    assert!(!files.dir.path().join("data").exists(), "nothing was begun");
}
