use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::super::admin_contexts::UPDATE_ATTEMPTS;
use super::super::admin_keys::waiting_period;
use super::super::body::{Base64, Text};
use super::super::extract::page_size;
use super::super::{Call, Error, Reply, extract, reply};
use super::{allow, signing_key};
use crate::clock::Timestamp;
use crate::contexts::{Context, KeyState, KeySummary, KeyVersionStatus, StoredVersion};
use crate::crypto::sign::Jwk;
use crate::crypto::{KeyId, KeyVersion, Purpose, SignatureAlgorithm, SigningKey};
use crate::keyring::LoadedKey;
use crate::limits::Cost;
use crate::name::Name;
use crate::store::{self, StateChange, Store};

/// A signing key to make.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct GenerateRequest<'a> {
    /// `Ed25519`, `ECDSA-P256`, `ECDSA-P384`, `RSA-PSS-3072`, `ML-DSA-65` or `ML-DSA-87`, in any case.
    #[serde(borrow)]
    #[schema(value_type = String, example = "Ed25519")]
    algorithm: Text<'a>,
    /// The context that it belongs to: who may use that may use the key. `default` means `general` if there is no context
    /// of that name.
    #[serde(borrow)]
    #[schema(value_type = String, example = "general")]
    context: Text<'a>,
}

/// A signing key's public half.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct PublicKeyReply<'a> {
    #[schema(value_type = String)]
    key_id: KeyId,
    #[schema(value_type = String, example = "Ed25519")]
    algorithm: &'static str,
    #[schema(value_type = String)]
    context: &'a Name,
    /// RFC 7517; of Ed25519 RFC 8037, of ML-DSA RFC 9964.
    #[schema(value_type = Object)]
    public_key_jwk: Jwk,
    /// `SubjectPublicKeyInfo` in PEM.
    public_key_pem: String,
    /// The key alone, in base64: 32 bytes of Ed25519, an uncompressed point, an `RSAPublicKey` in DER, the encoding of
    /// FIPS 204.
    #[schema(value_type = String, format = Byte)]
    public_key_raw: Base64<'a>,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
}

impl<'a> PublicKeyReply<'a> {
    fn new(id: KeyId, key: &'a SigningKey, context: &'a Name, created_at: Timestamp) -> Self {
        let public_key = key.public_key();
        Self {
            key_id: id,
            algorithm: key.algorithm().name(),
            context,
            public_key_jwk: public_key.jwk(&id.to_string()),
            public_key_pem: public_key.pem(),
            public_key_raw: Base64(public_key.raw()),
            created_at,
        }
    }
}

/// A page of signing keys, by id.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct SigningKeyPage {
    keys: Vec<SigningKeyView>,
    /// The value of `after` for the next page; absent on the last. A page can be short, or empty, and not be the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    next: Option<KeyId>,
}

/// A signing key.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct SigningKeyView {
    #[schema(value_type = String)]
    key_id: KeyId,
    #[schema(value_type = Option<String>, example = "Ed25519")]
    algorithm: Option<&'static str>,
    #[schema(value_type = String)]
    context: Name,
    /// `enabled`, `scheduled_for_destruction` or `destroyed`.
    #[schema(value_type = String)]
    state: &'static str,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    state_changed_at: Timestamp,
    /// When it will be destroyed, while that is scheduled.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    destroy_at: Option<Timestamp>,
    /// How often it signed, to about ten seconds.
    signatures: u64,
    /// How often it verified, to about ten seconds.
    verifications: u64,
    #[schema(value_type = Option<String>, format = DateTime)]
    last_verified_at: Option<Timestamp>,
}

