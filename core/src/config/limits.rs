//! Default limits, and what holds when Redis does not answer.
//!
//! `RATE_LIMIT_IP`, `RATE_LIMIT_IDENTITY`, `RATE_LIMIT_CONTEXT`, `RATE_LIMIT_REDIS_TIMEOUT`,
//! `RATE_LIMIT_ON_REDIS_FAILURE`, `RATE_LIMIT_LOCAL_SHARE`.

use std::ops::RangeInclusive;
use std::time::Duration;

use serde::Deserialize;

use super::environment::Environment;
use super::setting::{Parse, Setting, words};

/// `RATE_LIMIT_IP`.
pub const DEFAULT_RATE_LIMIT_IP: RateLimit = RateLimit { requests_per_minute: 200, burst: 50 };
/// `RATE_LIMIT_IDENTITY`.
pub const DEFAULT_RATE_LIMIT_IDENTITY: RateLimit = RateLimit { requests_per_minute: 100, burst: 20 };
/// `RATE_LIMIT_CONTEXT`.
pub const DEFAULT_RATE_LIMIT_CONTEXT: RateLimit = RateLimit { requests_per_minute: 500, burst: 100 };
/// `RATE_LIMIT_REDIS_TIMEOUT`.
pub const DEFAULT_REDIS_TIMEOUT: Duration = Duration::from_millis(50);
/// `RATE_LIMIT_ON_REDIS_FAILURE`.
pub const DEFAULT_ON_REDIS_FAILURE: OnRedisFailure = OnRedisFailure::Local;
/// `RATE_LIMIT_LOCAL_SHARE`.
pub const DEFAULT_LOCAL_SHARE: LocalShare = LocalShare::Auto;

pub(super) const VARIABLES: &[&str] = &[
    "RATE_LIMIT_IP",
    "RATE_LIMIT_IDENTITY",
    "RATE_LIMIT_CONTEXT",
    "RATE_LIMIT_REDIS_TIMEOUT",
    "RATE_LIMIT_ON_REDIS_FAILURE",
    "RATE_LIMIT_LOCAL_SHARE",
];

const REDIS_TIMEOUT_RANGE: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(10);

/// The limits that hold where no policy is stored.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Per client address.
    pub ip: RateLimit,
    /// Per identity.
    pub identity: RateLimit,
    /// Per context.
    pub context: RateLimit,
    /// How long a request waits for Redis.
    pub redis_timeout: Duration,
    /// What holds while Redis does not answer.
    pub on_redis_failure: OnRedisFailure,
    /// This replica's share of a limit while it enforces it alone.
    pub local_share: LocalShare,
}

/// A token bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// Tokens that come back in a minute: 1 to [`RateLimit::MAX_REQUESTS_PER_MINUTE`].
    pub requests_per_minute: u32,
    /// Tokens of the full bucket: 1 to [`RateLimit::requests_per_minute`].
    pub burst: u32,
}

impl RateLimit {
    /// The highest rate that can be asked for.
    pub const MAX_REQUESTS_PER_MINUTE: u32 = 10_000_000;

    /// The limit, if both numbers are in range.
    pub fn new(requests_per_minute: u32, burst: u32) -> Option<Self> {
        let good = (1..=Self::MAX_REQUESTS_PER_MINUTE).contains(&requests_per_minute)
            && (1..=requests_per_minute).contains(&burst);
        good.then_some(Self { requests_per_minute, burst })
    }
}

impl Parse for RateLimit {
    fn parse(text: &str) -> Result<Self, &'static str> {
        text.split_once(':')
            .and_then(|(rate, burst)| Self::new(u32::parse(rate).ok()?, u32::parse(burst).ok()?))
            .ok_or("must be requests per minute and burst, such as 200:50; 1 to 10000000, and 1 to that rate")
    }
}

/// What holds while Redis does not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnRedisFailure {
    /// Each replica enforces its share of each limit.
    Local,
    /// Limited requests are answered 503.
    Closed,
    /// Requests pass unlimited.
    Open,
}

words!(OnRedisFailure, "must be local, closed or open",
    "local" => Self::Local, "closed" => Self::Closed, "open" => Self::Open);

/// A replica's share of a limit while it enforces it alone.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum LocalShare {
    /// One part of as many as there were replicas when last counted.
    Auto,
    /// A fixed share, above 0 and at most 1.
    Fixed(f64),
}

impl Parse for LocalShare {
    fn parse(text: &str) -> Result<Self, &'static str> {
        if text.trim().eq_ignore_ascii_case("auto") {
            return Ok(Self::Auto);
        }
        f64::parse(text)
            .ok()
            .filter(|share| *share > 0.0 && *share <= 1.0)
            .map(Self::Fixed)
            .ok_or("must be auto, or a number above 0 and at most 1")
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Variables {
    rate_limit_ip: Setting<RateLimit>,
    rate_limit_identity: Setting<RateLimit>,
    rate_limit_context: Setting<RateLimit>,
    rate_limit_redis_timeout: Setting<Duration>,
    rate_limit_on_redis_failure: Setting<OnRedisFailure>,
    rate_limit_local_share: Setting<LocalShare>,
}

impl Limits {
    pub(super) fn read(env: &mut Environment) -> Self {
        let vars: Variables = env.read(VARIABLES);
        Self {
            ip: env.value("RATE_LIMIT_IP", vars.rate_limit_ip, DEFAULT_RATE_LIMIT_IP),
            identity: env.value("RATE_LIMIT_IDENTITY", vars.rate_limit_identity, DEFAULT_RATE_LIMIT_IDENTITY),
            context: env.value("RATE_LIMIT_CONTEXT", vars.rate_limit_context, DEFAULT_RATE_LIMIT_CONTEXT),
            redis_timeout: env.within(
                "RATE_LIMIT_REDIS_TIMEOUT",
                vars.rate_limit_redis_timeout,
                DEFAULT_REDIS_TIMEOUT,
                REDIS_TIMEOUT_RANGE,
            ),
            on_redis_failure: env.value(
                "RATE_LIMIT_ON_REDIS_FAILURE",
                vars.rate_limit_on_redis_failure,
                DEFAULT_ON_REDIS_FAILURE,
            ),
            local_share: env.value(
                "RATE_LIMIT_LOCAL_SHARE",
                vars.rate_limit_local_share,
                DEFAULT_LOCAL_SHARE,
            ),
        }
    }
}
