use serde::{Deserialize, Serialize};

use super::super::body::Text;
use super::super::extract::invalid;
use super::super::{Call, Error, Reply, extract, reply};
use super::{format, require_context, signing_key};
use crate::crypto::sign::PublicKey;
use crate::crypto::{self, SignatureFormat};
use crate::limits::Cost;
use crate::store::Store;
use crate::telemetry::traces;

/// A signature, and what it is to be one of.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct VerifyRequest<'a> {
    /// The message, in base64.
    #[serde(borrow)]
    #[schema(value_type = String, format = Byte, example = "aGVsbG8=")]
    message: Text<'a>,
    /// As `sign` returned it.
    #[serde(borrow)]
    #[schema(value_type = String)]
    signature: Text<'a>,
    /// The key that must have made it; absent or empty, `public_key` is that.
    #[serde(borrow, default)]
    #[schema(value_type = Option<String>)]
    key_id: Option<Text<'a>>,
    /// A public key that is not kept here: PEM, or base64 of PEM or DER (`SubjectPublicKeyInfo`). Not looked at when there
    /// is a `key_id`: then the stored key alone counts.
    #[serde(borrow, default)]
    #[schema(value_type = Option<String>)]
    public_key: Option<Text<'a>>,
    /// As for `sign`; unless given, `jws` if the signature has the form of one and `base64` otherwise.
    #[serde(borrow, default)]
    #[schema(value_type = Option<String>, example = "base64")]
    format: Option<Text<'a>>,
    /// If given, the key must belong to this context.
    #[serde(borrow, default)]
    #[schema(value_type = Option<String>)]
    context: Option<Text<'a>>,
}

/// Whether the signature is good.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct VerifyReply<'a> {
    valid: bool,
    /// The algorithm of the key, which alone decides it.
    #[schema(value_type = String, example = "Ed25519")]
    algorithm: &'static str,
    /// Empty when the caller presented the key.
    key_id: &'a str,
    /// For people.
    #[schema(value_type = String)]
    message: &'static str,
}

/// Verifies a signature. One that is not good is an answer too. Served at `/api/v1/crypto/verify` too.
#[utoipa::path(
    post,
    path = "/api/v1/signatures/verify",
    tag = "Signatures",
    request_body = VerifyRequest<'_>,
    responses((status = 200, body = VerifyReply<'_>), (status = "default", response = super::super::openapi::AnyProblem)),
)]
pub(in crate::api) async fn verify<S: Store>(call: &mut Call<'_, S>, body: &[u8]) -> Result<Reply, Error> {
    let request: VerifyRequest<'_> = extract::json(body)?;
    match request.key_id.as_ref().map(Text::as_str) {
        None | Some("") => verify_presented(call, &request).await,
        Some(key_id) => verify_stored(call, &request, key_id).await,
    }
}

async fn verify_stored<S: Store>(
    call: &mut Call<'_, S>,
    request: &VerifyRequest<'_>,
    key_id: &str,
) -> Result<Reply, Error> {
    let key = signing_key(call, key_id).await?;
    require_context(&key, request.context.as_ref())?;
    call.charge(Some(key.context()), Cost::ONE).await?;
    let public_key = key.key().ok_or(Error::SigningKeyDisabled)?.public_key();
    let valid = is_valid(call, request, public_key)?;
    key.count_verification();
    Ok(answer(valid, public_key, &key.id().to_string()))
}

async fn verify_presented<S: Store>(
    call: &mut Call<'_, S>,
    request: &VerifyRequest<'_>,
) -> Result<Reply, Error> {
    call.charge(None, Cost::ONE).await?;
    let presented = request.public_key.as_ref().filter(|key| !key.as_str().is_empty());
    let presented = presented.ok_or_else(|| invalid("key_id", "name the key, or present a `public_key`"))?;
    if request.context.is_some() {
        return Err(invalid("context", "a key that is presented belongs to none"));
    }
    let bytes = match base64_simd::STANDARD.decode_to_vec(presented.as_str()) {
        Ok(bytes) => bytes,
        // PEM has characters that base64 has not.
        Err(_) => presented.as_str().as_bytes().to_vec(),
    };
    let public_key = PublicKey::presented(&bytes).map_err(Error::public_key)?;
    let valid = is_valid(call, request, &public_key)?;
    Ok(answer(valid, &public_key, ""))
}

fn is_valid<S: Store>(
    call: &mut Call<'_, S>,
    request: &VerifyRequest<'_>,
    key: &PublicKey,
) -> Result<bool, Error> {
    let signature = request.signature.as_str();
    let format = match &request.format {
        Some(name) => format("format", name)?,
        // Base64 has no dots.
        None if signature.contains('.') => SignatureFormat::Jws,
        None => SignatureFormat::Base64,
    };
    let message = request.message.decode("message")?;
    call.facts.bytes = message.len() as u64;
    match traces::crypto(|| key.verify(&message, signature, format)) {
        Ok(()) => Ok(true),
        Err(crypto::Error::AuthenticationFailed) => Ok(false),
        Err(crypto::Error::Malformed(reason)) if format == SignatureFormat::Jws => {
            Err(invalid("signature", reason))
        }
        Err(crypto::Error::Malformed(_)) => Err(Error::InvalidBase64("signature")),
        Err(other) => Err(other.into()),
    }
}

fn answer(valid: bool, key: &PublicKey, key_id: &str) -> Reply {
    let message = match valid {
        true => "this key made this signature of this message",
        false => "this is no signature of this message by this key",
    };
    reply(&VerifyReply { valid, algorithm: key.algorithm().name(), key_id, message })
}
