use std::sync::Arc;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::body::{Base64, Text, decode_optional};
use super::{Call, Error, Reply, extract, reply};
use crate::contexts::Context;
use crate::crypto::{Algorithm, KeyId, KeyVersion, envelope};
use crate::keyring::LoadedKey;
use crate::limits::Cost;
use crate::store::Store;
use crate::telemetry::traces;

/// What to encrypt, and how.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct EncryptRequest<'a> {
    /// The message, in base64.
    #[serde(borrow)]
    #[schema(value_type = String, format = Byte, example = "aGVsbG8=")]
    plaintext: Text<'a>,
    /// The context whose key and algorithm are used.
    #[serde(borrow)]
    #[schema(value_type = String, example = "user-pii")]
    context: Text<'a>,
    /// Bytes in base64 that decryption must be given again; they are authenticated, not stored.
    #[serde(borrow, default)]
    #[schema(value_type = Option<String>, format = Byte)]
    associated_data: Option<Text<'a>>,
    /// One of the context's `allowed_algorithms` instead of its own.
    #[serde(borrow, default)]
    #[schema(value_type = Option<String>, example = "XAES-256-GCM")]
    algorithm_override: Option<Text<'a>>,
    /// Accepted from older clients; without effect, as the context decides.
    #[serde(borrow, default)]
    #[schema(value_type = Option<String>)]
    usage: Option<Text<'a>>,
}

/// The ciphertext, and what it was made with.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct EncryptReply<'a> {
    /// In base64; says which key and algorithm open it.
    #[schema(value_type = String, format = Byte)]
    ciphertext: Base64<'a>,
    algorithm: AlgorithmDetails,
    #[schema(value_type = String)]
    key_id: KeyId,
    #[schema(value_type = u32)]
    key_version: KeyVersion,
    /// What the caller should know though it did not fail.
    #[schema(value_type = Vec<String>)]
    warnings: &'a [&'a str],
}

/// An algorithm in words.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct AlgorithmDetails {
    #[schema(value_type = String, example = "XAES-256-GCM")]
    name: &'static str,
    #[schema(value_type = String, example = "gcm")]
    mode: &'static str,
    #[schema(value_type = u32, example = 256)]
    key_bits: usize,
}

impl<'a> EncryptReply<'a> {
    pub(super) fn new(ciphertext: Base64<'a>, algorithm: Algorithm, key: &LoadedKey) -> Self {
        Self {
            ciphertext,
            algorithm: algorithm.into(),
            key_id: key.context().key_id,
            key_version: key.version(),
            warnings: &[],
        }
    }
}

impl From<Algorithm> for AlgorithmDetails {
    fn from(algorithm: Algorithm) -> Self {
        Self { name: algorithm.name(), mode: algorithm.mode(), key_bits: algorithm.key_bits() }
    }
}

const USAGE_IGNORED: &str = "`usage` has no effect: the context decides the algorithm";

/// Encrypts one message.
#[utoipa::path(
    post,
    path = "/api/v1/crypto/encrypt",
    tag = "Data plane",
    request_body = EncryptRequest<'_>,
    responses((status = 200, body = EncryptReply<'_>), (status = "default", response = super::openapi::AnyProblem)),
)]
pub(super) async fn encrypt<S: Store>(call: &mut Call<'_, S>, body: &[u8]) -> Result<Reply, Error> {
    let request: EncryptRequest<'_> = extract::json(body)?;
    let key = call.encryption_key(request.context.as_str()).await?;
    let algorithm = choose_algorithm(key.context(), request.algorithm_override.as_ref())?;
    let bytes = request.plaintext.decoded_length("plaintext")? as u64;
    call.charge(Some(key.context()), Cost { items: 1, bytes }).await?;
    count_messages(call, &key, algorithm, 1).await?;
    let associated_data = decode_optional(request.associated_data.as_ref(), "associated_data")?;
    let (ciphertext, length) =
        traces::crypto(|| seal(&key, algorithm, &request.plaintext, &associated_data))?;
    key.count_encrypts(1);
    call.facts.bytes = length as u64;
    let sealed = EncryptReply::new(Base64(&ciphertext), algorithm, &key);
    let warnings = if request.usage.is_some() { &[USAGE_IGNORED][..] } else { &[] };
    Ok(reply(&EncryptReply { warnings, ..sealed }))
}

/// The context's algorithm, or the caller's choice if the context allows it.
pub(super) fn choose_algorithm(context: &Context, asked: Option<&Text<'_>>) -> Result<Algorithm, Error> {
    let Some(asked) = asked else { return Ok(context.algorithm) };
    let asked = asked.as_str().parse().map_err(|_| Error::UnknownAlgorithm)?;
    if context.allowed_algorithms.contains(asked) {
        Ok(asked)
    } else {
        Err(Error::AlgorithmNotAllowed { asked, allowed: context.allowed_algorithms })
    }
}

/// Counts messages of algorithms that must be counted.
pub(super) async fn count_messages<S: Store>(
    call: &Call<'_, S>,
    key: &Arc<LoadedKey>,
    algorithm: Algorithm,
    messages: u64,
) -> Result<(), Error> {
    if algorithm.counts_messages() {
        call.app.keyring.count_messages(key, messages).await?;
    }
    Ok(())
}

/// Encrypts a base64 field; returns the ciphertext and the length of the plaintext.
pub(super) fn seal(
    key: &LoadedKey,
    algorithm: Algorithm,
    plaintext: &Text<'_>,
    associated_data: &Zeroizing<Vec<u8>>,
) -> Result<(Vec<u8>, usize), Error> {
    let keys = key.encryption_keys().ok_or(Error::KeyVersionDisabled)?;
    let length = plaintext.decoded_length("plaintext")?;
    let mut sealer = envelope::Sealer::new(algorithm, key.context().key_id, key.version(), length)?;
    plaintext.decode_into("plaintext", sealer.plaintext_mut())?;
    Ok((sealer.seal(keys, associated_data)?, length))
}
