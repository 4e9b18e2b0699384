use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::bucket::Ticks;
use super::dimension::{Bucket, Dimension, DimensionKind, Wanted, WindowId};
use super::held::{Held, HeldBucket, Holder};
use super::verdict::{admission, judge};
use super::{Admission, Refusal};
use crate::id::TenantId;

/// Buckets kept by this process, in bounded memory.
///
/// A bucket that is full again says nothing and may be forgotten. When a shard has no room left and nothing to
/// forget, further strangers share one bucket for each tenant and kind of limit until there is: so flooding the table with
/// addresses can make limits stricter for newcomers, but resets nobody's. One tenant has at most half of a shard.
pub(super) struct LocalBuckets {
    shards: [Mutex<Shard>; SHARDS],
    hasher: RandomState,
    shard_capacity: usize,
    /// The moment at which every bucket was empty, whatever it held before; zero if there was none.
    empty_at: AtomicU64,
}

/// Buckets in all; about 20 MiB when full.
pub(super) const DEFAULT_CAPACITY: usize = 131_072;
const SHARDS: usize = 32;
/// From one look at all buckets of a shard to the next, 100 ms: a flood of strangers must not pay for many.
const SWEEP_TICKS: u64 = 1_600_000;

#[derive(Default)]
struct Shard {
    states: HashMap<Name, State>,
    /// How many of them each tenant has; those of nobody count together.
    counts: HashMap<Option<TenantId>, usize>,
    /// There are as many kinds as policies make: few.
    strangers: HashMap<(Option<TenantId>, DimensionKind, WindowId), Ticks>,
    /// When it is worth looking again for what may be forgotten.
    sweep_at: Ticks,
}

/// Whose bucket, by which limit. It has one state: an older generation has ended.
type Name = (Dimension, WindowId);

#[derive(Clone, Copy)]
struct State {
    generation: u8,
    full_at: Ticks,
}

impl LocalBuckets {
    /// At most `capacity` buckets.
    pub(super) fn new(capacity: usize) -> Self {
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
    pub(super) fn take(&self, wanted: &[Wanted], now: Ticks) -> Result<Admission, Refusal> {
        let mut shards = self.lock(wanted);
        let next = self.verdicts(&shards, wanted, now)?;
        for (place, full_at) in next.iter().enumerate() {
            if let Some(full_at) = full_at {
                let bucket = wanted[place].bucket;
                shards.shard_mut(place).set(bucket, *full_at, now, self.shard_capacity);
            }
        }
        Ok(admission(wanted, &next, now))
    }

    /// See [`super::Limits::peek`].
    ///
    /// # Errors
    ///
    /// The refusal that takes longest.
    pub(super) fn peek(&self, wanted: &[Wanted], now: Ticks) -> Result<(), Refusal> {
        self.verdicts(&self.lock(wanted), wanted, now).map(drop)
    }

    /// See [`super::Limits::held`].
    pub(super) fn held(&self, tenant: TenantId, now: Ticks) -> Held {
        let mut buckets = Vec::new();
        for shard in &self.shards {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            let held = shard.states.iter().filter(|(_, state)| state.full_at > now);
            buckets.extend(held.filter_map(|((dimension, window), State { generation, full_at })| {
                let holder = Holder::within(tenant, dimension)?;
                Some(HeldBucket { holder, window: *window, generation: *generation, full_at: *full_at })
            }));
        }
        Held { buckets, now, complete: true }
    }

    fn verdicts(
        &self,
        shards: &LockedShards<'_>,
        wanted: &[Wanted],
        now: Ticks,
    ) -> Result<Vec<Option<Ticks>>, Refusal> {
        let empty_at = Ticks(self.empty_at.load(Ordering::Acquire));
        let full_at = |position| {
            let Wanted { bucket, quota, .. } = &wanted[position];
            let full_at = shards.shard(position).full_at(bucket);
            if empty_at == Ticks::default() { full_at } else { full_at.max(quota.empty_at(empty_at)) }
        };
        judge(wanted, full_at, now)
    }

    /// Locks every shard that is needed, in ascending order, so that two requests never wait for each other.
    fn lock(&self, wanted: &[Wanted]) -> LockedShards<'_> {
        let of: Vec<usize> = wanted.iter().map(|wanted| self.shard_of(&wanted.bucket)).collect();
        let mut order = of.clone();
        order.sort_unstable();
        order.dedup();
        let guards = order
            .into_iter()
            .map(|index| (index, self.shards[index].lock().unwrap_or_else(PoisonError::into_inner)))
            .collect();
        LockedShards { guards, of }
    }

    fn shard_of(&self, bucket: &Bucket) -> usize {
        usize::try_from(self.hasher.hash_one(name(bucket)) % SHARDS as u64)
            .expect("below the number of shards")
    }
}

struct LockedShards<'a> {
    guards: Vec<(usize, MutexGuard<'a, Shard>)>,
    /// The shard of each wanted dimension.
    of: Vec<usize>,
}

