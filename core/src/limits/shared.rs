//! Limits that all replicas share through Redis, and what holds while it does not answer.

mod link;
mod refusals;
mod script;
mod server;

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use self::link::{Connection, Link, PERIOD, Tried, Trouble};
use self::refusals::{Refusals, check_size};
use self::script::TakeScript;
use super::bucket::{Quota, Share, Ticks};
use super::local::{DEFAULT_CAPACITY, LocalBuckets};
use super::{Dimension, Level, NotTaken};
use crate::clock::Clock;
use crate::config::{self, LocalShare, OnRedisFailure, RedisUrl};
use crate::telemetry::causes;

/// Buckets in Redis.
pub(super) struct SharedBuckets {
    link: Link,
    script: TakeScript,
    refusals: Refusals,
    policy: OnRedisFailure,
    /// Used while Redis is not, under [`OnRedisFailure::Local`].
    fallback: LocalBuckets,
    /// This replica's share of the fallback, in millionths.
    share: AtomicU32,
    is_share_fixed: bool,
    told: Mutex<Told>,
    clock: Clock,
}

/// What was seen last, so that what changes is told once.
#[derive(Default)]
struct Told {
    epoch: Option<String>,
    eviction: Option<String>,
    /// Since when Redis is not used.
    down_since: Option<Instant>,
}

/// The longest time in which an empty bucket fills, as no burst exceeds what comes back in a minute.
const LONGEST_REFILL: Duration = Duration::from_secs(60);

impl SharedBuckets {
    /// Not connected yet.
    pub(super) fn new(url: &RedisUrl, config: &config::Limits, clock: Clock) -> Self {
        let (share, is_share_fixed) = match config.local_share {
            LocalShare::Auto => (Share::WHOLE, false),
            LocalShare::Fixed(part) => (Share::fraction(part), true),
        };
        let fallback = LocalBuckets::new(DEFAULT_CAPACITY);
        fallback.empty(Ticks::at(clock.now()));
        Self {
            link: Link::new(url, config.redis_timeout),
            script: TakeScript::new(),
            refusals: Refusals::new(),
            policy: config.on_redis_failure,
            fallback,
            share: AtomicU32::new(share.millionths()),
            is_share_fixed,
            told: Mutex::default(),
            clock,
        }
    }

    pub(super) async fn take(
        &self,
        wanted: &[(Dimension, Quota)],
        cost: u32,
    ) -> Result<Vec<Level>, NotTaken> {
        check_size(wanted, cost)?;
        let Some(mut connection) = self.link.connection() else { return self.take_alone(wanted, cost) };
        let sent = self.clock.monotonic();
        self.refusals.check(wanted, cost, sent)?;
        let answer = self.link.in_time(self.script.take(&mut connection.redis, wanted, cost)).await;
        let trouble = match answer {
            Ok(taken) => match taken.verdict(wanted, cost) {
                Some(Ok(levels)) => return Ok(levels),
                Some(Err(refusal)) => {
                    self.refusals.remember(wanted, &taken.full_at, taken.now, sent);
                    return Err(refusal.into());
                }
                None => Trouble::Disagrees,
            },
            Err(trouble) => trouble,
        };
        self.fall_back(&connection, &trouble);
        self.take_alone(wanted, cost)
    }

    pub(super) fn peek(&self, wanted: &[(Dimension, Quota)]) -> Result<(), NotTaken> {
        if self.link.is_up() {
            return Ok(self.refusals.check(wanted, 1, self.clock.monotonic())?);
        }
        match self.policy {
            OnRedisFailure::Local => {
                Ok(self.fallback.peek(&self.shares_of(wanted), Ticks::at(self.clock.now()))?)
            }
            OnRedisFailure::Closed => Err(NotTaken::Unavailable),
            OnRedisFailure::Open => Ok(()),
        }
    }

    /// Why limits are not shared at the moment, if so, and whether requests are refused for it.
    pub(super) fn trouble(&self) -> Option<OnRedisFailure> {
        (!self.link.is_up()).then_some(self.policy)
    }

    /// How many replicas were last known to be alive.
    pub(super) fn set_replicas(&self, alive: u32) {
        if !self.is_share_fixed {
            self.share.store(Share::one_of(alive).millionths(), Ordering::Relaxed);
        }
    }

