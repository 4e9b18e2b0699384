use quick_cache::sync::Cache;

use crate::clock::Monotonic;
use crate::limits::bucket::{Quota, Ticks};
use crate::limits::verdict::{judge, level};
use crate::limits::{Dimension, Refusal, RefusalKind};

/// What Redis said when it refused, kept until it would say otherwise, so that a flood of refused requests asks it
/// nothing.
///
/// Other replicas can only make a bucket emptier, and time that passed on the way is counted as if the bucket had filled
/// in it: so nothing is refused here that Redis would admit.
pub(super) struct Refusals {
    /// When each bucket is full, by this process's clock.
    full_at: Cache<Dimension, Ticks>,
}

/// What does not fit is asked again.
const CAPACITY: usize = 65_536;

impl Refusals {
    pub(super) fn new() -> Self {
        Self { full_at: Cache::new(CAPACITY) }
    }

    /// Keeps what Redis said to a request that was sent at `sent`.
    pub(super) fn remember(
        &self,
        wanted: &[(Dimension, Quota)],
        full_at: &[Ticks],
        redis_now: Ticks,
        sent: Monotonic,
    ) {
        for ((dimension, _), full_at) in wanted.iter().zip(full_at) {
            let missing = full_at.0.saturating_sub(redis_now.0);
            self.full_at.insert(*dimension, Ticks(Ticks::monotonic(sent).0 + missing));
        }
    }

    /// # Errors
    ///
    /// The refusal, if Redis would certainly refuse; with the levels of those buckets that are known.
    pub(super) fn check(
        &self,
        wanted: &[(Dimension, Quota)],
        cost: u32,
        now: Monotonic,
    ) -> Result<(), Refusal> {
        let now = Ticks::monotonic(now);
        let mut known = Vec::new();
        let mut states = Vec::new();
        for &(dimension, quota) in wanted {
            if let Some(full_at) = self.full_at.get(&dimension).filter(|full_at| *full_at > now) {
                known.push((dimension, quota));
                states.push(full_at);
            }
        }
        if known.is_empty() {
            return Ok(());
        }
        judge(&known, |position| states[position], cost, now).map(drop)
    }

    /// Forgets everything, as Redis has.
    pub(super) fn clear(&self) {
        self.full_at.clear();
    }
}

/// # Errors
///
/// The refusal of a cost that exceeds what a bucket ever holds; of several, of the smallest.
pub(super) fn check_size(wanted: &[(Dimension, Quota)], cost: u32) -> Result<(), Refusal> {
    match wanted.iter().min_by_key(|(_, quota)| quota.burst()) {
        Some(&(dimension, quota)) if cost > quota.burst() => {
            let full = level(dimension, quota, Ticks::default(), Ticks::default());
            Err(Refusal { kind: RefusalKind::NeverFits, level: full, levels: Vec::new() })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::RateLimit;

    fn bucket(n: u8) -> (Dimension, Quota) {
        let quota = Quota::new(RateLimit { requests_per_minute: 60, burst: 3 });
        (Dimension::ip_of_stranger([192, 0, 2, n].into()), quota)
    }

    #[test]
    fn a_refusal_holds_until_its_time_and_for_what_it_says() {
        let refusals = Refusals::new();
        let (wanted, sent) = ([bucket(1), bucket(2)], Monotonic::from_micros(5_000_000));
        let redis_now = Ticks(1 << 45);
        // The first is empty but for one token, the second is full.
        let full_at = [Ticks(redis_now.0 + 2 * 16_000_000), redis_now];
        assert!(refusals.check(&wanted, 1, sent).is_ok());
        refusals.remember(&wanted, &full_at, redis_now, sent);
        let refusal = refusals.check(&wanted, 2, sent).unwrap_err();
        assert_eq!(refusal.kind, RefusalKind::Exhausted { retry_after_secs: 1 });
        assert_eq!((refusal.level.dimension, refusal.level.remaining), (wanted[0].0, 1));
        assert_eq!(refusal.levels.len(), 1, "nothing is said of what is not known");
        assert!(refusals.check(&wanted, 1, sent).is_ok(), "Redis has to say");
        assert!(refusals.check(&wanted[1..], 3, sent).is_ok());
        assert!(refusals.check(&wanted, 2, Monotonic::from_micros(5_999_999)).is_err());
        assert!(refusals.check(&wanted, 2, Monotonic::from_micros(6_000_000)).is_ok());
        refusals.clear();
        assert!(refusals.check(&wanted, 2, sent).is_ok());
    }

    #[test]
    fn the_smallest_bucket_says_what_is_possible() {
        let large = (bucket(1).0, Quota::new(RateLimit { requests_per_minute: 60, burst: 9 }));
        assert!(check_size(&[large, bucket(2)], 3).is_ok());
        let refusal = check_size(&[large, bucket(2)], 10).unwrap_err();
        assert_eq!((refusal.kind, refusal.level.dimension), (RefusalKind::NeverFits, bucket(2).0));
    }
}
