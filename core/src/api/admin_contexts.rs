use serde::{Deserialize, Serialize};

use super::extract::{check_description, invalid, next_page, page_size};
use super::respond::created;
use super::{Call, Error, Reply, extract, reply};
use crate::clock::Timestamp;
use crate::contexts::{Context, MAX_ROTATION_DAYS, NewContext, RotationPolicy, StoredVersion, new_context};
use crate::crypto::{Algorithm, AlgorithmSet, KeyId};
use crate::id::ContextId;
use crate::limits::Cost;
use crate::name::Name;
use crate::store::{self, ContextUpdate, Store};

/// How often a change is tried that others get ahead of.
pub(super) const UPDATE_ATTEMPTS: u32 = 5;

/// A context to make.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateContext {
    /// 1 to 64 characters of a-z, 0-9, '.', '_' and '-'; never changes.
    name: String,
    #[serde(default)]
    description: String,
    /// What `encrypt` uses; XAES-256-GCM unless given.
    algorithm: Option<String>,
    /// What callers may choose instead; `algorithm` alone unless given.
    allowed_algorithms: Option<Vec<String>>,
    /// Whether the key may ever be exported; never changes.
    #[serde(default)]
    exportable: bool,
    /// Days from one rotation of the key to the next, 1 to 3650; 0 for never.
    #[serde(default)]
    rotation_days: u32,
    /// How many versions of the key may decrypt after a rotation, the new one among them; older ones become disabled,
    /// which can be undone. 0 for all.
    #[serde(default)]
    keep_last: u32,
}

/// Changes of a context; what is absent stays.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct UpdateContext {
    description: Option<String>,
    algorithm: Option<String>,
    allowed_algorithms: Option<Vec<String>>,
    /// Days from now to the next rotation of the key, and from that to the one after it, 1 to 3650; 0 for never. The same
    /// number as before changes nothing.
    rotation_days: Option<u32>,
    /// How many versions of the key may decrypt after the next rotation; 0 for all.
    keep_last: Option<u32>,
}

/// A context as administrators see it.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct ContextView {
    #[schema(value_type = String)]
    id: ContextId,
    #[schema(value_type = String)]
    name: Name,
    description: String,
    #[schema(value_type = String)]
    algorithm: Algorithm,
    #[schema(value_type = Vec<String>)]
    allowed_algorithms: AlgorithmSet,
    #[schema(value_type = String)]
    key_id: KeyId,
    exportable: bool,
    rotation_days: u32,
    /// When the key is next rotated by itself.
    #[schema(value_type = Option<String>, format = DateTime)]
    rotate_at: Option<Timestamp>,
    keep_last: u32,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
    /// Set while the context is deleted. Its keys are kept and it can be restored.
    #[schema(value_type = Option<String>, format = DateTime)]
    deleted_at: Option<Timestamp>,
}

/// A page of contexts, by name.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct ContextPage {
    contexts: Vec<ContextView>,
    /// The value of `after` for the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    next: Option<Name>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    after: Option<Name>,
    limit: Option<u32>,
    #[serde(default)]
    deleted: bool,
}

impl From<Context> for ContextView {
    fn from(context: Context) -> Self {
        Self {
            id: context.id,
            name: context.name,
            description: context.description,
            algorithm: context.algorithm,
            allowed_algorithms: context.allowed_algorithms,
            key_id: context.key_id,
            exportable: context.exportable,
            rotation_days: context.rotation.days,
            rotate_at: context.rotate_at,
            keep_last: context.rotation.keep_last,
            created_at: context.created_at,
            updated_at: context.updated_at,
            deleted_at: context.deleted_at,
        }
    }
}

