//! Signatures, and the keys that make them. A key belongs to a context, and whoever may use that may use the key.

pub(super) mod keys;
pub(super) mod sign;
pub(super) mod verify;

use std::sync::Arc;

use super::body::Text;
use super::extract::invalid;
use super::{Call, Error};
use crate::contexts::Context;
use crate::crypto::{KeyId, SignatureFormat};
use crate::keyring::LoadedSigningKey;
use crate::store::Store;

/// The signing key of that id, if the caller may use its context. What another tenant has does not exist.
async fn signing_key<S: Store>(call: &mut Call<'_, S>, id: &str) -> Result<Arc<LoadedSigningKey>, Error> {
    let id: KeyId = id.parse().map_err(|_| Error::SigningKeyNotFound)?;
    let key = call.app.keyring.signing_key(call.tenant(), id).await?.ok_or(Error::SigningKeyNotFound)?;
    allow(call, id, key.context())?;
    Ok(key)
}

/// Refuses a key of a context that is deleted, or that the caller may not use.
fn allow<S: Store>(call: &mut Call<'_, S>, id: KeyId, context: &Context) -> Result<(), Error> {
    if context.deleted_at.is_some() {
        return Err(Error::SigningKeyNotFound);
    }
    call.facts.context = Some(context.name.clone());
    call.facts.detail = Some(format!("signing key {id}"));
    if call.principal().may_use(&context.name) { Ok(()) } else { Err(Error::ContextForbidden) }
}

/// Refuses a key of another context than the caller named.
fn require_context(key: &LoadedSigningKey, named: Option<&Text<'_>>) -> Result<(), Error> {
    match named {
        Some(named) if named.as_str() != key.context().name.as_str() => Err(Error::SigningContextMismatch),
        _ => Ok(()),
    }
}

fn format(field: &'static str, name: &Text<'_>) -> Result<SignatureFormat, Error> {
    name.as_str().parse().map_err(|_| invalid(field, "one of base64, raw, der, jws"))
}
