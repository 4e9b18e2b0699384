//! The versions of a context's key: rotation, states, destruction, counts.

mod counting;
mod destruction;
mod due;
mod listing;
mod refused;
mod rotation;
mod states;
mod usage;

use cryptoserve_tests::{Client, Cluster, Reply, Tables, TokenRequest, eventually};
use serde_json::{Value, json};

use crate::support::{DECRYPT, sealed};

const CONTEXTS: &str = "/api/admin/contexts";

fn keys(context: &str) -> String {
    format!("{CONTEXTS}/{context}/keys")
}

/// Makes a context as `settings` say, with the name `context`.
async fn create(admin: &Client, context: &str, mut settings: Value) -> Value {
    settings["name"] = context.into();
    admin.post_json(CONTEXTS, &settings).await.expect(201).json()
}

/// The new version's number.
async fn rotate(admin: &Client, context: &str) -> u64 {
    let rotated = admin.post_json(&format!("{CONTEXTS}/{context}/rotate-key"), &json!({})).await;
    rotated.expect(200).json()["key_version"].as_u64().expect("a number")
}

async fn set(admin: &Client, context: &str, version: u64, state: &str) -> Reply {
    admin.put_json(&format!("{}/{version}", keys(context)), &json!({ "state": state })).await
}

/// Every version, newest first.
async fn versions(admin: &Client, context: &str) -> Vec<Value> {
    let page = admin.get(&format!("{}?limit=1000", keys(context))).await.expect(200).json();
    page["versions"].as_array().expect("a list").clone()
}

/// Number and state of every version, newest first.
async fn states(admin: &Client, context: &str) -> Vec<(u64, String)> {
    let of = |version: &Value| {
        let state = version["state"].as_str().expect("a state").to_owned();
        (version["version"].as_u64().expect("a number"), state)
    };
    versions(admin, context).await.iter().map(of).collect()
}

/// The version that a ciphertext names.
fn version_of(ciphertext: &[u8]) -> u32 {
    u32::from_be_bytes(ciphertext[20..24].try_into().expect("four bytes"))
}

/// `-` if the ciphertext can be decrypted, else the error's code.
async fn opening(client: &Client, ciphertext: &[u8]) -> String {
    let reply = client.post_json(DECRYPT, &sealed(ciphertext)).await;
    if reply.status == 200 { "-".to_owned() } else { reply.text("code") }
}

/// Waits until opening has the outcome `expected` at each of `clients`.
async fn opening_becomes(clients: &[Client], ciphertext: &[u8], expected: &str) {
    for client in clients {
        eventually(expected, async || (opening(client, ciphertext).await == expected).then_some(())).await;
    }
}

/// A client of each replica for one new service.
async fn apps(cluster: &Cluster) -> Vec<Client> {
    let token = cluster.token(&TokenRequest::identity("apps")).await;
    cluster.replicas().iter().map(|replica| replica.client().with_token(&token)).collect()
}

/// The condition of a statement on `key_versions` and on `wrapped_keys` that finds a version.
fn is_version(context: &str, version: u64) -> String {
    format!("version = {version} AND key_id = (SELECT key_id FROM contexts WHERE name = '{context}')")
}

/// What the audit trail says that was done to a context's keys: operation, version, outcome, detail; in order.
async fn audited(tables: &Tables, context: &str, operation: &str) -> Vec<String> {
    tables
        .rows(&format!(
            "SELECT coalesce(key_version, 0), outcome, coalesce(detail, '') FROM audit_records \
             WHERE context = '{context}' AND operation = '{operation}' ORDER BY recorded_at, seq"
        ))
        .await
}
