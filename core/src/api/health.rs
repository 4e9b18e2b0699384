use serde::Serialize;

use super::{Call, Error, Reply, reply, respond};
use crate::auth::{DEFAULT_TENANT, Principal, Role};
use crate::health::{DeepHealth, Report, State, TIMEOUT};
use crate::store::Store;

#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct Status {
    #[schema(value_type = String)]
    status: &'static str,
    /// Why, when it is not the best.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    reason: Option<&'static str>,
}

impl Status {
    const fn new(status: &'static str) -> Self {
        Self { status, reason: None }
    }
}

/// Answers `healthy` while the process runs.
#[utoipa::path(get, path = "/health", tag = "Health", responses((status = 200, body = Status)))]
pub(super) fn health() -> Reply {
    reply(&Status::new("healthy"))
}

/// Answers `alive` while the process runs; touches nothing outside it.
#[utoipa::path(get, path = "/health/live", tag = "Health", responses((status = 200, body = Status)))]
pub(super) fn live() -> Reply {
    reply(&Status::new("alive"))
}

/// Whether this replica should get requests, from state that is kept fresh in the background.
#[utoipa::path(
    get,
    path = "/health/ready",
    tag = "Health",
    responses((status = 200, body = Status), (status = 503, body = Status, description = "With the reason")),
)]
pub(super) fn ready<S: Store>(call: &Call<'_, S>) -> Reply {
    match (call.app.unready(), call.app.degraded()) {
        (None, None) => reply(&Status::new("ready")),
        (None, reason) => reply(&Status { reason, ..Status::new("degraded") }),
        (reason, _) => respond::health(false, &Status { reason, ..Status::new("unready") }),
    }
}

/// What this replica depends on, computed at most once a second; details for the token of an operator or of an
/// admin of the tenant `default` only.
#[utoipa::path(
    get,
    path = "/health/deep",
    tag = "Health",
    responses((status = 200, body = Object), (status = 503, body = Object, description = "A check failed")),
)]
pub(super) async fn deep<S: Store>(call: &mut Call<'_, S>) -> Result<Reply, Error> {
    // At the same time, as both may have to wait for the same store.
    let (caller, report) = tokio::join!(authenticate(call), DeepHealth::report(call.app));
    let detailed = match caller {
        Ok(principal) => principal.is_some_and(|principal| may_see_details(&principal)),
        Err(unauthenticated) => {
            call.charge_failed_authentication().await?;
            return Err(unauthenticated);
        }
    };
    let report = Report::clone(&report);
    let report = if detailed { report } else { report.states_alone() };
    Ok(respond::health(report.status != State::Unhealthy, &report))
}

/// Who asks; nobody without a token, and when the store cannot tell in time.
async fn authenticate<S: Store>(call: &Call<'_, S>) -> Result<Option<Principal>, Error> {
    let Some(token) = call.token else { return Ok(None) };
    match tokio::time::timeout(TIMEOUT, call.app.authenticate(token, call.sender())).await {
        Ok(Ok(principal)) => Ok(Some(principal)),
        Ok(Err(unauthenticated @ Error::Unauthenticated(_))) => Err(unauthenticated),
        Ok(Err(_)) | Err(_) => Ok(None),
    }
}

/// Whether one who runs the deployment asks: figures are of all tenants.
fn may_see_details(principal: &Principal) -> bool {
    match principal.role() {
        Role::Operator => true,
        Role::Admin => principal.tenant_name().as_str() == DEFAULT_TENANT,
        Role::Service => false,
    }
}