impl From<KeySummary> for SigningKeyView {
    fn from(KeySummary { context, key, status }: KeySummary) -> Self {
        Self {
            key_id: key.id,
            algorithm: SignatureAlgorithm::of_key_type(key.key_type).map(SignatureAlgorithm::name),
            context: context.name,
            state: status.record.state.name(),
            created_at: status.record.created_at,
            state_changed_at: status.state_changed_at,
            destroy_at: status.destroy_at,
            signatures: status.encrypts,
            verifications: status.decrypts,
            last_verified_at: status.last_decrypt_at,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    after: Option<KeyId>,
    limit: Option<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DeleteQuery {
    waiting_days: Option<u32>,
}

/// What clients of the Python service send when they were given no name, and what it means.
pub(in crate::api) const NO_CONTEXT: (&str, &str) = ("default", "general");

/// Makes a signing key. Every replica can use it at once.
#[utoipa::path(
    post,
    path = "/api/v1/signatures/keys/generate",
    tag = "Signatures",
    request_body = GenerateRequest<'_>,
    responses(
        (status = 200, body = PublicKeyReply<'_>),
        (status = "default", response = super::super::openapi::AnyProblem),
    ),
)]
pub(in crate::api) async fn generate<S: Store>(call: &mut Call<'_, S>, body: &[u8]) -> Result<Reply, Error> {
    let request: GenerateRequest<'_> = extract::json(body)?;
    let context = context(call, request.context.as_str()).await?.context().clone();
    call.charge(Some(&context), Cost::ONE).await?;
    let algorithm = request.algorithm.as_str().parse().map_err(|_| unknown_algorithm())?;
    let key = match algorithm {
        SignatureAlgorithm::RsaPss3072 => {
            call.app.make_rsa_key(move || SigningKey::generate(algorithm)).await?
        }
        _ => SigningKey::generate(algorithm)?,
    };
    let stored = store_new(call, &context, &key).await?;
    call.facts.detail = Some(format!("signing key {}, {algorithm}", stored.key.id));
    Ok(reply(&PublicKeyReply::new(stored.key.id, &key, &context.name, stored.version.created_at)))
}

/// The key of the context of that name, if the caller may use it.
async fn context<S: Store>(call: &mut Call<'_, S>, name: &str) -> Result<Arc<LoadedKey>, Error> {
    let (alias, meant) = NO_CONTEXT;
    if name == alias {
        let exists = call.app.keyring.encryption_key(call.tenant(), &alias.parse().expect("a name")).await?;
        return call.encryption_key(if exists.is_some() { alias } else { meant }).await;
    }
    call.encryption_key(name).await
}

async fn store_new<S: Store>(
    call: &Call<'_, S>,
    context: &Context,
    key: &SigningKey,
) -> Result<StoredVersion, Error> {
    for _ in 0..UPDATE_ATTEMPTS {
        let now = call.app.clock.now();
        let stored = StoredVersion::of_signing_key(context.clone(), key, call.active_kek()?, now)?;
        let result = call.app.store.create_key(&stored, None).await;
        call.app.changed().await;
        match result {
            Ok(()) => return Ok(stored),
            Err(store::Error::KekNotActive) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Error::Conflict)
}

fn unknown_algorithm() -> Error {
    let known: Vec<_> = SignatureAlgorithm::ALL.into_iter().map(SignatureAlgorithm::name).collect();
    Error::UnknownAlgorithmOf { kind: "signature algorithm", known: known.join(", ") }
}

/// Lists the signing keys of the contexts that the caller may use.
#[utoipa::path(
    get,
    path = "/api/v1/signatures/keys",
    tag = "Signatures",
    params(
        ("after" = Option<String>, Query, description = "Start behind this id"),
        ("limit" = Option<u32>, Query, description = "1 to 1000, default 100"),
    ),
    responses((status = 200, body = SigningKeyPage), (status = "default", response = super::super::openapi::AnyProblem)),
)]
pub(in crate::api) async fn list<S: Store>(call: &mut Call<'_, S>) -> Result<Reply, Error> {
    call.charge(None, Cost::ONE).await?;
    let query: ListQuery = extract::query(call.query)?;
    let limit = page_size(query.limit)?;
    let found = call.app.store.keys(call.tenant(), Purpose::Signing, query.after, limit).await?;
    let next = found.last().map(|last| last.key.id).filter(|_| found.len() == limit as usize);
    let usable = found.into_iter().filter(|key| call.principal().may_use(&key.context.name));
    Ok(reply(&SigningKeyPage { keys: usable.map(SigningKeyView::from).collect(), next }))
}

/// Shows the public half of a signing key.
#[utoipa::path(
    get,
    path = "/api/v1/signatures/keys/{id}/public",
    tag = "Signatures",
    params(("id" = String, Path)),
    responses(
        (status = 200, body = PublicKeyReply<'_>),
        (status = "default", response = super::super::openapi::AnyProblem),
    ),
)]
pub(in crate::api) async fn public<S: Store>(call: &mut Call<'_, S>) -> Result<Reply, Error> {
    let id = call.parameter(0).to_owned();
    let key = signing_key(call, &id).await?;
    call.charge(Some(key.context()), Cost::ONE).await?;
    let signing = key.key().ok_or(Error::SigningKeyDisabled)?;
    Ok(reply(&PublicKeyReply::new(key.id(), signing, &key.context().name, key.created_at())))
}

