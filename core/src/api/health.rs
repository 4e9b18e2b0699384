use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};

use super::{Call, Error, Reply, reply, respond};
use crate::auth::Role;
use crate::clock::Monotonic;
use crate::crypto::{AlgorithmSet, ContextKey, KeyId, KeyVersion, VersionKeys, envelope};
use crate::limits::Dimension;
use crate::store::Store;

/// The last deep check, kept so that however many ask, it runs at most once a second.
#[derive(Default)]
pub(crate) struct DeepHealth {
    last: tokio::sync::Mutex<Option<(Monotonic, Report)>>,
}

const DEEP_INTERVAL: Duration = Duration::from_secs(1);
const STORE_TIMEOUT: Duration = Duration::from_millis(300);

#[derive(Clone, Serialize)]
struct Report {
    status: &'static str,
    checks: Value,
}

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
    match call.app.unready() {
        None => reply(&Status::new("ready")),
        Some(reason) => {
            let status = Status { reason: Some(reason), ..Status::new("unready") };
            respond::health(false, &status)
        }
    }
}

/// What this replica depends on, computed at most once a second; details for an admin's or operator's token only.
#[utoipa::path(
    get,
    path = "/health/deep",
    tag = "Health",
    responses((status = 200, body = Object), (status = 503, body = Object, description = "A check failed")),
)]
pub(super) async fn deep<S: Store>(call: &Call<'_, S>) -> Result<Reply, Error> {
    let detailed = may_see_details(call).await?;
    let mut report = report(call).await;
    if !detailed {
        for check in report.checks.as_object_mut().into_iter().flat_map(|checks| checks.values_mut()) {
            *check = json!({ "status": check["status"] });
        }
    }
    Ok(respond::health(report.status == state(true), &report))
}

/// Whether an administrator asks. When the store cannot tell in time, nobody is one.
async fn may_see_details<S: Store>(call: &Call<'_, S>) -> Result<bool, Error> {
    let Some(token) = call.token else { return Ok(false) };
    match tokio::time::timeout(STORE_TIMEOUT, call.app.authenticate(token)).await {
        Ok(Ok(principal)) => Ok(matches!(principal.identity().role, Role::Admin | Role::Operator)),
        Ok(Err(unauthenticated @ Error::Unauthenticated(_))) => {
            let dimension = Dimension::failed_authentication(call.address);
            call.app.limits.take(&[dimension], 1).map_err(Error::RateLimited)?;
            Err(unauthenticated)
        }
        Ok(Err(_)) | Err(_) => Ok(false),
    }
}

async fn report<S: Store>(call: &Call<'_, S>) -> Report {
    let mut last = call.app.deep_health.last.lock().await;
    let now = call.app.clock.monotonic();
    if let Some((at, report)) = &*last
        && now.since(*at) < DEEP_INTERVAL
    {
        return report.clone();
    }
    let report = check(call).await;
    *last = Some((now, report.clone()));
    report
}

async fn check<S: Store>(call: &Call<'_, S>) -> Report {
    let app = call.app;
    let started = app.clock.monotonic();
    let store = tokio::time::timeout(STORE_TIMEOUT, app.store.revision()).await;
    let store_error = match store {
        Ok(Ok(_)) => None,
        Ok(Err(_)) => Some("unreachable"),
        Err(_) => Some("timed out"),
    };
    let latency = app.clock.monotonic().since(started);
    let (keys, identities) = app.keyring.sizes();
    let (queued, capacity) = app.audit.depth();
    let self_test = self_test();
    let checks = json!({
        "store": {
            "status": state(store_error.is_none()),
            "latency_ms": latency.as_secs_f64() * 1000.0,
            "error": store_error,
        },
        "keyring": {
            "status": state(!app.keyring.is_stale()),
            "age_ms": u64::try_from(app.keyring.age().as_millis()).unwrap_or(u64::MAX),
            "key_versions": keys,
            "identities": identities,
            "master_key_fingerprint": app.keyring.keks().current().id().to_string(),
        },
        "audit": { "status": state(queued < capacity), "queued": queued, "capacity": capacity },
        "crypto": {
            "status": state(self_test.is_ok()),
            "algorithms": AlgorithmSet::ALL,
        },
        "service": {
            "status": state(app.unready().is_none()),
            "reason": app.unready(),
            "version": env!("CARGO_PKG_VERSION"),
            "instance_id": &*app.instance,
        },
    });
    let healthy =
        checks.as_object().is_some_and(|checks| checks.values().all(|check| check["status"] == state(true)));
    Report { status: if healthy { "healthy" } else { "unhealthy" }, checks }
}

const fn state(good: bool) -> &'static str {
    if good { "healthy" } else { "unhealthy" }
}

/// Encrypts and decrypts with every algorithm, under a key of its own.
fn self_test() -> Result<(), crate::crypto::Error> {
    const MESSAGE: &[u8] = b"self-test";
    let keys = VersionKeys::new(&ContextKey::generate()?);
    for algorithm in AlgorithmSet::ALL.iter() {
        let sealed = envelope::seal(&keys, algorithm, KeyId::random()?, KeyVersion::FIRST, MESSAGE, b"")?;
        if **envelope::open(&keys, &sealed, b"")? != *MESSAGE {
            return Err(crate::crypto::Error::Internal);
        }
    }
    Ok(())
}
