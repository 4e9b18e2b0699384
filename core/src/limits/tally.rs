use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{Bucket, Dimension, DimensionKind, Quota};
use crate::clock::Timestamp;
use crate::name::Name;

/// Refusals by bucket and second, until they are in the audit trail: in bounded memory however many there are.
pub(crate) struct Tally {
    pending: Mutex<Pending>,
    capacity: usize,
}

/// Refusals of one bucket within one second.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    /// Whole seconds since the Unix epoch.
    pub(crate) second: u64,
    pub(crate) by: RefusedBy,
    /// It would have refused, but only counts.
    pub(crate) shadow: bool,
    pub(crate) count: u64,
}

/// What refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RefusedBy {
    Bucket {
        bucket: Bucket,
        quota: Quota,
        /// The name of the bucket's context, if it has one.
        context: Option<Name>,
    },
    /// Buckets of this dimension for which there was no room.
    Others(DimensionKind),
}

#[derive(Default)]
struct Pending {
    of_buckets: HashMap<(u64, Bucket, bool), OfBucket>,
    /// With the second of the first.
    of_others: HashMap<(DimensionKind, bool), (u64, u64)>,
}

struct OfBucket {
    quota: Quota,
    context: Option<Name>,
    count: u64,
}

/// Buckets and seconds; about 2 MiB.
const CAPACITY: usize = 10_000;

impl Tally {
    pub(super) fn new() -> Self {
        Self { pending: Mutex::default(), capacity: CAPACITY }
    }

    /// Counts one refusal; `context` is the name of the one that the request was about.
    pub(super) fn add(
        &self,
        bucket: Bucket,
        quota: Quota,
        context: Option<&Name>,
        shadow: bool,
        at: Timestamp,
    ) {
        let second = at.as_secs();
        let mut pending = self.pending();
        if let Some(known) = pending.of_buckets.get_mut(&(second, bucket, shadow)) {
            known.count += 1;
        } else {
            let is_of_context =
                matches!(bucket.dimension, Dimension::Context(..) | Dimension::IdentityContext(..));
            let context = context.filter(|_| is_of_context).cloned();
            let by = RefusedBy::Bucket { bucket, quota, context };
            pending.insert(Refused { second, by, shadow, count: 1 }, self.capacity);
        }
    }

    /// Takes out what is not of the second `now`, to which more may come; everything if there is none.
    pub(crate) fn take(&self, now: Option<Timestamp>) -> Vec<Refused> {
        let now = now.map(Timestamp::as_secs);
        let mut pending = self.pending();
        let of_buckets = pending.of_buckets.extract_if(|(second, ..), _| Some(*second) != now).map(
            |((second, bucket, shadow), OfBucket { quota, context, count })| {
                let by = RefusedBy::Bucket { bucket, quota, context };
                Refused { second, by, shadow, count }
            },
        );
        let mut taken: Vec<_> = of_buckets.collect();
        let of_others = pending.of_others.extract_if(|_, (second, _)| Some(*second) != now);
        taken.extend(of_others.map(|((kind, shadow), (second, count))| Refused {
            second,
            by: RefusedBy::Others(kind),
            shadow,
            count,
        }));
        taken
    }

    /// Keeps again what was taken out and could not be written.
    pub(crate) fn put_back(&self, refused: impl IntoIterator<Item = Refused>) {
        let mut pending = self.pending();
        refused.into_iter().for_each(|refused| pending.insert(refused, self.capacity));
    }

    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pending {
    fn insert(&mut self, refused: Refused, capacity: usize) {
        let Refused { second, by, shadow, count } = refused;
        let kind = match by {
            RefusedBy::Bucket { bucket, quota, context } => {
                let key = (second, bucket, shadow);
                if self.of_buckets.len() < capacity || self.of_buckets.contains_key(&key) {
                    self.of_buckets.entry(key).or_insert(OfBucket { quota, context, count: 0 }).count +=
                        count;
                    return;
                }
                bucket.dimension.kind()
            }
            RefusedBy::Others(kind) => kind,
        };
        let others = self.of_others.entry((kind, shadow)).or_insert((second, 0));
        others.0 = others.0.min(second);
        others.1 += count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::RateLimit;
    use crate::limits::WindowId;

    fn bucket(n: u8) -> Bucket {
        Bucket {
            dimension: Dimension::ip_of_stranger([192, 0, 2, n].into()),
            window: WindowId::MAIN,
            generation: 0,
        }
    }

    fn quota() -> Quota {
        Quota::new(RateLimit { requests_per_minute: 60, burst: 6 })
    }

    fn of(second: u64, n: u8, shadow: bool, count: u64) -> Refused {
        let by = RefusedBy::Bucket { bucket: bucket(n), quota: quota(), context: None };
        Refused { second, by, shadow, count }
    }

    fn others(second: u64, shadow: bool, count: u64) -> Refused {
        Refused { second, by: RefusedBy::Others(DimensionKind::Ip), shadow, count }
    }

    fn sorted(mut refused: Vec<Refused>) -> Vec<Refused> {
        refused.sort_by_key(|one| format!("{one:?}"));
        refused
    }

    fn add(tally: &Tally, n: u8, shadow: bool, second: u64, times: u64) {
        for time in 0..times {
            let at = Timestamp::from_micros(second * 1_000_000 + time);
            tally.add(bucket(n), quota(), None, shadow, at);
        }
    }

    #[test]
    fn refusals_are_counted_by_bucket_and_second_until_the_second_is_over() {
        let tally = Tally::new();
        for (n, shadow, second, times) in
            [(1, false, 7, 3), (2, false, 7, 1), (1, true, 7, 2), (1, false, 8, 5)]
        {
            add(&tally, n, shadow, second, times);
        }
        let over = tally.take(Some(Timestamp::from_micros(8_999_999)));
        assert_eq!(sorted(over.clone()), [of(7, 1, false, 3), of(7, 1, true, 2), of(7, 2, false, 1)]);
        tally.put_back(over);
        add(&tally, 2, false, 7, 1);
        let all = sorted(tally.take(None));
        assert_eq!(all, [of(7, 1, false, 3), of(7, 1, true, 2), of(7, 2, false, 2), of(8, 1, false, 5)]);
        assert!(tally.take(None).is_empty());
    }

    #[test]
    fn what_has_no_room_is_counted_all_the_same() {
        let tally = Tally { capacity: 2, ..Tally::new() };
        for (n, shadow) in [(1, false), (2, false), (3, false), (4, false), (5, true), (1, false)] {
            add(&tally, n, shadow, 7, 2);
        }
        // Nobody can write, second after second.
        for second in 8..1000 {
            add(&tally, 1, false, second, 1);
        }
        let pending = tally.pending();
        assert_eq!((pending.of_buckets.len(), pending.of_others.len()), (2, 2));
        drop(pending);
        let taken = sorted(tally.take(None));
        let expected =
            [of(7, 1, false, 4), of(7, 2, false, 2), others(7, false, 4 + 992), others(7, true, 2)];
        assert_eq!(taken, sorted(expected.to_vec()));
        tally.put_back(taken);
        assert_eq!(sorted(tally.take(None)), sorted(expected.to_vec()));
    }
}
