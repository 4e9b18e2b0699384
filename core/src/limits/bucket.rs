use crate::clock::{Monotonic, Timestamp};
use crate::config::RateLimit;

/// A moment in sixteenths of a microsecond since 2026-01-01T00:00:00Z; fits 53 bits until 2043.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticks(pub(super) u64);

const EPOCH_MICROS: u64 = 1_767_225_600_000_000;
const TICKS_PER_MICRO: u64 = 16;
const TICKS_PER_SECOND: u64 = 1_000_000 * TICKS_PER_MICRO;
const TICKS_PER_MINUTE: u64 = 60 * TICKS_PER_SECOND;

impl Ticks {
    /// The moment of `time`; times before 2026 count as its start.
    pub const fn at(time: Timestamp) -> Self {
        Self(time.as_micros().saturating_sub(EPOCH_MICROS).saturating_mul(TICKS_PER_MICRO))
    }

    /// A moment of a process's own clock, to be compared only with others of it.
    pub(super) const fn monotonic(time: Monotonic) -> Self {
        Self(time.as_micros().saturating_mul(TICKS_PER_MICRO))
    }
}

/// Size and rate of a token bucket, by the generic cell rate algorithm (ITU-T I.371): the bucket's state is one
/// number, the theoretical arrival time at which it will be full again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    requests_per_minute: u32,
    burst: u32,
    share: Share,
}

/// The part of a limit that one replica enforces alone, in millionths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share(u32);

impl Share {
    /// All of it.
    pub const WHOLE: Self = Self(MILLION);

    /// One of `parts` equal parts, rounded down, so that together they are never more than the whole.
    pub fn one_of(parts: u32) -> Self {
        Self((MILLION / parts.max(1)).max(1))
    }

    /// A part above 0 and at most 1, rounded down to millionths, and at least one of them.
    pub fn fraction(part: f64) -> Self {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "casts of floats saturate"
        )]
        let millionths = (part * f64::from(MILLION)) as u32;
        Self(millionths.clamp(1, MILLION))
    }

    /// In millionths.
    pub(super) const fn millionths(self) -> u32 {
        self.0
    }

    /// From millionths, 1 to a million.
    pub(super) const fn from_millionths(millionths: u32) -> Self {
        Self(millionths)
    }
}

const MILLION: u32 = 1_000_000;

/// What a bucket says to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Admitted; the bucket's new state.
    Admitted(Ticks),
    /// Refused until this moment.
    RefusedUntil(Ticks),
    /// The cost exceeds the bucket's size.
    NeverFits,
}

impl Quota {
    /// From a configured limit, whose parts are at least 1.
    pub const fn new(limit: RateLimit) -> Self {
        Self { requests_per_minute: limit.requests_per_minute, burst: limit.burst, share: Share::WHOLE }
    }

    /// The same limit, of which only `share` is to be given.
    pub const fn shared(self, share: Share) -> Self {
        Self { share, ..self }
    }

    /// Tokens that a full bucket holds.
    pub const fn burst(self) -> u32 {
        self.burst
    }

    /// Tokens that flow in per minute.
    pub const fn requests_per_minute(self) -> u32 {
        self.requests_per_minute
    }

    pub(super) fn take(self, full_at: Ticks, now: Ticks, cost: u32) -> Verdict {
        if cost > self.burst {
            return Verdict::NeverFits;
        }
        let next = self.clamp(full_at, now).max(now).0 + self.refill_time(cost);
        // A cost above the share of the burst waits until that is there, and is then paid back in full.
        let room = self.refill_time(self.room().max(cost));
        match next.checked_sub(room) {
            Some(earliest) if earliest > now.0 => Verdict::RefusedUntil(Ticks(earliest)),
            _ => Verdict::Admitted(Ticks(next)),
        }
    }

    /// Whole tokens in the bucket.
    pub(super) fn remaining(self, full_at: Ticks, now: Ticks) -> u32 {
        let missing = self.clamp(full_at, now).0.saturating_sub(now.0);
        let room = self.refill_time(self.room()).saturating_sub(missing);
        let tokens = if self.share == Share::WHOLE {
            u128::from(room) * u128::from(self.requests_per_minute) / u128::from(TICKS_PER_MINUTE)
        } else {
            let rate = u128::from(self.requests_per_minute) * u128::from(self.share.0);
            u128::from(room) * rate / (u128::from(TICKS_PER_MINUTE) * u128::from(MILLION))
        };
        u32::try_from(tokens).unwrap_or(self.burst).min(self.burst)
    }

    /// The state of a bucket that was empty at `moment`.
    pub(super) fn empty_at(self, moment: Ticks) -> Ticks {
        Ticks(moment.0 + self.refill_time(self.room()))
    }

    /// Ticks in which the whole bucket fills.
    pub(super) fn burst_ticks(self) -> u64 {
        self.refill_time(self.burst)
    }

    /// Ticks in which `cost` tokens flow in.
    pub(super) fn cost_ticks(self, cost: u32) -> u64 {
        self.refill_time(cost)
    }

    /// Tokens that the bucket holds: its share of the burst, and at least one.
    fn room(self) -> u32 {
        if self.share == Share::WHOLE {
            return self.burst;
        }
        let tokens = u64::from(self.burst) * u64::from(self.share.0) / u64::from(MILLION);
        u32::try_from(tokens).unwrap_or(self.burst).max(1)
    }

    /// No bucket is emptier than empty. One that seems to be was written before the clock stepped back.
    fn clamp(self, full_at: Ticks, now: Ticks) -> Ticks {
        full_at.min(Ticks(now.0 + self.refill_time(self.burst)))
    }

