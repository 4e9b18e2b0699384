use proptest::prelude::*;

use super::*;

const TICKS_PER_MINUTE: u64 = 60 * TICKS_PER_SECOND;

fn quota(requests_per_minute: u32, burst: u32) -> Quota {
    Quota::new(RateLimit { requests_per_minute, burst })
}

#[test]
fn a_full_bucket_gives_its_burst_and_then_one_per_interval() {
    let quota = quota(60, 3);
    let now = Ticks(1_000_000_000);
    let mut state = Ticks::default();
    for left in [2, 1, 0] {
        let Verdict::Admitted(next) = quota.take(state, now, 1) else { panic!("refused with tokens left") };
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
    let Verdict::Admitted(state) = quota.take(Ticks::default(), Ticks(2 * hour.0), 1) else { panic!("full") };
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
    // The slowest there can be.
    let slowest = Quota::of(Kind::Quota, 1_000_000_000_000, 2_678_400, 1).shared(Share::fraction(1e-9));
    assert!(matches!(slowest.take(slowest.empty_at(now), now, 1), Verdict::RefusedUntil(_)));
}

#[test]
fn only_large_and_fast_buckets_are_leased() {
    assert_eq!(quota(2399, 2399).leased().slack_ticks(), 0, "too slow");
    assert_eq!(quota(2400, 15).leased().slack_ticks(), 0, "too small");
    assert_eq!(quota(2400, 16).leased().slack_ticks(), LEASE_TICKS);
    assert_eq!(quota(60_000, 400).leased().room_ticks(), quota(60_000, 300).room_ticks());
    assert!(!quota(60_000, 400).shared(Share::one_of(2)).can_be_leased());
    assert!(
        Quota::of(Kind::Rate, 1_000_000_000_000, 2_678_400, 1_000_000_000_000).can_be_leased(),
        "the largest"
    );
    // What counts is the rate beside the burst: 39 and 40 per second.
    assert!(!Quota::of(Kind::Quota, 77, 1, 39).can_be_leased());
    assert!(Quota::of(Kind::Quota, 78, 1, 39).can_be_leased());
}

#[test]
fn a_leased_bucket_gives_its_whole_burst_only_after_a_lease_of_rest() {
    let (quota, now) = (quota(60_000, 400).leased(), Ticks(1 << 50));
    assert_eq!(quota.remaining(Ticks::default(), now), 400);
    let Verdict::Admitted(state) = quota.take(Ticks::default(), now, 400) else { panic!("it is full") };
    assert_eq!(state, Ticks(now.0 + quota.room_ticks()));
    assert_eq!(quota.remaining(state, now), 0);
    // Full but for what flows in during a lease.
    let full = quota.take(Ticks(now.0), now, 301);
    assert_eq!(full, Verdict::RefusedUntil(Ticks(now.0 + TICKS_PER_SECOND / 1000)));
    assert!(matches!(quota.take(now, now, 300), Verdict::Admitted(_)));
    assert_eq!(quota.remaining(now, now), 300);
    assert_eq!(quota.take(Ticks::default(), now, 401), Verdict::NeverFits);
}

#[test]
fn moments_are_exact_in_a_double_until_2043() {
    let end_of_2042 = Timestamp::from_micros(2_303_683_200_000_000);
    assert!(Ticks::at(end_of_2042).0 < 1 << 53);
    assert_eq!(Ticks::at(Timestamp::from_micros(EPOCH_MICROS + 1)), Ticks(16));
    assert_eq!(Ticks::at(Timestamp::from_micros(0)), Ticks(0));
}

/// When what was admitted.
fn admitted(quota: Quota, steps: &[(u64, u64)]) -> Vec<(u64, u64)> {
    let mut now = Ticks(1 << 40);
    let mut state = Ticks::default();
    let mut admitted = Vec::new();
    for &(wait, cost) in steps {
        now = Ticks(now.0 + wait);
        if let Verdict::Admitted(next) = quota.take(state, now, cost) {
            state = next;
            admitted.push((now.0, cost));
        }
    }
    admitted
}

proptest! {
    /// In any window of d, at most burst + rate × d tokens are admitted (contract section 3).
    #[test]
    fn no_window_admits_more_than_burst_and_rate_allow(
        rpm in 1u32..2_000_000,
        burst_share in 1u32..=100,
        leased in any::<bool>(),
        steps in prop::collection::vec((0u64..40_000_000, 1u64..20), 1..200),
    ) {
        let quota = quota(rpm, (rpm / burst_share).max(1));
        let quota = if leased { quota.leased() } else { quota };
        let admitted = admitted(quota, &steps);
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

    /// No span of its length sees more than a ceiling allows, wherever it begins.
    #[test]
    fn no_span_sees_more_than_its_ceiling(
        limit in 1u64..500,
        seconds in 1u32..100,
        burst_share in 1u64..=20,
        steps in prop::collection::vec((0u64..200_000_000, 1u64..20), 1..300),
    ) {
        let quota = Quota::of(Kind::Quota, limit, seconds, (limit.div_ceil(2) / burst_share).max(1));
        let admitted = admitted(quota, &steps);
        for first in 0..admitted.len() {
            let end = admitted[first].0 + quota.span();
            let tokens: u64 =
                admitted[first..].iter().take_while(|(at, _)| *at < end).map(|(_, cost)| cost).sum();
            prop_assert!(tokens <= limit);
        }
    }
}
