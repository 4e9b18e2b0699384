use serde::Serialize;

use super::{LimitView, SetPolicy, Subject, paid_policy, store};
use crate::api::{Call, Error, Reply, admin_identities, reply};
use crate::auth::{Identity, IdentityStatus, Role};
use crate::id::IdentityId;
use crate::limits::Cost;
use crate::store::{PolicySubject, Store};

/// That an identity begins again with full buckets.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct ResetView {
    #[schema(value_type = String)]
    identity_id: IdentityId,
    reset: bool,
}

/// Shows what holds for an identity.
#[utoipa::path(
    get,
    path = "/api/admin/rate-limits/identity/{id}",
    tag = "Administration",
    params(("id" = String, Path)),
    responses((status = 200, body = LimitView), (status = "default", response = crate::api::openapi::AnyProblem)),
)]
pub(in crate::api) async fn get<S: Store>(call: &mut Call<'_, S>) -> Result<Reply, Error> {
    call.charge(None, Cost::ONE).await?;
    Ok(reply(&find(call).await?.view(call)))
}

/// Stores limits of an identity, in place of those that are there.
#[utoipa::path(
    put,
    path = "/api/admin/rate-limits/identity/{id}",
    tag = "Administration",
    params(("id" = String, Path)),
    request_body = SetPolicy,
    responses((status = 200, body = LimitView), (status = "default", response = crate::api::openapi::AnyProblem)),
)]
pub(in crate::api) async fn set<S: Store>(call: &mut Call<'_, S>, body: &[u8]) -> Result<Reply, Error> {
    let policy = paid_policy(call, body).await?;
    let subject = changeable(call).await?;
    store(call, subject, Some(policy)).await
}

/// Forgets the limits of an identity; what holds for all then holds for it too.
#[utoipa::path(
    delete,
    path = "/api/admin/rate-limits/identity/{id}",
    tag = "Administration",
    params(("id" = String, Path)),
    responses((status = 200, body = LimitView), (status = "default", response = crate::api::openapi::AnyProblem)),
)]
pub(in crate::api) async fn clear<S: Store>(call: &mut Call<'_, S>) -> Result<Reply, Error> {
    call.charge(None, Cost::ONE).await?;
    let subject = changeable(call).await?;
    store(call, subject, None).await
}

/// Lets an identity begin again with full buckets, wherever it works. Those of its address, its tenant and the contexts that
/// it uses are for others too, and stay as they are.
#[utoipa::path(
    post,
    path = "/api/admin/rate-limits/reset/{identity_id}",
    tag = "Administration",
    params(("identity_id" = String, Path)),
    responses((status = 200, body = ResetView), (status = "default", response = crate::api::openapi::AnyProblem)),
)]
pub(in crate::api) async fn reset<S: Store>(call: &mut Call<'_, S>) -> Result<Reply, Error> {
    call.charge(None, Cost::ONE).await?;
    let IdentityStatus { identity, limits, .. } = status(call).await?;
    check(call, &identity)?;
    let reset = call.app.store.reset_limits(identity.tenant, identity.id, call.app.clock.now()).await?;
    call.app.changed().await;
    if !reset {
        return Err(Error::IdentityNotFound);
    }
    let stored = call.app.keyring.default_limits();
    call.app.limits.forget((identity.tenant, identity.id), &limits, &stored).await;
    Ok(reply(&ResetView { identity_id: identity.id, reset }))
}

async fn find<S: Store>(call: &mut Call<'_, S>) -> Result<Subject, Error> {
    Ok(subject(status(call).await?))
}

async fn changeable<S: Store>(call: &mut Call<'_, S>) -> Result<Subject, Error> {
    let status = status(call).await?;
    check(call, &status.identity)?;
    Ok(subject(status))
}

/// Whether the caller may change how much an identity may do: an administrator could lock operators out with that.
pub(super) fn check<S: Store>(call: &Call<'_, S>, identity: &Identity) -> Result<(), Error> {
    if identity.role == Role::Operator && call.principal().role() != Role::Operator {
        return Err(Error::RoleForbidden("operators alone change the limits of operators"));
    }
    Ok(())
}

fn subject(IdentityStatus { identity, limits, .. }: IdentityStatus) -> Subject {
    let id = PolicySubject::Identity(identity.tenant, identity.id);
    Subject { identity: Some((identity.id, identity.name)), ..Subject::new(id, limits.own) }
}

/// The identity that the path names, if it is of the caller's tenant.
pub(super) async fn status<S: Store>(call: &mut Call<'_, S>) -> Result<IdentityStatus, Error> {
    let id: IdentityId = call.parameter(0).parse().map_err(|_| Error::IdentityNotFound)?;
    let status = call.app.store.identity_status(call.tenant(), id, call.app.clock.now()).await?;
    let status = status.value.ok_or(Error::IdentityNotFound)?;
    admin_identities::describe(call, &status.identity);
    Ok(status)
}