impl LockedShards<'_> {
    /// The shard of what is wanted at that place.
    fn shard(&self, place: usize) -> &Shard {
        &self.guards[self.guard(place)].1
    }

    fn shard_mut(&mut self, place: usize) -> &mut Shard {
        let guard = self.guard(place);
        &mut self.guards[guard].1
    }

    fn guard(&self, place: usize) -> usize {
        let index = self.of[place];
        self.guards.iter().position(|(locked, _)| *locked == index).expect("every wanted shard is locked")
    }
}

impl Shard {
    fn full_at(&self, bucket: &Bucket) -> Ticks {
        match self.states.get(&name(bucket)) {
            Some(state) if state.generation == bucket.generation => state.full_at,
            Some(_) => Ticks::default(),
            None => self.strangers.get(&kind(bucket)).copied().unwrap_or_default(),
        }
    }

    fn set(&mut self, bucket: Bucket, full_at: Ticks, now: Ticks, capacity: usize) {
        let state = State { generation: bucket.generation, full_at };
        if let Some(known) = self.states.get_mut(&name(&bucket)) {
            *known = state;
            return;
        }
        let tenant = bucket.dimension.tenant();
        if !self.has_room(tenant, capacity) && now >= self.sweep_at {
            self.sweep(now);
        }
        if self.has_room(tenant, capacity) {
            self.states.insert(name(&bucket), state);
            *self.counts.entry(tenant).or_default() += 1;
        } else {
            self.strangers.insert(kind(&bucket), full_at);
        }
    }

    fn has_room(&self, tenant: Option<TenantId>, capacity: usize) -> bool {
        let count = self.counts.get(&tenant).copied().unwrap_or_default();
        self.states.len() < capacity && count < capacity.div_ceil(2)
    }

    /// Forgets what is full again.
    fn sweep(&mut self, now: Ticks) {
        self.states.retain(|_, state| state.full_at > now);
        self.strangers.retain(|_, full_at| *full_at > now);
        self.counts.clear();
        for (dimension, _) in self.states.keys() {
            *self.counts.entry(dimension.tenant()).or_default() += 1;
        }
        self.sweep_at = Ticks(now.0 + SWEEP_TICKS);
    }
}

const fn name(bucket: &Bucket) -> Name {
    (bucket.dimension, bucket.window)
}

