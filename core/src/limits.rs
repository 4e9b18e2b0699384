//! Rate limits: how many requests a client address, an identity and a context may make.
//!
//! A limit is a bucket that holds `burst` tokens and refills at a steady rate. Every request takes its cost from all
//! of its buckets at once, or from none. Buckets are in Redis, where replicas share them, or in this process.

mod bucket;
mod counters;
mod dimension;
mod headers;
mod held;
mod lease;
mod local;
mod policy;
mod selection;
mod shared;
mod tally;
mod verdict;

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::registry::Registry;

use crate::clock::Clock;
use crate::config::{self, OnRedisFailure};
use crate::id::{IdentityId, TenantId};

pub use bucket::{Kind, Quota, Share, Ticks};
use counters::Counters;
pub use dimension::{Bucket, Class, Counts, Dimension, DimensionKind, Wanted, WindowId};
pub(crate) use headers::write_levels;
pub use held::{Held, HeldBucket, Holder, half};
use local::LocalBuckets;
pub use policy::{
    InvalidDocument, InvalidPolicy, MAX_BYTES, MAX_WINDOWS, ParsePolicyError, Policy, PolicyDocument, Window,
    WindowDocument, WindowSpec,
};
pub use selection::{Cost, DefaultPolicies, IdentityPolicies, Selection};
use shared::SharedBuckets;
pub(crate) use tally::{Refused, RefusedBy, Tally};

/// What is left in a bucket after a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level {
    /// Of which bucket.
    pub bucket: Bucket,
    /// Size and rate of the bucket.
    pub quota: Quota,
    /// Tokens that the request costs here.
    pub cost: u64,
    /// Whole tokens left.
    pub remaining: u64,
    /// Seconds until the bucket is full again, rounded up.
    pub full_in_secs: u64,
}

impl Level {
    /// The smaller, the sooner it refuses: requests like this one that are left, and tokens.
    fn tightness(&self) -> (u64, u64) {
        (self.remaining / self.cost.max(1), self.remaining)
    }
}

/// What is said of a request that was admitted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Admission {
    /// Of each bucket that could have refused.
    levels: Vec<Level>,
    /// Buckets that only count, and would have refused.
    shadow_refused: Vec<Wanted>,
}

/// Why a request was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What waiting would do.
    pub kind: RefusalKind,
    /// The bucket that refused: of several the one that takes longest, or is smallest.
    pub level: Box<Level>,
    /// All buckets of the request, none of which was touched.
    pub levels: Vec<Level>,
}

/// What waiting would do for a refused request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalKind {
    /// A bucket is exhausted for now.
    Exhausted {
        /// Whole seconds until the request would be admitted, at least 1.
        retry_after_secs: u64,
    },
    /// The cost exceeds what a bucket ever holds.
    NeverFits,
}

/// Why nothing was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotTaken {
    /// A bucket does not allow it.
    Refused(Refusal),
    /// Redis does not answer, and nothing is to be admitted without it.
    Unavailable,
}

impl From<Refusal> for NotTaken {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// The buckets, and what holds for those who have no policy of their own.
pub struct Limits {
    buckets: Buckets,
    clock: Clock,
    configured: DefaultPolicies,
    counters: Counters,
    /// Unless nobody wants to know.
    tally: Option<Tally>,
}

#[expect(clippy::large_enum_variant, reason = "there is one in a process")]
enum Buckets {
    Local(LocalBuckets),
    Shared(Arc<SharedBuckets>),
}

impl Limits {
    /// Full buckets in this process or, where `redis` names a server, those that are there.
    pub fn new(config: &config::Limits, redis: &config::Redis, clock: Clock) -> Self {
        let buckets = match &redis.url {
            Some(url) => Buckets::Shared(Arc::new(SharedBuckets::new(url, config, clock.clone()))),
            None => Buckets::Local(LocalBuckets::new(local::DEFAULT_CAPACITY)),
        };
        let configured = DefaultPolicies::configured(config);
        Self { buckets, clock, configured, counters: Counters::new(), tally: None }
    }

    /// With what is refused kept for the audit trail, from where it must be taken.
    pub(crate) fn with_tally(self) -> Self {
        Self { tally: Some(Tally::new()), ..self }
    }

    /// What was refused and is not in the audit trail yet.
    pub(crate) fn tally(&self) -> Option<&Tally> {
        self.tally.as_ref()
    }

    /// Shows its counters in `registry`.
    pub(crate) fn register(&self, registry: &mut Registry) {
        self.counters.register(registry);
        if let Buckets::Shared(buckets) = &self.buckets {
            buckets.register(registry);
        }
    }

