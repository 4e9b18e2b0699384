//! Tokens that a test makes itself, with the cluster's own key or without it.

use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;
use cryptoserve_tests::{Cluster, StoreKind};
use serde_json::Value;

/// The key that the cluster signs tokens with.
pub(crate) fn jwt_key(cluster: &Cluster, store: StoreKind) -> String {
    match store {
        StoreKind::Postgres => cluster.secrets().jwt_secret_key.clone(),
        StoreKind::Sqlite => {
            let file =
                std::fs::read_to_string(cluster.data_dir().join("secrets.env")).expect("generated secrets");
            let key =
                file.lines().find_map(|line| line.strip_prefix("JWT_SECRET_KEY=")).expect("the signing key");
            key.to_owned()
        }
    }
}

/// Header and claims.
pub(crate) fn parts(token: &str) -> (Value, Value) {
    let mut parts = token.split('.').map(|part| {
        let bytes = base64_simd::URL_SAFE_NO_PAD.decode_to_vec(part).expect("base64url");
        serde_json::from_slice(&bytes).unwrap_or_default()
    });
    (parts.next().expect("a header"), parts.next().expect("claims"))
}

/// The claims of a token.
pub(crate) fn claims(token: &str) -> Value {
    parts(token).1
}

/// A token of these parts, with an HMAC of SHA-256 under `key` whatever the header says.
pub(crate) fn forge(header: &Value, claims: &Value, key: &[u8]) -> String {
    tagged(header, claims, hmac::HMAC_SHA256, key)
}

/// The same with another hash function.
pub(crate) fn tagged(header: &Value, claims: &Value, algorithm: hmac::Algorithm, key: &[u8]) -> String {
    let signed = signed_part(header, claims);
    let tag = hmac::sign(&hmac::Key::new(algorithm, key), signed.as_bytes());
    format!("{signed}.{}", url64(tag))
}

/// A token of these parts before its signature.
pub(crate) fn signed_part(header: &Value, claims: &Value) -> String {
    format!("{}.{}", url64(header.to_string()), url64(claims.to_string()))
}

/// `part` with one member changed.
pub(crate) fn with(part: &Value, name: &str, value: Value) -> Value {
    let mut part = part.clone();
    part[name] = value;
    part
}

pub(crate) fn url64(bytes: impl AsRef<[u8]>) -> String {
    base64_simd::URL_SAFE_NO_PAD.encode_to_string(bytes)
}

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}
