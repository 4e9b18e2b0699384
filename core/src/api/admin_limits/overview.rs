use serde::{Deserialize, Serialize};

use super::defaults::of_all;
use super::{LimitView, Subject};
use crate::api::extract::page_size;
use crate::api::{Call, Error, Reply, extract, reply};
use crate::limits::{Cost, DimensionKind, PolicyDocument};
use crate::name::Name;
use crate::store::{PolicySubject, Store, StoredPolicy};

/// What holds for a tenant, and a page of what is stored for its contexts and identities.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct LimitPage {
    /// Of each dimension, for all who have nothing of their own.
    defaults: Vec<LimitView>,
    /// For all of the tenant's identities together.
    tenant: LimitView,
    policies: Vec<LimitView>,
    /// The value of `after` for the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    after: Option<String>,
    limit: Option<u32>,
}

impl From<StoredPolicy> for LimitView {
    fn from(stored: StoredPolicy) -> Self {
        let StoredPolicy { identity, context, policy, .. } = stored;
        let dimension = match (&identity, &context) {
            (Some(_), Some(_)) => DimensionKind::IdentityContext,
            (Some(_), None) => DimensionKind::Identity,
            (None, _) => DimensionKind::Context,
        };
        let (identity_id, identity) = identity.unzip();
        let context = context.map(|(_, name)| name);
        let policy = Some(PolicyDocument::from(&policy));
        Self {
            dimension: dimension.name(),
            identity_id,
            identity,
            context,
            tenant: None,
            source: "stored",
            policy,
        }
    }
}

/// Shows the limits that hold for the tenant: those of all, and those that are stored for its contexts and identities.
#[utoipa::path(
    get,
    path = "/api/admin/rate-limits",
    tag = "Administration",
    params(
        ("after" = Option<String>, Query, description = "Start behind this place, which the page before named as `next`"),
        ("limit" = Option<u32>, Query, description = "1 to 1000, default 100"),
    ),
    responses((status = 200, body = LimitPage), (status = "default", response = crate::api::openapi::AnyProblem)),
)]
pub(in crate::api) async fn list<S: Store>(call: &mut Call<'_, S>) -> Result<Reply, Error> {
    call.charge(None, Cost::ONE).await?;
    let query: ListQuery = extract::query(call.query)?;
    let limit = page_size(query.limit)?;
    let after = query.after.as_deref();
    if !after.is_none_or(is_place) {
        return Err(Error::InvalidRequest("`after` is not what a page named as `next`".to_owned()));
    }
    let mut found = call.app.store.policies(call.tenant(), after.unwrap_or_default(), limit).await?;
    let full = found.len() == limit as usize;
    let next = found.last_mut().filter(|_| full).map(|last| std::mem::take(&mut last.place));
    let principal = call.principal();
    let id = PolicySubject::Tenant(principal.identity().tenant);
    let stored = principal.limits().tenant.clone();
    let tenant = Subject { tenant: Some(principal.tenant_name().clone()), ..Subject::new(id, stored) };
    Ok(reply(&LimitPage {
        defaults: DimensionKind::ALL.map(|kind| of_all(call, kind).view(call)).into(),
        tenant: tenant.view(call),
        policies: found.into_iter().map(LimitView::from).collect(),
        next,
    }))
}

/// Whether it is the place of a policy, be there one or not.
fn is_place(text: &str) -> bool {
    let is_name = |text: &str| text.parse::<Name>().is_ok();
    match text.split('/').collect::<Vec<_>>()[..] {
        ["context" | "identity", name] => is_name(name),
        ["identity", identity, "context", context] => is_name(identity) && is_name(context),
        _ => false,
    }
}
