//! The keyring: what of the store this process holds in memory, so that warm requests do no query.
//!
//! Coherence is one mechanism: every change of the store raises its revision, and [`Keyring::poll`] forgets what
//! changed since the last look. An entry that was loaded while something changed is used once and not kept, so a slow
//! load never resurrects what was revoked meanwhile. What could not be confirmed for the staleness bound is no longer
//! acted on.

mod certificates;
mod counter;
mod keks;
mod loaded;
mod lookups;
mod signing;
mod tenants;
mod usage;
mod view;

use std::hash::Hash;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use prometheus_client::registry::Registry;
use quick_cache::sync::Cache;
use tokio::sync::Notify;
use tracing::Instrument;

use crate::auth::{CertificateName, IdentityStatus};
use crate::clock::{Clock, Monotonic};
use crate::contexts::StoredVersion;
use crate::crypto::{self, Kek, KekId, KeyId, KeyVersion, Purpose};
use crate::id::{IdentityId, TenantId};
use crate::limits::DefaultPolicies;
use crate::name::Name;
use crate::store::{self, Loaded, Position, Store};
use crate::telemetry::{Wait, traces, waiting_for};
use lookups::{Kind, Lookups};
use usage::UsageLedger;
use view::View;

pub use counter::{CounterError, ROTATE_AT};
pub use keks::{Keks, MissingKek};
pub use loaded::LoadedKey;
pub use signing::LoadedSigningKey;
pub use tenants::KnownTenant;

/// Most key versions, context names and identities that are held, each.
const CAPACITY: usize = 10_000;
/// Most signing keys that are held: some are a hundred times the size of a key version.
const SIGNING_CAPACITY: usize = 1_000;
/// Longest wait for somebody else's load of the same entry: those who wait for one that fails try it one after another.
const LOAD_TIMEOUT: Duration = Duration::from_secs(3);

/// The in-memory view of the store.
pub struct Keyring<S> {
    store: S,
    keks: Keks,
    clock: Clock,
    max_staleness: Duration,
    names: Cache<(TenantId, Name), Option<Arc<LoadedKey>>>,
    versions: Cache<(TenantId, KeyId, KeyVersion), Option<Arc<LoadedKey>>>,
    signing_keys: Cache<(TenantId, KeyId), Option<Arc<LoadedSigningKey>>>,
    identities: Cache<(TenantId, IdentityId), Option<Arc<IdentityStatus>>>,
    /// Whose certificate it is.
    certificates: Cache<CertificateName, Option<(TenantId, IdentityId)>>,
    tenants: Cache<Name, Option<KnownTenant>>,
    view: Mutex<View>,
    /// Stored limits of those who have none of their own.
    default_limits: ArcSwap<DefaultPolicies>,
    /// The fingerprint of the key-encryption key that wraps new keys.
    active_kek: AtomicU64,
    usage: UsageLedger,
    lookups: Lookups,
    /// Told when a key version has encrypted so much that it must be rotated.
    worn: Notify,
    /// When the view was last known to be current.
    confirmed_at: AtomicU64,
    /// One poll at a time.
    polling: tokio::sync::Mutex<()>,
}

