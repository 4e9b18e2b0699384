use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::body::Base64;
use super::{Call, Error, Reply, extract, reply};
use crate::crypto::random;
use crate::limits::Cost;
use crate::store::Store;

/// Most bytes of one request.
const MAX_BYTES: usize = 65_536;

/// How much.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RandomRequest {
    /// 1 to 65536.
    #[schema(minimum = 1, maximum = 65536, example = 32)]
    bytes: usize,
}

/// Random bytes.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct RandomReply<'a> {
    /// In base64.
    #[schema(value_type = String, format = Byte)]
    random_bytes: Base64<'a>,
    length_bits: usize,
}

/// Gives random bytes that are fit for keys.
#[utoipa::path(
    post,
    path = "/api/v1/crypto/random",
    tag = "Data plane",
    request_body = RandomRequest,
    responses((status = 200, body = RandomReply<'_>), (status = "default", response = super::openapi::AnyProblem)),
)]
pub(super) async fn random<S: Store>(call: &mut Call<'_, S>, body: &[u8]) -> Result<Reply, Error> {
    call.charge(None, Cost::ONE).await?;
    let request: RandomRequest = extract::json(body)?;
    if !(1..=MAX_BYTES).contains(&request.bytes) {
        return Err(Error::InvalidRequest(format!("`bytes` is 1 to {MAX_BYTES}")));
    }
    let mut bytes = Zeroizing::new(vec![0; request.bytes]);
    random::fill(&mut bytes)?;
    call.facts.bytes = bytes.len() as u64;
    Ok(reply(&RandomReply { random_bytes: Base64(&bytes), length_bits: bytes.len() * 8 }))
}
