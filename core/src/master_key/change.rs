use std::time::{Duration, Instant};

use super::Error;
use crate::clock::Timestamp;
use crate::contexts::{StoredVersion, WrappedKey};
use crate::crypto::{Kek, KekId};
use crate::keyring::Keks;
use crate::store::{self, KekRecord, ReplicaRecord, Rewrap, Store, VersionId, WrappedVersion};
use crate::telemetry::causes;

/// Keys that are rewrapped in one transaction.
const PAGE: u32 = 100;
/// How often what the store cannot do now is tried, and the pause after the first time.
const ATTEMPTS: u32 = 5;
const PAUSE: Duration = Duration::from_millis(200);

/// The change to another master key, beside replicas that serve. It can be cut off anywhere, begun again, and run twice at
/// once: each of its steps does what is left to do.
pub struct KeyChange<'a, S> {
    store: &'a S,
    keks: &'a Keks,
    to: &'a Kek,
    /// Whether it was the active one before.
    was_active: bool,
}

/// What [`KeyChange::rewrap`] did.
#[derive(Debug, Default)]
pub struct Rewrapped {
    /// Keys that this call rewrapped; another process may have done others meanwhile.
    pub keys: u64,
    /// Keys that were left as they are.
    pub failed: Vec<Failed>,
}

/// A key that could not be rewrapped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed {
    /// Which version of which key.
    pub id: VersionId,
    /// Why.
    pub reason: String,
}

impl<'a, S: Store> KeyChange<'a, S> {
    /// A change to the master key with fingerprint `to`, if nobody would lose access to a key by it.
    ///
    /// # Errors
    ///
    /// [`Error::NotKnownHere`], [`Error::MissingKek`] and [`Error::NotKnownEverywhere`] say who lacks which master key.
    pub async fn prepare(store: &'a S, keks: &'a Keks, to: KekId) -> Result<Self, Error> {
        let deployment = store.deployment().await?.ok_or(Error::NotSetUp)?;
        let to = keks.get(to).map_err(|_| Error::NotKnownHere { to, known: keks.ids() })?;
        keks.check(&deployment)?;
        let change = Self { store, keks, to, was_active: deployment.active_kek == to.id() };
        change.check_replicas().await?;
        Ok(change)
    }

    /// Makes the master key the active one; `false` if it was before.
    ///
    /// # Errors
    ///
    /// [`Error::NotKnownEverywhere`], if a replica has come since that lacks it.
    pub async fn activate(&self, now: Timestamp) -> Result<bool, Error> {
        let kek = KekRecord { id: self.to.id(), check_value: self.to.check_value() };
        for _ in 0..ATTEMPTS {
            if patiently(async || self.store.activate_kek(&kek, now).await).await? {
                return Ok(true);
            }
            let active = self.store.deployment().await?.ok_or(Error::NotSetUp)?.active_kek;
            if active == kek.id {
                // If not before, it was another process, or an attempt of ours that was not confirmed.
                return Ok(!self.was_active);
            }
            // If none is found, it has ended in this moment.
            self.check_replicas().await?;
        }
        Err(Error::OtherCheckValue { to: kek.id })
    }

    /// Keys that are wrapped under other master keys.
    ///
    /// # Errors
    ///
    /// [`Error::Store`].
    pub async fn left(&self) -> Result<u64, Error> {
        let counts = patiently(async || self.store.count_wrapped().await).await?;
        Ok(counts.into_iter().filter(|(id, _)| *id != self.to.id()).map(|(_, keys)| keys).sum())
    }

    /// Wraps every key under the master key, which is the active one, and calls `progress` with the number of keys that it
    /// is through with. Pauses as long as it works, to leave the database to those who serve.
    ///
    /// # Errors
    ///
    /// [`Error::Superseded`] when another master key becomes the active one meanwhile. A key that cannot be unwrapped is
    /// no error but in [`Rewrapped::failed`].
    pub async fn rewrap(&self, mut progress: impl FnMut(u64)) -> Result<Rewrapped, Error> {
        let to = self.to.id();
        let (mut done, mut through, mut after) = (Rewrapped::default(), 0, None);
        loop {
            let started = Instant::now();
            let page = patiently(async || self.store.wrapped_under_others(to, after, PAGE).await).await?;
            let Some(last) = page.last() else { return Ok(done) };
            after = Some(last.id);
            through += page.len() as u64;
            let mut rewraps = Vec::with_capacity(page.len());
            for WrappedVersion { id, stored } in page {
                match self.rewrap_one(id, stored) {
                    Ok(rewrap) => rewraps.push(rewrap),
                    Err(reason) => done.failed.push(Failed { id, reason }),
                }
            }
            let exchanged = patiently(async || self.store.rewrap(to, &rewraps).await).await;
            done.keys += match exchanged {
                Err(store::Error::KekNotActive) => return Err(Error::Superseded { to }),
                result => result?,
            };
            progress(through);
            tokio::time::sleep(started.elapsed()).await;
        }
    }

    fn rewrap_one(
        &self,
        id: VersionId,
        stored: Result<StoredVersion, store::Error>,
    ) -> Result<Rewrap, String> {
        let stored = stored.map_err(|error| causes(&error).to_string())?;
        let from = stored.wrapped.clone().ok_or("its bytes are gone")?;
        let kek = self.keks.get(from.kek_id).map_err(|error| error.to_string())?;
        let to: WrappedKey = stored.rewrap(kek, self.to).map_err(|error| error.to_string())?;
        Ok(Rewrap { id, from, to })
    }

    async fn check_replicas(&self) -> Result<(), Error> {
        let to = self.to.id();
        let lacks = |record: &ReplicaRecord| record.is_alive() && !record.replica.kek_ids.contains(&to);
        let replicas: Vec<_> = self.store.replicas().await?.into_iter().filter(lacks).collect();
        if replicas.is_empty() { Ok(()) } else { Err(Error::NotKnownEverywhere { to, replicas }) }
    }
}

/// Asks for something that does no harm when done twice a few times, as long as the store is unavailable.
async fn patiently<T>(mut ask: impl AsyncFnMut() -> Result<T, store::Error>) -> Result<T, store::Error> {
    for attempt in 1..ATTEMPTS {
        match ask().await {
            Err(store::Error::Unavailable(_)) => tokio::time::sleep(PAUSE * attempt).await,
            result => return result,
        }
    }
    ask().await
}
