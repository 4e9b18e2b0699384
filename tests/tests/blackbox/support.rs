//! What the tests of the API share.

use std::time::{Duration, Instant};

use cryptoserve_tests::{Client, Cluster, ClusterBuilder, StoreKind, TokenRequest, eventually};
use serde_json::{Value, json};

/// Within which tests want a change to hold on every replica. The documents promise a second: the poll comes every 500 ms,
/// which a test of the core asserts. The other two seconds are for a machine that runs other tests meanwhile.
pub(crate) const COHERENCE: Duration = Duration::from_secs(3);

/// Three replicas where they share a database, and one of the embedded store, which serves one process.
pub(crate) fn replicas(store: StoreKind) -> usize {
    if store == StoreKind::Postgres { 3 } else { 1 }
}

/// One replica on a store of its own.
pub(crate) async fn one(store: StoreKind) -> Cluster {
    Cluster::builder().store(store).start(1).await
}

/// The same with a builder, for tests that set variables.
pub(crate) fn builder(store: StoreKind) -> ClusterBuilder {
    Cluster::builder().store(store)
}

/// A client of the first replica for a service that may use `contexts`.
pub(crate) async fn service<'a>(
    cluster: &Cluster,
    name: &str,
    contexts: impl IntoIterator<Item = &'a str>,
) -> Client {
    let token = cluster.token(&TokenRequest::identity(name).contexts(contexts)).await;
    cluster.client(0).with_token(&token)
}

/// A client of the first replica for a service that may use every context.
pub(crate) async fn app(cluster: &Cluster) -> Client {
    service(cluster, "app", ["*"]).await
}

/// A client of the first replica for an administrator.
pub(crate) async fn admin(cluster: &Cluster) -> Client {
    cluster.client(0).with_token(&cluster.token(&TokenRequest::admin()).await)
}

/// A client of the first replica for an operator.
pub(crate) async fn operator(cluster: &Cluster) -> Client {
    cluster.client(0).with_token(&cluster.token(&TokenRequest::operator()).await)
}

/// A client of the first replica for a service that may use every context, with these scopes alone.
pub(crate) async fn with_scopes(cluster: &Cluster, name: &str, scopes: &[&str]) -> Client {
    let admin = admin(cluster).await;
    let body = json!({ "name": name, "scopes": scopes, "contexts": ["*"] });
    let made = admin.post_json("/api/admin/identities", &body).await.expect(201);
    let path = format!("/api/admin/identities/{}/tokens", made.text("id"));
    let issued = admin.post_json(&path, &json!({})).await.expect(200);
    cluster.client(0).with_token(&issued.text("access_token"))
}

/// Ends a replica in good order and starts it again: at its end it writes down how often keys were used, and at its start
/// it does what is due.
pub(crate) async fn restart(cluster: &mut Cluster, index: usize) {
    let replica = cluster.replica_mut(index);
    replica.process().terminate();
    assert!(replica.ended().await.success());
    replica.start_again().await;
}

pub(crate) fn base64(bytes: impl AsRef<[u8]>) -> String {
    base64_simd::STANDARD.encode_to_string(bytes)
}

pub(crate) fn unbase64(text: &str) -> Vec<u8> {
    base64_simd::STANDARD.decode_to_vec(text).expect("base64 from the service")
}

/// That every replica refuses an access token within [`COHERENCE`] after `end`, and each took it before. There is one client
/// per replica, and the token may encrypt in `general`.
pub(crate) async fn refused_everywhere(clients: &[Client], access: &str, why: &str, end: impl AsyncFnOnce()) {
    let status = async |client: &Client| {
        let body = json!({ "context": "general", "plaintext": base64("x") });
        client.clone().with_token(access).post_json(ENCRYPT, &body).await.status
    };
    // 429 after too many failures, which refuses no token that counts.
    let is_refused = |status: u16| matches!(status, 401 | 429);
    for client in clients {
        // What allows it again may not be known to every replica yet.
        eventually(why, async || (status(client).await == 200).then_some(())).await;
    }
    end().await;
    let ended = Instant::now();
    for client in clients {
        eventually(why, async || is_refused(status(client).await).then_some(())).await;
    }
    assert!(ended.elapsed() < COHERENCE, "{why}: {:?}", ended.elapsed());
    for client in clients {
        assert!(is_refused(status(client).await), "{why}: refused once and then taken");
    }
}

/// The directory of the published Python clients and what they need.
pub(crate) fn python_clients() -> String {
    let packages = std::env::var("CRYPTOSERVE_TEST_PYTHON_CLIENTS");
    packages.expect("CRYPTOSERVE_TEST_PYTHON_CLIENTS is not set: run ./tests/run [FILTER]")
}

pub(crate) const ENCRYPT: &str = "/api/v1/crypto/encrypt";
pub(crate) const DECRYPT: &str = "/api/v1/crypto/decrypt";

/// Encrypts in `user-pii`; the ciphertext's bytes.
pub(crate) async fn encrypt(client: &Client, plaintext: impl AsRef<[u8]>) -> Vec<u8> {
    encrypt_in(client, "user-pii", plaintext).await
}

pub(crate) async fn encrypt_in(client: &Client, context: &str, plaintext: impl AsRef<[u8]>) -> Vec<u8> {
    let body = json!({ "context": context, "plaintext": base64(plaintext) });
    unbase64(&client.post_json(ENCRYPT, &body).await.expect(200).text("ciphertext"))
}

/// A body for `decrypt`.
pub(crate) fn sealed(ciphertext: impl AsRef<[u8]>) -> Value {
    json!({ "ciphertext": base64(ciphertext) })
}

/// Makes one test for each store out of each function.
macro_rules! on_each_store {
    ($($(#[$doc:meta])* async fn $name:ident($store:ident) $body:block)*) => {$(
        $(#[$doc])*
        mod $name {
            use super::*;

            async fn run($store: cryptoserve_tests::StoreKind) $body

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() {
                run(cryptoserve_tests::StoreKind::Sqlite).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres() {
                run(cryptoserve_tests::StoreKind::Postgres).await;
            }
        }
    )*};
}
pub(crate) use on_each_store;
