use super::{LimitView, SetPolicy, Subject, paid_policy, store};
use crate::api::{Call, Error, Reply, reply};
use crate::limits::{Cost, DimensionKind};
use crate::store::{PolicySubject, Store};

/// Shows what holds for every client address.
#[utoipa::path(
    get,
    path = "/api/admin/rate-limits/ip",
    tag = "Administration",
    responses((status = 200, body = LimitView), (status = "default", response = crate::api::openapi::AnyProblem)),
)]
pub(in crate::api) async fn get_ip<S: Store>(call: &mut Call<'_, S>) -> Result<Reply, Error> {
    call.charge(None, Cost::ONE).await?;
    Ok(reply(&of_all(call, DimensionKind::Ip).view(call)))
}

/// Stores what holds for every client address, in place of `RATE_LIMIT_IP`.
#[utoipa::path(
    put,
    path = "/api/admin/rate-limits/ip",
    tag = "Administration",
    request_body = SetPolicy,
    responses((status = 200, body = LimitView), (status = "default", response = crate::api::openapi::AnyProblem)),
)]
pub(in crate::api) async fn set_ip<S: Store>(call: &mut Call<'_, S>, body: &[u8]) -> Result<Reply, Error> {
    let policy = paid_policy(call, body).await?;
    let subject = of_all(call, DimensionKind::Ip);
    store(call, subject, Some(policy)).await
}

/// Forgets it; `RATE_LIMIT_IP` holds again.
#[utoipa::path(
    delete,
    path = "/api/admin/rate-limits/ip",
    tag = "Administration",
    responses((status = 200, body = LimitView), (status = "default", response = crate::api::openapi::AnyProblem)),
)]
pub(in crate::api) async fn clear_ip<S: Store>(call: &mut Call<'_, S>) -> Result<Reply, Error> {
    call.charge(None, Cost::ONE).await?;
    let subject = of_all(call, DimensionKind::Ip);
    store(call, subject, None).await
}

/// Shows what holds in a dimension for all who have no limits of their own.
#[utoipa::path(
    get,
    path = "/api/admin/rate-limits/defaults/{dimension}",
    tag = "Administration",
    params(("dimension" = String, Path)),
    responses((status = 200, body = LimitView), (status = "default", response = crate::api::openapi::AnyProblem)),
)]
pub(in crate::api) async fn get<S: Store>(call: &mut Call<'_, S>) -> Result<Reply, Error> {
    call.charge(None, Cost::ONE).await?;
    let kind = dimension(call)?;
    Ok(reply(&of_all(call, kind).view(call)))
}

/// Stores what holds in a dimension for all who have no limits of their own.
#[utoipa::path(
    put,
    path = "/api/admin/rate-limits/defaults/{dimension}",
    tag = "Administration",
    params(("dimension" = String, Path)),
    request_body = SetPolicy,
    responses((status = 200, body = LimitView), (status = "default", response = crate::api::openapi::AnyProblem)),
)]
pub(in crate::api) async fn set<S: Store>(call: &mut Call<'_, S>, body: &[u8]) -> Result<Reply, Error> {
    let policy = paid_policy(call, body).await?;
    let subject = of_all(call, dimension(call)?);
    store(call, subject, Some(policy)).await
}

/// Forgets it; what the environment says holds again.
#[utoipa::path(
    delete,
    path = "/api/admin/rate-limits/defaults/{dimension}",
    tag = "Administration",
    params(("dimension" = String, Path)),
    responses((status = 200, body = LimitView), (status = "default", response = crate::api::openapi::AnyProblem)),
)]
pub(in crate::api) async fn clear<S: Store>(call: &mut Call<'_, S>) -> Result<Reply, Error> {
    call.charge(None, Cost::ONE).await?;
    let subject = of_all(call, dimension(call)?);
    store(call, subject, None).await
}

/// The dimension that the path names.
fn dimension<S: Store>(call: &Call<'_, S>) -> Result<DimensionKind, Error> {
    DimensionKind::named(call.parameter(0)).ok_or(Error::NotFound)
}

/// All who have no limits of their own.
pub(super) fn of_all<S: Store>(call: &Call<'_, S>, kind: DimensionKind) -> Subject {
    let stored = call.app.keyring.default_limits().get(kind).cloned();
    Subject::new(PolicySubject::Default(kind), stored)
}
