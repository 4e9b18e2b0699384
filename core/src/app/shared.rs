use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::api::{Error, Router};
use crate::app::origin::Proxies;
use crate::audit::{self, Audit, DatabaseTime};
use crate::auth::{Provider, Tokens, Verified, VerifiedTokens};
use crate::clock::Clock;
use crate::config::OnRedisFailure;
use crate::crypto;
use crate::data_dir::DestructionLog;
use crate::health::DeepHealth;
use crate::keyring::Keyring;
use crate::limits::{Cost, Dimension, Level, Limits, NotTaken};
use crate::store::{Replica, Store};
use crate::telemetry::{Metrics, State, Wait, causes, waiting_for};

/// What all requests share.
pub(crate) struct Shared<S> {
    pub(crate) store: S,
    pub(crate) keyring: Keyring<S>,
    pub(crate) tokens: Tokens,
    pub(super) verified_tokens: VerifiedTokens<Arc<Verified>>,
    /// Whose tokens count beside our own.
    pub(super) provider: Option<Arc<Provider>>,
    pub(crate) limits: Limits,
    pub(crate) audit: Audit,
    /// Of the deployment.
    pub(super) audit_keys: Arc<audit::Keys>,
    pub(super) audit_retention_days: Option<u32>,
    /// The database's, as far as it is known here.
    pub(crate) time: DatabaseTime,
    pub(crate) clock: Clock,
    pub(crate) instance: Arc<str>,
    /// This process, as the other replicas see it.
    pub(crate) replica: Replica,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) deep_health: DeepHealth,
    /// Turns of the requests that are worked on outside the async workers.
    pub(super) heavy: Arc<Semaphore>,
    /// Turns of making RSA keys.
    pub(super) making_rsa_keys: Semaphore,
    /// Where destructions are written down outside of the database; with PostgreSQL that is the log.
    pub(super) destructions: Option<DestructionLog>,
    pub(super) router: Router,
    pub(super) proxies: Proxies,
    pub(super) sampler: Sampler,
    /// From which time on a request is logged as slow.
    pub(super) slow_request: Duration,
    pub(super) request_ids: RequestIds,
    /// When this process last failed to say that it is there, in microseconds of the monotonic clock and one more; 0: never.
    pub(super) silent_at: AtomicU64,
    pub(super) warm: AtomicBool,
    pub(super) draining: AtomicBool,
}

impl<S: Store> Shared<S> {
    /// Why this replica should get no requests, if so.
    pub(crate) fn unready(&self) -> Option<&'static str> {
        if self.draining.load(Ordering::Acquire) {
            Some("draining")
        } else if !self.warm.load(Ordering::Acquire) {
            Some("warming up")
        } else if self.keyring.is_stale() {
            Some("the view of the database is too old")
        } else if self.keyring.active_kek().is_err() {
            Some("the active master key is not among those of this process")
        } else if self.limits.trouble() == Some(OnRedisFailure::Closed) {
            Some("Redis does not answer, and nothing is to be admitted without it")
        } else {
            None
        }
    }

    /// What this replica does without although it should get requests, if anything.
    pub(crate) fn degraded(&self) -> Option<&'static str> {
        // All replicas have the same database: to take this one out would help nobody.
        let (queued, capacity) = self.audit.depth();
        if queued >= capacity {
            return Some("the audit queue is full: what must be recorded is refused");
        }
        self.limits.trouble().map(|policy| match policy {
            OnRedisFailure::Local | OnRedisFailure::Closed => {
                "Redis does not answer: this replica limits on its own"
            }
            OnRedisFailure::Open => "Redis does not answer: nothing is limited",
        })
    }

    /// For whoever watches it.
    pub(super) fn state(&self) -> State {
        State {
            ready: self.unready().is_none(),
            degraded: self.degraded().is_some(),
            keyring_age: self.keyring.age(),
            keyring_entries: self.keyring.entries(),
            audit_queue: self.audit.depth(),
            audit_lag: self.audit.lag(),
            lost_by_sink: self.audit.lost_by_sink(),
        }
    }

    /// Takes from the limit of those who bring bad credentials, which refuses nobody else.
    pub(crate) async fn take_failed_authentication(&self, address: IpAddr) -> Result<Vec<Level>, NotTaken> {
        let stored = self.keyring.default_limits();
        let mut selection = self.limits.select(&stored, None, Cost::ONE);
        let selection = selection.add(Dimension::failed_authentication(address), None, 0);
        waiting_for(Wait::Limits, self.limits.take(selection)).await
    }

    /// Called after a change of ours, so that the next request here sees it; the other replicas poll.
    pub(crate) async fn changed(&self) {
        if let Err(error) = self.keyring.poll().await {
            let error = causes(&error);
            tracing::warn!(%error, "a change was stored, but could not be read back; it holds within a second");
        }
    }

    /// Makes an RSA key, which takes up to a second, outside the async workers.
    pub(crate) async fn make_rsa_key<T: Send + 'static>(
        &self,
        make: impl FnOnce() -> Result<T, crypto::Error> + Send + 'static,
    ) -> Result<T, Error> {
        let _turn = self.making_rsa_keys.acquire().await.expect("never closed");
        match tokio::task::spawn_blocking(make).await {
            Ok(made) => Ok(made?),
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        }
    }

    /// Keeps the keys of the identity provider fresh, for ever.
    pub(super) async fn refresh_provider_keys(&self) {
        match &self.provider {
            Some(provider) => provider.refresh_keys().await,
            None => std::future::pending().await,
        }
    }

    pub(super) fn drain(&self) {
        self.draining.store(true, Ordering::Release);
    }
}

/// Chooses an even share of successful requests for the log.
pub(super) struct Sampler {
    share: f64,
    seen: AtomicU64,
}

impl Sampler {
    pub(super) fn new(share: f64) -> Self {
        Self { share, seen: AtomicU64::new(0) }
    }

    /// Whether the next request is logged.
    pub(super) fn sample(&self) -> bool {
        if self.share >= 1.0 {
            return true;
        }
        // A double holds counts exactly up to 2^53, which no process reaches.
        #[expect(clippy::cast_precision_loss, reason = "exact below 2^53")]
        let seen = self.seen.fetch_add(1, Ordering::Relaxed) as f64;
        ((seen + 1.0) * self.share).floor() > (seen * self.share).floor()
    }
}

/// Makes request ids: unique and cheap, not secret.
pub(super) struct RequestIds {
    process: u64,
    next: AtomicU64,
}

impl RequestIds {
    pub(super) fn new() -> Self {
        let (process, _) = crate::id::random_uuid().as_u64_pair();
        Self { process, next: AtomicU64::new(0) }
    }

    pub(super) fn next(&self) -> String {
        format!("{:016x}-{:x}", self.process, self.next.fetch_add(1, Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sampler_takes_an_even_share() {
        for (share, expected) in [(1.0, 1000), (0.5, 500), (0.01, 10), (0.0, 0)] {
            let sampler = Sampler::new(share);
            assert_eq!((0..1000).filter(|_| sampler.sample()).count(), expected, "{share}");
        }
    }

    #[test]
    fn request_ids_are_unique_and_in_the_form_of_clients_ids() {
        let ids = RequestIds::new();
        let (a, b) = (ids.next(), ids.next());
        assert_ne!(a, b);
        assert!(crate::app::admitted::is_request_id(a.as_bytes()));
    }
}
