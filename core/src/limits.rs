//! Rate limits: how many requests a client address, an identity and a context may make.
//!
//! A limit is a bucket that holds `burst` tokens and refills at a steady rate. Every request takes its cost from all
//! of its buckets at once, or from none.

mod bucket;
mod headers;
mod local;

use std::net::{IpAddr, Ipv6Addr};

use crate::clock::Clock;
use crate::config::{self, RateLimit};
use crate::id::{ContextId, IdentityId, TenantId};

pub use bucket::{Quota, Ticks};
pub(crate) use headers::write_levels;
pub use local::LocalBuckets;

/// What a limit applies to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dimension {
    /// A client address; an IPv6 address stands for its /64 network.
    Ip(IpAddr),
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
            Self::Ip(_) => "ip",
            Self::Identity(..) => "identity",
            Self::Context(..) => "context",
            Self::FailedAuthentication(_) => "failed-authentication",
        }
    }

    /// The same dimension for every address of one subscriber: IPv4-mapped addresses are IPv4, and IPv6 addresses are
    /// cut to their /64.
    pub fn ip(address: IpAddr) -> Self {
        Self::Ip(network(address))
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

/// The buckets and their quotas.
pub struct Limits {
    buckets: LocalBuckets,
    clock: Clock,
    ip: Quota,
    identity: Quota,
    context: Quota,
    failed_authentication: Quota,
}

/// Failed authentications per minute and address, and how many at once.
const FAILED_AUTHENTICATION: RateLimit = RateLimit { requests_per_minute: 60, burst: 20 };

impl Limits {
    /// Full buckets, kept in this process.
    pub fn new(config: &config::Limits, clock: Clock) -> Self {
        Self {
            buckets: LocalBuckets::new(local::DEFAULT_CAPACITY),
            clock,
            ip: Quota::new(config.ip),
            identity: Quota::new(config.identity),
            context: Quota::new(config.context),
            failed_authentication: Quota::new(FAILED_AUTHENTICATION),
        }
    }

    /// Takes `cost` tokens from every bucket, or none at all.
    ///
    /// # Errors
    ///
    /// The [`Refusal`] of the bucket that takes longest to admit the request.
    pub fn take(&self, dimensions: &[Dimension], cost: u32) -> Result<Vec<Level>, Refusal> {
        self.buckets.take(&self.with_quotas(dimensions), cost, Ticks::at(self.clock.now()))
    }

    /// Whether a request of cost 1 would be admitted; takes nothing.
    ///
    /// # Errors
    ///
    /// As [`Limits::take`].
    pub fn peek(&self, dimensions: &[Dimension]) -> Result<(), Refusal> {
        self.buckets.peek(&self.with_quotas(dimensions), Ticks::at(self.clock.now()))
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
            Dimension::Ip(_) => self.ip,
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
        assert_eq!(Dimension::ip(parse("::ffff:192.0.2.1")), Dimension::ip(parse("192.0.2.1")));
        assert_eq!(Dimension::ip(parse("2001:db8::1")), Dimension::ip(parse("2001:db8::2:3:4:5")));
        assert_ne!(Dimension::ip(parse("2001:db8:0:1::1")), Dimension::ip(parse("2001:db8::1")));
        assert_ne!(Dimension::ip(parse("192.0.2.1")), Dimension::failed_authentication(parse("192.0.2.1")));
    }
}