/// Schedules a signing key for destruction. It does nothing from now on; until then `restore` brings it back.
#[utoipa::path(
    delete,
    path = "/api/v1/signatures/keys/{id}",
    tag = "Signatures",
    params(
        ("id" = String, Path),
        ("waiting_days" = Option<u32>, Query, description = "Days until its destruction, 1 to 365, default 7"),
    ),
    responses((status = 200, body = SigningKeyView), (status = "default", response = super::super::openapi::AnyProblem)),
)]
pub(in crate::api) async fn delete<S: Store>(call: &mut Call<'_, S>) -> Result<Reply, Error> {
    let query: DeleteQuery = extract::query(call.query)?;
    let waiting = waiting_period(query.waiting_days)?;
    let destroy_at = call.store_time().await? + waiting;
    set_state(call, KeyState::Scheduled, Some(destroy_at)).await
}

/// Cancels the destruction of a signing key: it works as before.
#[utoipa::path(
    post,
    path = "/api/v1/signatures/keys/{id}/restore",
    tag = "Signatures",
    params(("id" = String, Path)),
    responses((status = 200, body = SigningKeyView), (status = "default", response = super::super::openapi::AnyProblem)),
)]
pub(in crate::api) async fn restore<S: Store>(call: &mut Call<'_, S>) -> Result<Reply, Error> {
    set_state(call, KeyState::Enabled, None).await
}

async fn set_state<S: Store>(
    call: &mut Call<'_, S>,
    to: KeyState,
    destroy_at: Option<Timestamp>,
) -> Result<Reply, Error> {
    call.charge(None, Cost::ONE).await?;
    let id: KeyId = call.parameter(0).parse().map_err(|_| Error::SigningKeyNotFound)?;
    let loaded = call.app.store.key_version(call.tenant(), id, KeyVersion::FIRST, Purpose::Signing).await?;
    let stored = loaded.value.ok_or(Error::SigningKeyNotFound)?;
    allow(call, id, &stored.context)?;
    let from = stored.version.state;
    call.facts.detail = Some(format!("signing key {id}, from {} to {}", from.name(), to.name()));
    if !from.signing_key_may_become(to) {
        return Err(Error::SigningKeyConflict(from));
    }
    let change = StateChange { from, to, destroy_at };
    let changed = call.app.store.set_key_state(&stored, &change, call.app.clock.now()).await?;
    call.app.changed().await;
    let status: KeyVersionStatus = changed.ok_or(Error::Conflict)?;
    let summary = KeySummary { context: stored.context, key: stored.key, status };
    Ok(reply(&SigningKeyView::from(summary)))
}
