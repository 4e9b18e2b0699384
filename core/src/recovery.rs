//! What must follow the restore of a database, before it serves again.
//!
//! A backup knows nothing of what came after it: tokens that were revoked, messages that were encrypted, keys that were
//! destroyed, and what replicas have seen. First of all, in one transaction, everything that may be stale is made
//! worthless; what is left is work that can be done again from its start.

use std::collections::HashMap;

use crate::audit::{self, ChainWriter, Outcome, Record};
use crate::clock::{Clock, Timestamp};
use crate::contexts::{Destruction, KeyState, StoredVersion, next_version};
use crate::crypto;
use crate::keyring::{self, Keks, MissingKek};
use crate::store::{self, Deployment, MESSAGES_EXHAUSTED, Outlook, Revision, Store};

/// Contexts that are rotated between two queries for more.
const ROTATIONS_AT_ONCE: u32 = 100;

/// What a recovery works with.
pub struct Recovery<'a, S> {
    /// The restored database, whose schema is up to date.
    pub store: &'a S,
    /// All that it needs.
    pub keks: &'a Keks,
    /// What is set up in it.
    pub deployment: &'a Deployment,
    /// What was destroyed, also since the backup; in any order, some more than once.
    pub destructions: &'a [Destruction],
    /// The time.
    pub clock: &'a Clock,
    /// Who does it, for the audit trail.
    pub instance: &'a str,
}

/// What a recovery would do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// What is stale.
    pub outlook: Outlook,
    /// Processes that have said within the last seconds, by what the database holds, that they serve.
    pub alive: Vec<String>,
    /// Of the destructions: those to be done again.
    pub again: u64,
    /// Those that the backup holds as done.
    pub already: u64,
    /// Those of versions that were made after the backup, or of another database.
    pub unknown: u64,
}

/// What a recovery did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// No replica has seen a later one.
    pub revision: Revision,
    /// Contexts whose key has a new version.
    pub rotated: u64,
    /// Versions that were destroyed again.
    pub destroyed: u64,
}

