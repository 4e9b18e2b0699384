use std::collections::BTreeMap;

use super::Error;
use crate::crypto::KekId;
use crate::keyring::Keks;
use crate::store::{ReplicaRecord, Store};

/// The master keys of a deployment, and who knows them.
#[derive(Clone, Debug)]
pub struct Overview {
    /// Those that this process has, in the order of its configuration, then others that the deployment needs.
    pub keys: Vec<MasterKey>,
    /// The replicas that are alive.
    pub replicas: Vec<ReplicaRecord>,
}

/// A master key as its fingerprint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MasterKey {
    /// Its fingerprint.
    pub id: KekId,
    /// Whether this process has it.
    pub known_here: bool,
    /// Whether new keys are wrapped under it.
    pub active: bool,
    /// How many keys are wrapped under it.
    pub wrapped: u64,
}

/// What is left to do once every key is wrapped under the active master key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NextStep {
    /// No replica is alive, so nobody knows.
    Start,
    /// This process has a master key that some replica lacks, and under which nothing is wrapped: a new one that is not
    /// known everywhere yet, or a former one that is being dropped. Nobody can tell the two apart.
    MakeKnown {
        /// That master key.
        key: KekId,
        /// Those that lack it, by their `INSTANCE_ID`.
        replicas: Vec<String>,
    },
    /// Some replica does not have the active master key in the first place.
    PutFirst,
    /// Some replica still has others beside it.
    DropOthers,
    /// Nothing.
    Nothing,
}

impl Overview {
    /// What the store says now, for a process that has `keks`.
    ///
    /// # Errors
    ///
    /// [`Error::Store`], [`Error::NotSetUp`].
    pub async fn read<S: Store>(store: &S, keks: &Keks) -> Result<Self, Error> {
        let active = store.deployment().await?.ok_or(Error::NotSetUp)?.active_kek;
        let wrapped: BTreeMap<_, _> =
            store.count_wrapped().await?.into_iter().map(|(id, keys)| (id.0, keys)).collect();
        let known = keks.ids();
        let mut ids = known.clone();
        ids.extend(std::iter::once(active.0).chain(wrapped.keys().copied()).map(KekId));
        let mut keys: Vec<MasterKey> = Vec::new();
        for id in ids {
            if !keys.iter().any(|key| key.id == id) {
                let wrapped = wrapped.get(&id.0).copied().unwrap_or_default();
                keys.push(MasterKey { id, known_here: known.contains(&id), active: id == active, wrapped });
            }
        }
        let replicas = store.replicas().await?.into_iter().filter(ReplicaRecord::is_alive).collect();
        Ok(Self { keys, replicas })
    }

    /// The fingerprint of the active one.
    pub fn active(&self) -> Option<KekId> {
        self.keys.iter().find(|key| key.active).map(|key| key.id)
    }

    /// What is left to do; `None` while keys are wrapped under another master key than the active one.
    pub fn next_step(&self) -> Option<NextStep> {
        let active = self.active()?;
        if self.keys.iter().any(|key| !key.active && key.wrapped > 0) {
            return None;
        }
        let mut known = self.replicas.iter().map(|record| record.replica.kek_ids.as_slice());
        Some(if known.len() == 0 {
            NextStep::Start
        } else if known.clone().any(|ids| ids.first() != Some(&active)) {
            NextStep::PutFirst
        } else if let Some(step) = self.make_known() {
            step
        } else if known.any(|ids| ids.len() > 1) {
            NextStep::DropOthers
        } else {
            NextStep::Nothing
        })
    }

    /// The first master key here, beside the active one, that some replica lacks.
    fn make_known(&self) -> Option<NextStep> {
        self.keys.iter().filter(|key| key.known_here && !key.active).find_map(|key| {
            let lacking = self.replicas.iter().filter(|record| !record.replica.kek_ids.contains(&key.id));
            let replicas: Vec<_> = lacking.map(|record| record.replica.instance.clone()).collect();
            (!replicas.is_empty()).then_some(NextStep::MakeKnown { key: key.id, replicas })
        })
    }
}
