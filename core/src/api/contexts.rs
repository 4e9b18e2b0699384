use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::batch::MAX_ITEMS;
use super::extract::{next_page, page_size};
use super::{Call, Error, Reply, extract, reply};
use crate::auth::{ContextGrant, Identity, Principal, Scope};
use crate::clock::Timestamp;
use crate::contexts::Context;
use crate::crypto::{Algorithm, AlgorithmSet};
use crate::id::IdentityId;
use crate::limits::Cost;
use crate::name::Name;
use crate::store::Store;

/// The contexts that the caller may use, and who it is.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct ContextList<'a> {
    identity: Caller<'a>,
    contexts: Vec<UsableContext>,
    /// The value of `after` for the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    next: Option<Name>,
}

/// Whoever sent the token.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct Caller<'a> {
    #[schema(value_type = String)]
    id: IdentityId,
    #[schema(value_type = String, example = "shop")]
    name: &'a Name,
    /// `service`, `admin` or `operator`.
    #[schema(value_type = String)]
    role: &'static str,
    #[schema(value_type = String, example = "default")]
    tenant: &'a Name,
    /// What the identity may do with this token.
    #[schema(value_type = Vec<String>)]
    scopes: Vec<&'static str>,
    /// When this token stops working.
    #[schema(value_type = String, format = DateTime)]
    token_expires_at: Timestamp,
}

/// A context as those who use it see it.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct UsableContext {
    #[schema(value_type = String, example = "user-pii")]
    name: Name,
    description: String,
    /// What `encrypt` uses.
    #[schema(value_type = String, example = "XAES-256-GCM")]
    algorithm: Algorithm,
    /// What `algorithm_override` may be.
    #[schema(value_type = Vec<String>)]
    allowed_algorithms: AlgorithmSet,
    /// Most items that a batch can have before a limit refuses it for good.
    max_batch: usize,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    after: Option<Name>,
    limit: Option<u32>,
}

/// Lists the contexts that the caller may use, by name, and says who it is.
#[utoipa::path(
    get,
    path = "/api/v1/contexts",
    tag = "Data plane",
    params(
        ("after" = Option<String>, Query, description = "Start behind this name"),
        ("limit" = Option<u32>, Query, description = "1 to 1000, default 100"),
    ),
    responses((status = 200, body = ContextList<'_>), (status = "default", response = super::openapi::AnyProblem)),
)]
pub(super) async fn list<S: Store>(call: &mut Call<'_, S>) -> Result<Reply, Error> {
    call.charge(None, Cost::ONE).await?;
    let query: ListQuery = extract::query(call.query)?;
    let limit = page_size(query.limit)?;
    let contexts = match call.principal().contexts() {
        ContextGrant::All => {
            call.app.store.contexts(call.tenant(), false, query.after.as_ref(), limit).await?
        }
        ContextGrant::Named(names) => named(call, &names, query.after.as_ref(), limit).await?,
    };
    let next = next_page(&contexts, limit, |context| &context.name);
    let contexts = contexts.into_iter().map(|context| usable(call, context)).collect();
    Ok(reply(&ContextList { identity: caller(call.principal()), contexts, next }))
}

/// The contexts of these names that exist.
async fn named<S: Store>(
    call: &Call<'_, S>,
    names: &BTreeSet<Name>,
    after: Option<&Name>,
    limit: u32,
) -> Result<Vec<Context>, Error> {
    let mut contexts = Vec::new();
    for name in names.iter().filter(|name| after.is_none_or(|after| *name > after)) {
        if contexts.len() == limit as usize {
            break;
        }
        let key = call.app.keyring.encryption_key(call.tenant(), name).await?;
        contexts.extend(key.map(|key| key.context().clone()));
    }
    Ok(contexts)
}

fn caller(principal: &Principal) -> Caller<'_> {
    let Identity { id, name, .. } = principal.identity();
    Caller {
        id: *id,
        name,
        role: principal.role().name(),
        tenant: principal.tenant_name(),
        scopes: principal.scopes().iter().map(Scope::name).collect(),
        token_expires_at: principal.expires_at(),
    }
}

fn usable<S: Store>(call: &Call<'_, S>, context: Context) -> UsableContext {
    let stored = call.app.keyring.default_limits();
    let largest = call.selection(&stored, Some(&context), Cost::ONE).largest_batch();
    let max_batch = usize::try_from(largest).map_or(MAX_ITEMS, |largest| largest.min(MAX_ITEMS));
    let Context { name, description, algorithm, allowed_algorithms, .. } = context;
    UsableContext { name, description, algorithm, allowed_algorithms, max_batch }
}
