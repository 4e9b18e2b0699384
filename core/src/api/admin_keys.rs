//! The versions of a context's key, as administrators see and move them.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::admin_contexts::{UPDATE_ATTEMPTS, named};
use super::extract::{invalid, page_size};
use super::{Call, Error, Reply, extract, reply};
use crate::clock::Timestamp;
use crate::contexts::{Context, KeyState, KeyVersionStatus, Rotation, StoredVersion, next_version};
use crate::crypto::{ContextKey, KekId, KeyId, KeyVersion, Origin, Purpose};
use crate::limits::Cost;
use crate::name::Name;
use crate::store::{StateChange, Store};

/// Days between the decision to destroy a key version and its destruction.
const DEFAULT_WAITING_DAYS: u32 = 7;
const MAX_WAITING_DAYS: u32 = 365;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A rotation.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct RotateReply {
    #[schema(value_type = String)]
    context: Name,
    #[schema(value_type = String)]
    key_id: KeyId,
    /// The version that encrypts from now on; other replicas follow within a second.
    #[schema(value_type = u32)]
    key_version: KeyVersion,
    /// The version that only decrypts from now on.
    #[schema(value_type = u32)]
    previous_version: KeyVersion,
}

impl RotateReply {
    pub(super) fn new(context: Name, rotation: &Rotation) -> Self {
        let next = &rotation.next;
        let (key_id, key_version) = (next.key.id, next.version.version);
        Self { context, key_id, key_version, previous_version: rotation.previous }
    }
}

/// A page of a key's versions, newest first.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct KeyVersionPage {
    #[schema(value_type = String)]
    context: Name,
    #[schema(value_type = String)]
    key_id: KeyId,
    versions: Vec<KeyVersionView>,
    /// The value of `before` for the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u32>)]
    next: Option<KeyVersion>,
}

/// A version of a key.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct KeyVersionView {
    #[schema(value_type = u32)]
    version: KeyVersion,
    /// `enabled`, `decrypt_only`, `disabled`, `scheduled_for_destruction` or `destroyed`.
    #[schema(value_type = String)]
    state: &'static str,
    /// `generated` here, or `imported`.
    #[schema(value_type = String)]
    origin: &'static str,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    state_changed_at: Timestamp,
    /// When it will be destroyed, while that is scheduled.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    destroy_at: Option<Timestamp>,
    /// Messages of algorithms with short nonces, reserved before they are encrypted.
    messages_reserved: u64,
    /// How often it encrypted or made a MAC, to about ten seconds.
    encrypts: u64,
    /// How often it decrypted or verified a MAC, to about ten seconds.
    decrypts: u64,
    #[schema(value_type = Option<String>, format = DateTime)]
    last_decrypt_at: Option<Timestamp>,
    /// Fingerprint of the master key that it is wrapped under; absent once destroyed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    kek_id: Option<String>,
}

impl From<KeyVersionStatus> for KeyVersionView {
    fn from(status: KeyVersionStatus) -> Self {
        Self {
            version: status.record.version,
            state: status.record.state.name(),
            origin: match status.record.origin {
                Origin::Generated => "generated",
                Origin::Imported => "imported",
            },
            created_at: status.record.created_at,
            state_changed_at: status.state_changed_at,
            destroy_at: status.destroy_at,
            messages_reserved: status.messages_reserved,
            encrypts: status.encrypts,
            decrypts: status.decrypts,
            last_decrypt_at: status.last_decrypt_at,
            kek_id: status.kek_id.as_ref().map(KekId::to_string),
        }
    }
}

/// The state that a version is to have.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SetKeyState {
    /// `decrypt_only`, `disabled` or `scheduled_for_destruction`.
    state: String,
    /// With `scheduled_for_destruction`: days until then, 1 to 365; 7 unless given.
    waiting_days: Option<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    before: Option<KeyVersion>,
    limit: Option<u32>,
}

/// Makes a new version of the context's key, which encrypts from now on; the one before only decrypts.
#[utoipa::path(
    post,
    path = "/api/admin/contexts/{name}/rotate-key",
    tag = "Administration",
    params(("name" = String, Path)),
    responses((status = 200, body = RotateReply), (status = "default", response = super::openapi::AnyProblem)),
)]
pub(super) async fn rotate<S: Store>(call: &mut Call<'_, S>) -> Result<Reply, Error> {
    call.charge(None, Cost::ONE).await?;
    let name = named(call)?;
    let rotation = rotate_to(call, &name, None).await?;
    let (key_version, previous_version) = (rotation.next.version.version, rotation.previous);
    call.facts.key_version = Some(key_version);
    call.facts.detail = Some(format!("version {previous_version} only decrypts from now on"));
    Ok(reply(&RotateReply::new(name, &rotation)))
}

