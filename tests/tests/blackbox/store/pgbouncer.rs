use cryptoserve_tests::{Cluster, PgBouncer, PostgresServer, TokenRequest, eventually};
use futures_util::future::join_all;
use serde_json::json;

use super::{CONTEXTS, clients, plain};
use crate::support::{DECRYPT, ENCRYPT, encrypt, sealed, unbase64};

const IDENTITIES: &str = "/api/admin/identities";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_works_through_a_transaction_pooler() {
    let server = PostgresServer::start().await;
    // Fewer than the replicas open to it, so that each transaction may get another; and no more than replicas that start,
    // so that those that wait for the migrations must not keep one.
    let bouncer = PgBouncer::start(&server, 3).await;
    // They migrate through it, all at once.
    let mut cluster = Cluster::builder().database_url(bouncer.url().as_str()).start(3).await;
    let admins = clients(&cluster, TokenRequest::admin()).await;
    let apps = clients(&cluster, TokenRequest::identity("app")).await;
    for (n, admin) in admins.iter().enumerate() {
        let name = format!("made-by-{n}");
        let context = json!({ "name": name, "algorithm": "AES-256-GCM" });
        admin.post_json(CONTEXTS, &context).await.expect(201);
        admin.put_json(&format!("{CONTEXTS}/{name}"), &json!({ "description": "changed" })).await.expect(200);
        for app in &apps {
            eventually("the context is known", async || {
                (app.post_json(ENCRYPT, &plain(&name)).await.status == 200).then_some(())
            })
            .await;
        }
        let identity = admin.post_json(IDENTITIES, &json!({ "name": name })).await.expect(201).text("id");
        admin.delete(&format!("{IDENTITIES}/{identity}")).await.expect(200);
    }
    let ciphertext = encrypt(&apps[0], "through it").await;
    for app in &apps {
        let reply = app.post_json(DECRYPT, &sealed(&ciphertext)).await.expect(200);
        assert_eq!(unbase64(&reply.text("plaintext")), b"through it");
    }
    // More at once than there are connections.
    let listings = (0..60).map(|n| admins[n % 3].get(CONTEXTS));
    for reply in join_all(listings).await {
        assert_eq!(reply.expect(200).json()["contexts"].as_array().map(Vec::len), Some(12));
    }
    admins[1].delete(&format!("{CONTEXTS}/made-by-0")).await.expect(200);
    for app in &apps {
        eventually("the context is gone", async || {
            (app.post_json(ENCRYPT, &plain("made-by-0")).await.status == 404).then_some(())
        })
        .await;
    }
    // One that starts on a schema that is there already, and everything written down.
    cluster.grow(1).await;
    let database = server.connect().await;
    eventually("all is in the audit trail", async || {
        let sql = "SELECT count(*) FROM audit_records WHERE operation = 'encrypt'";
        (database.query_one(sql, &[]).await.expect("a count").get::<_, i64>(0) >= 10).then_some(())
    })
    .await;
    for replica in cluster.replicas() {
        let log = replica.log().text();
        assert!(!log.contains(r#""level":"error""#), "{log}");
    }
}
