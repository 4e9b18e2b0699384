//! Limits that all replicas share through Redis, and what holds while it does not answer.

mod alone;
mod endpoint;
mod key;
mod leases;
mod link;
mod nodes;
mod ping;
mod refill;
mod refusals;
mod scan;
mod script;
mod server;
mod slot;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::try_join_all;
use prometheus_client::registry::Registry;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use self::alone::Alone;
use self::key::key;
use self::link::{Connection, Link, PERIOD, Tried, Trouble};
use self::nodes::Nodes;
use self::refill::RefillScript;
use self::refusals::{Refusals, check_size};
use self::script::TakeScript;
use self::server::Epoch;
use super::bucket::{Share, Ticks};
use super::counters::RedisCounters;
use super::lease::{Leases, Next};
use super::{Admission, Bucket, Held, NotTaken, Wanted};
use crate::clock::Clock;
use crate::config::{self, LocalShare, OnRedisFailure, RedisUrl};
use crate::id::TenantId;
use crate::telemetry::causes;

/// Buckets in Redis.
pub(super) struct SharedBuckets {
    link: Link,
    script: TakeScript,
    refill_script: RefillScript,
    leases: Leases,
    refusals: Refusals,
    policy: OnRedisFailure,
    /// Used while Redis is not, under [`OnRedisFailure::Local`].
    alone: Alone,
    /// Of each limit, while this replica is on its own, in millionths.
    share: AtomicU32,
    is_share_fixed: bool,
    told: Mutex<Told>,
    listing: tokio::sync::Mutex<()>,
    counters: RedisCounters,
    clock: Clock,
}

/// What was seen last, so that what changes is told once.
#[derive(Default)]
struct Told {
    /// By key.
    epochs: HashMap<String, Epoch>,
    eviction: Option<String>,
    /// Since when Redis is not used, and why, as it was last told.
    down: Option<(Instant, String)>,
}

/// How long Redis must have worked for what the local buckets have left to count no more: in it, they would have filled.
const LONGEST_REFILL: Duration = Duration::from_secs(60);

impl SharedBuckets {
    /// Not connected yet.
    pub(super) fn new(url: &RedisUrl, config: &config::Limits, clock: Clock) -> Self {
        let (share, is_share_fixed) = match config.local_share {
            LocalShare::Auto => (Share::WHOLE, false),
            LocalShare::Fixed(part) => (Share::fraction(part), true),
        };
        let alone = Alone::new(Ticks::monotonic(clock.monotonic()));
        Self {
            link: Link::new(url, config.redis_timeout),
            script: TakeScript::new(),
            refill_script: RefillScript::new(),
            leases: Leases::new(),
            refusals: Refusals::new(),
            policy: config.on_redis_failure,
            alone,
            share: AtomicU32::new(share.millionths()),
            is_share_fixed,
            told: Mutex::default(),
            listing: tokio::sync::Mutex::default(),
            counters: RedisCounters::new(),
            clock,
        }
    }

    /// Takes from leases if they serve the request, or else from Redis.
    pub(super) async fn take(self: &Arc<Self>, wanted: &[Wanted]) -> Result<Admission, NotTaken> {
        check_size(wanted)?;
        if wanted.is_empty() {
            return Ok(Admission::default());
        }
        let Some(connection) = self.link.connection() else { return self.take_alone(wanted) };
        let deadline = self.link.deadline();
        let mut claim = self.leases.claim(wanted);
        match self.ask_leases(&mut claim, &connection, deadline).await {
            Ok(Next::Paid) => return Ok(self.paid(wanted, claim)),
            Ok(Next::Dry) if let Some(refusal) = self.dry(wanted, &claim) => return Err(refusal.into()),
            Ok(_) => drop(claim),
            Err(trouble) => {
                self.fall_back(&connection, &trouble);
                return self.take_alone(wanted);
            }
        }
        self.ask_redis(wanted, &connection, deadline).await
    }

