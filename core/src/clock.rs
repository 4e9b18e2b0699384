//! Time as a parameter, so that tests decide what time it is.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A moment of wall-clock time: microseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

impl Timestamp {
    /// From microseconds since the Unix epoch.
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// From whole seconds since the Unix epoch.
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs.saturating_mul(1_000_000))
    }

    /// Microseconds since the Unix epoch.
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// Time from `earlier` to `self`; zero if `earlier` is the later one.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }

    /// Whole seconds since the Unix epoch, rounded down.
    pub const fn as_secs(self) -> u64 {
        self.0 / 1_000_000
    }
}

impl std::ops::Add<Duration> for Timestamp {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(micros(duration)))
    }
}

impl std::ops::Sub<Duration> for Timestamp {
    type Output = Self;

    fn sub(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(micros(duration)))
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        Self(time.duration_since(UNIX_EPOCH).map_or(0, micros))
    }
}

impl From<Timestamp> for SystemTime {
    fn from(timestamp: Timestamp) -> Self {
        UNIX_EPOCH + Duration::from_micros(timestamp.0)
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339 with milliseconds, in UTC: `2026-11-01T12:00:00.000Z`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = i64::try_from(self.0).unwrap_or(i64::MAX);
        match jiff::Timestamp::from_microsecond(micros) {
            Ok(time) => write!(f, "{time:.3}"),
            Err(_) => f.write_str("9999-12-30T22:00:00.000Z"),
        }
    }
}

impl std::str::FromStr for Timestamp {
    type Err = jiff::Error;

    /// From RFC 3339, as [`Display`](fmt::Display) writes it; what lies before the epoch becomes the epoch.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let time: jiff::Timestamp = text.parse()?;
        Ok(Self(u64::try_from(time.as_microsecond()).unwrap_or(0)))
    }
}

impl serde::Serialize for Timestamp {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A moment of a clock that never runs backwards: microseconds since an arbitrary start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Monotonic(u64);

impl Monotonic {
    /// Time from `earlier` to `self`; zero if `earlier` is the later one.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }

    /// Microseconds since the clock's start.
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// The moment `micros` microseconds after the clock's start.
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }
}

/// Where the time comes from: the machine, or a test.
#[derive(Clone, Debug)]
pub enum Clock {
    /// The machine's clocks; the instant is the monotonic clock's start.
    System(Instant),
    /// A clock that moves only when told to.
    Manual(ManualClock),
}

impl Clock {
    /// The machine's clocks.
    pub fn system() -> Self {
        Self::System(Instant::now())
    }

    /// Wall-clock time.
    pub fn now(&self) -> Timestamp {
        match self {
            Self::System(_) => SystemTime::now().into(),
            Self::Manual(clock) => Timestamp(clock.micros.load(Ordering::Acquire)),
        }
    }

    /// Monotonic time, for intervals.
    pub fn monotonic(&self) -> Monotonic {
        match self {
            Self::System(start) => Monotonic(micros(start.elapsed())),
            Self::Manual(clock) => Monotonic(clock.micros.load(Ordering::Acquire)),
        }
    }
}

/// The hands of a [`Clock::Manual`]; clones move together.
#[derive(Clone, Debug)]
pub struct ManualClock {
    micros: Arc<AtomicU64>,
}

impl ManualClock {
    /// A clock that stands at `start`.
    pub fn new(start: Timestamp) -> Self {
        Self { micros: Arc::new(AtomicU64::new(start.0)) }
    }

    /// Moves both wall-clock and monotonic time forward.
    pub fn advance(&self, by: Duration) {
        self.micros.fetch_add(micros(by), Ordering::AcqRel);
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_print_as_rfc3339_with_milliseconds() {
        assert_eq!(Timestamp::from_micros(0).to_string(), "1970-01-01T00:00:00.000Z");
        assert_eq!(Timestamp::from_micros(1_793_534_400_123_456).to_string(), "2026-11-01T12:00:00.123Z");
        assert!(Timestamp::from_micros(u64::MAX).to_string().ends_with('Z'));
    }

    #[test]
    fn a_manual_clock_moves_only_when_told() {
        let hands = ManualClock::new(Timestamp::from_micros(5));
        let clock = Clock::Manual(hands.clone());
        let start = clock.monotonic();
        assert_eq!(clock.now(), Timestamp::from_micros(5));
        hands.advance(Duration::from_millis(1));
        assert_eq!(clock.monotonic().since(start), Duration::from_millis(1));
        assert_eq!(start.since(clock.monotonic()), Duration::ZERO);
    }
}