/// Why a recovery came to no end. It can be begun again.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    /// The store.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// This process lacks a master key.
    #[error(transparent)]
    MissingKek(#[from] MissingKek),
    /// A key of the store does not unwrap.
    #[error(transparent)]
    Keyring(#[from] keyring::Error),
    /// A cryptographic fault.
    #[error("a key could not be made: {0}")]
    Crypto(#[from] crypto::Error),
    /// The keys of the audit trail.
    #[error(transparent)]
    AuditKeys(#[from] audit::KeysError),
    /// Others change keys at the same time.
    #[error("keys change while they are rotated: stop every replica, and run this again")]
    Busy,
}

impl<S: Store> Recovery<'_, S> {
    /// Changes nothing.
    ///
    /// # Errors
    ///
    /// [`RecoveryError::Store`].
    pub async fn plan(&self) -> Result<Plan, RecoveryError> {
        let replicas = self.store.replicas().await?;
        let alive = replicas.into_iter().filter(store::ReplicaRecord::is_alive);
        let mut plan = Plan {
            outlook: self.store.outlook().await?,
            alive: alive.map(|record| record.replica.instance).collect(),
            again: 0,
            already: 0,
            unknown: 0,
        };
        for destruction in self.latest() {
            match self.store.recorded_version(&destruction).await? {
                Some(stored) if stored.version.created_at > destruction.destroyed_at => plan.unknown += 1,
                Some(stored) if stored.version.state == KeyState::Destroyed => plan.already += 1,
                Some(_) => plan.again += 1,
                None => plan.unknown += 1,
            }
        }
        Ok(plan)
    }

    /// Does all of it. Ended at any point, it can be run again.
    ///
    /// # Errors
    ///
    /// [`RecoveryError`]; then the database must not serve yet.
    pub async fn run(&self) -> Result<Recovered, RecoveryError> {
        let trail = &mut ChainWriter::for_command(self.store, self.keks, self.instance, self.clock).await?;
        // Recorded first: that tokens became worthless must not happen without a word.
        self.audit(trail, "command.doctor", None, "after a restore: begun".to_owned()).await?;
        let revision = self.store.invalidate(self.clock.now()).await?;
        let mut rotated = self.rotate_due(trail).await?;
        let mut destroyed = 0;
        for destruction in self.latest() {
            let (one_rotated, one_destroyed) = self.destroy_again(trail, &destruction).await?;
            rotated += u64::from(one_rotated);
            destroyed += u64::from(one_destroyed);
        }
        let summary = format!(
            "after a restore: rotated {rotated}, destroyed again {destroyed}, revision {}",
            revision.0
        );
        self.audit(trail, "command.doctor", None, summary).await?;
        trail.end().await?;
        Ok(Recovered { revision, rotated, destroyed })
    }

    /// Each version once, with its last destruction.
    fn latest(&self) -> Vec<Destruction> {
        let mut latest: HashMap<_, Destruction> = HashMap::new();
        for destruction in self.destructions {
            let key = (destruction.tenant_id, destruction.key_id, destruction.version);
            let kept = latest.entry(key).or_insert(*destruction);
            kept.destroyed_at = kept.destroyed_at.max(destruction.destroyed_at);
        }
        latest.into_values().collect()
    }

    /// Rotates what may encrypt no more.
    async fn rotate_due(&self, trail: &mut ChainWriter<S>) -> Result<u64, RecoveryError> {
        let mut rotated = 0;
        loop {
            // Only those: what is due by its time can wait for the replicas.
            let epoch = Timestamp::from_micros(0);
            let due = self.store.rotations_due(epoch, MESSAGES_EXHAUSTED, ROTATIONS_AT_ONCE).await?;
            if due.is_empty() {
                return Ok(rotated);
            }
            let before = rotated;
            for current in &due {
                rotated += u64::from(self.rotate(trail, current).await?);
            }
            if rotated == before {
                return Err(RecoveryError::Busy);
            }
        }
    }

    /// `false` if somebody else did.
    async fn rotate(
        &self,
        trail: &mut ChainWriter<S>,
        current: &StoredVersion,
    ) -> Result<bool, RecoveryError> {
        let kek = self.keks.get(self.deployment.active_kek)?;
        // Its successor inherits what the row says, which must first be shown to be true.
        self.keks.unwrap(current)?;
        let rotation = next_version(current, None, kek, self.clock.now())?;
        let applied = self.store.rotate(&rotation).await?;
        if applied {
            self.audit(trail, "keys.rotate", Some(&rotation.next), "after a restore".to_owned()).await?;
        }
        Ok(applied)
    }

    /// Whether its key was rotated for it, and whether it was destroyed.
    async fn destroy_again(
        &self,
        trail: &mut ChainWriter<S>,
        destruction: &Destruction,
    ) -> Result<(bool, bool), RecoveryError> {
        let Some(stored) = self.store.recorded_version(destruction).await? else { return Ok((false, false)) };
        if stored.version.created_at > destruction.destroyed_at {
            return Ok((false, false));
        }
        // It was the enabled one when the backup was made. A context is never without one, and a deleted one, which
        // nothing else rotates, may be restored.
        let encrypts = stored.version.state == KeyState::Enabled && stored.key.id == stored.context.key_id;
        if encrypts && !self.rotate(trail, &stored).await? {
            return Err(RecoveryError::Busy);
        }
        let destroyed_at = destruction.destroyed_at;
        let destroyed = self.store.destroy_again(&stored, destroyed_at, self.clock.now()).await?;
        if destroyed {
            let detail = format!("after a restore, as on {destroyed_at}");
            self.audit(trail, "keys.destroy", Some(&stored), detail).await?;
        }
        Ok((encrypts, destroyed))
    }

    async fn audit(
        &self,
        trail: &mut ChainWriter<S>,
        operation: &'static str,
        key: Option<&StoredVersion>,
        detail: String,
    ) -> Result<(), store::Error> {
        let record = Record {
            at: self.clock.now(),
            instance: self.instance.into(),
            request_id: String::new(),
            tenant: Some(key.map_or(self.deployment.tenant.id, |key| key.context.tenant)),
            identity: None,
            operation,
            context: key.map(|key| key.context.name.clone()),
            key_version: key.map(|key| key.version.version),
            outcome: Outcome::Success,
            items: 1,
            failed: 0,
            bytes: 0,
            address: None,
            detail: Some(detail),
        };
        trail.append(vec![record]).await
    }
}

#[cfg(test)]
mod tests;
