//! What holds between replicas on one PostgreSQL.

use std::time::Instant;

use cryptoserve_tests::{Client, Cluster, StoreKind, TokenRequest, eventually};
use serde_json::{Value, json};

use crate::support::{COHERENCE, DECRYPT, ENCRYPT, base64, builder, encrypt, sealed, unbase64};

async fn clients(cluster: &Cluster, token: &str) -> Vec<Client> {
    (0..cluster.replicas().len()).map(|n| cluster.client(n).with_token(token)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_replica_decrypts_what_another_encrypted() {
    let cluster = builder(StoreKind::Postgres).start(3).await;
    let token = cluster.token(&TokenRequest::identity("app")).await;
    let clients = clients(&cluster, &token).await;
    for (n, client) in clients.iter().enumerate() {
        let ciphertext = encrypt(client, format!("from {n}")).await;
        for other in &clients {
            let reply = other.post_json(DECRYPT, &sealed(&ciphertext)).await.expect(200);
            assert_eq!(unbase64(&reply.text("plaintext")), format!("from {n}").as_bytes());
        }
    }
}

/// What a change made on the first replica is seen by.
struct Coherence<'a> {
    admin: &'a Client,
    apps: &'a [Client],
}

impl Coherence<'_> {
    /// Makes the change `what` by sending `body` to `path`, or by deleting it, and measures until each replica answers
    /// `request` with `status`.
    async fn holds(&self, what: &str, path: &str, body: Option<Value>, request: &Value, status: u16) {
        // Warm everywhere.
        for app in self.apps {
            assert_ne!(app.post_json(ENCRYPT, request).await.status, status, "{what}");
        }
        match body {
            Some(body) => self.admin.put_json(path, &body).await.expect(200),
            None => self.admin.delete(path).await.expect(200),
        };
        let changed = Instant::now();
        for (n, app) in self.apps.iter().enumerate() {
            if n == 0 {
                assert_eq!(
                    app.post_json(ENCRYPT, request).await.status,
                    status,
                    "{what}: at once where it was made"
                );
            }
            eventually(what, async || (app.post_json(ENCRYPT, request).await.status == status).then_some(()))
                .await;
        }
        let took = changed.elapsed();
        assert!(took < COHERENCE, "{what}: {took:?}");
        #[expect(clippy::print_stdout, reason = "the figures are what one runs this for")]
        {
            println!("{what} holds on {} replicas after {took:?}", self.apps.len());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_on_one_replica_holds_on_all_soon_after() {
    let cluster = builder(StoreKind::Postgres).start(3).await;
    let admin = &cluster.client(0).with_token(&cluster.token(&TokenRequest::admin()).await);
    let listed = async |name: &str| {
        let list = admin.get("/api/admin/identities").await.expect(200).json();
        let identities = list["identities"].as_array().expect("a list").clone();
        let id = identities.iter().find(|identity| identity["name"] == name).expect("listed")["id"].clone();
        format!("/api/admin/identities/{}", id.as_str().expect("text"))
    };
    let plain = json!({ "context": "user-pii", "plaintext": base64("x") });
    let chosen = json!({ "context": "general", "plaintext": "", "algorithm_override": "ChaCha20-Poly1305" });

    let apps = clients(&cluster, &cluster.token(&TokenRequest::identity("app")).await).await;
    let app = Coherence { admin, apps: &apps };
    let context = "/api/admin/contexts/general";
    let more = json!({ "allowed_algorithms": ["ChaCha20-Poly1305"] });
    app.holds("a changed context", context, Some(more), &chosen, 200).await;
    let fewer = json!({ "allowed_algorithms": ["XAES-256-GCM"] });
    app.holds("a context changed back", context, Some(fewer), &chosen, 422).await;
    app.holds("a deleted context", "/api/admin/contexts/user-pii", None, &plain, 404).await;
    admin.post_json("/api/admin/contexts/user-pii/restore", &json!({})).await.expect(200);
    for client in &apps {
        eventually("the context is back", async || {
            (client.post_json(ENCRYPT, &plain).await.status == 200).then_some(())
        })
        .await;
    }
    let identity = listed("app").await;
    let disabled = Some(json!({ "enabled": false }));
    app.holds("a disabled identity", &identity, disabled, &plain, 401).await;
    let enabled = Some(json!({ "enabled": true }));
    app.holds("an enabled identity", &identity, enabled, &plain, 200).await;
    let narrowed = Some(json!({ "contexts": ["general"] }));
    app.holds("a narrowed identity", &identity, narrowed, &plain, 403).await;
    app.holds("a deleted identity", &identity, None, &plain, 401).await;
}