/// Lists the tenant's contexts, or with `deleted=true` those that are deleted.
#[utoipa::path(
    get,
    path = "/api/admin/contexts",
    tag = "Administration",
    params(
        ("after" = Option<String>, Query, description = "Start behind this name"),
        ("limit" = Option<u32>, Query, description = "1 to 1000, default 100"),
        ("deleted" = Option<bool>, Query, description = "List deleted contexts instead"),
    ),
    responses((status = 200, body = ContextPage), (status = "default", response = super::openapi::AnyProblem)),
)]
pub(super) async fn list<S: Store>(call: &mut Call<'_, S>) -> Result<Reply, Error> {
    call.charge(None, Cost::ONE).await?;
    let query: ListQuery = extract::query(call.query)?;
    let limit = page_size(query.limit)?;
    let found = call.app.store.contexts(call.tenant(), query.deleted, query.after.as_ref(), limit).await?;
    let next = next_page(&found, limit, |context| &context.name);
    let contexts = found.into_iter().map(ContextView::from).collect();
    Ok(reply(&ContextPage { contexts, next }))
}

/// Makes a context with the first version of its key.
#[utoipa::path(
    post,
    path = "/api/admin/contexts",
    tag = "Administration",
    request_body = CreateContext,
    responses((status = 201, body = ContextView), (status = "default", response = super::openapi::AnyProblem)),
)]
pub(super) async fn create<S: Store>(call: &mut Call<'_, S>, body: &[u8]) -> Result<Reply, Error> {
    call.charge(None, Cost::ONE).await?;
    let request: CreateContext = extract::json(body)?;
    let name: Name = request.name.parse().map_err(|error| invalid("name", error))?;
    call.facts.context = Some(name.clone());
    check_description(&request.description)?;
    let algorithm = match &request.algorithm {
        Some(name) => parse_algorithm(name)?,
        None => Algorithm::default(),
    };
    let allowed =
        parse_algorithms(request.allowed_algorithms.as_deref().unwrap_or_default())?.with(algorithm);
    let rotation = RotationPolicy { days: request.rotation_days, keep_last: request.keep_last };
    check_rotation_days(rotation.days)?;
    let new = NewContext {
        tenant: call.tenant(),
        name,
        description: request.description,
        algorithm,
        allowed_algorithms: allowed,
        exportable: request.exportable,
        rotation,
    };
    let stored = store_new(call, new).await?;
    call.app.changed().await;
    Ok(created(&ContextView::from(stored.context)))
}

async fn store_new<S: Store>(call: &Call<'_, S>, new: NewContext) -> Result<StoredVersion, Error> {
    for _ in 0..UPDATE_ATTEMPTS {
        let stored = new_context(new.clone(), call.active_kek()?, call.app.clock.now())?;
        match call.app.store.create_context(&stored).await {
            Ok(()) => return Ok(stored),
            Err(store::Error::KekNotActive) => call.app.changed().await,
            Err(store::Error::Exists) => {
                return Err(Error::NameTaken(
                    " by another context, which may be deleted: see GET …?deleted=true",
                ));
            }
            Err(error) => return Err(error.into()),
        }
    }
    Err(Error::Conflict)
}

/// Shows a context, deleted or not.
#[utoipa::path(
    get,
    path = "/api/admin/contexts/{name}",
    tag = "Administration",
    params(("name" = String, Path)),
    responses((status = 200, body = ContextView), (status = "default", response = super::openapi::AnyProblem)),
)]
pub(super) async fn get<S: Store>(call: &mut Call<'_, S>) -> Result<Reply, Error> {
    call.charge(None, Cost::ONE).await?;
    let name = named(call)?;
    found(call.app.store.context(call.tenant(), &name).await?)
}

