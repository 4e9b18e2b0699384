use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::body::{Base64, Text};
use super::extract::invalid;
use super::{Call, Error, Reply, extract, reply};
use crate::crypto::{KeyVersion, MacAlgorithm, MacKey};
use crate::keyring::LoadedKey;
use crate::limits::Cost;
use crate::store::Store;
use crate::telemetry::traces;

/// Most versions of a context's key that are tried for a tag whose version nobody knows.
const MAX_VERSIONS_TRIED: usize = 16;
/// Most versions that are looked at in search of those that may be used.
const MAX_VERSIONS_SEEN: usize = 64;

/// What to authenticate: with the caller's `key`, or with that of a `context`.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct MacRequest<'a> {
    /// In base64.
    #[serde(borrow)]
    #[schema(value_type = String, format = Byte, example = "aGVsbG8=")]
    data: Text<'a>,
    /// At least 16 bytes, in base64. Used for this request and not kept.
    #[serde(borrow, default)]
    #[schema(value_type = Option<String>, format = Byte)]
    key: Option<Text<'a>>,
    /// The context whose key is used.
    #[serde(borrow, default)]
    #[schema(value_type = Option<String>, example = "user-pii")]
    context: Option<Text<'a>>,
    /// `hmac-sha256` unless given.
    #[serde(borrow, default)]
    #[schema(value_type = Option<String>, example = "hmac-sha256")]
    algorithm: Option<Text<'a>>,
}

/// A tag.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct MacReply<'a> {
    /// In base64.
    #[schema(value_type = String, format = Byte)]
    tag: Base64<'a>,
    /// The same in hexadecimal.
    hex: String,
    #[schema(value_type = String, example = "hmac-sha256")]
    algorithm: &'static str,
    length_bits: usize,
    /// Of the context's key; keep it with the tag.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u32>)]
    key_version: Option<KeyVersion>,
}

/// A tag, and of what it should be.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct MacVerifyRequest<'a> {
    /// In base64.
    #[serde(borrow)]
    #[schema(value_type = String, format = Byte)]
    data: Text<'a>,
    /// In hexadecimal or base64.
    #[serde(borrow)]
    #[schema(value_type = String)]
    expected_tag: Text<'a>,
    /// As in `mac`.
    #[serde(borrow, default)]
    #[schema(value_type = Option<String>, format = Byte)]
    key: Option<Text<'a>>,
    /// As in `mac`.
    #[serde(borrow, default)]
    #[schema(value_type = Option<String>)]
    context: Option<Text<'a>>,
    /// The version of the context's key. Without it the versions that may be used are tried, newest first, at most 16.
    #[serde(default)]
    key_version: Option<u32>,
    /// As in `mac`.
    #[serde(borrow, default)]
    #[schema(value_type = Option<String>)]
    algorithm: Option<Text<'a>>,
}

/// Whether it is.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct MacVerifyReply {
    valid: bool,
    #[schema(value_type = String, example = "hmac-sha256")]
    algorithm: &'static str,
    /// Of the context's key that made the tag.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u32>)]
    key_version: Option<KeyVersion>,
}

/// For which algorithm.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct MacKeyRequest<'a> {
    /// `hmac-sha256` unless given.
    #[serde(borrow, default)]
    #[schema(value_type = Option<String>, example = "hmac-sha256")]
    algorithm: Option<Text<'a>>,
}

/// A key that the service does not keep.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct MacKeyReply<'a> {
    /// In base64.
    #[schema(value_type = String, format = Byte)]
    key: Base64<'a>,
    #[schema(value_type = String, example = "hmac-sha256")]
    algorithm: &'static str,
    length_bits: usize,
}

/// Which key the caller means.
enum Source<'a> {
    Caller(Box<MacKey>),
    Context(&'a str),
}

/// Computes the message authentication code of data.
#[utoipa::path(
    post,
    path = "/api/v1/crypto/mac",
    tag = "Data plane",
    request_body = MacRequest<'_>,
    responses((status = 200, body = MacReply<'_>), (status = "default", response = super::openapi::AnyProblem)),
)]
pub(super) async fn mac<S: Store>(call: &mut Call<'_, S>, body: &[u8]) -> Result<Reply, Error> {
    let request: MacRequest<'_> = extract::json(body)?;
    let algorithm = algorithm(request.algorithm.as_ref())?;
    let (tag, key_version) = match source(algorithm, request.key.as_ref(), request.context.as_ref())? {
        Source::Caller(key) => {
            call.charge(None, Cost::ONE).await?;
            (key.tag(&data(call, &request.data)?), None)
        }
        Source::Context(name) => {
            let key = call.encryption_key(name).await?;
            call.charge(Some(key.context()), Cost::ONE).await?;
            let keys = key.encryption_keys().ok_or(Error::KeyVersionDisabled)?;
            let (mac, data) = (keys.mac(algorithm)?, data(call, &request.data)?);
            let tag = traces::crypto(|| mac.tag(&data));
            key.count_encrypts(1);
            (tag, Some(key.version()))
        }
    };
    Ok(reply(&MacReply {
        tag: Base64(&tag),
        hex: hex::encode(&tag),
        algorithm: algorithm.name(),
        length_bits: tag.len() * 8,
        key_version,
    }))
}

