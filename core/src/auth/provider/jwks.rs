//! The keys of a provider as this process knows them, and when they are fetched.
//!
//! One task does all fetching, [`Keys::refresh`]; whoever meets an unknown key asks it to, at a bounded rate, and waits
//! for its next result. So there is one fetch at a time, a caller who goes away stops none, and however many unknown keys
//! tokens name, what is known stays.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use jsonwebtoken::{Algorithm, DecodingKey};
use tokio::sync::{Notify, watch};
use url::Url;

use super::endpoint::{Endpoint, FETCH_TIMEOUT};
use super::key_set::KeySet;
use crate::clock::{Clock, Monotonic};
use crate::telemetry::causes;

/// Time from one fetch to the next when all is well.
const REFRESH_INTERVAL: Duration = Duration::from_secs(5 * 60);
/// The same when the last one failed.
const RETRY_INTERVAL: Duration = Duration::from_secs(10);
/// Shortest time between two fetches because of unknown keys: also what strangers can make us ask at most.
const ASK_INTERVAL: Duration = Duration::from_secs(10);
/// Keys that could not be confirmed for longer are no longer used: they may have been withdrawn.
pub(super) const KEYS_MAX_AGE: Duration = Duration::from_secs(60 * 60);

/// The keys of a provider.
pub(super) struct Keys {
    endpoint: Endpoint,
    url: Url,
    clock: Clock,
    known: watch::Sender<Known>,
    wanted: Notify,
    /// When an unknown key was last the reason to fetch.
    asked_at: Mutex<Option<Monotonic>>,
}

/// What the fetches so far have brought.
#[derive(Default)]
struct Known {
    set: Option<Fetched>,
    begun: u64,
    ended: u64,
}

#[derive(Clone)]
struct Fetched {
    keys: Arc<KeySet>,
    at: Monotonic,
    generation: Generation,
}

/// Counts the key sets that differed from the one before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Generation(u64);

/// There are no keys, or they are too old: neither yes nor no can be said to a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NoKeys;

impl Keys {
    pub(super) fn new(url: &Url, clock: Clock) -> Self {
        Self {
            endpoint: Endpoint::new(url),
            url: url.clone(),
            clock,
            known: watch::Sender::default(),
            wanted: Notify::new(),
            asked_at: Mutex::new(None),
        }
    }

    /// Which set of keys counts now; what another one verified counts no more.
    pub(super) fn generation(&self) -> Option<Generation> {
        self.usable().map(|fetched| fetched.generation)
    }

    /// Calls `verify` with the key of that id, its algorithm and its set's generation; `None` for no such key. One that is
    /// not known is fetched first, if it is not too soon after the last time.
    pub(super) async fn with<T>(
        &self,
        kid: &str,
        verify: impl FnOnce(Algorithm, &DecodingKey, Generation) -> T,
    ) -> Result<Option<T>, NoKeys> {
        let mut known = self.usable();
        for next in [Self::under_way, Self::ask] {
            if known.as_ref().is_some_and(|known| known.keys.get(kid).is_some()) {
                break;
            }
            if let Some(fetch) = next(self) {
                self.wait_for(fetch).await;
                known = self.usable();
                if known.is_none() {
                    // It has just failed, and would again.
                    break;
                }
            }
        }
        let known = known.ok_or(NoKeys)?;
        Ok(known.keys.get(kid).map(|key| verify(key.algorithm, &key.decoding, known.generation)))
    }

    /// Fetches for ever: at once, then now and again and when asked.
    pub(super) async fn refresh(&self) {
        let mut failing = false;
        loop {
            // Whoever asked until here waits for this one.
            let _ = self.wanted.notified().now_or_never();
            self.known.send_modify(|known| known.begun += 1);
            let asked_at = self.clock.monotonic();
            let fetched = self.endpoint.fetch().await;
            let pause = match &fetched {
                Ok(_) => REFRESH_INTERVAL,
                Err(_) => RETRY_INTERVAL,
            };
            match fetched {
                Ok(keys) => {
                    if std::mem::take(&mut failing) {
                        tracing::info!(url = %self.url, "the keys of the identity provider can be fetched again");
                    }
                    self.take(keys, asked_at);
                }
                Err(error) => {
                    if !std::mem::replace(&mut failing, true) {
                        let error = causes(&error);
                        tracing::error!(
                            url = %self.url, %error,
                            "the keys of the identity provider cannot be fetched; those that are known count for an hour"
                        );
                    }
                    self.known.send_modify(|known| known.ended = known.begun);
                }
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.wanted.notified() => {}
            }
        }
    }

    fn take(&self, keys: KeySet, at: Monotonic) {
        self.known.send_modify(|known| {
            let former = known.set.as_ref();
            let generation = match former {
                Some(former) if former.keys.same_keys(&keys) => former.generation,
                former => {
                    // Only of another set, or the same lines would come every few minutes.
                    let (count, ignored) = (keys.len(), keys.ignored());
                    tracing::info!(count, ignored, "the keys of the identity provider were read");
                    Generation(former.map_or(0, |former| former.generation.0 + 1))
                }
            };
            known.set = Some(Fetched { keys: Arc::new(keys), at, generation });
            known.ended = known.begun;
        });
    }

    /// What is known, unless it is too old, or no keys at all.
    fn usable(&self) -> Option<Fetched> {
        let known = self.known.borrow();
        let set = known.set.as_ref().filter(|set| set.keys.len() > 0)?;
        (self.clock.monotonic().since(set.at) <= KEYS_MAX_AGE).then(|| set.clone())
    }

    /// The fetch that has not ended.
    fn under_way(&self) -> Option<u64> {
        let known = self.known.borrow();
        // The first comes soon, if it has not begun.
        let last = known.begun.max(1);
        (known.ended < last).then_some(last)
    }

    /// Another fetch, if one may be asked for.
    fn ask(&self) -> Option<u64> {
        if !self.may_ask() {
            return None;
        }
        let next = self.known.borrow().begun + 1;
        self.wanted.notify_one();
        Some(next)
    }

    async fn wait_for(&self, fetch: u64) {
        let mut known = self.known.subscribe();
        // One may be under way before it; and no longer if nobody fetches.
        let limit = 2 * FETCH_TIMEOUT;
        let _ = tokio::time::timeout(limit, known.wait_for(|known| known.ended >= fetch)).await;
    }

    fn may_ask(&self) -> bool {
        let now = self.clock.monotonic();
        let mut asked_at = self.asked_at.lock().unwrap_or_else(PoisonError::into_inner);
        let may = asked_at.is_none_or(|asked_at| now.since(asked_at) >= ASK_INTERVAL);
        if may {
            *asked_at = Some(now);
        }
        may
    }
}
