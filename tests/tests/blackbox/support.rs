//! What the tests of the API share.

use cryptoserve_tests::{Client, Cluster, ClusterBuilder, StoreKind, TokenRequest};
use serde_json::{Value, json};

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

pub(crate) fn base64(bytes: impl AsRef<[u8]>) -> String {
    base64_simd::STANDARD.encode_to_string(bytes)
}

pub(crate) fn unbase64(text: &str) -> Vec<u8> {
    base64_simd::STANDARD.decode_to_vec(text).expect("base64 from the service")
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
