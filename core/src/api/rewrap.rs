use std::sync::Arc;

use serde::Deserialize;
use zeroize::Zeroizing;

use super::body::{Base64, Text, decode_optional};
use super::decrypt::{decryption_key, require_context};
use super::encrypt::{EncryptReply, count_messages};
use super::{Call, Error, Reply, extract, reply};
use crate::crypto::envelope::{self, Format, Prefix};
use crate::crypto::{Algorithm, stream};
use crate::keyring::LoadedKey;
use crate::limits::Cost;
use crate::store::Store;
use crate::telemetry::traces;

/// What to encrypt again.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RewrapRequest<'a> {
    /// As `encrypt` or an earlier `rewrap` returned it, in base64.
    #[serde(borrow)]
    #[schema(value_type = String, format = Byte)]
    ciphertext: Text<'a>,
    /// If given, the ciphertext must belong to this context.
    #[serde(borrow, default)]
    #[schema(value_type = Option<String>, example = "user-pii")]
    context: Option<Text<'a>>,
    /// What was given to `encrypt`, in base64; stays the same.
    #[serde(borrow, default)]
    #[schema(value_type = Option<String>, format = Byte)]
    associated_data: Option<Text<'a>>,
}

/// Encrypts a message again with the newest version of its context's key and the context's algorithm. The plaintext does
/// not leave the service. What `encrypt/stream` made stays a stream.
#[utoipa::path(
    post,
    path = "/api/v1/crypto/rewrap",
    tag = "Data plane",
    request_body = RewrapRequest<'_>,
    responses((status = 200, body = EncryptReply<'_>), (status = "default", response = super::openapi::AnyProblem)),
)]
pub(super) async fn rewrap<S: Store>(call: &mut Call<'_, S>, body: &[u8]) -> Result<Reply, Error> {
    let request: RewrapRequest<'_> = extract::json(body)?;
    let mut ciphertext = request.ciphertext.decode("ciphertext")?;
    let prefix = Prefix::parse(&ciphertext)?;
    let (old, new) = keys(call, prefix, request.context.as_ref().map(Text::as_str)).await?;
    let bytes = prefix.plaintext_len(ciphertext.len()) as u64;
    call.charge(Some(new.context()), Cost { items: 1, bytes }).await?;
    let associated_data = decode_optional(request.associated_data.as_ref(), "associated_data")?;
    call.facts.key_version = Some(old.version());
    let opened = open(&old, &mut ciphertext, &associated_data)?;
    call.facts.key_version = Some(new.version());
    let algorithm = algorithm(&new, prefix.format);
    if prefix.format == Format::Message {
        count_messages(call, &new, algorithm, 1).await?;
    }
    let ciphertext = traces::crypto(|| seal(&new, prefix.format, opened, &associated_data))?;
    call.facts.bytes = opened.len() as u64;
    Ok(reply(&EncryptReply::new(Base64(&ciphertext), algorithm, &new)))
}

/// The key that opens the ciphertext, if the caller may use its context and, where it named one, that is the one; and the
/// key with which that context encrypts now.
pub(super) async fn keys<S: Store>(
    call: &mut Call<'_, S>,
    prefix: Prefix,
    named: Option<&str>,
) -> Result<(Arc<LoadedKey>, Arc<LoadedKey>), Error> {
    let old = decryption_key(call, prefix).await?;
    require_context(&old, named)?;
    let new = call.encryption_key(old.context().name.as_str()).await?;
    // The two were loaded one after the other.
    if new.context().id != old.context().id {
        return Err(Error::ContextNotFound);
    }
    call.facts.detail = Some(format!("from version {}", old.version()));
    // A replica that has not yet heard of a rotation must not bring a ciphertext back to the version before.
    if old.version() > new.version() {
        call.facts.key_version = Some(old.version());
        return Ok((old.clone(), old));
    }
    Ok((old, new))
}

/// Decrypts `ciphertext` in its own memory.
pub(super) fn open<'a>(
    key: &LoadedKey,
    ciphertext: &'a mut [u8],
    associated_data: &[u8],
) -> Result<&'a [u8], Error> {
    let keys = key.decryption_keys().ok_or(Error::KeyVersionDisabled)?;
    let opened = traces::crypto(|| envelope::open_in_place(keys, ciphertext, associated_data))?;
    key.count_decrypts(1);
    Ok(opened)
}

/// Encrypts in the format in which it was.
pub(super) fn seal(
    key: &LoadedKey,
    format: Format,
    plaintext: &[u8],
    associated_data: &Zeroizing<Vec<u8>>,
) -> Result<Vec<u8>, Error> {
    let keys = key.encryption_keys().ok_or(Error::KeyVersionDisabled)?;
    let (key_id, version) = (key.context().key_id, key.version());
    let sealed = match format {
        Format::Message => {
            envelope::seal(keys, algorithm(key, format), key_id, version, plaintext, associated_data)
        }
        Format::Stream => stream::seal(keys, key_id, version, plaintext, associated_data),
    };
    let sealed = sealed?;
    key.count_encrypts(1);
    Ok(sealed)
}

/// What `key` encrypts with in this format: streams have one algorithm.
pub(super) fn algorithm(key: &LoadedKey, format: Format) -> Algorithm {
    match format {
        Format::Message => key.context().algorithm,
        Format::Stream => stream::ALGORITHM,
    }
}
