//! Rate limits: how many requests a client address, an identity and a context may make.
//!
//! A limit is a bucket that holds `burst` tokens and refills at a steady rate. Every request takes its cost from all
//! of its buckets at once, or from none. Buckets are in Redis, where replicas share them, or in this process.

mod bucket;
mod headers;
mod local;
mod shared;
mod verdict;

use std::net::{IpAddr, Ipv6Addr};

use uuid::Uuid;

use crate::clock::Clock;
use crate::config::{self, OnRedisFailure, RateLimit, RedisFlavour};
use crate::id::{ContextId, IdentityId, TenantId};

pub use bucket::{Quota, Share, Ticks};
pub(crate) use headers::write_levels;
pub use local::LocalBuckets;
use shared::SharedBuckets;

/// What a limit applies to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dimension {
    /// A client address, as a tenant sees it; an IPv6 address stands for its /64 network. Tenants are apart so that all
    /// buckets of a request can be on one node of a cluster.
    Ip(TenantId, IpAddr),
    /// An identity, across all of its tokens.
    Identity(TenantId, IdentityId),
    /// A context, across all who use it.
    Context(TenantId, ContextId),
    /// Failed authentication from a client address.
    FailedAuthentication(IpAddr),
}

impl Dimension {
    /// As in the reply's headers and problem details.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Ip(..) => "ip",
            Self::Identity(..) => "identity",
            Self::Context(..) => "context",
            Self::FailedAuthentication(_) => "failed-authentication",
        }
    }

    /// The same dimension for every address of one subscriber: IPv4-mapped addresses are IPv4, and IPv6 addresses are
    /// cut to their /64.
    pub fn ip(tenant: TenantId, address: IpAddr) -> Self {
        Self::Ip(tenant, network(address))
    }

    /// As [`Dimension::ip`], for those who have not said yet who they are.
    pub fn ip_of_stranger(address: IpAddr) -> Self {
        Self::ip(TenantId(Uuid::nil()), address)
    }

    /// As [`Dimension::ip`], for failed authentication.
    pub fn failed_authentication(address: IpAddr) -> Self {
        Self::FailedAuthentication(network(address))
    }
}

fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        v4 => v4,
    }
}

/// What is left in a bucket after a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level {
    /// Whose bucket.
    pub dimension: Dimension,
    /// Size and rate of the bucket.
    pub quota: Quota,
    /// Whole tokens left.
    pub remaining: u32,
    /// Seconds until the bucket is full again, rounded up.
    pub full_in_secs: u64,
}

/// Why a request was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What waiting would do.
    pub kind: RefusalKind,
    /// The bucket that refused: of several the one that takes longest, or is smallest.
    pub level: Level,
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

/// The buckets and their quotas.
pub struct Limits {
    buckets: Buckets,
    clock: Clock,
    ip: Quota,
    identity: Quota,
    context: Quota,
    failed_authentication: Quota,
}

#[expect(clippy::large_enum_variant, reason = "there is one in a process")]
enum Buckets {
    Local(LocalBuckets),
    Shared(SharedBuckets),
}

/// Failed authentications per minute and address, and how many at once.
const FAILED_AUTHENTICATION: RateLimit = RateLimit { requests_per_minute: 60, burst: 20 };

impl Limits {
    /// Full buckets in this process or, where `redis` names a server, those that are there.
    pub fn new(config: &config::Limits, redis: &config::Redis, clock: Clock) -> Self {
        let buckets = match &redis.url {
            Some(url) if url.flavour() == RedisFlavour::Single => {
                Buckets::Shared(SharedBuckets::new(url, config, clock.clone()))
            }
            _ => Buckets::Local(LocalBuckets::new(local::DEFAULT_CAPACITY)),
        };
        Self {
            buckets,
            clock,
            ip: Quota::new(config.ip),
            identity: Quota::new(config.identity),
            context: Quota::new(config.context),
            failed_authentication: Quota::new(FAILED_AUTHENTICATION),
        }
    }

    /// Takes `cost` tokens from every bucket, or none at all. Waits for nothing but Redis, and for that a bounded time.
    ///
    /// # Errors
    ///
    /// The [`Refusal`] of the bucket that takes longest to admit the request, or that Redis is missing.
    pub async fn take(&self, dimensions: &[Dimension], cost: u32) -> Result<Vec<Level>, NotTaken> {
        let wanted = self.with_quotas(dimensions);
        match &self.buckets {
            Buckets::Local(buckets) => Ok(buckets.take(&wanted, cost, Ticks::at(self.clock.now()))?),
            Buckets::Shared(buckets) => buckets.take(&wanted, cost).await,
        }
    }

    /// Whether a request of cost 1 would be admitted, as far as this process knows; takes nothing.
    ///
    /// # Errors
    ///
    /// As [`Limits::take`].
    pub fn peek(&self, dimensions: &[Dimension]) -> Result<(), NotTaken> {
        let wanted = self.with_quotas(dimensions);
        match &self.buckets {
            Buckets::Local(buckets) => Ok(buckets.peek(&wanted, Ticks::at(self.clock.now()))?),
            Buckets::Shared(buckets) => buckets.peek(&wanted),
        }
    }

    /// What holds because Redis, through which limits are to be shared, cannot be used at the moment.
    pub fn trouble(&self) -> Option<OnRedisFailure> {
        match &self.buckets {
            Buckets::Local(_) => None,
            Buckets::Shared(buckets) => buckets.trouble(),
        }
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

    /// The largest cost that every request's buckets can hold.
    pub fn largest_cost(&self) -> u32 {
        self.ip.burst().min(self.identity.burst()).min(self.context.burst())
    }

    fn with_quotas(&self, dimensions: &[Dimension]) -> Vec<(Dimension, Quota)> {
        dimensions.iter().map(|dimension| (*dimension, self.quota(dimension))).collect()
    }

    fn quota(&self, dimension: &Dimension) -> Quota {
        match dimension {
            Dimension::Ip(..) => self.ip,
            Dimension::Identity(..) => self.identity,
            Dimension::Context(..) => self.context,
            Dimension::FailedAuthentication(_) => self.failed_authentication,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_stands_for_its_subscriber() {
        let parse = |text: &str| text.parse::<IpAddr>().unwrap();
        let ip = |text| Dimension::ip_of_stranger(parse(text));
        assert_eq!(ip("::ffff:192.0.2.1"), ip("192.0.2.1"));
        assert_eq!(ip("2001:db8::1"), ip("2001:db8::2:3:4:5"));
        assert_ne!(ip("2001:db8:0:1::1"), ip("2001:db8::1"));
        assert_ne!(ip("192.0.2.1"), Dimension::ip(TenantId::random(), parse("192.0.2.1")));
        assert_ne!(ip("192.0.2.1"), Dimension::failed_authentication(parse("192.0.2.1")));
    }
}
