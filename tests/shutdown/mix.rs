//! What is asked for.

use base64_simd::STANDARD;
use bytes::Bytes;
use cryptoserve_tests::Client;
use http::Method;
use serde_json::{Value, json};

/// A request, to be sent as often as wanted.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) path: &'static str,
    pub(crate) body: Bytes,
}

/// Requests of all kinds, in the order in which each client makes them again and again: of ten, four encrypt, two decrypt.
#[derive(Clone, Debug)]
pub(crate) struct Mix {
    pub(crate) authorization: String,
    pub(crate) calls: Vec<Call>,
}

const STREAM: &str = "/api/v1/crypto/encrypt/stream?context=general";
const STREAM_BYTES: usize = 64 << 10;
const BATCH: usize = 10;

impl Mix {
    /// Makes the ciphertexts that are to be decrypted.
    pub(crate) async fn prepare(client: &Client, token: &str) -> Self {
        let plaintext = STANDARD.encode_to_string([7; 256]);
        let encrypt = json!({ "context": "general", "plaintext": plaintext });
        let sealed = client.clone().with_token(token).post_json("/api/v1/crypto/encrypt", &encrypt).await;
        let ciphertext = sealed.expect(200).text("ciphertext");
        let items: Vec<Value> =
            (0..BATCH).map(|id| json!({ "id": id.to_string(), "plaintext": plaintext })).collect();
        let post = |path: &'static str, body: &Value| Call {
            method: Method::POST,
            path,
            body: body.to_string().into(),
        };
        let encrypt = post("/api/v1/crypto/encrypt", &encrypt);
        let decrypt = post("/api/v1/crypto/decrypt", &json!({ "ciphertext": ciphertext }));
        let calls = vec![
            encrypt.clone(),
            decrypt.clone(),
            encrypt.clone(),
            post("/api/v1/crypto/batch/encrypt", &json!({ "context": "general", "items": items })),
            encrypt.clone(),
            Call { method: Method::POST, path: STREAM, body: vec![7; STREAM_BYTES].into() },
            decrypt,
            Call { method: Method::GET, path: "/api/v1/contexts", body: Bytes::new() },
            encrypt,
            post("/api/v1/crypto/hash", &json!({ "data": plaintext })),
        ];
        Self { authorization: format!("Bearer {token}"), calls }
    }
}
