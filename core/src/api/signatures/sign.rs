use serde::{Deserialize, Serialize};

use super::super::body::Text;
use super::super::{Call, Error, Reply, extract, reply};
use super::{format, require_context, signing_key};
use crate::crypto::KeyId;
use crate::limits::Cost;
use crate::store::Store;
use crate::telemetry::traces;

/// What to sign, and with which key.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SignRequest<'a> {
    /// The message, in base64.
    #[serde(borrow)]
    #[schema(value_type = String, format = Byte, example = "aGVsbG8=")]
    message: Text<'a>,
    /// As `keys/generate` returned it.
    #[serde(borrow)]
    #[schema(value_type = String)]
    key_id: Text<'a>,
    /// `base64` (the default): the algorithm's own bytes, for ECDSA r ‖ s; `raw`: the same; `der`: for ECDSA in DER;
    /// `jws`: a compact JSON Web Signature with the message in it.
    #[serde(borrow, default)]
    #[schema(value_type = Option<String>, example = "base64")]
    output_format: Option<Text<'a>>,
    /// If given, the key must belong to this context.
    #[serde(borrow, default)]
    #[schema(value_type = Option<String>)]
    context: Option<Text<'a>>,
}

/// A signature.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct SignReply {
    /// In base64, or the text of a JWS.
    signature: String,
    #[schema(value_type = String, example = "Ed25519")]
    algorithm: &'static str,
    #[schema(value_type = String)]
    key_id: KeyId,
    /// What was asked for.
    #[schema(value_type = String, example = "base64")]
    format: &'static str,
}

/// Signs a message. Served at `/api/v1/crypto/sign` too.
#[utoipa::path(
    post,
    path = "/api/v1/signatures/sign",
    tag = "Signatures",
    request_body = SignRequest<'_>,
    responses((status = 200, body = SignReply), (status = "default", response = super::super::openapi::AnyProblem)),
)]
pub(in crate::api) async fn sign<S: Store>(call: &mut Call<'_, S>, body: &[u8]) -> Result<Reply, Error> {
    let request: SignRequest<'_> = extract::json(body)?;
    let format = request.output_format.as_ref().map(|name| format("output_format", name)).transpose()?;
    let format = format.unwrap_or_default();
    let key = signing_key(call, request.key_id.as_str()).await?;
    require_context(&key, request.context.as_ref())?;
    call.charge(Some(key.context()), Cost::ONE).await?;
    let message = request.message.decode("message")?;
    let signing = key.key().ok_or(Error::SigningKeyDisabled)?;
    let signature = traces::crypto(|| signing.sign(&message, format, &key.id().to_string()))?;
    key.count_signature();
    call.facts.bytes = message.len() as u64;
    Ok(reply(&SignReply {
        signature,
        algorithm: signing.algorithm().name(),
        key_id: key.id(),
        format: format.name(),
    }))
}