/// Lists the versions of the context's key, newest first, with what one wants to know before destroying one.
#[utoipa::path(
    get,
    path = "/api/admin/contexts/{name}/keys",
    tag = "Administration",
    params(
        ("name" = String, Path),
        ("before" = Option<u32>, Query, description = "Start below this version"),
        ("limit" = Option<u32>, Query, description = "1 to 1000, default 100"),
    ),
    responses((status = 200, body = KeyVersionPage), (status = "default", response = super::openapi::AnyProblem)),
)]
pub(super) async fn list<S: Store>(call: &mut Call<'_, S>) -> Result<Reply, Error> {
    call.charge(None, Cost::ONE).await?;
    let query: ListQuery = extract::query(call.query)?;
    let limit = page_size(query.limit)?;
    let context = context(call).await?;
    let found = call.app.store.key_versions(call.tenant(), context.key_id, query.before, limit).await?;
    let full = found.len() == limit as usize;
    let next = found.last().map(|last| last.record.version).filter(|&last| full && last > KeyVersion::FIRST);
    let versions = found.into_iter().map(KeyVersionView::from).collect();
    Ok(reply(&KeyVersionPage { context: context.name, key_id: context.key_id, versions, next }))
}

/// Disables a version that only decrypts, enables it again to decrypt, schedules a disabled one for destruction, or
/// cancels that.
#[utoipa::path(
    put,
    path = "/api/admin/contexts/{name}/keys/{version}",
    tag = "Administration",
    params(("name" = String, Path), ("version" = u32, Path)),
    request_body = SetKeyState,
    responses((status = 200, body = KeyVersionView), (status = "default", response = super::openapi::AnyProblem)),
)]
pub(super) async fn set_state<S: Store>(call: &mut Call<'_, S>, body: &[u8]) -> Result<Reply, Error> {
    call.charge(None, Cost::ONE).await?;
    let request: SetKeyState = extract::json(body)?;
    let to = KeyState::from_name(&request.state)
        .ok_or_else(|| invalid("state", "one of decrypt_only, disabled, scheduled_for_destruction"))?;
    let waiting = match (to, request.waiting_days) {
        (KeyState::Scheduled, days) => Some(waiting_period(days)?),
        (_, None) => None,
        (_, Some(_)) => return Err(invalid("waiting_days", "only with `scheduled_for_destruction`")),
    };
    let version = version(call).await?;
    let from = version.version.state;
    call.facts.detail = Some(format!("from {} to {}", from.name(), to.name()));
    if !from.may_become(to) {
        return Err(Error::KeyStateConflict { from, to });
    }
    let destroy_at = match waiting {
        Some(waiting) => Some(call.store_time().await? + waiting),
        None => None,
    };
    let change = StateChange { from, to, destroy_at };
    let changed = call.app.store.set_key_state(&version, &change, call.app.clock.now()).await?;
    call.app.changed().await;
    Ok(reply(&KeyVersionView::from(changed.ok_or(Error::Conflict)?)))
}

/// The time between the decision to destroy a key and its destruction.
pub(super) fn waiting_period(days: Option<u32>) -> Result<Duration, Error> {
    match days.unwrap_or(DEFAULT_WAITING_DAYS) {
        days @ 1..=MAX_WAITING_DAYS => Ok(DAY * days),
        _ => Err(invalid("waiting_days", format!("1 to {MAX_WAITING_DAYS}"))),
    }
}

/// Makes the next version of the context's key, of fresh bytes or those that a transport key brought, and stores it; again
/// if others got ahead. Two rotations at once are two rotations.
pub(super) async fn rotate_to<S: Store>(
    call: &Call<'_, S>,
    name: &Name,
    imported: Option<(&ContextKey, KeyId)>,
) -> Result<Rotation, Error> {
    for _ in 0..UPDATE_ATTEMPTS {
        let current = call.app.store.enabled_version(call.tenant(), name).await?.value;
        let current = current.ok_or(Error::ContextNotFound)?;
        let (key, transport_key) = imported.unzip();
        // Its successor inherits what the row says, which must first be shown to be true.
        call.app.keyring.keks().unwrap(&current)?;
        let mut rotation = next_version(&current, key, call.active_kek()?, call.app.clock.now())?;
        rotation.transport_key = transport_key;
        let stored = call.app.store.rotate(&rotation).await?;
        call.app.changed().await;
        if stored {
            return Ok(rotation);
        }
    }
    Err(Error::Conflict)
}

/// The context that the path names, deleted or not.
async fn context<S: Store>(call: &mut Call<'_, S>) -> Result<Context, Error> {
    let name = named(call)?;
    call.app.store.context(call.tenant(), &name).await?.ok_or(Error::ContextNotFound)
}

/// The version that the path names.
pub(super) async fn version<S: Store>(call: &mut Call<'_, S>) -> Result<StoredVersion, Error> {
    let context = context(call).await?;
    let text = call.parameter(1);
    let number = text.parse::<u32>().ok().and_then(|number| KeyVersion::try_from(number).ok());
    // As it is written in replies: `+1` and `01` name nothing.
    let number = number.filter(|number| number.to_string() == text).ok_or(Error::KeyVersionNotFound)?;
    call.facts.key_version = Some(number);
    let version =
        call.app.store.key_version(call.tenant(), context.key_id, number, Purpose::ContextKey).await?;
    version.value.ok_or(Error::KeyVersionNotFound)
}
