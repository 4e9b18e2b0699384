use super::context::context;
use super::identity::{check, status};
use super::{LimitView, SetPolicy, Subject, paid_policy, store};
use crate::api::{Call, Error, Reply, reply};
use crate::auth::IdentityStatus;
use crate::limits::Cost;
use crate::store::{PolicySubject, Store};

/// Shows what holds for an identity in a context.
#[utoipa::path(
    get,
    path = "/api/admin/rate-limits/identity/{id}/context/{name}",
    tag = "Administration",
    params(("id" = String, Path), ("name" = String, Path)),
    responses((status = 200, body = LimitView), (status = "default", response = crate::api::openapi::AnyProblem)),
)]
pub(in crate::api) async fn get<S: Store>(call: &mut Call<'_, S>) -> Result<Reply, Error> {
    call.charge(None, Cost::ONE).await?;
    Ok(reply(&find(call).await?.view(call)))
}

/// Stores limits of an identity in a context, in place of those that are there.
#[utoipa::path(
    put,
    path = "/api/admin/rate-limits/identity/{id}/context/{name}",
    tag = "Administration",
    params(("id" = String, Path), ("name" = String, Path)),
    request_body = SetPolicy,
    responses((status = 200, body = LimitView), (status = "default", response = crate::api::openapi::AnyProblem)),
)]
pub(in crate::api) async fn set<S: Store>(call: &mut Call<'_, S>, body: &[u8]) -> Result<Reply, Error> {
    let policy = paid_policy(call, body).await?;
    let subject = changeable(call).await?;
    store(call, subject, Some(policy)).await
}

/// Forgets the limits of an identity in a context; what holds for all then holds for it too.
#[utoipa::path(
    delete,
    path = "/api/admin/rate-limits/identity/{id}/context/{name}",
    tag = "Administration",
    params(("id" = String, Path), ("name" = String, Path)),
    responses((status = 200, body = LimitView), (status = "default", response = crate::api::openapi::AnyProblem)),
)]
pub(in crate::api) async fn clear<S: Store>(call: &mut Call<'_, S>) -> Result<Reply, Error> {
    call.charge(None, Cost::ONE).await?;
    let subject = changeable(call).await?;
    store(call, subject, None).await
}

async fn find<S: Store>(call: &mut Call<'_, S>) -> Result<Subject, Error> {
    let status = status(call).await?;
    subject(call, status).await
}

async fn changeable<S: Store>(call: &mut Call<'_, S>) -> Result<Subject, Error> {
    let status = status(call).await?;
    check(call, &status.identity)?;
    subject(call, status).await
}

async fn subject<S: Store>(call: &mut Call<'_, S>, status: IdentityStatus) -> Result<Subject, Error> {
    let IdentityStatus { identity, limits, .. } = status;
    let context = context(call, 1).await?;
    let id = PolicySubject::IdentityContext(identity.tenant, identity.id, context.id);
    let stored = limits.in_contexts.get(&context.id).cloned();
    let identity = Some((identity.id, identity.name));
    Ok(Subject { identity, context: Some(context.name), ..Subject::new(id, stored) })
}
