use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use super::{Report, State, TIMEOUT, self_test};
use crate::app::Shared;
use crate::config::OnRedisFailure;
use crate::store::{PoolStatus, Store};

/// Asks all dependencies at once, and looks at the rest.
pub(super) async fn all<S: Store>(app: &Shared<S>) -> Report {
    let (store, redis) = tokio::join!(timed(app.store.ping(TIMEOUT)), timed(app.limits.ping(TIMEOUT)));
    let mut checks = Map::new();
    checks.insert("store".to_owned(), answered(store.0.is_ok(), store.1));
    if let Some(pool) = app.store.pool() {
        checks.insert("pool".to_owned(), of_pool(pool));
    }
    if let (Some(answers), latency) = redis {
        checks.insert("redis".to_owned(), of_redis(app, answers, latency));
    }
    let trouble = app.limits.trouble();
    let limits = json!({ "status": of_limits(trouble), "shared": app.limits.are_shared() });
    checks.insert("limits".to_owned(), limits);
    checks.insert("keyring".to_owned(), of_keyring(app));
    checks.insert("audit".to_owned(), of_audit(app.audit.depth()));
    checks.insert("crypto".to_owned(), of_crypto());
    let service = json!({
        "status": State::of(app.unready().is_none()),
        "reason": app.unready(),
        "version": env!("CARGO_PKG_VERSION"),
        "instance_id": &*app.instance,
        "replica_id": app.replica.id.to_string(),
    });
    checks.insert("service".to_owned(), service);
    let states = checks.values().filter_map(|check| check["status"].as_str());
    let status = states.map(state).max().unwrap_or(State::Healthy);
    Report { status, checks }
}

async fn timed<T>(answer: impl Future<Output = T>) -> (T, Duration) {
    let asked = Instant::now();
    let answer = answer.await;
    (answer, asked.elapsed())
}

/// A dependency that was asked. Why it did not answer is in the log of those that need it.
fn answered(answers: bool, latency: Duration) -> Value {
    let error = match (answers, latency < TIMEOUT) {
        (true, _) => None,
        (false, true) => Some("unreachable"),
        (false, false) => Some("timed out"),
    };
    json!({
        "status": State::of(answers),
        "latency_ms": millis(latency),
        "timeout_ms": millis(TIMEOUT),
        "error": error,
    })
}

/// Without Redis this replica may still serve: what its limits do then is in `limits`.
fn of_redis<S>(app: &Shared<S>, answers: bool, latency: Duration) -> Value {
    let mut check = answered(answers, latency);
    if !answers && app.limits.trouble() != Some(OnRedisFailure::Closed) {
        check["status"] = json!(State::Degraded);
    }
    check
}

fn of_limits(trouble: Option<OnRedisFailure>) -> State {
    match trouble {
        None => State::Healthy,
        Some(OnRedisFailure::Local | OnRedisFailure::Open) => State::Degraded,
        Some(OnRedisFailure::Closed) => State::Unhealthy,
    }
}

/// A pool that is used up works as long as its connections come back.
fn of_pool(pool: PoolStatus) -> Value {
    let state = if pool.is_used_up() { State::Degraded } else { State::Healthy };
    json!({
        "status": state,
        "size": pool.size,
        "in_use": pool.in_use,
        "available": pool.available(),
        "waiting": pool.waiting,
        "max": pool.max,
        "usage_percent": pool.usage_percent(),
    })
}

fn of_keyring<S: Store>(app: &Shared<S>) -> Value {
    let (keys, identities) = app.keyring.sizes();
    json!({
        "status": State::of(!app.keyring.is_stale()),
        "age_ms": u64::try_from(app.keyring.age().as_millis()).unwrap_or(u64::MAX),
        "key_versions": keys,
        "identities": identities,
        "master_key_fingerprint": app.keyring.keks().current().id().to_string(),
    })
}

fn of_audit((queued, capacity): (usize, usize)) -> Value {
    json!({ "status": State::of(queued < capacity), "queued": queued, "capacity": capacity })
}

fn of_crypto() -> Value {
    let algorithms = self_test::every_algorithm();
    let status = algorithms.iter().map(|tested| tested.status).max().unwrap_or(State::Healthy);
    json!({ "status": status, "algorithms": algorithms })
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

fn state(name: &str) -> State {
    [State::Healthy, State::Degraded]
        .into_iter()
        .find(|state| json!(state) == name)
        .unwrap_or(State::Unhealthy)
}