    async fn ask_redis(
        &self,
        wanted: &[Wanted],
        connection: &Connection,
        deadline: Instant,
    ) -> Result<Admission, NotTaken> {
        let sent = self.clock.monotonic();
        self.refusals.check(wanted, sent)?;
        // It has all the others too.
        let node = connection.nodes.serving(&key(&wanted[0].bucket));
        let answer = self.link.by(deadline, self.script.take(&mut node.redis(), wanted)).await;
        self.counters.answered(self.clock.monotonic().since(sent));
        let trouble = match answer {
            Ok(taken) => match taken.verdict(wanted) {
                Some(Ok(admission)) => return Ok(admission),
                Some(Err(refusal)) => {
                    self.refusals.remember(wanted, &taken.full_at, taken.now, sent);
                    return Err(refusal.into());
                }
                None => Trouble::Disagrees,
            },
            Err(trouble) => trouble,
        };
        self.fall_back(connection, &node.blame(trouble));
        self.take_alone(wanted)
    }

    pub(super) fn peek(&self, wanted: &[Wanted]) -> Result<(), NotTaken> {
        if self.link.is_up() {
            return Ok(self.peek_shared(wanted)?);
        }
        match self.policy {
            OnRedisFailure::Local => Ok(self.alone.peek(&self.shares_of(wanted), self.now())?),
            OnRedisFailure::Closed => Err(NotTaken::Unavailable),
            OnRedisFailure::Open => Ok(()),
        }
    }

    /// Why limits are not shared at the moment, if so, and whether requests are refused for it.
    pub(super) fn trouble(&self) -> Option<OnRedisFailure> {
        (!self.link.is_up()).then_some(self.policy)
    }

    /// Counts a request that was decided, if that was without Redis.
    pub(super) fn note(&self, wanted: &[Wanted]) {
        if !self.link.is_up() {
            self.counters.count_local(wanted);
        }
    }

    /// How many replicas were last known to be alive.
    pub(super) fn set_replicas(&self, alive: u32) {
        if !self.is_share_fixed {
            self.share.store(Share::one_of(alive).millionths(), Ordering::Relaxed);
        }
    }

    /// Shows its counters in `registry`.
    pub(super) fn register(&self, registry: &mut Registry) {
        self.counters.register(registry);
    }