/// Changes a context. Ciphertexts that exist stay as they are and can be decrypted.
#[utoipa::path(
    put,
    path = "/api/admin/contexts/{name}",
    tag = "Administration",
    params(("name" = String, Path)),
    request_body = UpdateContext,
    responses((status = 200, body = ContextView), (status = "default", response = super::openapi::AnyProblem)),
)]
pub(super) async fn update<S: Store>(call: &mut Call<'_, S>, body: &[u8]) -> Result<Reply, Error> {
    call.charge(None, Cost::ONE).await?;
    let name = named(call)?;
    let request: UpdateContext = extract::json(body)?;
    if let Some(description) = &request.description {
        check_description(description)?;
    }
    check_rotation_days(request.rotation_days.unwrap_or(0))?;
    let algorithm = request.algorithm.as_deref().map(parse_algorithm).transpose()?;
    let allowed = request.allowed_algorithms.as_deref().map(parse_algorithms).transpose()?;
    for _ in 0..UPDATE_ATTEMPTS {
        let current = call.app.store.context(call.tenant(), &name).await?;
        let current = current.filter(|context| context.deleted_at.is_none()).ok_or(Error::ContextNotFound)?;
        let algorithms = (algorithm.is_some() || allowed.is_some()).then(|| {
            let algorithm = algorithm.unwrap_or(current.algorithm);
            (algorithm, allowed.unwrap_or(current.allowed_algorithms).with(algorithm))
        });
        let update = ContextUpdate {
            description: request.description.clone(),
            algorithms,
            rotation_days: request.rotation_days,
            keep_last: request.keep_last,
            read_at: Some(current.updated_at),
        };
        let now = call.app.clock.now();
        if let Some(updated) = call.app.store.update_context(call.tenant(), &name, &update, now).await? {
            call.app.changed().await;
            return Ok(reply(&ContextView::from(updated)));
        }
    }
    Err(Error::Conflict)
}

/// Deletes a context: it answers as if it did not exist. Its keys are kept, and it can be restored.
#[utoipa::path(
    delete,
    path = "/api/admin/contexts/{name}",
    tag = "Administration",
    params(("name" = String, Path)),
    responses((status = 200, body = ContextView), (status = "default", response = super::openapi::AnyProblem)),
)]
pub(super) async fn delete<S: Store>(call: &mut Call<'_, S>) -> Result<Reply, Error> {
    set_deleted(call, true).await
}

/// Restores a deleted context with all its keys.
#[utoipa::path(
    post,
    path = "/api/admin/contexts/{name}/restore",
    tag = "Administration",
    params(("name" = String, Path)),
    responses((status = 200, body = ContextView), (status = "default", response = super::openapi::AnyProblem)),
)]
pub(super) async fn restore<S: Store>(call: &mut Call<'_, S>) -> Result<Reply, Error> {
    set_deleted(call, false).await
}

async fn set_deleted<S: Store>(call: &mut Call<'_, S>, deleted: bool) -> Result<Reply, Error> {
    call.charge(None, Cost::ONE).await?;
    let name = named(call)?;
    let now = call.app.clock.now();
    let changed = call.app.store.set_context_deleted(call.tenant(), &name, deleted, now).await?;
    call.app.changed().await;
    found(changed)
}

pub(super) fn named<S: Store>(call: &mut Call<'_, S>) -> Result<Name, Error> {
    let name: Name = call.parameter(0).parse().map_err(|_| Error::ContextNotFound)?;
    call.facts.context = Some(name.clone());
    Ok(name)
}

fn found(context: Option<Context>) -> Result<Reply, Error> {
    context.map(|context| reply(&ContextView::from(context))).ok_or(Error::ContextNotFound)
}

fn check_rotation_days(days: u32) -> Result<(), Error> {
    if days > MAX_ROTATION_DAYS {
        return Err(Error::InvalidRequest(format!("`rotation_days` is 0 to {MAX_ROTATION_DAYS}")));
    }
    Ok(())
}

fn parse_algorithm(name: &str) -> Result<Algorithm, Error> {
    name.parse().map_err(|_| Error::UnknownAlgorithm)
}

fn parse_algorithms(names: &[String]) -> Result<AlgorithmSet, Error> {
    names.iter().map(|name| parse_algorithm(name)).collect()
}
