use crate::clock::{Monotonic, Timestamp};
use crate::config::RateLimit;

/// A moment in sixteenths of a microsecond since 2026-01-01T00:00:00Z; fits 53 bits until 2043.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticks(pub(super) u64);

const EPOCH_MICROS: u64 = 1_767_225_600_000_000;
const TICKS_PER_MICRO: u64 = 16;
const TICKS_PER_SECOND: u64 = 1_000_000 * TICKS_PER_MICRO;

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
    limit: u64,
    seconds: u32,
    burst: u64,
    kind: Kind,
    share: Share,
    /// How much longer than to its full size the bucket fills, in ticks; see [`Quota::leased`].
    slack: u64,
}

/// What the limit of a [`Quota`] means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A rate: so many tokens flow in per span, whatever the burst.
    Rate,
    /// A ceiling: no span of its length sees more, the burst included.
    Quota,
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
/// How long a lease may be used, in ticks: 100 ms.
pub(super) const LEASE_TICKS: u64 = TICKS_PER_SECOND / 10;
/// What a bucket that can be leased has at least, in leases: tokens that flow in during one, and their part of the burst.
const LEAST_FLOW: u64 = 4;
const LEAST_BURST: u64 = 4;
/// More than any sum of times that counts, and far from overflowing.
const NEVER: u64 = u64::MAX >> 2;

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
        Self::of(Kind::Rate, limit.requests_per_minute as u64, 60, limit.burst as u64)
    }

    /// `limit` tokens per `seconds`, all at least 1; the burst is at most the limit, and of a ceiling at most its larger half.
    pub(super) const fn of(kind: Kind, limit: u64, seconds: u32, burst: u64) -> Self {
        Self { limit, seconds, burst, kind, share: Share::WHOLE, slack: 0 }
    }

    /// The same limit, of which only `share` is to be given.
    pub const fn shared(self, share: Share) -> Self {
        Self { share, slack: 0, ..self }
    }

    /// The same limit where replicas may take tokens in advance, for a tenth of a second, if it is large enough for that.
    ///
    /// What was taken in advance is used up to a lease's time later, so the bucket gets smaller by what flows in
    /// meanwhile. Taken at once, and after a lease's time of rest, the whole burst can still be had: nothing is then left
    /// of what was taken before.
    pub(super) const fn leased(self) -> Self {
        if self.can_be_leased() { Self { slack: LEASE_TICKS, ..self } } else { self }
    }

    /// Whether tokens may be taken in advance.
    pub(super) const fn can_be_leased(self) -> bool {
        const LEASES_PER_SECOND: u64 = TICKS_PER_SECOND / LEASE_TICKS;
        let seconds = self.seconds as u64;
        let flow = self.rate();
        self.share.0 == MILLION
            && flow >= LEAST_FLOW * LEASES_PER_SECOND * seconds
            && self.burst.saturating_mul(LEASES_PER_SECOND * seconds) >= LEAST_BURST * flow
    }

    /// Tokens that a full bucket holds.
    pub const fn burst(self) -> u64 {
        self.burst
    }

    /// Tokens per [`Quota::seconds`].
    pub const fn limit(self) -> u64 {
        self.limit
    }

    /// The span that the limit is about.
    pub const fn seconds(self) -> u32 {
        self.seconds
    }

    /// What the limit means.
    pub const fn kind(self) -> Kind {
        self.kind
    }

    pub(super) fn take(self, full_at: Ticks, now: Ticks, cost: u64) -> Verdict {
        if cost > self.burst {
            return Verdict::NeverFits;
        }
        let next = self.clamp(full_at, now).0 + self.refill_time(cost);
        // A cost above the share of the burst waits until that is there, and is then paid back in full.
        let room = self.refill_time(self.room().max(cost)) - self.slack;
        match next.checked_sub(room) {
            Some(earliest) if earliest > now.0 => Verdict::RefusedUntil(Ticks(earliest)),
            _ => Verdict::Admitted(Ticks(next)),
        }
    }

    /// Whole tokens in the bucket.
    pub(super) fn remaining(self, full_at: Ticks, now: Ticks) -> u64 {
        let missing = (self.clamp(full_at, now).0 + self.slack).saturating_sub(now.0);
        let room = self.refill_time(self.room()).saturating_sub(missing);
        let rate = u128::from(self.rate()) * u128::from(self.share.0);
        let tokens = u128::from(room) * rate / (u128::from(self.span()) * u128::from(MILLION));
        u64::try_from(tokens).unwrap_or(self.burst).min(self.burst)
    }

    /// The state of a bucket that was empty at `moment`.
    pub(super) fn empty_at(self, moment: Ticks) -> Ticks {
        Ticks(moment.0 + self.refill_time(self.room()))
    }

    /// Ticks in which the bucket fills from empty until now.
    pub(super) fn room_ticks(self) -> u64 {
        self.refill_time(self.burst) - self.slack
    }

    /// For how many ticks more it fills.
    pub(super) const fn slack_ticks(self) -> u64 {
        self.slack
    }

    /// Ticks in which `cost` tokens flow in.
    pub(super) fn cost_ticks(self, cost: u64) -> u64 {
        self.refill_time(cost)
    }

    /// Tokens that flow in per span.
    const fn rate(self) -> u64 {
        match self.kind {
            Kind::Rate => self.limit,
            // With what flows in before a span of that length ends, the burst makes the limit.
            Kind::Quota => self.limit - self.burst + 1,
        }
    }

    /// In ticks.
    const fn span(self) -> u64 {
        self.seconds as u64 * TICKS_PER_SECOND
    }

    /// Tokens that the bucket holds: its share of the burst, and at least one.
    fn room(self) -> u64 {
        if self.share == Share::WHOLE {
            return self.burst;
        }
        let tokens = u128::from(self.burst) * u128::from(self.share.0) / u128::from(MILLION);
        u64::try_from(tokens).unwrap_or(self.burst).max(1)
    }

    /// No bucket is fuller than full, nor emptier than empty. One that seems to be was written before the clock stepped
    /// back.
    pub(super) fn clamp(self, full_at: Ticks, now: Ticks) -> Ticks {
        let emptiest = now.0 + self.refill_time(self.burst) - self.slack;
        Ticks(full_at.0.min(emptiest).max(now.0.saturating_sub(self.slack)))
    }

    /// Ticks in which `tokens` flow in, rounded up so that never one too many is admitted.
    fn refill_time(self, tokens: u64) -> u64 {
        if self.share == Share::WHOLE
            && let Some(ticks) = tokens.checked_mul(self.span())
        {
            return ticks.div_ceil(self.rate());
        }
        let rate = u128::from(self.rate()) * u128::from(self.share.0);
        let ticks = (u128::from(tokens) * u128::from(self.span()) * u128::from(MILLION)).div_ceil(rate);
        u64::try_from(ticks).unwrap_or(NEVER).min(NEVER)
    }
}

/// Whole seconds from `now` until `later`, rounded up.
pub(super) fn seconds_until(later: Ticks, now: Ticks) -> u64 {
    later.0.saturating_sub(now.0).div_ceil(TICKS_PER_SECOND)
}

#[cfg(test)]
mod tests;
