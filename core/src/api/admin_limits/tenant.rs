use super::{LimitView, SetPolicy, Subject, paid_policy, store};
use crate::api::{Call, Error, Reply, admin_tenants, reply};
use crate::limits::Cost;
use crate::store::{PolicySubject, Store, TenantRecord};

/// Shows what holds for a tenant, which all of its identities share.
#[utoipa::path(
    get,
    path = "/api/admin/rate-limits/tenant/{name}",
    tag = "Administration",
    params(("name" = String, Path)),
    responses((status = 200, body = LimitView), (status = "default", response = crate::api::openapi::AnyProblem)),
)]
pub(in crate::api) async fn get<S: Store>(call: &mut Call<'_, S>) -> Result<Reply, Error> {
    call.charge(None, Cost::ONE).await?;
    Ok(reply(&find(call).await?.view(call)))
}

/// Stores limits of a tenant, which all of its identities share, in place of those that are there.
#[utoipa::path(
    put,
    path = "/api/admin/rate-limits/tenant/{name}",
    tag = "Administration",
    params(("name" = String, Path)),
    request_body = SetPolicy,
    responses((status = 200, body = LimitView), (status = "default", response = crate::api::openapi::AnyProblem)),
)]
pub(in crate::api) async fn set<S: Store>(call: &mut Call<'_, S>, body: &[u8]) -> Result<Reply, Error> {
    let policy = paid_policy(call, body).await?;
    let subject = find(call).await?;
    store(call, subject, Some(policy)).await
}

/// Forgets the limits of a tenant, which all of its identities share; what holds for all then holds for it too.
#[utoipa::path(
    delete,
    path = "/api/admin/rate-limits/tenant/{name}",
    tag = "Administration",
    params(("name" = String, Path)),
    responses((status = 200, body = LimitView), (status = "default", response = crate::api::openapi::AnyProblem)),
)]
pub(in crate::api) async fn clear<S: Store>(call: &mut Call<'_, S>) -> Result<Reply, Error> {
    call.charge(None, Cost::ONE).await?;
    let subject = find(call).await?;
    store(call, subject, None).await
}

async fn find<S: Store>(call: &mut Call<'_, S>) -> Result<Subject, Error> {
    let TenantRecord { tenant, limits, .. } = admin_tenants::tenant(call).await?;
    Ok(Subject { tenant: Some(tenant.name), ..Subject::new(PolicySubject::Tenant(tenant.id), limits) })
}
