//! Bringing keys in and taking them out, wrapped on the way (`CKM_RSA_AES_KEY_WRAP` of PKCS #11). No key ever leaves, or
//! arrives, as it is.

use serde::{Deserialize, Serialize};

use super::admin_contexts::{UPDATE_ATTEMPTS, named};
use super::admin_keys::{RotateReply, rotate_to, version};
use super::body::{Base64, Text};
use super::respond::created;
use super::{Call, Error, Reply, extract, reply};
use crate::clock::Timestamp;
use crate::contexts::{Context, KeyState, StoredVersion, TRANSPORT_KEY_LIFETIME};
use crate::crypto::{self, ContextKey, KeyId, KeyVersion, Purpose, TransportKey, transport};
use crate::keyring;
use crate::limits::Cost;
use crate::secret::Secret;
use crate::store::{self, Store};

/// How keys are wrapped: RSAES-OAEP with SHA-256 of an AES-256 key, and under that AES-KWP (RFC 5649).
const ALGORITHM: &str = "RSA_AES_KEY_WRAP_SHA_256";

/// A key to wrap a key to.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct TransportKeyReply {
    #[schema(value_type = String)]
    transport_key_id: KeyId,
    #[schema(value_type = String, example = "RSA_AES_KEY_WRAP_SHA_256")]
    algorithm: &'static str,
    /// RSA with 3072 bits.
    public_key_pem: String,
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
}

/// A key to bring.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ImportRequest<'a> {
    /// A transport key of this context that was not used yet.
    #[serde(borrow)]
    #[schema(value_type = String)]
    transport_key_id: Text<'a>,
    /// 32 bytes, wrapped to it; in base64.
    #[serde(borrow)]
    #[schema(value_type = String, format = Byte)]
    wrapped_key: Text<'a>,
}

/// To whom a key is to go.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExportRequest<'a> {
    /// `SubjectPublicKeyInfo` in PEM of an RSA key of 3072 to 8192 bits.
    #[serde(borrow)]
    #[schema(value_type = String)]
    public_key_pem: Text<'a>,
}

/// A key on its way.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct ExportReply<'a> {
    /// 32 bytes, wrapped to the public key; in base64.
    #[schema(value_type = String, format = Byte)]
    wrapped_key: Base64<'a>,
    #[schema(value_type = String, example = "RSA_AES_KEY_WRAP_SHA_256")]
    algorithm: &'static str,
    #[schema(value_type = u32)]
    key_version: KeyVersion,
    /// Tells whether two keys are the same and nothing else; in base64.
    #[schema(value_type = String, format = Byte)]
    key_check_value: Base64<'a>,
}

