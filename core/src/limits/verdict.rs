use super::bucket::{Quota, Ticks, Verdict, seconds_until};
use super::{Dimension, Level, Refusal, RefusalKind};

/// The new state of each bucket, or the refusal that takes longest or, where waiting does not help, allows least.
/// `full_at` tells the state of a bucket by its place in `wanted`.
pub(super) fn judge(
    wanted: &[(Dimension, Quota)],
    full_at: impl Fn(usize) -> Ticks,
    cost: u32,
    now: Ticks,
) -> Result<Vec<Ticks>, Refusal> {
    let mut next = Vec::with_capacity(wanted.len());
    let mut too_small: Option<usize> = None;
    let mut exhausted: Option<(Ticks, usize)> = None;
    for (position, (_, quota)) in wanted.iter().enumerate() {
        match quota.take(full_at(position), now, cost) {
            Verdict::Admitted(full_at) => next.push(full_at),
            Verdict::NeverFits if too_small.is_none_or(|other| quota.burst() < wanted[other].1.burst()) => {
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
    let levels: Vec<_> = wanted
        .iter()
        .enumerate()
        .map(|(position, &(dimension, quota))| level(dimension, quota, full_at(position), now))
        .collect();
    Err(Refusal { kind, level: levels[position], levels })
}

pub(super) fn level(dimension: Dimension, quota: Quota, full_at: Ticks, now: Ticks) -> Level {
    Level {
        dimension,
        quota,
        remaining: quota.remaining(full_at, now),
        full_in_secs: seconds_until(full_at, now),
    }
}
