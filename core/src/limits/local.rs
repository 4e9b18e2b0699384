use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::bucket::{Quota, Ticks};
use super::verdict::{judge, level};
use super::{Dimension, Level, Refusal};

/// Buckets kept by this process, in bounded memory.
///
/// A bucket that is full again says nothing and may be forgotten. When a shard has no room left and nothing to
/// forget, further strangers share one bucket of their kind until there is: so flooding the table with addresses can
/// make limits stricter for newcomers, but resets nobody's.
pub struct LocalBuckets {
    shards: [Mutex<Shard>; SHARDS],
    hasher: RandomState,
    shard_capacity: usize,
    /// The moment at which every bucket was empty, whatever it held before; zero if there was none.
    empty_at: AtomicU64,
}

/// Buckets in all; about 10 MiB when full.
pub(super) const DEFAULT_CAPACITY: usize = 131_072;
const SHARDS: usize = 32;

#[derive(Default)]
struct Shard {
    full_at: HashMap<Dimension, Ticks>,
    strangers: [Ticks; 4],
}

impl LocalBuckets {
    /// At most `capacity` buckets.
    pub fn new(capacity: usize) -> Self {
        Self {
            shards: std::array::from_fn(|_| Mutex::default()),
            hasher: RandomState::new(),
            shard_capacity: (capacity / SHARDS).max(1),
            empty_at: AtomicU64::new(0),
        }
    }

    /// Empties every bucket, also of those who never asked.
    pub(super) fn empty(&self, now: Ticks) {
        self.empty_at.store(now.0, Ordering::Release);
    }

    /// See [`super::Limits::take`].
    ///
    /// # Errors
    ///
    /// The refusal that takes longest.
    pub fn take(&self, wanted: &[(Dimension, Quota)], cost: u32, now: Ticks) -> Result<Vec<Level>, Refusal> {
        let mut shards = self.lock(wanted);
        let next = self.verdicts(&shards, wanted, cost, now)?;
        let mut levels = Vec::with_capacity(wanted.len());
        for (&(dimension, quota), full_at) in wanted.iter().zip(next) {
            shards.shard(self.shard_of(&dimension)).set(dimension, full_at, now, self.shard_capacity);
            levels.push(level(dimension, quota, full_at, now));
        }
        Ok(levels)
    }

    /// See [`super::Limits::peek`].
    ///
    /// # Errors
    ///
    /// The refusal that takes longest.
    pub fn peek(&self, wanted: &[(Dimension, Quota)], now: Ticks) -> Result<(), Refusal> {
        self.verdicts(&self.lock(wanted), wanted, 1, now).map(drop)
    }

    fn verdicts(
        &self,
        shards: &LockedShards<'_>,
        wanted: &[(Dimension, Quota)],
        cost: u32,
        now: Ticks,
    ) -> Result<Vec<Ticks>, Refusal> {
        let empty_at = Ticks(self.empty_at.load(Ordering::Acquire));
        let full_at = |position| {
            let (dimension, quota) = &wanted[position];
            let full_at = shards.full_at(position, dimension);
            if empty_at == Ticks::default() { full_at } else { full_at.max(quota.empty_at(empty_at)) }
        };
        judge(wanted, full_at, cost, now)
    }

    /// Locks every shard that is needed, in ascending order, so that two requests never wait for each other.
    fn lock(&self, wanted: &[(Dimension, Quota)]) -> LockedShards<'_> {
        let of: Vec<usize> = wanted.iter().map(|(dimension, _)| self.shard_of(dimension)).collect();
        let mut order = of.clone();
        order.sort_unstable();
        order.dedup();
        let guards = order
            .into_iter()
            .map(|index| (index, self.shards[index].lock().unwrap_or_else(PoisonError::into_inner)))
            .collect();
        LockedShards { guards, of }
    }

    fn shard_of(&self, dimension: &Dimension) -> usize {
        usize::try_from(self.hasher.hash_one(dimension) % SHARDS as u64).expect("below the number of shards")
    }
}

struct LockedShards<'a> {
    guards: Vec<(usize, MutexGuard<'a, Shard>)>,
    /// The shard of each wanted dimension.
    of: Vec<usize>,
}

impl LockedShards<'_> {
    fn shard(&mut self, index: usize) -> &mut Shard {
        let position = self.position(index);
        &mut self.guards[position].1
    }

    fn full_at(&self, position: usize, dimension: &Dimension) -> Ticks {
        let shard = &self.guards[self.position(self.of[position])].1;
        shard.full_at.get(dimension).copied().unwrap_or(shard.strangers[kind(dimension)])
    }

    fn position(&self, index: usize) -> usize {
        self.guards.iter().position(|(locked, _)| *locked == index).expect("every wanted shard is locked")
    }
}

impl Shard {
    fn set(&mut self, dimension: Dimension, full_at: Ticks, now: Ticks, capacity: usize) {
        if !self.full_at.contains_key(&dimension) && self.full_at.len() >= capacity {
            self.full_at.retain(|_, full_at| *full_at > now);
            if self.full_at.len() >= capacity {
                self.strangers[kind(&dimension)] = full_at;
                return;
            }
        }
        self.full_at.insert(dimension, full_at);
    }
}

