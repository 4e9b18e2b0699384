use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use crate::clock::{Clock, Timestamp};

/// The instance's clock, and how far the database's is ahead of it. Clones share what was measured.
#[derive(Clone, Debug)]
pub struct DatabaseTime {
    clock: Clock,
    /// In microseconds.
    ahead: Arc<AtomicI64>,
}

/// A measurement that took longer says too little.
const LONGEST_MEASUREMENT: Duration = Duration::from_secs(2);

impl DatabaseTime {
    /// As long as nothing was measured, the clocks count as equal.
    pub fn new(clock: Clock) -> Self {
        Self { clock, ahead: Arc::default() }
    }

    /// When a measurement begins.
    pub fn begin(&self) -> Timestamp {
        self.clock.now()
    }

    /// Takes what the database said of its time, asked at `begun` by the instance's clock.
    pub fn measured(&self, begun: Timestamp, answer: Timestamp) {
        let ended = self.clock.now();
        // Also when the instance's clock was set back meanwhile.
        let took = ended.since(begun);
        if ended >= begun && took <= LONGEST_MEASUREMENT {
            let middle = begun + took / 2;
            self.ahead.store(signed(answer).saturating_sub(signed(middle)), Ordering::Release);
        }
    }

    /// The database's time, as far as it is known here.
    pub fn now(&self) -> Timestamp {
        self.correct(self.clock.now())
    }

    /// What the database's clock showed when the instance's showed `time`.
    pub fn correct(&self, time: Timestamp) -> Timestamp {
        let corrected = signed(time).saturating_add(self.ahead.load(Ordering::Acquire));
        Timestamp::from_micros(u64::try_from(corrected).unwrap_or(0))
    }
}

fn signed(time: Timestamp) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;

    #[test]
    fn the_middle_of_a_measurement_counts() {
        let hands = ManualClock::new(Timestamp::from_secs(1000));
        let time = DatabaseTime::new(Clock::Manual(hands.clone()));
        assert_eq!(time.now(), Timestamp::from_secs(1000));
        let begun = time.begin();
        hands.advance(Duration::from_secs(2));
        time.measured(begun, Timestamp::from_secs(900));
        assert_eq!(time.now(), Timestamp::from_secs(901));
        assert_eq!(time.clone().correct(Timestamp::from_secs(50)), Timestamp::from_micros(0));

        let begun = time.begin();
        hands.advance(LONGEST_MEASUREMENT + Duration::from_micros(1));
        time.measured(begun, Timestamp::from_secs(5000));
        assert_eq!(time.correct(Timestamp::from_secs(1000)), Timestamp::from_secs(899), "too long to tell");
    }
}
