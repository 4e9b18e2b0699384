//! What keeps the audit trail in order: chains of processes that died, checkpoints, days, retention.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::upkeep::UpkeepError;
use crate::app::Shared;
use crate::audit::{self, ChainRow, Checkpoint, Outcome, Record};
use crate::clock::{Monotonic, Timestamp};
use crate::store::{HEARTBEAT_INTERVAL, REPLICA_TIMEOUT, Store};

/// A checkpoint is signed by whichever replica first finds the last one this old. Looked for more often than that.
const CHECKPOINT_AGE: Duration = Duration::from_secs(55);
/// Who ends a chain says so in its own at once; if it dies before, another one does.
const RECORD_FOR_ANOTHER: Duration = Duration::from_secs(60);
/// Days that are prepared, today included.
const DAYS_AHEAD: u32 = 8;
const DAYS_INTERVAL: Duration = Duration::from_secs(60 * 60);
const DAY: u64 = 24 * 60 * 60;

impl<S: Store> Shared<S> {
    /// One look at all of it. `looked_at_days` is when days were last looked at.
    pub(super) async fn keep_trail(&self, looked_at_days: &mut Option<Monotonic>) -> Result<(), UpkeepError> {
        if !self.audit.is_on() {
            return Ok(());
        }
        // What cannot be done is no reason to leave the others.
        let ended = if self.was_silent() { Ok(()) } else { self.end_crashed_chains().await };
        let stated = take_checkpoint(&self.store, &self.audit_keys, CHECKPOINT_AGE).await;
        let kept = self.keep_days_in_time(looked_at_days).await;
        ended.and(stated.map_err(UpkeepError::from)).and(kept)
    }

    async fn keep_days_in_time(&self, looked_at_days: &mut Option<Monotonic>) -> Result<(), UpkeepError> {
        let now = self.clock.monotonic();
        if looked_at_days.is_none_or(|last| now.since(last) >= DAYS_INTERVAL) {
            self.keep_days(self.store.database_time().await?).await?;
            *looked_at_days = Some(now);
        }
        Ok(())
    }

    /// Whether this process could lately not say that it is there. Then the others may have been as silent, and alive.
    fn was_silent(&self) -> bool {
        let at = self.silent_at.load(Ordering::Acquire).checked_sub(1).map(Monotonic::from_micros);
        at.is_some_and(|at| self.clock.monotonic().since(at) < REPLICA_TIMEOUT + HEARTBEAT_INTERVAL)
    }

    async fn end_crashed_chains(&self) -> Result<(), UpkeepError> {
        let mut crashed = self.store.end_crashed_audit_chains(REPLICA_TIMEOUT).await?;
        crashed.extend(self.store.unrecorded_audit_crashes(RECORD_FOR_ANOTHER).await?);
        for chain in crashed {
            tracing::warn!(
                chain = %chain.id,
                instance_of_chain = %chain.instance,
                last_seq = chain.head.seq,
                "a replica ended without a word; its audit chain is closed"
            );
            self.audit.reserve()?.record_durably(self.record_of_crash(&chain)).await?;
            self.store.set_audit_crash_recorded(chain.id).await?;
        }
        Ok(())
    }

    fn record_of_crash(&self, chain: &ChainRow) -> Record {
        let mac = hex::encode(chain.head.mac);
        let detail = format!(
            "chain {}, last seq {}, mac {mac}, instance {}, replica {}",
            chain.id, chain.head.seq, chain.instance, chain.replica
        );
        Record {
            at: self.clock.now(),
            instance: self.instance.clone(),
            request_id: String::new(),
            tenant: None,
            identity: None,
            operation: "audit.crashed",
            context: None,
            key_version: None,
            outcome: Outcome::Success,
            items: 1,
            failed: 0,
            bytes: 0,
            address: None,
            detail: Some(detail),
        }
    }

    async fn keep_days(&self, now: Timestamp) -> Result<(), UpkeepError> {
        self.store.prepare_audit_days(now, DAYS_AHEAD).await?;
        let Some(days) = self.audit_retention_days else { return Ok(()) };
        // A clock that is ahead, here or there, removes nothing before its time.
        let today = now.min(self.clock.now()).as_secs() / DAY;
        let before = Timestamp::from_secs(today.saturating_sub(days.into()) * DAY);
        while let Some(cut) = self.store.cut_audit(before, &self.audit_keys).await? {
            let chains = cut.entries().map_or(0, |entries| entries.len());
            tracing::info!(number = cut.number, before = %cut.before, chains, "old audit records were removed");
        }
        Ok(())
    }
}

/// Takes a checkpoint, unless the last one is younger than `age`. Its line in the log is an anchor.
pub(super) async fn take_checkpoint<S: Store>(
    store: &S,
    keys: &audit::Keys,
    age: Duration,
) -> Result<(), audit::CheckpointError> {
    if let Some(checkpoint) = Checkpoint::take(store, keys, age).await? {
        tracing::info!(
            number = checkpoint.number,
            hash = hex::encode(checkpoint.hash()),
            signature = hex::encode(checkpoint.signature.bytes),
            "audit checkpoint"
        );
    }
    Ok(())
}
