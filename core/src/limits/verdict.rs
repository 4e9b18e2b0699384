use super::bucket::{Ticks, Verdict, seconds_until};
use super::{Admission, Level, Refusal, RefusalKind, Wanted};

/// The new state of each bucket, or the refusal that takes longest or, where waiting does not help, allows least.
/// `full_at` tells the state of a bucket by its place in `wanted`. A bucket that only counts and does not allow it has no
/// new state.
pub(super) fn judge(
    wanted: &[Wanted],
    full_at: impl Fn(usize) -> Ticks,
    now: Ticks,
) -> Result<Vec<Option<Ticks>>, Refusal> {
    let mut next = Vec::with_capacity(wanted.len());
    let mut too_small: Option<usize> = None;
    let mut exhausted: Option<(Ticks, usize)> = None;
    for (position, one) in wanted.iter().enumerate() {
        match one.quota.take(full_at(position), now, one.cost) {
            Verdict::Admitted(full_at) => next.push(Some(full_at)),
            _ if one.shadow => next.push(None),
            Verdict::NeverFits
                if too_small.is_none_or(|other| one.quota.burst() < wanted[other].quota.burst()) =>
            {
                too_small = Some(position);
            }
            Verdict::RefusedUntil(until) if exhausted.is_none_or(|(longest, _)| until > longest) => {
                exhausted = Some((until, position));
            }
            Verdict::NeverFits | Verdict::RefusedUntil(_) => {}
        }
    }
    let (kind, position) = match (too_small, exhausted) {
        (None, None) => return Ok(next),
        (Some(position), _) => (RefusalKind::NeverFits, position),
        (None, Some((until, position))) => {
            (RefusalKind::Exhausted { retry_after_secs: seconds_until(until, now).max(1) }, position)
        }
    };
    let all = wanted.iter().enumerate();
    let levels = all.filter(|(_, one)| !one.shadow).map(|(place, one)| level(one, full_at(place), now));
    let refused = &wanted[position];
    let level = level(refused, full_at(position), now).into();
    Err(Refusal { kind, level, levels: levels.collect() })
}

/// What is said of a request that was admitted, given the states that [`judge`] found, in their order.
pub(super) fn admission(wanted: &[Wanted], next: &[Option<Ticks>], now: Ticks) -> Admission {
    let mut admission = Admission::default();
    for (one, full_at) in wanted.iter().zip(next) {
        match full_at {
            Some(full_at) if !one.shadow => admission.levels.push(level(one, *full_at, now)),
            Some(_) => {}
            None => admission.shadow_refused.push(*one),
        }
    }
    admission
}

pub(super) fn level(wanted: &Wanted, full_at: Ticks, now: Ticks) -> Level {
    let quota = wanted.quota;
    Level {
        bucket: wanted.bucket,
        quota,
        cost: wanted.cost,
        remaining: quota.remaining(full_at, now),
        full_in_secs: seconds_until(quota.clamp(full_at, now), now),
    }
}