/// Makes a key to which a key for the context can be wrapped: once, and within 24 hours.
#[utoipa::path(
    post,
    path = "/api/admin/contexts/{name}/transport-key",
    tag = "Administration",
    params(("name" = String, Path)),
    responses((status = 201, body = TransportKeyReply), (status = "default", response = super::openapi::AnyProblem)),
)]
pub(super) async fn make_transport_key<S: Store>(call: &mut Call<'_, S>) -> Result<Reply, Error> {
    call.charge(None, Cost::ONE).await?;
    let context = context(call).await?;
    let key = call.app.make_rsa_key(TransportKey::generate).await?;
    for _ in 0..UPDATE_ATTEMPTS {
        let now = call.app.clock.now();
        let expires_at = now + TRANSPORT_KEY_LIFETIME;
        let stored = StoredVersion::of_transport_key(context.clone(), &key, call.active_kek()?, now)?;
        let result = call.app.store.create_key(&stored, Some(expires_at)).await;
        call.app.changed().await;
        match result {
            Ok(()) => {
                let (transport_key_id, public_key_pem) = (stored.key.id, key.public_key_pem());
                call.facts.detail = Some(format!("transport key {transport_key_id}"));
                return Ok(created(&TransportKeyReply {
                    transport_key_id,
                    algorithm: ALGORITHM,
                    public_key_pem,
                    expires_at,
                }));
            }
            Err(store::Error::KekNotActive) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Error::Conflict)
}

/// Makes the key that was wrapped to a transport key the newest version of the context's key, which encrypts from now on;
/// the one before only decrypts. The transport key cannot be used again.
#[utoipa::path(
    post,
    path = "/api/admin/contexts/{name}/keys/import",
    tag = "Administration",
    params(("name" = String, Path)),
    request_body = ImportRequest<'_>,
    responses((status = 200, body = RotateReply), (status = "default", response = super::openapi::AnyProblem)),
)]
pub(super) async fn import<S: Store>(call: &mut Call<'_, S>, body: &[u8]) -> Result<Reply, Error> {
    call.charge(None, Cost::ONE).await?;
    let request: ImportRequest<'_> = extract::json(body)?;
    let wrapped_key = request.wrapped_key.decode("wrapped_key")?;
    let context = context(call).await?;
    let (transport_key_id, transport_key) =
        transport_key(call, &context, request.transport_key_id.as_str()).await?;
    let fingerprint = fingerprint(&transport_key.public_key_pem())?;
    call.facts.detail = Some(format!("transport key {transport_key_id}, {fingerprint}"));
    let key = context_key(&unwrap(&transport_key, &wrapped_key)?)?;
    // As another version, or in another context, its count of messages would begin anew.
    if call.app.store.has_check_value(call.tenant(), key.check_value()?).await? {
        return Err(Error::KeyKnown);
    }
    let rotation = rotate_to(call, &context.name, Some((&key, transport_key_id))).await?;
    let (key_version, previous_version) = (rotation.next.version.version, rotation.previous);
    call.facts.key_version = Some(key_version);
    call.facts.detail = Some(format!(
        "imported through transport key {transport_key_id}, {fingerprint}; version {previous_version} only decrypts from \
         now on"
    ));
    Ok(reply(&RotateReply::new(context.name, &rotation)))
}

/// Wraps a version of the context's key to a public key, if the context was made exportable.
#[utoipa::path(
    post,
    path = "/api/admin/contexts/{name}/keys/{version}/export",
    tag = "Administration",
    params(("name" = String, Path), ("version" = u32, Path)),
    request_body = ExportRequest<'_>,
    responses((status = 200, body = ExportReply<'_>), (status = "default", response = super::openapi::AnyProblem)),
)]
pub(super) async fn export<S: Store>(call: &mut Call<'_, S>, body: &[u8]) -> Result<Reply, Error> {
    call.charge(None, Cost::ONE).await?;
    let request: ExportRequest<'_> = extract::json(body)?;
    let to = request.public_key_pem.as_str();
    // Before the lookup, so that what the audit trail says of a refusal is complete.
    let recipient = fingerprint(to)?;
    call.facts.detail = Some(recipient.clone());
    context(call).await?;
    let stored = version(call).await?;
    // What is bound into the wrap, and not the context's word for it.
    if !stored.key.exportable {
        return Err(Error::KeyExportForbidden);
    }
    if !stored.version.state.decrypts() {
        return Err(Error::KeyVersionDisabled);
    }
    let wrapped = stored.wrapped.as_ref().ok_or(Error::KeyVersionDisabled)?;
    let key = call.app.keyring.keks().unwrap(&stored)?;
    let wrapped_key = transport::wrap_for(to, key.expose()).map_err(Error::public_key)?;
    // Counted before it leaves: nobody here will know what is encrypted with it elsewhere.
    if !call.app.store.mark_exported(&stored).await? {
        return Err(Error::KeyVersionDisabled);
    }
    let key_version = stored.version.version;
    call.facts.detail = Some(format!("exported to {recipient}"));
    Ok(reply(&ExportReply {
        wrapped_key: Base64(&wrapped_key),
        algorithm: ALGORITHM,
        key_version,
        key_check_value: Base64(&wrapped.check_value),
    }))
}

