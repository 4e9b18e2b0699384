//! JSON Web Signatures (RFC 7515) in compact form, with the message inside.

use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer, Serialize};

use super::jwk::base64url;
use super::{PublicKey, SigningKey};
use crate::crypto::Error;

#[derive(Serialize)]
struct Header<'a> {
    alg: &'static str,
    kid: &'a str,
}

/// What counts of a header that somebody sent.
#[derive(Deserialize)]
struct SentHeader {
    alg: String,
    /// Whether there are extensions that must be understood. None is.
    #[serde(default, deserialize_with = "is_there")]
    crit: bool,
}

/// Also if it is null.
fn is_there<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(deserializer).map(|_| true)
}

pub(super) fn sign(key: &SigningKey, message: &[u8], key_id: &str) -> Result<String, Error> {
    let header = Header { alg: key.algorithm().jose_name(), kid: key_id };
    let header = serde_json::to_vec(&header).map_err(|_| Error::Internal)?;
    let mut jws = format!("{}.{}", base64url(&header), base64url(message));
    let signature = key.sign_raw(jws.as_bytes())?;
    jws.push('.');
    jws.push_str(&base64url(&signature));
    Ok(jws)
}

/// Whether `jws` is a signature of `message` by `key`. The header chooses nothing: it must say what the key is.
pub(super) fn verify(key: &PublicKey, message: &[u8], jws: &str) -> Result<(), Error> {
    const MALFORMED: Error = Error::Malformed("not a compact JWS");
    let (signed, signature) = jws.rsplit_once('.').ok_or(MALFORMED)?;
    let (header, payload) = signed.split_once('.').ok_or(MALFORMED)?;
    let decode = |part: &str| base64_simd::URL_SAFE_NO_PAD.decode_to_vec(part).map_err(|_| MALFORMED);
    let (header, payload, signature) = (decode(header)?, decode(payload)?, decode(signature)?);
    let header: SentHeader = serde_json::from_slice(&header).map_err(|_| MALFORMED)?;
    if header.crit {
        return Err(Error::Malformed("a JWS with critical extensions"));
    }
    if header.alg != key.algorithm().jose_name() || payload != message {
        return Err(Error::AuthenticationFailed);
    }
    key.verify_raw(signed.as_bytes(), &signature)
}
