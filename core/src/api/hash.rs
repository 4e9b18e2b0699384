use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;

use super::body::{Base64, Text};
use super::{Call, Error, Reply, extract, reply};
use crate::crypto::HashAlgorithm;
use crate::limits::Cost;
use crate::store::Store;

/// What to hash.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct HashRequest<'a> {
    /// In base64.
    #[serde(borrow)]
    #[schema(value_type = String, format = Byte, example = "aGVsbG8=")]
    data: Text<'a>,
    /// `sha256` unless given.
    #[serde(borrow, default)]
    #[schema(value_type = Option<String>, example = "sha256")]
    algorithm: Option<Text<'a>>,
}

/// A digest.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct HashReply<'a> {
    /// In base64.
    #[schema(value_type = String, format = Byte)]
    digest: Base64<'a>,
    /// The same in hexadecimal.
    hex: String,
    #[schema(value_type = String, example = "sha256")]
    algorithm: &'static str,
    length_bits: usize,
}

/// A digest, and of what it should be.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct HashVerifyRequest<'a> {
    /// In base64.
    #[serde(borrow)]
    #[schema(value_type = String, format = Byte)]
    data: Text<'a>,
    /// In hexadecimal or base64.
    #[serde(borrow)]
    #[schema(value_type = String)]
    expected_digest: Text<'a>,
    /// `sha256` unless given.
    #[serde(borrow, default)]
    #[schema(value_type = Option<String>)]
    algorithm: Option<Text<'a>>,
}

/// Whether it is.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct HashVerifyReply {
    valid: bool,
    #[schema(value_type = String, example = "sha256")]
    algorithm: &'static str,
}

/// Hashes data.
#[utoipa::path(
    post,
    path = "/api/v1/crypto/hash",
    tag = "Data plane",
    request_body = HashRequest<'_>,
    responses((status = 200, body = HashReply<'_>), (status = "default", response = super::openapi::AnyProblem)),
)]
pub(super) async fn hash<S: Store>(call: &mut Call<'_, S>, body: &[u8]) -> Result<Reply, Error> {
    call.charge(None, Cost::ONE).await?;
    let request: HashRequest<'_> = extract::json(body)?;
    let algorithm = algorithm(request.algorithm.as_ref())?;
    let data = request.data.decode("data")?;
    let digest = algorithm.digest(&data);
    call.facts.bytes = data.len() as u64;
    Ok(reply(&HashReply {
        digest: Base64(&digest),
        hex: hex::encode(&digest),
        algorithm: algorithm.name(),
        length_bits: digest.len() * 8,
    }))
}

/// Compares data with a digest, in constant time.
#[utoipa::path(
    post,
    path = "/api/v1/crypto/hash/verify",
    tag = "Data plane",
    request_body = HashVerifyRequest<'_>,
    responses((status = 200, body = HashVerifyReply), (status = "default", response = super::openapi::AnyProblem)),
)]
pub(super) async fn verify<S: Store>(call: &mut Call<'_, S>, body: &[u8]) -> Result<Reply, Error> {
    call.charge(None, Cost::ONE).await?;
    let request: HashVerifyRequest<'_> = extract::json(body)?;
    let algorithm = algorithm(request.algorithm.as_ref())?;
    let expected = request.expected_digest.decode_hex_or_base64("expected_digest")?;
    let data = request.data.decode("data")?;
    let valid = algorithm.digest(&data).ct_eq(&expected).into();
    call.facts.bytes = data.len() as u64;
    Ok(reply(&HashVerifyReply { valid, algorithm: algorithm.name() }))
}

fn algorithm(asked: Option<&Text<'_>>) -> Result<HashAlgorithm, Error> {
    extract::algorithm(asked, "hash algorithm", HashAlgorithm::ALL.map(HashAlgorithm::name))
}
