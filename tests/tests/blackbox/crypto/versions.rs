//! Decryption with one version of very many.

use std::env;

use cryptoserve_tests::{Cluster, PostgresServer};
use serde_json::json;

use crate::support::{DECRYPT, admin, app, encrypt, sealed};

/// What a replica's requests have asked the database for.
async fn asked(server: &PostgresServer) -> Vec<String> {
    let statements = server.statements("cryptoserve/pool").await;
    statements.into_iter().filter(|statement| statement.contains("key_versions")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_of_many_costs_one_query_cold_and_none_warm() {
    let versions: usize = if env::var_os("CRYPTOSERVE_TEST_FULL").is_some() { 10_000 } else { 200 };
    let server = PostgresServer::start().await;
    let mut cluster = Cluster::builder().database_url(server.url()).start(1).await;
    let (admin, app) = (admin(&cluster).await, app(&cluster).await);
    let mut ciphertexts = Vec::new();
    for version in 1..=versions {
        // The one that encrypts is loaded by a start already.
        if [1, versions / 2, versions - 1].contains(&version) {
            ciphertexts.push(encrypt(&app, "x").await);
        }
        if version < versions {
            admin.post_json("/api/admin/contexts/user-pii/rotate-key", &json!({})).await.expect(200);
        }
    }
    let replica = cluster.replica_mut(0);
    replica.process().terminate();
    replica.ended().await;
    replica.start_again().await;
    for ciphertext in &ciphertexts {
        let before = asked(&server).await.len();
        for _ in 0..20 {
            app.post_json(DECRYPT, &sealed(ciphertext)).await.expect(200);
        }
        let after = asked(&server).await;
        assert_eq!(after.len(), before + 1, "{:?}", &after[before..]);
    }
}
