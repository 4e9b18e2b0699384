use serde::Deserialize;

use super::body::Text;
use super::{Call, Error, Reply, extract};
use crate::store::Store;

/// Whose key is wanted.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeyBundleRequest<'a> {
    /// The context whose key would be used outside.
    #[serde(borrow)]
    #[schema(value_type = String, example = "user-pii")]
    context: Text<'a>,
}

/// Refuses to give a key in the clear, 403 `key_export_forbidden`. The Python package `cryptoserve` asks after each
/// encrypt and decrypt, and goes on using the service.
#[utoipa::path(
    post,
    path = "/api/v1/crypto/key-bundle",
    tag = "Data plane",
    request_body = KeyBundleRequest<'_>,
    responses((status = "default", response = super::openapi::AnyProblem)),
)]
pub(super) fn refuse<S: Store>(call: &mut Call<'_, S>, body: &[u8]) -> Result<Reply, Error> {
    let request: KeyBundleRequest<'_> = extract::json(body)?;
    // The same for every context: the answer says nothing of which there are.
    call.facts.context = request.context.as_str().parse().ok();
    Err(Error::ClearKeyForbidden)
}