    /// Tries to reach Redis.
    pub(super) async fn connect(&self) {
        match self.link.connect((&self.script, &self.refill_script)).await {
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

    async fn look(&self, connection: Connection) {
        self.count_leases();
        let epochs = connection.nodes.iter().map(async |node| {
            let mut redis = node.redis();
            self.link
                .in_time(server::epoch(&mut redis, node.key("epoch")))
                .await
                .map_err(|trouble| node.blame(trouble))
        });
        match try_join_all(epochs).await {
            Ok(epochs) => self.see_epochs(&connection.nodes, epochs),
            Err(trouble) => self.fall_back(&connection, &trouble),
        }
    }

    /// See [`super::Limits::held`]. Which replica keeps what while Redis is not used, nobody knows.
    pub(super) async fn held(&self, tenant: TenantId) -> Result<Held, NotTaken> {
        let Some(connection) = self.link.connection() else {
            return Ok(Held { complete: false, ..self.alone.held(tenant, self.now()) });
        };
        // All that a tenant has is on one node.
        let node = connection.nodes.serving(&key::prefix(tenant));
        let held = async {
            // It is dear, and slows down what requests ask.
            let _one_at_a_time = self.listing.lock().await;
            scan::held(&mut node.redis(), tenant).await
        };
        match timeout(scan::TIMEOUT, held).await {
            Ok(Ok(held)) => Ok(held),
            Ok(Err(error)) => {
                tracing::warn!(%error, "buckets cannot be listed");
                Err(NotTaken::Unavailable)
            }
            Err(_) => Err(NotTaken::Unavailable),
        }
    }

    /// Removes buckets of one tenant, if Redis can be used.
    pub(super) async fn forget(&self, buckets: &[Bucket]) {
        let (Some(connection), Some(first)) = (self.link.connection(), buckets.first()) else { return };
        let node = connection.nodes.serving(&key(first));
        let keys: Vec<_> = buckets.iter().map(key).collect();
        let removed: Result<u64, Trouble> =
            self.link.in_time(redis::cmd("UNLINK").arg(keys).query_async(&mut node.redis())).await;
        if let Err(trouble) = removed {
            let error = causes(&trouble);
            tracing::warn!(redis = self.link.hosts(), %error, "buckets that ended stay in Redis until they are full");
        }
    }

    fn take_alone(&self, wanted: &[Wanted]) -> Result<Admission, NotTaken> {
        match self.policy {
            OnRedisFailure::Local => Ok(self.alone.take(&self.shares_of(wanted), self.now())?),
            OnRedisFailure::Closed => Err(NotTaken::Unavailable),
            OnRedisFailure::Open => Ok(Admission::default()),
        }
    }

    fn shares_of(&self, wanted: &[Wanted]) -> Vec<Wanted> {
        let share = Share::from_millionths(self.share.load(Ordering::Relaxed));
        wanted.iter().map(|wanted| Wanted { quota: wanted.quota.shared(share), ..*wanted }).collect()
    }

    /// Notes how many tokens this replica has taken in advance.
    fn count_leases(&self) {
        let tokens = self.leases.outstanding(self.now());
        self.counters.lease_tokens.set(i64::try_from(tokens).unwrap_or(i64::MAX));
    }

    /// From now on this replica is on its own.
    fn fall_back(&self, connection: &Connection, trouble: &Trouble) {
        // Held throughout, so that what is told comes in the order in which it happens.
        let mut told = self.told();
        let Some(worked_for) = self.link.worked_for(connection) else { return };
        // Before any request can be decided by it.
        self.alone.begin(self.now(), worked_for >= LONGEST_REFILL);
        self.link.drop_connection();
        self.leases.clear();
        self.counters.lease_tokens.set(0);
        self.say_down(&mut told, trouble);
    }

    fn say_down(&self, told: &mut Told, trouble: &Trouble) {
        let (redis, error) = (self.link.hosts(), causes(trouble).to_string());
        if let Some((_, last)) = &mut told.down {
            // A connection that broke and then cannot be made, for example, and only that says why.
            if *last != error {
                tracing::warn!(redis, %error, "Redis still cannot be used for limits");
                *last = error;
            }
            return;
        }
        self.counters.went_down();
        let meanwhile = match self.policy {
            OnRedisFailure::Local => "this replica enforces its share of each limit",
            OnRedisFailure::Closed => "limited requests are refused",
            OnRedisFailure::Open => "nothing is limited",
        };
        tracing::error!(redis, %error, meanwhile, "Redis cannot be used for limits");
        told.down = Some((Instant::now(), error));
    }

    fn recover(&self, tried: Tried) {
        let version = tried.server.version.clone().unwrap_or_default();
        let eviction = tried.server.bad_eviction().map(str::to_owned);
        self.see_epochs(&tried.nodes, tried.epochs.clone());
        let mut told = self.told();
        self.link.use_connection(tried);
        self.alone.end(self.now());
        self.counters.went_up();
        let redis = self.link.hosts();
        match told.down.take() {
            Some((since, _)) => {
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

    /// One epoch of each of `nodes`. A key that nobody had looked at tells nothing: slots may have moved.
    fn see_epochs(&self, nodes: &Nodes, mut epochs: Vec<Epoch>) {
        let mut told = self.told();
        for (node, epoch) in nodes.iter().zip(&mut epochs) {
            let Some(known) = told.epochs.get(&epoch.key) else { continue };
            if known.value != epoch.value {
                self.refusals.clear();
                self.leases.clear();
                self.counters.losses.inc();
                tracing::warn!(
                    redis = node.address,
                    "Redis lost its state: each limit may admit one burst more than it should"
                );
            } else if epoch.is_of_another_run(known) {
                self.counters.losses.inc();
                tracing::warn!(
                    redis = node.address,
                    "Redis was restarted or replaced and may have lost what was taken last: each limit may admit that again"
                );
            }
            epoch.keep_run(known);
        }
        told.epochs = epochs.into_iter().map(|epoch| (epoch.key.clone(), epoch)).collect();
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
