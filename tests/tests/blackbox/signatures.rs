mod clients;
mod formats;
mod hostile;
mod keys;
mod replicas;
mod rights;

use cryptoserve_tests::Client;
use serde_json::{Value, json};

use crate::support::base64;

pub(crate) const KEYS: &str = "/api/v1/signatures/keys";
const GENERATE: &str = "/api/v1/signatures/keys/generate";
const SIGN: &str = "/api/v1/signatures/sign";
const VERIFY: &str = "/api/v1/signatures/verify";

pub(crate) const ALGORITHMS: [&str; 6] =
    ["Ed25519", "ECDSA-P256", "ECDSA-P384", "RSA-PSS-3072", "ML-DSA-65", "ML-DSA-87"];
const FORMATS: [&str; 4] = ["base64", "raw", "der", "jws"];

/// A new key as it was told.
pub(crate) async fn generate(client: &Client, algorithm: &str, context: &str) -> Value {
    let body = json!({ "algorithm": algorithm, "context": context });
    client.post_json(GENERATE, &body).await.expect(200).json()
}

/// The id of a new Ed25519 key in `general`.
async fn ed25519(client: &Client) -> String {
    text(&generate(client, "Ed25519", "general").await, "key_id")
}

pub(crate) async fn sign(client: &Client, key_id: &str, message: &str) -> String {
    let body = json!({ "message": base64(message), "key_id": key_id });
    client.post_json(SIGN, &body).await.expect(200).text("signature")
}

pub(crate) fn to_verify(key_id: &str, message: &str, signature: &str) -> Value {
    json!({ "message": base64(message), "key_id": key_id, "signature": signature })
}

pub(crate) async fn is_valid(client: &Client, body: &Value) -> bool {
    let reply = client.post_json(VERIFY, body).await.expect(200).json();
    reply["valid"].as_bool().unwrap_or_else(|| panic!("{reply}"))
}

pub(crate) fn text(value: &Value, field: &str) -> String {
    value[field].as_str().unwrap_or_else(|| panic!("no text {field} in {value}")).to_owned()
}