const fn kind(dimension: &Dimension) -> usize {
    match dimension {
        Dimension::Ip(..) => 0,
        Dimension::Identity(..) => 1,
        Dimension::Context(..) => 2,
        Dimension::FailedAuthentication(_) => 3,
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;
    use crate::config::RateLimit;
    use crate::limits::{RefusalKind, Share};

    const NOW: Ticks = Ticks(1 << 40);

    fn ip(n: u32) -> Dimension {
        Dimension::ip_of_stranger(IpAddr::V4(Ipv4Addr::from_bits(n)))
    }

    fn failed(n: u32) -> Dimension {
        Dimension::failed_authentication(IpAddr::V4(Ipv4Addr::from_bits(n)))
    }

    fn quota(burst: u32) -> Quota {
        Quota::new(RateLimit { requests_per_minute: 60, burst })
    }

    #[test]
    fn a_refusal_in_one_dimension_spends_nothing_in_the_others() {
        let buckets = LocalBuckets::new(100);
        let wanted = [(ip(1), quota(5)), (failed(1), quota(1))];
        assert!(buckets.take(&wanted, 1, NOW).is_ok());
        let refusal = buckets.take(&wanted, 1, NOW).unwrap_err();
        assert_eq!((refusal.level.dimension, refusal.level.remaining), (failed(1), 0));
        assert_eq!(refusal.kind, RefusalKind::Exhausted { retry_after_secs: 1 });
        assert_eq!(refusal.levels.iter().map(|level| level.remaining).collect::<Vec<_>>(), [4, 0]);
        assert_eq!(buckets.take(&wanted[..1], 1, NOW).unwrap()[0].remaining, 3);
    }

    #[test]
    fn peeking_takes_nothing() {
        let buckets = LocalBuckets::new(100);
        for _ in 0..10 {
            assert!(buckets.peek(&[(ip(1), quota(1))], NOW).is_ok());
        }
        assert!(buckets.take(&[(ip(1), quota(1))], 1, NOW).is_ok());
        assert!(buckets.peek(&[(ip(1), quota(1))], NOW).is_err());
    }

    #[test]
    fn a_cost_that_can_never_fit_is_told_apart() {
        let buckets = LocalBuckets::new(100);
        for cost in [4, 11] {
            let refusal = buckets.take(&[(ip(1), quota(10)), (failed(1), quota(3))], cost, NOW).unwrap_err();
            assert_eq!(refusal.kind, RefusalKind::NeverFits);
            assert_eq!(refusal.level.dimension, failed(1), "the smallest bucket says what is possible");
        }
    }

    #[test]
    fn flooding_the_table_resets_nobody_and_stays_bounded() {
        let buckets = LocalBuckets::new(SHARDS * 4);
        let victim = [(ip(0), quota(2))];
        assert!(buckets.take(&victim, 2, NOW).is_ok());
        let mut refused = 0;
        for n in 1..10_000 {
            refused += u32::from(buckets.take(&[(ip(n), quota(2))], 1, NOW).is_err());
        }
        assert!(buckets.take(&victim, 1, NOW).is_err());
        assert!(refused > 9_000, "strangers share a bucket once the table is full");
        let held: usize = buckets.shards.iter().map(|shard| shard.lock().unwrap().full_at.len()).sum();
        assert!(held <= SHARDS * 4);
        let later = Ticks(NOW.0 + (1 << 40));
        assert!(buckets.take(&[(ip(77_777), quota(2))], 2, later).is_ok(), "full buckets make room");
    }

    #[test]
    fn emptied_buckets_fill_at_their_share_of_the_rate() {
        let buckets = LocalBuckets::new(100);
        let half = [(ip(1), quota(4).shared(Share::one_of(2)))];
        assert!(buckets.take(&half, 1, NOW).is_ok());
        buckets.empty(NOW);
        let refusal = buckets.take(&half, 1, NOW).unwrap_err();
        assert_eq!(refusal.kind, RefusalKind::Exhausted { retry_after_secs: 2 });
        let stranger = [(ip(2), half[0].1)];
        assert!(buckets.peek(&stranger, NOW).is_err(), "nobody begins with more");
        let later = Ticks(NOW.0 + 2 * 16_000_000);
        for wanted in [half, stranger] {
            assert!(buckets.take(&wanted, 1, later).is_ok());
            assert!(buckets.take(&wanted, 1, later).is_err());
        }
        let much_later = Ticks(NOW.0 + 1000 * 16_000_000);
        assert_eq!(buckets.take(&half, 1, much_later).unwrap()[0].remaining, 1, "half of the burst");
    }

    #[test]
    fn threads_together_admit_exactly_the_burst() {
        let buckets = LocalBuckets::new(100);
        let admitted: u32 = std::thread::scope(|scope| {
            let take = || (0..100).filter(|_| buckets.take(&[(ip(1), quota(60))], 1, NOW).is_ok()).count();
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(take)).collect();
            threads.into_iter().map(|thread| u32::try_from(thread.join().unwrap()).unwrap()).sum()
        });
        assert_eq!(admitted, 60);
    }
}