/// The context that the path names. Unlike what else administrators do with a context this concerns the key itself, so they
/// need to be allowed to use it.
async fn context<S: Store>(call: &mut Call<'_, S>) -> Result<Context, Error> {
    let name = named(call)?;
    if !call.principal().may_use(&name) {
        return Err(Error::ContextForbidden);
    }
    let context = call.app.store.context(call.tenant(), &name).await?;
    context.filter(|context| context.deleted_at.is_none()).ok_or(Error::ContextNotFound)
}

/// A transport key of this context that can still be used.
async fn transport_key<S: Store>(
    call: &Call<'_, S>,
    context: &Context,
    id: &str,
) -> Result<(KeyId, TransportKey), Error> {
    let id: KeyId = id.parse().map_err(|_| Error::TransportKeyNotFound)?;
    let loaded = call.app.store.key_version(call.tenant(), id, KeyVersion::FIRST, Purpose::Transport).await?;
    let expired =
        |stored: &StoredVersion| call.app.clock.now() >= stored.version.created_at + TRANSPORT_KEY_LIFETIME;
    let stored = loaded
        .value
        .filter(|stored| stored.context.id == context.id && stored.version.state == KeyState::Scheduled)
        .filter(|stored| !expired(stored))
        .ok_or(Error::TransportKeyNotFound)?;
    let wrapped = stored.wrapped.as_ref().ok_or(Error::TransportKeyNotFound)?;
    let keks = call.app.keyring.keks();
    let kek = keks.get(wrapped.kek_id).map_err(|missing| Error::Internal(missing.into()))?;
    // What is wrong with a stored row is no fault of the request.
    let key = stored.unwrap_transport_key(kek).map_err(keyring::Error::Key)?;
    Ok((id, key))
}

fn unwrap(transport_key: &TransportKey, wrapped_key: &[u8]) -> Result<Secret<Vec<u8>>, Error> {
    transport_key.unwrap(wrapped_key).map_err(|error| match error {
        crypto::Error::Malformed(reason) => Error::InvalidWrappedKey(reason),
        crypto::Error::AuthenticationFailed => {
            Error::InvalidWrappedKey("it was altered, or wrapped to another key or in another way")
        }
        other => other.into(),
    })
}

/// A key that may become a version of a context's key: of the right length, and not one that was never random.
fn context_key(bytes: &Secret<Vec<u8>>) -> Result<ContextKey, Error> {
    let [first, rest @ ..] = &bytes.expose()[..] else { return Err(WRONG_LENGTH) };
    if rest.len() != 31 {
        return Err(WRONG_LENGTH);
    }
    if rest.iter().fold(0, |different, byte| different | (byte ^ first)) == 0 {
        return Err(Error::WeakKey);
    }
    Ok(ContextKey::from_bytes(bytes.expose())?)
}

const WRONG_LENGTH: Error = Error::InvalidWrappedKey("the key in it has not 32 bytes");

/// The SHA-256 of a public key, as it is written for people.
fn fingerprint(public_key_pem: &str) -> Result<String, Error> {
    let spki = transport::public_key(public_key_pem).map_err(Error::public_key)?;
    Ok(format!("sha256:{}", hex::encode(crypto::HashAlgorithm::Sha256.digest(&spki))))
}

impl Error {
    /// What is wrong with a public key that a caller presents.
    pub(super) fn public_key(error: crypto::Error) -> Self {
        match error {
            crypto::Error::Malformed(reason) => Self::InvalidPublicKey(reason),
            other => other.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_keys_of_32_bytes_that_can_be_random_are_taken() {
        for length in [0, 1, 16, 31, 33, 64] {
            let refused = context_key(&Secret::new((0..length).collect()));
            assert!(matches!(refused, Err(Error::InvalidWrappedKey(_))), "{length}");
        }
        for byte in [0, 1, 0x80, 0xff] {
            assert!(matches!(context_key(&Secret::new(vec![byte; 32])), Err(Error::WeakKey)), "{byte}");
        }
        let mut almost = vec![0; 32];
        almost[31] = 1;
        assert!(context_key(&Secret::new(almost)).is_ok());
    }
}