/// Whose buckets one may stand for, when there is no room for each.
const fn kind(bucket: &Bucket) -> (Option<TenantId>, DimensionKind, WindowId) {
    (bucket.dimension.tenant(), bucket.dimension.kind(), bucket.window)
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;
    use crate::config::RateLimit;
    use crate::limits::{Quota, RefusalKind, Share};

    const NOW: Ticks = Ticks(1 << 40);

    fn ip(n: u32, burst: u32, cost: u64) -> Wanted {
        wanted(Dimension::ip_of_stranger(IpAddr::V4(Ipv4Addr::from_bits(n))), burst, cost)
    }

    fn failed(n: u32, burst: u32, cost: u64) -> Wanted {
        wanted(Dimension::failed_authentication(IpAddr::V4(Ipv4Addr::from_bits(n))), burst, cost)
    }

    fn wanted(dimension: Dimension, burst: u32, cost: u64) -> Wanted {
        let bucket = Bucket { dimension, window: WindowId::MAIN, generation: 0 };
        let quota = Quota::new(RateLimit { requests_per_minute: 60, burst });
        Wanted { bucket, quota, cost, shadow: false }
    }

    #[test]
    fn a_refusal_in_one_dimension_spends_nothing_in_the_others() {
        let buckets = LocalBuckets::new(100);
        let wanted = [ip(1, 5, 1), failed(1, 1, 1)];
        assert!(buckets.take(&wanted, NOW).is_ok());
        let refusal = buckets.take(&wanted, NOW).unwrap_err();
        assert_eq!((refusal.level.bucket, refusal.level.remaining), (wanted[1].bucket, 0));
        assert_eq!(refusal.kind, RefusalKind::Exhausted { retry_after_secs: 1 });
        assert_eq!(refusal.levels.iter().map(|level| level.remaining).collect::<Vec<_>>(), [4, 0]);
        assert_eq!(buckets.take(&wanted[..1], NOW).unwrap().levels[0].remaining, 3);
    }

    #[test]
    fn what_only_counts_refuses_nobody_and_is_told() {
        let buckets = LocalBuckets::new(100);
        let shadow = Wanted { shadow: true, ..failed(1, 2, 1) };
        let wanted = [ip(1, 5, 1), shadow];
        for left in [4, 3] {
            let admission = buckets.take(&wanted, NOW).unwrap();
            assert_eq!(admission.levels.iter().map(|level| level.remaining).collect::<Vec<_>>(), [left]);
            assert_eq!(admission.shadow_refused, []);
        }
        assert!(buckets.peek(&wanted, NOW).is_ok());
        for _ in 0..3 {
            assert_eq!(buckets.take(&wanted, NOW).unwrap().shadow_refused, [shadow]);
        }
        let refusal = buckets.take(&wanted, NOW).unwrap_err();
        assert_eq!((refusal.level.bucket, refusal.levels.len()), (wanted[0].bucket, 1));
        let large = Wanted { cost: 3, ..shadow };
        assert_eq!(buckets.take(&[large], NOW).unwrap().shadow_refused, [large], "never fits, and passes");
        let second = Ticks(NOW.0 + 16_000_000);
        assert_eq!(buckets.take(&[shadow], second).unwrap().shadow_refused, [], "nothing was taken in vain");
    }

    #[test]
    fn peeking_takes_nothing() {
        let buckets = LocalBuckets::new(100);
        for _ in 0..10 {
            assert!(buckets.peek(&[ip(1, 1, 1)], NOW).is_ok());
        }
        assert!(buckets.take(&[ip(1, 1, 1)], NOW).is_ok());
        assert!(buckets.peek(&[ip(1, 1, 1)], NOW).is_err());
    }

    #[test]
    fn a_cost_that_can_never_fit_is_told_apart() {
        let buckets = LocalBuckets::new(100);
        for cost in [4, 11] {
            let wanted = [ip(1, 10, cost), failed(1, 3, cost)];
            let refusal = buckets.take(&wanted, NOW).unwrap_err();
            assert_eq!(refusal.kind, RefusalKind::NeverFits);
            assert_eq!(refusal.level.bucket, wanted[1].bucket, "the smallest bucket says what is possible");
        }
    }

    #[test]
    fn flooding_the_table_resets_nobody_and_stays_bounded() {
        let buckets = LocalBuckets::new(DEFAULT_CAPACITY);
        let addresses = if std::env::var_os("CRYPTOSERVE_TEST_FULL").is_some() { 1_000_000 } else { 150_000 };
        assert!(buckets.take(&[ip(0, 2, 2)], NOW).is_ok());
        let mut refused = 0;
        for n in 1..addresses {
            refused += u32::from(buckets.take(&[ip(n, 2, 1)], NOW).is_err());
        }
        assert!(buckets.take(&[ip(0, 2, 1)], NOW).is_err());
        assert!(refused > addresses - 70_000, "strangers share a bucket once the table is full");
        let held: usize = buckets.shards.iter().map(|shard| shard.lock().unwrap().states.len()).sum();
        assert!(held <= DEFAULT_CAPACITY);
        let another = TenantId::random();
        for n in 0..8 {
            let address = Dimension::ip(another, [192, 0, 2, n].into());
            assert!(buckets.take(&[wanted(address, 2, 2)], NOW).is_ok(), "another tenant has room");
        }
        assert!(buckets.take(&[failed(1, 2, 2)], NOW).is_ok());
        let later = Ticks(NOW.0 + (1 << 40));
        assert!(buckets.take(&[ip(7_777_777, 2, 2)], later).is_ok(), "full buckets make room");
    }

    #[test]
    fn a_bucket_that_begins_again_takes_the_place_of_the_one_before() {
        let buckets = LocalBuckets::new(SHARDS);
        let of = |generation| {
            let wanted = ip(1, 1, 1);
            [Wanted { bucket: Bucket { generation, ..wanted.bucket }, ..wanted }]
        };
        for generation in 0..=u8::MAX {
            assert!(buckets.take(&of(generation), NOW).is_ok());
            assert!(buckets.take(&of(generation), NOW).is_err());
        }
        let held: usize = buckets.shards.iter().map(|shard| shard.lock().unwrap().states.len()).sum();
        assert_eq!(held, 1);
    }

    #[test]
    fn emptied_buckets_fill_at_their_share_of_the_rate() {
        let buckets = LocalBuckets::new(100);
        let half = |n| {
            let whole = ip(n, 4, 1);
            [Wanted { quota: whole.quota.shared(Share::one_of(2)), ..whole }]
        };
        let (half, stranger) = (half(1), half(2));
        assert!(buckets.take(&half, NOW).is_ok());
        buckets.empty(NOW);
        let refusal = buckets.take(&half, NOW).unwrap_err();
        assert_eq!(refusal.kind, RefusalKind::Exhausted { retry_after_secs: 2 });
        assert!(buckets.peek(&stranger, NOW).is_err(), "nobody begins with more");
        let later = Ticks(NOW.0 + 2 * 16_000_000);
        for wanted in [half, stranger] {
            assert!(buckets.take(&wanted, later).is_ok());
            assert!(buckets.take(&wanted, later).is_err());
        }
        let much_later = Ticks(NOW.0 + 1000 * 16_000_000);
        assert_eq!(buckets.take(&half, much_later).unwrap().levels[0].remaining, 1, "half of the burst");
    }

    #[test]
    fn threads_together_admit_exactly_the_burst() {
        let buckets = LocalBuckets::new(100);
        let admitted: u32 = std::thread::scope(|scope| {
            let take = || (0..100).filter(|_| buckets.take(&[ip(1, 60, 1)], NOW).is_ok()).count();
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(take)).collect();
            threads.into_iter().map(|thread| u32::try_from(thread.join().unwrap()).unwrap()).sum()
        });
        assert_eq!(admitted, 60);
    }
}
