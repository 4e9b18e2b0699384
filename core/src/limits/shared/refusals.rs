use quick_cache::sync::Cache;

use crate::clock::Monotonic;
use crate::limits::bucket::Ticks;
use crate::limits::verdict::{judge, level};
use crate::limits::{Bucket, Refusal, RefusalKind, Wanted};

/// What Redis said when it refused, kept until it would say otherwise, so that a flood of refused requests asks it
/// nothing.
///
/// Other replicas can only make a bucket emptier, and time that passed on the way is counted as if the bucket had filled
/// in it: so nothing is refused here that Redis would admit.
pub(super) struct Refusals {
    /// When each bucket is full, by this process's clock.
    full_at: Cache<Bucket, Ticks>,
}

/// What does not fit is asked again.
const CAPACITY: usize = 65_536;

impl Refusals {
    pub(super) fn new() -> Self {
        Self { full_at: Cache::new(CAPACITY) }
    }

    /// Keeps what Redis said to a request that was sent at `sent`.
    pub(super) fn remember(&self, wanted: &[Wanted], full_at: &[Ticks], redis_now: Ticks, sent: Monotonic) {
        for (Wanted { bucket, .. }, full_at) in wanted.iter().zip(full_at) {
            let missing = full_at.0.saturating_sub(redis_now.0);
            self.full_at.insert(*bucket, Ticks(Ticks::monotonic(sent).0 + missing));
        }
    }

    /// # Errors
    ///
    /// The refusal, if Redis would certainly refuse; with the levels of those buckets that are known.
    pub(super) fn check(&self, wanted: &[Wanted], now: Monotonic) -> Result<(), Refusal> {
        let now = Ticks::monotonic(now);
        let mut known = Vec::new();
        let mut states = Vec::new();
        for wanted in wanted.iter().filter(|wanted| !wanted.shadow) {
            if let Some(full_at) = self.full_at.get(&wanted.bucket).filter(|full_at| *full_at > now) {
                known.push(*wanted);
                states.push(full_at);
            }
        }
        if known.is_empty() {
            return Ok(());
        }
        judge(&known, |position| states[position], now).map(drop)
    }

    /// Forgets everything, as Redis has.
    pub(super) fn clear(&self) {
        self.full_at.clear();
    }
}

/// # Errors
///
/// The refusal of a cost that exceeds what a bucket ever holds; of several, of the smallest.
pub(super) fn check_size(wanted: &[Wanted]) -> Result<(), Refusal> {
    let too_small = wanted.iter().filter(|wanted| wanted.cost > wanted.quota.burst() && !wanted.shadow);
    match too_small.min_by_key(|wanted| wanted.quota.burst()) {
        Some(smallest) => {
            let full = level(smallest, Ticks::default(), Ticks::default());
            Err(Refusal { kind: RefusalKind::NeverFits, level: full.into(), levels: Vec::new() })
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::RateLimit;
    use crate::limits::{Dimension, Quota, WindowId};

    fn wanted(n: u8, burst: u32, cost: u64) -> Wanted {
        let dimension = Dimension::ip_of_stranger([192, 0, 2, n].into());
        let bucket = Bucket { dimension, window: WindowId::MAIN, generation: 0 };
        let quota = Quota::new(RateLimit { requests_per_minute: 60, burst });
        Wanted { bucket, quota, cost, shadow: false }
    }

    #[test]
    fn a_refusal_holds_until_its_time_and_for_what_it_says() {
        let refusals = Refusals::new();
        let all = |cost| [wanted(1, 3, cost), wanted(2, 3, cost)];
        let sent = Monotonic::from_micros(5_000_000);
        let redis_now = Ticks(1 << 45);
        // The first is empty but for one token, the second is full.
        let full_at = [Ticks(redis_now.0 + 2 * 16_000_000), redis_now];
        assert!(refusals.check(&all(1), sent).is_ok());
        refusals.remember(&all(1), &full_at, redis_now, sent);
        let refusal = refusals.check(&all(2), sent).unwrap_err();
        assert_eq!(refusal.kind, RefusalKind::Exhausted { retry_after_secs: 1 });
        assert_eq!((refusal.level.bucket, refusal.level.remaining), (all(1)[0].bucket, 1));
        assert_eq!(refusal.levels.len(), 1, "nothing is said of what is not known");
        assert!(refusals.check(&all(1), sent).is_ok(), "Redis has to say");
        assert!(refusals.check(&all(3)[1..], sent).is_ok());
        assert!(refusals.check(&all(2).map(|one| Wanted { shadow: true, ..one }), sent).is_ok());
        assert!(refusals.check(&all(2), Monotonic::from_micros(5_999_999)).is_err());
        assert!(refusals.check(&all(2), Monotonic::from_micros(6_000_000)).is_ok());
        refusals.clear();
        assert!(refusals.check(&all(2), sent).is_ok());
    }

    #[test]
    fn the_smallest_bucket_says_what_is_possible() {
        assert!(check_size(&[wanted(1, 9, 3), wanted(2, 3, 3)]).is_ok());
        let refusal = check_size(&[wanted(1, 9, 10), wanted(2, 3, 10)]).unwrap_err();
        assert_eq!((refusal.kind, refusal.level.bucket), (RefusalKind::NeverFits, wanted(2, 3, 1).bucket));
        assert!(check_size(&[Wanted { shadow: true, ..wanted(1, 9, 10) }]).is_ok());
    }
}
