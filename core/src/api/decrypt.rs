use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::body::{Base64, Text, decode_optional};
use super::{Call, Error, Reply, extract, reply};
use crate::crypto::{KeyVersion, envelope};
use crate::keyring::LoadedKey;
use crate::limits::Cost;
use crate::name::Name;
use crate::store::Store;
use crate::telemetry::traces;

/// What to decrypt.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DecryptRequest<'a> {
    /// As `encrypt` returned it, in base64.
    #[serde(borrow)]
    #[schema(value_type = String, format = Byte)]
    ciphertext: Text<'a>,
    /// If given, the ciphertext must belong to this context.
    #[serde(borrow, default)]
    #[schema(value_type = Option<String>, example = "user-pii")]
    context: Option<Text<'a>>,
    /// What was given to `encrypt`, in base64.
    #[serde(borrow, default)]
    #[schema(value_type = Option<String>, format = Byte)]
    associated_data: Option<Text<'a>>,
}

/// The message.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct DecryptReply<'a> {
    /// In base64.
    #[schema(value_type = String, format = Byte)]
    plaintext: Base64<'a>,
    /// The context that the ciphertext belongs to.
    #[schema(value_type = String)]
    context: &'a Name,
    #[schema(value_type = u32)]
    key_version: KeyVersion,
}

/// Decrypts one message.
#[utoipa::path(
    post,
    path = "/api/v1/crypto/decrypt",
    tag = "Data plane",
    request_body = DecryptRequest<'_>,
    responses((status = 200, body = DecryptReply<'_>), (status = "default", response = super::openapi::AnyProblem)),
)]
pub(super) async fn decrypt<S: Store>(call: &mut Call<'_, S>, body: &[u8]) -> Result<Reply, Error> {
    let request: DecryptRequest<'_> = extract::json(body)?;
    let mut ciphertext = request.ciphertext.decode("ciphertext")?;
    let prefix = envelope::Prefix::parse(&ciphertext)?;
    let key = decryption_key(call, prefix).await?;
    require_context(&key, request.context.as_ref().map(Text::as_str))?;
    let bytes = prefix.plaintext_len(ciphertext.len()) as u64;
    call.charge(Some(key.context()), Cost { items: 1, bytes }).await?;
    let associated_data = decode_optional(request.associated_data.as_ref(), "associated_data")?;
    let keys = key.decryption_keys().ok_or(Error::KeyVersionDisabled)?;
    let plaintext = traces::crypto(|| envelope::open_in_place(keys, &mut ciphertext, &associated_data))?;
    key.count_decrypts(1);
    call.facts.bytes = plaintext.len() as u64;
    Ok(reply(&DecryptReply {
        plaintext: Base64(plaintext),
        context: &key.context().name,
        key_version: key.version(),
    }))
}

/// The key that the ciphertext really names, if the caller may use its context. What the ciphertext's first bytes say is
/// not yet authenticated, but whoever changes them only chooses another key, for which the caller must be allowed too.
pub(super) async fn decryption_key<S: Store>(
    call: &mut Call<'_, S>,
    prefix: envelope::Prefix,
) -> Result<Arc<LoadedKey>, Error> {
    let key = call.app.keyring.key_version(call.tenant(), prefix.key_id, prefix.version).await?;
    let key = key
        .filter(|key| key.context().deleted_at.is_none())
        .ok_or(Error::InvalidCiphertext("its key does not exist here"))?;
    let context = key.context();
    call.facts.context = Some(context.name.clone());
    call.facts.key_version = Some(key.version());
    if !call.principal().may_use(&context.name) {
        return Err(Error::ContextForbidden);
    }
    Ok(key)
}

/// Refuses a ciphertext of another context than the caller named.
pub(super) fn require_context(key: &LoadedKey, named: Option<&str>) -> Result<(), Error> {
    match named {
        Some(named) if named != key.context().name.as_str() => Err(Error::ContextMismatch),
        _ => Ok(()),
    }
}
