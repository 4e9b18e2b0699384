use super::SPAN;
use crate::limits::bucket::Ticks;

/// What requests asked of a bucket in the current span of [`SPAN`] and in the one before.
#[derive(Debug, Default)]
pub(super) struct Demand {
    /// The current span's number.
    span: u64,
    current: Asked,
    previous: Asked,
    /// The most that leases should have served in a span, less by [`DECAY`] with each that passes.
    peak: u64,
}

/// All in ticks.
#[derive(Clone, Copy, Debug, Default)]
struct Asked {
    all: u64,
    /// Of that, what leases were to serve.
    leased: u64,
    /// The largest single cost that leases were to serve.
    largest: u64,
}

/// Of the peak, per span. Slow, as the bursts of one bucket that others let through may be far apart.
const DECAY: u64 = 16;
/// Spans without a request after which nothing is expected any more.
const FORGOTTEN: u64 = 8;

impl Demand {
    /// Counts a request, and tells whether the bucket is hot for it.
    pub(super) fn count(&mut self, cost: u64, now: Ticks) -> bool {
        self.roll(now);
        self.current.all = self.current.all.saturating_add(cost);
        self.is_hot(cost, now)
    }

    /// Counts what leases are to serve.
    pub(super) fn count_leased(&mut self, cost: u64) {
        self.current.leased = self.current.leased.saturating_add(cost);
        self.current.largest = self.current.largest.max(cost);
    }

    /// Whether at least four such requests fit in what was asked, or in what leases served of late.
    pub(super) fn is_hot(&mut self, cost: u64, now: Ticks) -> bool {
        self.roll(now);
        self.all(now).max(self.peak) >= cost.saturating_mul(4)
    }

    /// As if a request that leases were to serve had not come.
    pub(super) fn forget(&mut self, cost: u64) {
        self.current.all = self.current.all.saturating_sub(cost);
        self.current.leased = self.current.leased.saturating_sub(cost);
    }

    /// Ticks that leases should serve in a span. Some requests come in bursts, such as those that another bucket lets through
    /// when it gets something; so the busiest of the last spans counts, the less the longer it is over.
    pub(super) fn leased(&mut self, now: Ticks) -> u64 {
        self.roll(now);
        self.current.leased.max(self.peak)
    }

    /// The largest cost that leases should have served.
    pub(super) fn largest(&self) -> u64 {
        self.current.largest.max(self.previous.largest)
    }

    fn roll(&mut self, now: Ticks) {
        let span = now.0 / SPAN;
        if span != self.span {
            let passed = span.abs_diff(self.span);
            self.peak = self.current.leased.max(decayed(self.peak));
            self.peak =
                if passed > FORGOTTEN { 0 } else { (1..passed).fold(self.peak, |peak, _| decayed(peak)) };
            self.previous = if span == self.span + 1 { self.current } else { Asked::default() };
            self.current = Asked::default();
            self.span = span;
        }
    }

    /// Ticks asked for in the last span: all of the current one, and of the one before it the part that is not yet over.
    fn all(&self, now: Ticks) -> u64 {
        let rest = SPAN - now.0 % SPAN;
        let previous = u128::from(self.previous.all) * u128::from(rest) / u128::from(SPAN);
        self.current.all.saturating_add(u64::try_from(previous).unwrap_or(u64::MAX))
    }
}

const fn decayed(peak: u64) -> u64 {
    peak - peak / DECAY
}
