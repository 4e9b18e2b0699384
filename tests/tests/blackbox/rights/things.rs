//! What a tenant has, by the names and in the forms in which requests bring it up.

use cryptoserve_tests::Client;
use serde_json::{Value, json};

use super::world::Caller;
use crate::support::{base64, unbase64};

/// Something of each kind. Names have the same length whoever's they are, so that replies that repeat them have too.
#[derive(Clone, Debug)]
pub(super) struct Things {
    /// A context.
    pub(super) context: String,
    /// The name of a context and of an identity that others may take for theirs.
    pub(super) taken: String,
    /// An identity.
    pub(super) identity: String,
    /// The `jti` of a token of it.
    pub(super) token_id: String,
    /// That token.
    pub(super) token: String,
    /// The identity of a registered application.
    pub(super) application: String,
    /// Its refresh tokens.
    pub(super) family: String,
    pub(super) signing_key: String,
    /// A signature by it of an empty message.
    pub(super) signature: String,
    /// The id of the context's key.
    pub(super) key: String,
    pub(super) transport_key: String,
    /// In base64.
    pub(super) ciphertext: String,
    pub(super) stream: Vec<u8>,
    /// Of empty data, in hexadecimal.
    pub(super) tag: String,
}

impl Things {
    /// Makes them as `admin`, whose tenant's they become. Their names begin with `prefix`.
    pub(super) async fn make(client: &Client, admin: &Caller, prefix: &str) -> Self {
        let client = client.clone().with_token(&admin.token);
        let post = async |path: &str, body: Value| {
            let reply = client.post_json(path, &body).await;
            assert!([200, 201].contains(&reply.status), "{path}: {reply:?}");
            reply
        };
        let (context, taken) = (format!("{prefix}-context"), format!("{prefix}-taken"));
        for name in [&context, &taken] {
            post("/api/admin/contexts", json!({ "name": name, "exportable": true })).await;
        }
        let limits = json!({ "requests_per_minute": 10_000_000, "burst_size": 10_000_000 });
        client.put_json(&format!("/api/admin/rate-limits/context/{context}"), &limits).await.expect(200);
        let made = post("/api/admin/identities", json!({ "name": taken, "contexts": ["*"] })).await;
        let identity = made.text("id");
        let issued = post(&format!("/api/admin/identities/{identity}/tokens"), json!({})).await;
        let registered = post("/v1/applications/sdk/register", json!({ "app_name": taken })).await;
        let application = registered.text("app_id");
        let listed =
            client.get(&format!("/api/admin/identities/{application}/tokens")).await.expect(200).json();
        let family = listed["refresh_tokens"][0]["id"].as_str().unwrap_or_else(|| panic!("{listed}"));
        let body = json!({ "algorithm": "Ed25519", "context": context });
        let signing_key = post("/v1/signatures/keys/generate", body).await.text("key_id");
        let body = json!({ "message": "", "key_id": signing_key });
        let signature = post("/v1/signatures/sign", body).await.text("signature");
        let encrypted = post("/v1/crypto/encrypt", json!({ "context": context, "plaintext": "" })).await;
        let stream = client.post_bytes(&format!("/v1/crypto/encrypt/stream?context={context}"), "x").await;
        let transport = post(&format!("/api/admin/contexts/{context}/transport-key"), json!({})).await;
        let tag = post("/v1/crypto/mac", json!({ "context": context, "data": "" })).await.text("hex");
        Self {
            identity,
            token_id: issued.text("token_id"),
            token: issued.text("access_token"),
            family: family.to_owned(),
            application,
            signing_key,
            signature,
            key: encrypted.text("key_id"),
            transport_key: transport.text("transport_key_id"),
            ciphertext: encrypted.text("ciphertext"),
            stream: stream.expect(200).body.to_vec(),
            tag,
            context,
            taken,
        }
    }

    /// What looks like these things and is nobody's.
    pub(super) fn nobodys(&self) -> Self {
        let with_key = |ciphertext: &[u8]| [&ciphertext[..4], &[0x5a; 16], &ciphertext[20..]].concat();
        let nobody = || NOBODY.to_owned();
        // Next to them in the order of names, so that lists that begin there are the same to others.
        let near = |name: &str| name.replacen("ere-", "erd-", 1);
        Self {
            context: near(&self.context),
            taken: near(&self.taken),
            identity: nobody(),
            token_id: nobody(),
            application: nobody(),
            family: nobody(),
            signing_key: nobody(),
            key: nobody(),
            transport_key: nobody(),
            ciphertext: base64(with_key(&unbase64(&self.ciphertext))),
            stream: with_key(&self.stream),
            ..self.clone()
        }
    }

    /// Names and ids, none of which may show to another tenant.
    pub(super) fn names(&self) -> [&str; 9] {
        [
            &self.context,
            &self.taken,
            &self.identity,
            &self.token_id,
            &self.application,
            &self.family,
            &self.signing_key,
            &self.key,
            &self.transport_key,
        ]
    }
}

const NOBODY: &str = "5a5a5a5a-5a5a-4a5a-9a5a-5a5a5a5a5a5a";