    /// Ticks in which `tokens` flow in, rounded up so that never one too many is admitted.
    fn refill_time(self, tokens: u32) -> u64 {
        let ticks = u64::from(tokens) * TICKS_PER_MINUTE;
        if self.share == Share::WHOLE {
            return ticks.div_ceil(u64::from(self.requests_per_minute));
        }
        let rate = u128::from(self.requests_per_minute) * u128::from(self.share.0);
        let ticks = (u128::from(ticks) * u128::from(MILLION)).div_ceil(rate);
        u64::try_from(ticks).unwrap_or(u64::MAX >> 1)
    }
}

/// Whole seconds from `now` until `later`, rounded up.
pub(super) fn seconds_until(later: Ticks, now: Ticks) -> u64 {
    later.0.saturating_sub(now.0).div_ceil(TICKS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn quota(requests_per_minute: u32, burst: u32) -> Quota {
        Quota::new(RateLimit { requests_per_minute, burst })
    }

    #[test]
    fn a_full_bucket_gives_its_burst_and_then_one_per_interval() {
        let quota = quota(60, 3);
        let now = Ticks(1_000_000_000);
        let mut state = Ticks::default();
        for left in [2, 1, 0] {
            let Verdict::Admitted(next) = quota.take(state, now, 1) else {
                panic!("refused with tokens left")
            };
            state = next;
            assert_eq!(quota.remaining(state, now), left);
        }
        let until = Ticks(now.0 + TICKS_PER_SECOND);
        assert_eq!(quota.take(state, now, 1), Verdict::RefusedUntil(until));
        assert!(matches!(quota.take(state, until, 1), Verdict::Admitted(_)));
        assert_eq!(quota.take(state, Ticks(until.0 - 1), 1), Verdict::RefusedUntil(until));
    }

    #[test]
    fn a_cost_above_the_burst_never_fits() {
        assert_eq!(quota(60, 3).take(Ticks::default(), Ticks(5), 4), Verdict::NeverFits);
    }

    #[test]
    fn a_clock_that_steps_back_costs_no_more_than_a_full_bucket() {
        let (quota, hour) = (quota(60, 3), Ticks(3600 * TICKS_PER_SECOND));
        let Verdict::Admitted(state) = quota.take(Ticks::default(), Ticks(2 * hour.0), 1) else {
            panic!("full")
        };
        assert_eq!(quota.take(state, hour, 1), Verdict::RefusedUntil(Ticks(hour.0 + TICKS_PER_SECOND)));
        assert_eq!(quota.remaining(state, hour), 0);
    }

    #[test]
    fn a_share_is_slower_and_smaller_and_together_they_are_no_more_than_the_whole() {
        let whole = quota(60, 8);
        let third = whole.shared(Share::one_of(3));
        assert!(third.refill_time(1) >= 3 * whole.refill_time(1));
        assert!(third.refill_time(1) <= 3 * whole.refill_time(1) + TICKS_PER_SECOND / 1000);
        let now = Ticks(1 << 50);
        assert_eq!(third.remaining(Ticks::default(), now), 2);
        assert_eq!(third.remaining(third.empty_at(now), now), 0);
        assert!(matches!(third.take(third.empty_at(now), now, 1), Verdict::RefusedUntil(_)));
        // More than the share's burst fits, once that is there, and is paid back.
        let Verdict::Admitted(state) = third.take(Ticks::default(), now, 8) else { panic!("must fit") };
        assert_eq!(state.0, now.0 + third.refill_time(8));
        assert!(matches!(third.take(Ticks(now.0 + 16), now, 8), Verdict::RefusedUntil(_)));
        assert_eq!(third.take(Ticks::default(), now, 9), Verdict::NeverFits);
        assert_eq!(quota(1, 1).shared(Share::fraction(1e-9)).remaining(Ticks::default(), now), 1);
        assert_eq!((Share::fraction(1.0), Share::one_of(0)), (Share::WHOLE, Share::WHOLE));
    }

    #[test]
    fn moments_are_exact_in_a_double_until_2043() {
        let end_of_2042 = Timestamp::from_micros(2_303_683_200_000_000);
        assert!(Ticks::at(end_of_2042).0 < 1 << 53);
        assert_eq!(Ticks::at(Timestamp::from_micros(EPOCH_MICROS + 1)), Ticks(16));
        assert_eq!(Ticks::at(Timestamp::from_micros(0)), Ticks(0));
    }

    proptest! {
        /// In any window of d, at most burst + rate × d tokens are admitted (contract section 3).
        #[test]
        fn no_window_admits_more_than_burst_and_rate_allow(
            rpm in 1u32..2_000_000,
            burst_share in 1u32..=100,
            steps in prop::collection::vec((0u64..40_000_000, 1u32..20), 1..200),
        ) {
            let quota = quota(rpm, (rpm / burst_share).max(1));
            let mut now = Ticks(1 << 40);
            let mut state = Ticks::default();
            let mut admitted: Vec<(u64, u64)> = Vec::new();
            for (wait, cost) in steps {
                now = Ticks(now.0 + wait);
                if let Verdict::Admitted(next) = quota.take(state, now, cost) {
                    state = next;
                    admitted.push((now.0, cost.into()));
                }
            }
            for first in 0..admitted.len() {
                let mut tokens = 0;
                for &(at, cost) in &admitted[first..] {
                    tokens += cost;
                    // One tick of rounding: a sixteenth of a microsecond.
                    let window = at - admitted[first].0 + 1;
                    let refill = u128::from(window) * u128::from(rpm) / u128::from(TICKS_PER_MINUTE);
                    prop_assert!(u128::from(tokens) <= u128::from(quota.burst()) + refill);
                }
            }
        }
    }
}
