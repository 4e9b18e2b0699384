//! Refresh tokens, revocation, registration.

mod hostile;
mod refresh;
mod register;
mod replicas;
mod revoke;

use cryptoserve_tests::{Client, Cluster, Reply, Tables, eventually};
use serde_json::{Value, json};

use crate::support::{ENCRYPT, base64};

const REFRESH: &str = "/api/v1/auth/refresh";
const REVOKE: &str = "/api/v1/auth/revoke";
const IDENTITIES: &str = "/api/admin/identities";

/// A service with a refresh token and the access token that came with it.
struct Service {
    /// Of the identity, below `/api/admin`.
    path: String,
    identity: String,
    family: String,
    access: String,
    refresh: String,
}

/// Makes an identity that may use `contexts`; its path.
async fn identity(admin: &Client, name: &str, contexts: &[&str]) -> String {
    let made = admin.post_json(IDENTITIES, &json!({ "name": name, "contexts": contexts })).await.expect(201);
    format!("{IDENTITIES}/{}", made.text("id"))
}

/// Issues tokens as `body` says for the identity at `path`.
async fn issue(admin: &Client, path: &str, mut body: Value) -> Service {
    body["refresh"] = true.into();
    let issued = admin.post_json(&format!("{path}/tokens"), &body).await.expect(200);
    Service {
        path: path.to_owned(),
        identity: path.rsplit('/').next().unwrap_or_default().to_owned(),
        family: issued.text("refresh_token_id"),
        access: issued.text("access_token"),
        refresh: issued.text("refresh_token"),
    }
}

async fn service(admin: &Client, name: &str) -> Service {
    issue(admin, &identity(admin, name, &["general", "user-pii"]).await, json!({})).await
}

async fn refresh(client: &Client, token: &str) -> Reply {
    client.post_json(REFRESH, &json!({ "refresh_token": token })).await
}

async fn rotate(client: &Client, token: &str) -> Reply {
    client.post_json(REFRESH, &json!({ "refresh_token": token, "rotate": true })).await
}

/// The status of encrypting in `context` with an access token.
async fn uses(cluster: &Cluster, access: &str, context: &str) -> u16 {
    let body = json!({ "context": context, "plaintext": base64("x") });
    cluster.client(0).with_token(access).post_json(ENCRYPT, &body).await.status
}

/// That a refresh token counts no more.
async fn is_dead(client: &Client, token: &str, why: &str) {
    let reply = refresh(client, token).await;
    assert_eq!(
        (reply.status, reply.text("code")),
        (401, "invalid_refresh_token".to_owned()),
        "{why}: {reply:?}"
    );
    assert_eq!(reply.header("www-authenticate"), Some("Bearer"), "{why}");
}

/// That the audit trail has so many records of which `condition` holds.
async fn audited(tables: &Tables, condition: &str, count: i64) {
    let query = format!("SELECT count(*) FROM audit_records WHERE {condition}");
    let found = async || (tables.number(&query).await == count).then_some(());
    eventually(&format!("{count} records where {condition}"), found).await;
}
