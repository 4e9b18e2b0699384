use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::body::{Base64, Text, decode_optional};
use super::encrypt::count_messages;
use super::{Call, Error, Reply, extract, reply};
use crate::crypto::{KeyId, KeyVersion, envelope, random};
use crate::limits::Cost;
use crate::store::Store;
use crate::telemetry::traces;

/// What kind of data key.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DataKeyRequest<'a> {
    /// The context whose key encrypts the data key.
    #[serde(borrow)]
    #[schema(value_type = String, example = "user-pii")]
    context: Text<'a>,
    /// 128, 256 or 512.
    #[schema(example = 256)]
    bits: u32,
    /// Whether to return the data key itself too. Whoever only stores data keys for others has no use for it.
    #[serde(default = "yes")]
    plaintext: bool,
    /// Bytes in base64 that decryption must be given again; they are authenticated, not stored.
    #[serde(borrow, default)]
    #[schema(value_type = Option<String>, format = Byte)]
    associated_data: Option<Text<'a>>,
}

const fn yes() -> bool {
    true
}

/// A data key, which the service does not keep.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct DataKeyReply<'a> {
    /// The key in base64: use it, forget it, keep `ciphertext`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = Byte)]
    plaintext: Option<Base64<'a>>,
    /// The key encrypted, in base64: `decrypt` opens it.
    #[schema(value_type = String, format = Byte)]
    ciphertext: Base64<'a>,
    #[schema(value_type = String)]
    key_id: KeyId,
    #[schema(value_type = u32)]
    key_version: KeyVersion,
}

/// Makes a random key with which callers encrypt by themselves, and encrypts it with the context's key.
#[utoipa::path(
    post,
    path = "/api/v1/crypto/datakey",
    tag = "Data plane",
    request_body = DataKeyRequest<'_>,
    responses((status = 200, body = DataKeyReply<'_>), (status = "default", response = super::openapi::AnyProblem)),
)]
pub(super) async fn datakey<S: Store>(call: &mut Call<'_, S>, body: &[u8]) -> Result<Reply, Error> {
    let request: DataKeyRequest<'_> = extract::json(body)?;
    let length = match request.bits {
        128 => 16,
        256 => 32,
        512 => 64,
        _ => return Err(Error::InvalidRequest("`bits` is 128, 256 or 512".to_owned())),
    };
    let key = call.encryption_key(request.context.as_str()).await?;
    let (context, algorithm) = (key.context(), key.context().algorithm);
    call.charge(Some(context), Cost::ONE).await?;
    let associated_data = decode_optional(request.associated_data.as_ref(), "associated_data")?;
    count_messages(call, &key, algorithm, 1).await?;

    let keys = key.encryption_keys().ok_or(Error::KeyVersionDisabled)?;
    let mut sealer = envelope::Sealer::new(algorithm, context.key_id, key.version(), length)?;
    random::fill(sealer.plaintext_mut())?;
    let data_key = request.plaintext.then(|| Zeroizing::new(sealer.plaintext_mut().to_vec()));
    let ciphertext = traces::crypto(|| sealer.seal(keys, &associated_data))?;
    key.count_encrypts(1);
    call.facts.bytes = length as u64;
    Ok(reply(&DataKeyReply {
        plaintext: data_key.as_ref().map(|key| Base64(key)),
        ciphertext: Base64(&ciphertext),
        key_id: context.key_id,
        key_version: key.version(),
    }))
}
