use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::id::TenantId;
use crate::limits::bucket::Ticks;
use crate::limits::local::{DEFAULT_CAPACITY, LocalBuckets};
use crate::limits::{Admission, Held, Refusal, Wanted};

/// The buckets of a replica that is on its own.
///
/// They begin empty, and fill only while Redis is not used: what comes back while it is, comes back there. So a connection
/// that comes and goes gives nothing twice.
pub(super) struct Alone {
    buckets: LocalBuckets,
    time: Mutex<Time>,
}

/// The clock of the buckets.
struct Time {
    /// What it showed when it last stopped.
    before: Ticks,
    /// When it was set going, by the process's clock; `None` while it stands.
    since: Option<Ticks>,
}

/// Anything but zero.
const BEGINNING: Ticks = Ticks(1 << 40);

impl Alone {
    /// From now on.
    pub(super) fn new(now: Ticks) -> Self {
        let buckets = LocalBuckets::new(DEFAULT_CAPACITY);
        buckets.empty(BEGINNING);
        Self { buckets, time: Mutex::new(Time { before: BEGINNING, since: Some(now) }) }
    }

    /// The replica is on its own, for the first time in a long while if it is to be `emptied`.
    pub(super) fn begin(&self, now: Ticks, emptied: bool) {
        let mut time = self.time();
        time.since.get_or_insert(now);
        if emptied {
            self.buckets.empty(time.at(now));
        }
    }

    /// Redis is used again.
    pub(super) fn end(&self, now: Ticks) {
        let mut time = self.time();
        time.before = time.at(now);
        time.since = None;
    }

    pub(super) fn take(&self, wanted: &[Wanted], now: Ticks) -> Result<Admission, Refusal> {
        let at = self.time().at(now);
        self.buckets.take(wanted, at)
    }

    pub(super) fn peek(&self, wanted: &[Wanted], now: Ticks) -> Result<(), Refusal> {
        let at = self.time().at(now);
        self.buckets.peek(wanted, at)
    }

    /// What the tenant's buckets hold here.
    pub(super) fn held(&self, tenant: TenantId, now: Ticks) -> Held {
        let at = self.time().at(now);
        self.buckets.held(tenant, at)
    }

    fn time(&self) -> MutexGuard<'_, Time> {
        self.time.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Time {
    fn at(&self, now: Ticks) -> Ticks {
        let passed = self.since.map_or(0, |since| now.0.saturating_sub(since.0));
        Ticks(self.before.0 + passed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::RateLimit;
    use crate::limits::{Bucket, Dimension, Quota, WindowId};

    const SECOND: u64 = 16_000_000;

    #[test]
    fn nothing_comes_back_while_redis_is_used() {
        let dimension = Dimension::ip_of_stranger([192, 0, 2, 1].into());
        let bucket = Bucket { dimension, window: WindowId::MAIN, generation: 0 };
        let quota = Quota::new(RateLimit { requests_per_minute: 60, burst: 10 });
        let wanted = [Wanted { bucket, quota, cost: 1, shadow: false }];
        let alone = Alone::new(Ticks(0));
        let at = |seconds: u64| Ticks(seconds * SECOND);
        let admitted = |seconds| (0..20).filter(|_| alone.take(&wanted, at(seconds)).is_ok()).count();
        assert!(alone.peek(&wanted, at(0)).is_err(), "a replica that starts again gives nothing away");
        assert_eq!(admitted(2), 2);
        alone.end(at(3));
        alone.begin(at(50), false);
        assert_eq!(admitted(50), 1, "of the second between");
        assert_eq!(admitted(53), 3);
        alone.end(at(58));
        alone.begin(at(200), true);
        assert_eq!(admitted(200), 0);
        // Told twice.
        alone.begin(at(202), false);
        assert_eq!(admitted(203), 3);
    }
}
