//! What a replica does beside its requests: it says that it is there, writes down how often keys were used, rotates keys
//! whose time has come, and destroys versions whose waiting period is over. Any replica may do each; the store lets one.

use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use crate::app::Shared;
use crate::audit::{AuditUnavailable, CheckpointError, Outcome, Permit, Record};
use crate::contexts::{Destruction, StoredVersion, next_version};
use crate::crypto::{self, KeyVersion, Purpose};
use crate::keyring::{self, MissingKek, ROTATE_AT};
use crate::store::{self, HEARTBEAT_INTERVAL, Replica, Store};
use crate::telemetry::causes;

/// How many keys are rotated or destroyed in one go.
const DUE_AT_ONCE: u32 = 100;
/// How long replicas that ended without a word are remembered.
const REMEMBERED: Duration = Duration::from_secs(24 * 60 * 60);

/// Why something that is due was not done. It stays due.
#[derive(Debug, thiserror::Error)]
pub(super) enum UpkeepError {
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error(transparent)]
    MissingKek(#[from] MissingKek),
    #[error(transparent)]
    Audit(#[from] AuditUnavailable),
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    #[error(transparent)]
    Keyring(#[from] keyring::Error),
    #[error("a key could not be made: {0}")]
    Crypto(#[from] crypto::Error),
}

/// Time from one run of a chore to the next.
#[derive(Clone, Copy, Debug)]
pub(super) struct Intervals {
    pub(super) usage: Duration,
    pub(super) due: Duration,
    pub(super) trail: Duration,
}

impl Intervals {
    pub(super) const SERVING: Self =
        Self { usage: Duration::from_secs(10), due: Duration::from_secs(15), trail: Duration::from_secs(15) };
}

impl<S: Store> Shared<S> {
    /// Runs until the other end of `stopped` is dropped, and then ends in good order: what has begun is done and recorded.
    pub(super) async fn upkeep(&self, intervals: Intervals, mut stopped: watch::Receiver<()>) {
        let mut usage = ticks(intervals.usage);
        let mut due = ticks(intervals.due);
        let mut trail = ticks(intervals.trail);
        let mut looked_at_days = None;
        let mut failing = HashSet::new();
        loop {
            let (chore, result) = tokio::select! {
                _ = stopped.changed() => break,
                _ = usage.tick() => ("usage", self.keyring.record_usage().await.map_err(UpkeepError::from)),
                _ = due.tick() => ("due", self.do_what_is_due().await),
                _ = trail.tick() => ("audit trail", self.keep_trail(&mut looked_at_days).await),
                () = self.keyring.worn() => ("due", self.rotate_due().await),
            };
            match result {
                Ok(()) if failing.remove(chore) => tracing::info!(chore, "upkeep works again"),
                Err(error) if failing.insert(chore) => {
                    let error = causes(&error);
                    tracing::error!(chore, %error, "upkeep fails, and is tried again");
                }
                _ => {}
            }
        }
        if let Err(error) = self.keyring.record_usage().await {
            let error = causes(&error);
            tracing::warn!(%error, "how often keys were used in the last seconds was not written down");
        }
    }

    /// Says for ever that this replica is there. Apart from all else, as one that is silent is taken for dead.
    pub(super) async fn heartbeats(&self) {
        let mut ticks = ticks(HEARTBEAT_INTERVAL);
        loop {
            ticks.tick().await;
            let begun = self.time.begin();
            let Ok(now) = self.store.heartbeat(&self.replica).await else {
                // That the database does not answer is noticed, and said, by the poll.
                self.silent_at.store(self.clock.monotonic().as_micros() + 1, Ordering::Release);
                continue;
            };
            self.time.measured(begun, now);
            let _ = self.store.prune_replicas(now - REMEMBERED).await;
            let _ = self.store.prune_revoked_tokens(now).await;
            let _ = self.store.prune_families(now).await;
            self.count_replicas().await;
        }
    }

    /// Notes how many replicas there are to share a limit, should Redis be lost. What cannot be read stays as it was.
    pub(super) async fn count_replicas(&self) {
        if !self.limits.are_shared() {
            return;
        }
        if let Ok(replicas) = self.store.replicas().await {
            let alive = replicas.iter().filter(|replica| replica.is_alive()).count();
            self.limits.set_replicas(u32::try_from(alive).unwrap_or(u32::MAX));
        }
    }

    async fn do_what_is_due(&self) -> Result<(), UpkeepError> {
        // A key that cannot be rotated is no reason to keep one that is to be destroyed.
        let rotated = self.rotate_due().await;
        self.destroy_due().await.and(rotated)
    }

    pub(super) async fn rotate_due(&self) -> Result<(), UpkeepError> {
        for current in self.store.rotations_due(self.clock.now(), ROTATE_AT, DUE_AT_ONCE).await? {
            let permit = self.audit.reserve()?;
            // Its successor inherits what the row says, which must first be shown to be true.
            self.keyring.keks().unwrap(&current)?;
            let rotation = next_version(&current, None, self.keyring.active_kek()?, self.clock.now())?;
            let version = rotation.next.version.version;
            let detail = format!("as due; version {} only decrypts from now on", rotation.previous);
            let record = |outcome| self.record_of(&current, version, "keys.rotate", outcome, detail);
            if settle(self.store.rotate(&rotation).await, permit, record).await? {
                let context = &current.context.name;
                tracing::info!(%context, tenant_id = %current.context.tenant, %version, "a key was rotated as due");
            }
        }
        Ok(())
    }

    pub(super) async fn destroy_due(&self) -> Result<(), UpkeepError> {
        for due in self.store.destructions_due(self.clock.now(), DUE_AT_ONCE).await? {
            let permit = self.audit.reserve()?;
            let destroyed_at = self.clock.now();
            let version = due.version.version;
            let detail = match due.key.purpose {
                Purpose::ContextKey => "the waiting period is over".to_owned(),
                // These are not told by their context and version.
                _ => format!("the waiting period of key {} is over", due.key.id),
            };
            let record = |outcome| self.record_of(&due, version, "keys.destroy", outcome, detail);
            if settle(self.store.destroy(&due, destroyed_at).await, permit, record).await? {
                let (tenant_id, key_id) = (due.context.tenant, due.key.id);
                self.write_down(vec![Destruction { tenant_id, key_id, version, destroyed_at }]).await;
                tracing::warn!(
                    tenant_id = %due.context.tenant,
                    context = %due.context.name,
                    key_id = %due.key.id,
                    version = version.get(),
                    destroyed_at = %destroyed_at,
                    "a key version was destroyed"
                );
            }
        }
        Ok(())
    }

    fn record_of(
        &self,
        key: &StoredVersion,
        version: KeyVersion,
        operation: &'static str,
        outcome: Outcome,
        detail: String,
    ) -> Record {
        Record {
            at: self.clock.now(),
            instance: self.instance.clone(),
            request_id: String::new(),
            tenant: Some(key.context.tenant),
            identity: None,
            operation,
            context: Some(key.context.name.clone()),
            key_version: Some(version),
            outcome,
            items: 1,
            failed: 0,
            bytes: 0,
            address: None,
            detail: Some(detail),
        }
    }
}

/// Records what was done, and also what failed, as it may have been done all the same; whether it was done here. If not,
/// another replica was faster, or somebody changed the key by hand.
async fn settle(
    result: Result<bool, store::Error>,
    permit: Permit,
    record: impl FnOnce(Outcome) -> Record,
) -> Result<bool, UpkeepError> {
    let outcome = match result {
        Ok(true) => Outcome::Success,
        Ok(false) => return Ok(false),
        Err(_) => Outcome::Failure("store_unavailable"),
    };
    permit.record(record(outcome)).await?;
    Ok(result?)
}

/// At once, and then every `period`; never two in a hurry.
fn ticks(period: Duration) -> tokio::time::Interval {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// This process, as the other replicas will see it.
pub(super) fn replica(instance: &str, kek_ids: Vec<crypto::KekId>) -> Replica {
    Replica {
        id: crate::id::ReplicaId::random(),
        instance: instance.to_owned(),
        release: env!("CARGO_PKG_VERSION").to_owned(),
        kek_ids,
    }
}
