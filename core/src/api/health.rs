use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};

use super::{Call, Error, Reply, reply, respond};
use crate::auth::{DEFAULT_TENANT, Role};
use crate::clock::Monotonic;
use crate::config::OnRedisFailure;
use crate::crypto::{AlgorithmSet, ContextKey, KeyId, KeyVersion, VersionKeys, envelope};
use crate::store::Store;

/// The last deep check, kept so that however many ask, it runs at most once a second.
#[derive(Default)]
pub(crate) struct DeepHealth {
    last: tokio::sync::Mutex<Option<(Monotonic, Report)>>,
}

/// Works, without something that is wanted.
const DEGRADED: &str = "degraded";
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
    match (call.app.unready(), call.app.degraded()) {
        (None, None) => reply(&Status::new("ready")),
        (None, reason) => reply(&Status { reason, ..Status::new(DEGRADED) }),
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
    let detailed = may_see_details(call).await?;
    let mut report = report(call).await;
    if !detailed {
        for check in report.checks.as_object_mut().into_iter().flat_map(|checks| checks.values_mut()) {
            *check = json!({ "status": check["status"] });
        }
    }
    Ok(respond::health(report.status != state(false), &report))
}

/// Whether one who runs the deployment asks: figures are of all tenants. When the store cannot tell in time, nobody is one.
async fn may_see_details<S: Store>(call: &mut Call<'_, S>) -> Result<bool, Error> {
    let Some(token) = call.token else { return Ok(false) };
    match tokio::time::timeout(STORE_TIMEOUT, call.app.authenticate(token, call.sender())).await {
        Ok(Ok(principal)) => Ok(match principal.role() {
            Role::Operator => true,
            Role::Admin => principal.tenant_name().as_str() == DEFAULT_TENANT,
            Role::Service => false,
        }),
        Ok(Err(unauthenticated @ Error::Unauthenticated(_))) => {
            call.charge_failed_authentication().await?;
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
        "limits": {
            "status": limits_state(app.limits.trouble()),
            "shared": app.limits.are_shared(),
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
    let none_is = |status: &str| {
        checks.as_object().is_some_and(|checks| checks.values().all(|check| check["status"] != status))
    };
    let status = match (none_is(state(false)), none_is(DEGRADED)) {
        (true, true) => state(true),
        (true, false) => DEGRADED,
        (false, _) => state(false),
    };
    Report { status, checks }
}

const fn limits_state(trouble: Option<OnRedisFailure>) -> &'static str {
    match trouble {
        None => state(true),
        Some(OnRedisFailure::Local | OnRedisFailure::Open) => DEGRADED,
        Some(OnRedisFailure::Closed) => state(false),
    }
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