/// Compares data with a message authentication code, in constant time.
#[utoipa::path(
    post,
    path = "/api/v1/crypto/mac/verify",
    tag = "Data plane",
    request_body = MacVerifyRequest<'_>,
    responses((status = 200, body = MacVerifyReply), (status = "default", response = super::openapi::AnyProblem)),
)]
pub(super) async fn verify<S: Store>(call: &mut Call<'_, S>, body: &[u8]) -> Result<Reply, Error> {
    let request: MacVerifyRequest<'_> = extract::json(body)?;
    let algorithm = algorithm(request.algorithm.as_ref())?;
    let tag = request.expected_tag.decode_hex_or_base64("expected_tag")?;
    let (valid, key_version) = match source(algorithm, request.key.as_ref(), request.context.as_ref())? {
        Source::Caller(_) if request.key_version.is_some() => {
            return Err(Error::InvalidRequest("`key_version` is of a `context`'s key".to_owned()));
        }
        Source::Caller(key) => {
            call.charge(None, Cost::ONE).await?;
            (key.verify(&data(call, &request.data)?, &tag), None)
        }
        Source::Context(name) => {
            let current = call.encryption_key(name).await?;
            call.charge(Some(current.context()), Cost::ONE).await?;
            let data = data(call, &request.data)?;
            let made_by = match request.key_version {
                Some(version) => {
                    let key = version_of(call, &current, version).await?.ok_or(Error::KeyVersionNotFound)?;
                    call.facts.key_version = Some(key.version());
                    let keys = key.decryption_keys().ok_or(Error::KeyVersionDisabled)?;
                    keys.mac(algorithm)?.verify(&data, &tag).then_some(key)
                }
                None => find_version(call, &current, algorithm, &data, &tag).await?,
            };
            if let Some(key) = &made_by {
                key.count_decrypts(1);
            }
            (made_by.is_some(), made_by.map(|key| key.version()))
        }
    };
    if key_version.is_some() {
        call.facts.key_version = key_version;
    }
    Ok(reply(&MacVerifyReply { valid, algorithm: algorithm.name(), key_version }))
}

/// Makes a random key as long as the algorithm's tag, which the service does not keep.
#[utoipa::path(
    post,
    path = "/api/v1/crypto/mac/generate-key",
    tag = "Data plane",
    request_body = MacKeyRequest<'_>,
    responses((status = 200, body = MacKeyReply<'_>), (status = "default", response = super::openapi::AnyProblem)),
)]
pub(super) async fn generate_key<S: Store>(call: &mut Call<'_, S>, body: &[u8]) -> Result<Reply, Error> {
    call.charge(None, Cost::ONE).await?;
    let request: MacKeyRequest<'_> = extract::json(body)?;
    let algorithm = algorithm(request.algorithm.as_ref())?;
    let key = algorithm.generate_key()?;
    Ok(reply(&MacKeyReply {
        key: Base64(key.expose()),
        algorithm: algorithm.name(),
        length_bits: key.expose().len() * 8,
    }))
}

fn algorithm(asked: Option<&Text<'_>>) -> Result<MacAlgorithm, Error> {
    extract::algorithm(asked, "MAC algorithm", MacAlgorithm::ALL.map(MacAlgorithm::name))
}

fn source<'a>(
    algorithm: MacAlgorithm,
    key: Option<&Text<'_>>,
    context: Option<&'a Text<'_>>,
) -> Result<Source<'a>, Error> {
    match (key, context) {
        (Some(key), None) => {
            let key = MacKey::new(algorithm, &key.decode("key")?);
            key.map(|key| Source::Caller(key.into())).map_err(|error| invalid("key", error))
        }
        (None, Some(context)) => Ok(Source::Context(context.as_str())),
        _ => Err(Error::InvalidRequest("give either `key` or `context`".to_owned())),
    }
}

fn data<S>(call: &mut Call<'_, S>, data: &Text<'_>) -> Result<zeroize::Zeroizing<Vec<u8>>, Error> {
    let data = data.decode("data")?;
    call.facts.bytes = data.len() as u64;
    Ok(data)
}

/// A version of the key whose newest is `current`.
async fn version_of<S: Store>(
    call: &Call<'_, S>,
    current: &Arc<LoadedKey>,
    version: u32,
) -> Result<Option<Arc<LoadedKey>>, Error> {
    let Ok(version) = KeyVersion::try_from(version) else { return Ok(None) };
    if version == current.version() {
        return Ok(Some(current.clone()));
    }
    let context = current.context();
    Ok(call.app.keyring.key_version(context.tenant, context.key_id, version).await?)
}

/// The newest usable version that made `tag`, among the newest few.
async fn find_version<S: Store>(
    call: &Call<'_, S>,
    current: &Arc<LoadedKey>,
    algorithm: MacAlgorithm,
    data: &[u8],
    tag: &[u8],
) -> Result<Option<Arc<LoadedKey>>, Error> {
    let newest = current.version().get();
    let mut tried = 0;
    for version in (1..=newest).rev().take(MAX_VERSIONS_SEEN) {
        let Some(key) = version_of(call, current, version).await? else { continue };
        let Some(keys) = key.decryption_keys() else { continue };
        if keys.mac(algorithm)?.verify(data, tag) {
            return Ok(Some(key));
        }
        tried += 1;
        if tried == MAX_VERSIONS_TRIED {
            break;
        }
    }
    // Another replica may have rotated the key this very second.
    let next = version_of(call, current, newest.saturating_add(1)).await?;
    let Some(keys) = next.as_ref().and_then(|key| key.decryption_keys()) else { return Ok(None) };
    Ok(if keys.mac(algorithm)?.verify(data, tag) { next } else { None })
}