    /// Tries to reach Redis.
    pub(super) async fn connect(&self) {
        match self.link.connect(&self.script).await {
            Ok(tried) => self.recover(tried),
            Err(trouble) => self.say_down(&mut self.told(), &trouble),
        }
    }

    /// Looks after the connection, for ever.
    pub(super) async fn keep_up(&self) {
        loop {
            match self.link.connection() {
                Some(connection) => {
                    tokio::select! {
                        () = sleep(PERIOD) => self.look(connection).await,
                        () = self.link.lost() => {}
                    }
                }
                None => {
                    sleep_until(self.link.next_try()).await;
                    self.connect().await;
                }
            }
        }
    }

    async fn look(&self, mut connection: Connection) {
        match self.link.in_time(server::epoch(&mut connection.redis)).await {
            Ok(epoch) => self.see_epoch(epoch),
            Err(trouble) => self.fall_back(&connection, &trouble),
        }
    }

    fn take_alone(&self, wanted: &[(Dimension, Quota)], cost: u32) -> Result<Vec<Level>, NotTaken> {
        match self.policy {
            OnRedisFailure::Local => {
                Ok(self.fallback.take(&self.shares_of(wanted), cost, Ticks::at(self.clock.now()))?)
            }
            OnRedisFailure::Closed => Err(NotTaken::Unavailable),
            OnRedisFailure::Open => Ok(Vec::new()),
        }
    }

    fn shares_of(&self, wanted: &[(Dimension, Quota)]) -> Vec<(Dimension, Quota)> {
        let share = Share::from_millionths(self.share.load(Ordering::Relaxed));
        wanted.iter().map(|&(dimension, quota)| (dimension, quota.shared(share))).collect()
    }

    /// From now on this replica is on its own.
    fn fall_back(&self, connection: &Connection, trouble: &Trouble) {
        // Held throughout, so that what is told comes in the order in which it happens.
        let mut told = self.told();
        let Some(worked_for) = self.link.drop_connection(connection) else { return };
        // What was not asked for here was for others. But a connection that comes and goes takes nothing away twice.
        if worked_for >= LONGEST_REFILL {
            self.fallback.empty(Ticks::at(self.clock.now()));
        }
        self.say_down(&mut told, trouble);
    }

    fn say_down(&self, told: &mut Told, trouble: &Trouble) {
        if told.down_since.is_some() {
            return;
        }
        told.down_since = Some(Instant::now());
        let error = causes(trouble);
        let meanwhile = match self.policy {
            OnRedisFailure::Local => "this replica enforces its share of each limit",
            OnRedisFailure::Closed => "limited requests are refused",
            OnRedisFailure::Open => "nothing is limited",
        };
        tracing::error!(redis = self.link.host(), %error, meanwhile, "Redis cannot be used for limits");
    }

    fn recover(&self, tried: Tried) {
        let version = tried.server.version.clone().unwrap_or_default();
        let eviction = tried.server.bad_eviction().map(str::to_owned);
        self.see_epoch(tried.epoch.clone());
        let mut told = self.told();
        self.link.use_connection(tried);
        let redis = self.link.host();
        match told.down_since.take() {
            Some(since) => {
                let down_ms = since.elapsed().as_millis();
                tracing::info!(redis, version, down_ms, "limits are shared through Redis again");
            }
            None => tracing::info!(redis, version, "limits are shared through Redis"),
        }
        if let Some(policy) = &eviction
            && told.eviction.as_ref() != Some(policy)
        {
            tracing::warn!(
                redis,
                policy,
                "Redis may evict buckets that are in use, which resets limits: set maxmemory-policy to \
                 volatile-ttl or noeviction"
            );
        }
        told.eviction = eviction;
    }

    fn see_epoch(&self, epoch: String) {
        let mut told = self.told();
        if told.epoch.as_ref().is_some_and(|known| *known != epoch) {
            self.refusals.clear();
            tracing::warn!(
                redis = self.link.host(),
                "Redis lost its state: each limit may admit one burst more than it should"
            );
        }
        told.epoch = Some(epoch);
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
