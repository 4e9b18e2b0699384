use std::collections::BTreeSet;
use std::sync::Arc;

use serde::Serialize;
use serde_json::{Map, Value};

use super::{Call, Error, Reply, reply};
use crate::clock::Timestamp;
use crate::health::{DeepHealth, State, TIMEOUT};
use crate::limits::Cost;
use crate::store::{ReplicaRecord, Store};

/// The deployment, as the replica that answers sees it.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct StatusReply<'a> {
    /// The worst of its dependencies: `healthy`, `degraded` or `unhealthy`.
    #[schema(value_type = String)]
    status: State,
    /// Which replica answers.
    instance_id: &'a str,
    /// Of all that were heard of in the last day; `null` if the database did not say in time.
    replicas: Option<Vec<ReplicaView>>,
    /// How many of them are alive.
    alive: Option<usize>,
    /// The releases that those run.
    releases: Option<BTreeSet<String>>,
    /// As in `/health/deep`, of the replica that answers.
    #[schema(value_type = Object)]
    dependencies: &'a Map<String, Value>,
}

/// A replica by its own word and the database's clock.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct ReplicaView {
    instance_id: String,
    /// Of this run of the process.
    replica_id: String,
    release: String,
    /// Whether it was heard of in the last 20 seconds.
    alive: bool,
    #[schema(value_type = String, format = DateTime)]
    started_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    seen_at: Timestamp,
    /// The fingerprints of the master keys that it has.
    master_keys: Vec<String>,
}

impl From<ReplicaRecord> for ReplicaView {
    fn from(record: ReplicaRecord) -> Self {
        Self {
            alive: record.is_alive(),
            instance_id: record.replica.instance,
            replica_id: record.replica.id.to_string(),
            release: record.replica.release,
            started_at: record.started_at,
            seen_at: record.seen_at,
            master_keys: record.replica.kek_ids.iter().map(ToString::to_string).collect(),
        }
    }
}

/// Shows which replicas there are, what they run, and what the one that answers depends on.
#[utoipa::path(
    get,
    path = "/api/admin/status",
    tag = "Administration",
    responses((status = 200, body = StatusReply<'_>), (status = "default", response = super::openapi::AnyProblem)),
)]
pub(super) async fn status<S: Store>(call: &mut Call<'_, S>) -> Result<Reply, Error> {
    call.charge(None, Cost::ONE).await?;
    let app: &Arc<_> = call.app;
    // An operator asks when something is wrong: the database may be what is.
    let replicas = tokio::time::timeout(TIMEOUT, app.store.replicas());
    let (report, replicas) = tokio::join!(DeepHealth::report(app), replicas);
    let replicas: Option<Vec<ReplicaView>> =
        replicas.ok().and_then(Result::ok).map(|all| all.into_iter().map(ReplicaView::from).collect());
    let alive = replicas.as_ref().map(|all| all.iter().filter(|replica| replica.alive));
    let (alive, releases) = alive
        .map(|alive| (alive.clone().count(), alive.map(|replica| replica.release.clone()).collect()))
        .unzip();
    Ok(reply(&StatusReply {
        status: report.status,
        instance_id: &app.instance,
        replicas,
        alive,
        releases,
        dependencies: &report.checks,
    }))
}