    /// Begins to find out the buckets of a request. `stored` policies replace those of the environment.
    pub fn select<'a>(
        &'a self,
        stored: &'a DefaultPolicies,
        class: Option<Class>,
        cost: Cost,
    ) -> Selection<'a> {
        let wanted = Vec::with_capacity(4);
        let (configured, leased) = (&self.configured, self.are_shared());
        Selection { configured, stored, class, cost, leased, context: None, wanted }
    }

    /// What the environment says.
    pub const fn configured(&self) -> &DefaultPolicies {
        &self.configured
    }

    /// Takes its cost from every bucket, or nothing at all. Waits for nothing but Redis, and for that a bounded time.
    ///
    /// # Errors
    ///
    /// The [`Refusal`] of the bucket that takes longest to admit the request, or that Redis is missing.
    pub async fn take(&self, selection: &Selection<'_>) -> Result<Vec<Level>, NotTaken> {
        let wanted = selection.wanted();
        let taken = match &self.buckets {
            Buckets::Local(buckets) => buckets.take(wanted, self.local_now()).map_err(NotTaken::from),
            Buckets::Shared(buckets) => buckets.take(wanted).await,
        };
        self.note(selection, taken.as_ref());
        Ok(taken?.levels)
    }

    /// Whether a request would be admitted, as far as this process knows; takes nothing.
    ///
    /// # Errors
    ///
    /// As [`Limits::take`].
    pub fn peek(&self, selection: &Selection<'_>) -> Result<(), NotTaken> {
        let wanted = selection.wanted();
        let peeked = match &self.buckets {
            Buckets::Local(buckets) => buckets.peek(wanted, self.local_now()).map_err(NotTaken::from),
            Buckets::Shared(buckets) => buckets.peek(wanted),
        };
        // What is admitted will be taken.
        if let Err(not_taken) = &peeked {
            self.note(selection, Err(not_taken));
        }
        peeked
    }

    /// By which buckets of this process fill: a wall clock that is set would fill or empty them.
    fn local_now(&self) -> Ticks {
        Ticks::monotonic(self.clock.monotonic())
    }

    /// Counts what was decided. A cost that never fits has an audit record of its own.
    fn note(&self, selection: &Selection<'_>, taken: Result<&Admission, &NotTaken>) {
        self.counters.count(selection.wanted(), taken);
        if let Buckets::Shared(buckets) = &self.buckets {
            buckets.note(selection.wanted());
        }
        let Some(tally) = &self.tally else { return };
        match taken {
            Ok(admission) => {
                for one in &admission.shadow_refused {
                    tally.add(one.bucket, one.quota, selection.context, true, self.clock.now());
                }
            }
            Err(NotTaken::Refused(Refusal { kind: RefusalKind::Exhausted { .. }, level, .. })) => {
                tally.add(level.bucket, level.quota, selection.context, false, self.clock.now());
            }
            Err(NotTaken::Refused(_) | NotTaken::Unavailable) => {}
        }
    }

    /// The buckets of a tenant that are not full. Where they are in Redis, looking for them may take two seconds.
    ///
    /// # Errors
    ///
    /// [`NotTaken::Unavailable`] if Redis does not answer.
    pub async fn held(&self, tenant: TenantId) -> Result<Held, NotTaken> {
        match &self.buckets {
            Buckets::Local(buckets) => Ok(buckets.held(tenant, self.local_now())),
            Buckets::Shared(buckets) => buckets.held(tenant).await,
        }
    }

    /// Forgets what an identity has used up, now that its buckets are of the next generation than `policies` says. Where they
    /// are in Redis and are not forgotten they only take up room until they are full.
    pub(crate) async fn forget(
        &self,
        identity: (TenantId, IdentityId),
        policies: &IdentityPolicies,
        stored: &DefaultPolicies,
    ) {
        if let Buckets::Shared(buckets) = &self.buckets {
            let kind = DimensionKind::Identity;
            let default = stored.get(kind).or_else(|| self.configured.get(kind));
            buckets.forget(&policies.ended_buckets(identity, default.map(Arc::as_ref))).await;
        }
    }

    /// What holds because Redis, through which limits are to be shared, cannot be used at the moment.
    pub fn trouble(&self) -> Option<OnRedisFailure> {
        match &self.buckets {
            Buckets::Local(_) => None,
            Buckets::Shared(buckets) => buckets.trouble(),
        }
    }

    /// Whether Redis gives a sign of life within `limit`; `None` where limits are in this process.
    pub(crate) async fn ping(&self, limit: Duration) -> Option<bool> {
        match &self.buckets {
            Buckets::Local(_) => None,
            Buckets::Shared(buckets) => Some(buckets.ping(limit).await),
        }
    }

    /// Size and rate of a window's buckets.
    pub const fn quota(&self, window: Window) -> Quota {
        window.quota_if(self.are_shared())
    }

    /// Whether the buckets are shared with other replicas.
    pub(crate) const fn are_shared(&self) -> bool {
        matches!(self.buckets, Buckets::Shared(_))
    }

    /// How many replicas share the limits, this one included.
    pub(crate) fn set_replicas(&self, alive: u32) {
        if let Buckets::Shared(buckets) = &self.buckets {
            buckets.set_replicas(alive);
        }
    }

    /// Tries once to reach Redis, so that the first requests find it.
    pub(crate) async fn connect(&self) {
        if let Buckets::Shared(buckets) = &self.buckets {
            buckets.connect().await;
        }
    }

    /// Looks after the connection to Redis, for ever.
    pub(crate) async fn keep_up(&self) {
        match &self.buckets {
            Buckets::Local(_) => std::future::pending().await,
            Buckets::Shared(buckets) => buckets.keep_up().await,
        }
    }
}