/// What the keyring can fail with.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A cold entry could not be loaded.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The view could not be confirmed for longer than is safe.
    #[error("the view of the store is {} s old, more than KEYRING_MAX_STALENESS allows", .0.as_secs())]
    Stale(Duration),
    /// A key does not unwrap: row and key-encryption key do not belong together.
    #[error("a key of the store does not unwrap: {0}")]
    Key(#[from] crypto::Error),
    /// A key is wrapped under a key-encryption key that this process does not have.
    #[error(transparent)]
    MissingKek(#[from] MissingKek),
}

impl<S: Store> Keyring<S> {
    /// An empty view as of the store's revision now.
    ///
    /// # Errors
    ///
    /// When the store cannot be read, or needs a key-encryption key that is not among `keks`.
    pub async fn open(store: S, keks: Keks, clock: Clock, max_staleness: Duration) -> Result<Self, Error> {
        let now = clock.monotonic();
        // First, so that whatever changes from here on is noticed by the next poll.
        let Position { revision: seen, server_started_at } = store.position().await?;
        let deployment = store.deployment().await?;
        let deployment = deployment.ok_or_else(|| store::Error::Unavailable("not set up".into()))?;
        keks.check(&deployment)?;
        let active_kek = deployment.active_kek;
        let default_limits = ArcSwap::from_pointee(deployment.default_limits);
        Ok(Self {
            store,
            keks,
            clock,
            max_staleness,
            names: Cache::new(CAPACITY),
            versions: Cache::new(CAPACITY),
            signing_keys: Cache::new(SIGNING_CAPACITY),
            identities: Cache::new(CAPACITY),
            certificates: Cache::new(CAPACITY),
            tenants: Cache::new(CAPACITY),
            default_limits,
            view: Mutex::new(View { seen, server_started_at, generation: 0 }),
            active_kek: AtomicU64::new(u64::from_be_bytes(active_kek.0)),
            usage: UsageLedger::default(),
            lookups: Lookups::new(),
            worn: Notify::new(),
            confirmed_at: AtomicU64::new(now.as_micros()),
            polling: tokio::sync::Mutex::new(()),
        })
    }

    /// The key with which a context encrypts; `None` for no such context.
    ///
    /// # Errors
    ///
    /// When the view is stale, or a cold entry cannot be loaded.
    pub async fn encryption_key(
        &self,
        tenant: TenantId,
        context: &Name,
    ) -> Result<Option<Arc<LoadedKey>>, Error> {
        self.check_staleness()?;
        let known = self.names.get(&(tenant, context.clone()));
        if let Some(entry) = self.lookups.count(Kind::Context, known) {
            return Ok(entry);
        }
        let load = async {
            let stored = self.read(self.store.enabled_version(tenant, context)).await?;
            stored.map(|stored| self.unwrap(stored)).transpose()
        };
        // What is encrypted now will be decrypted: that needs no query of its own.
        let keep = |key: &Arc<LoadedKey>| {
            let id = (tenant, key.context().key_id, key.version());
            self.versions.insert(id, Some(key.clone()));
        };
        self.load(&self.names, &(tenant, context.clone()), load, keep).await
    }

    /// A version of a context's key, whatever its state and that of its context; `None` for no such version.
    ///
    /// # Errors
    ///
    /// As [`Keyring::encryption_key`].
    pub async fn key_version(
        &self,
        tenant: TenantId,
        key: KeyId,
        version: KeyVersion,
    ) -> Result<Option<Arc<LoadedKey>>, Error> {
        self.check_staleness()?;
        let known = self.versions.get(&(tenant, key, version));
        if let Some(entry) = self.lookups.count(Kind::KeyVersion, known) {
            return Ok(entry);
        }
        let load = async {
            let stored = self.store.key_version(tenant, key, version, Purpose::ContextKey);
            self.read(stored).await?.map(|stored| self.unwrap(stored)).transpose()
        };
        self.load(&self.versions, &(tenant, key, version), load, |_| {}).await
    }

    /// What decides whether the tokens of an identity count; `None` for no such identity.
    ///
    /// # Errors
    ///
    /// As [`Keyring::encryption_key`].
    pub async fn identity(
        &self,
        tenant: TenantId,
        id: IdentityId,
    ) -> Result<Option<Arc<IdentityStatus>>, Error> {
        self.check_staleness()?;
        if let Some(entry) = self.lookups.count(Kind::Identity, self.identities.get(&(tenant, id))) {
            return Ok(entry);
        }
        let status = self.store.identity_status(tenant, id, self.clock.now());
        let load = async { Ok(self.read(status).await?.map(Arc::new)) };
        self.load(&self.identities, &(tenant, id), load, |_| {}).await
    }

    /// Counts `messages` against `key`, reserving more in the store when this process' block is used up.
    ///
    /// # Errors
    ///
    /// [`CounterError::Exhausted`] when the key version may encrypt no more with an algorithm of short nonces.
    pub async fn count_messages(&self, key: &LoadedKey, messages: u64) -> Result<(), CounterError> {
        let worn = key
            .counter()
            .take(messages, &self.clock, |block, limit| {
                let (tenant, id, version) = (key.context().tenant, key.context().key_id, key.version());
                self.store.reserve_messages(tenant, id, version, block, limit)
            })
            .await;
        if matches!(worn, Ok(true) | Err(CounterError::Exhausted)) {
            self.worn.notify_one();
        }
        worn.map(|_| ())
    }

    /// Waits until a key version has encrypted so much that it must be rotated.
    pub async fn worn(&self) {
        self.worn.notified().await;
    }

    /// Writes down how often keys were used since the last time.
    ///
    /// # Errors
    ///
    /// When the store cannot be written; what was not written is kept for the next time.
    pub async fn record_usage(&self) -> Result<(), store::Error> {
        let now = self.clock.now();
        let mut unwritten = self.usage.take();
        while let Some(chunk) = unwritten.chunk() {
            self.store.record_usage(chunk, now).await?;
            unwritten.written();
        }
        Ok(())
    }

    /// How long ago the view was last known to be current.
    pub fn age(&self) -> Duration {
        self.clock.monotonic().since(Monotonic::from_micros(self.confirmed_at.load(Ordering::Acquire)))
    }

    /// Whether the view is too old to act on.
    pub fn is_stale(&self) -> bool {
        self.age() > self.max_staleness
    }

    /// The key-encryption keys of this process.
    pub fn keks(&self) -> &Keks {
        &self.keks
    }

    /// The key-encryption key that wraps new keys.
    ///
    /// # Errors
    ///
    /// [`MissingKek`] when it became the active one though this process does not have it.
    pub fn active_kek(&self) -> Result<&Kek, MissingKek> {
        self.keks.get(KekId(self.active_kek.load(Ordering::Acquire).to_be_bytes()))
    }

    /// Stored limits of those who have none of their own; empty where none are.
    pub fn default_limits(&self) -> Guard<Arc<DefaultPolicies>> {
        self.default_limits.load()
    }

    /// Key versions and identities in memory.
    pub fn sizes(&self) -> (usize, usize) {
        (self.versions.len(), self.identities.len())
    }

    /// How many entries of each kind are in memory.
    pub(crate) fn entries(&self) -> Vec<(&'static str, usize)> {
        let counts = [
            self.names.len(),
            self.versions.len(),
            self.signing_keys.len(),
            self.identities.len(),
            self.tenants.len(),
        ];
        Kind::NAMES.into_iter().zip(counts).collect()
    }

    /// Shows its counters in `registry`.
    pub(crate) fn register(&self, registry: &mut Registry) {
        self.lookups.register(registry);
    }

    fn check_staleness(&self) -> Result<(), Error> {
        let age = self.age();
        if age > self.max_staleness { Err(Error::Stale(age)) } else { Ok(()) }
    }

    fn unwrap(&self, stored: StoredVersion) -> Result<Arc<LoadedKey>, Error> {
        let usage = self.usage.open(stored.context.tenant, stored.key.id, stored.version.version);
        Ok(Arc::new(LoadedKey::unwrap(stored, &self.keks, usage)?))
    }

    /// What a query reads, unless it is older than what was known before it: another server answered, that was left behind
    /// by a failover, and may not know what was revoked since.
    async fn read<T>(
        &self,
        query: impl Future<Output = Result<Loaded<T>, store::Error>>,
    ) -> Result<Option<T>, store::Error> {
        // What becomes known while it runs, it cannot know.
        let seen = self.view().seen;
        let loaded = query.await?;
        if loaded.revision < seen {
            return Err(store::Error::Unavailable("the database answered with an older state".into()));
        }
        Ok(loaded.value)
    }

    /// Loads an entry once, however many wait for it, and keeps it unless something was forgotten meanwhile; then `keep`
    /// may keep it elsewhere too.
    async fn load<K, V>(
        &self,
        cache: &Cache<K, Option<V>>,
        key: &K,
        load: impl Future<Output = Result<Option<V>, Error>>,
        keep: impl FnOnce(&V),
    ) -> Result<Option<V>, Error>
    where
        K: Clone + Eq + Hash,
        V: Clone,
    {
        let entry = tokio::time::timeout(LOAD_TIMEOUT, cache.get_value_or_guard_async(key));
        match waiting_for(Wait::Store, entry)
            .await
            .map_err(|_| store::Error::Unavailable("others wait for the same row".into()))?
        {
            Ok(entry) => Ok(entry),
            Err(guard) => {
                let generation = self.view().generation;
                let entry = load.instrument(traces::keyring_load()).await?;
                let view = self.view();
                if view.generation == generation {
                    // An error means that the placeholder was evicted: then the entry is just not kept.
                    let _ = guard.insert(entry.clone());
                    if let Some(entry) = &entry {
                        keep(entry);
                    }
                }
                Ok(entry)
            }
        }
    }

    fn view(&self) -> std::sync::MutexGuard<'_, View> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
