use super::{LimitView, SetPolicy, Subject, paid_policy, store};
use crate::api::{Call, Error, Reply, reply};
use crate::contexts::Context;
use crate::limits::Cost;
use crate::name::Name;
use crate::store::{PolicySubject, Store};

/// Shows what holds for a context.
#[utoipa::path(
    get,
    path = "/api/admin/rate-limits/context/{name}",
    tag = "Administration",
    params(("name" = String, Path)),
    responses((status = 200, body = LimitView), (status = "default", response = crate::api::openapi::AnyProblem)),
)]
pub(in crate::api) async fn get<S: Store>(call: &mut Call<'_, S>) -> Result<Reply, Error> {
    call.charge(None, Cost::ONE).await?;
    Ok(reply(&find(call).await?.view(call)))
}

/// Stores limits of a context, in place of those that are there.
#[utoipa::path(
    put,
    path = "/api/admin/rate-limits/context/{name}",
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

/// Forgets the limits of a context; what holds for all then holds for it too.
#[utoipa::path(
    delete,
    path = "/api/admin/rate-limits/context/{name}",
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
    let Context { tenant, id, name, limits, .. } = context(call, 0).await?;
    Ok(Subject { context: Some(name), ..Subject::new(PolicySubject::Context(tenant, id), limits) })
}

/// The context that the path names, if it is of the caller's tenant and not deleted.
pub(super) async fn context<S: Store>(call: &mut Call<'_, S>, parameter: usize) -> Result<Context, Error> {
    let name: Name = call.parameter(parameter).parse().map_err(|_| Error::ContextNotFound)?;
    let found = call.app.store.context(call.tenant(), &name).await?;
    let context = found.filter(|context| context.deleted_at.is_none()).ok_or(Error::ContextNotFound)?;
    call.facts.context = Some(name);
    Ok(context)
}
