//! Whether a deployment is as it should be, and what to do where it is not: what `cryptoserve doctor` asks and judges.

mod configuration;
mod database;
mod redis;

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::clock::{Clock, Timestamp};

pub use configuration::configuration;
pub use database::database;
pub use redis::redis;

/// What was found of one thing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at.
    pub check: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// What is so. Holds no secret.
    pub message: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
}

/// How bad something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// As it should be.
    Ok,
    /// It works, and may not be what is wanted, or not for long.
    Warning,
    /// It does not work, or loses what it should not.
    Error,
}

impl Finding {
    /// As it should be.
    pub fn ok(check: &'static str, message: impl Into<String>) -> Self {
        Self { check, severity: Severity::Ok, message: message.into(), advice: None }
    }

    /// What to think about.
    pub fn warning(check: &'static str, message: impl Into<String>, advice: impl Into<String>) -> Self {
        let advice = Some(advice.into());
        Self { check, severity: Severity::Warning, message: message.into(), advice }
    }

    /// What to change.
    pub fn error(check: &'static str, message: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { severity: Severity::Error, ..Self::warning(check, message, advice) }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Error => "error",
        })
    }
}

/// Of what a clock is off by, this is nothing.
const OFFSET_NOTICED: Duration = Duration::from_millis(500);
/// From here on tokens are refused or live too long.
const OFFSET_BAD: Duration = Duration::from_secs(5);

/// What another clock says that was asked between `before` and `after`; half of the time between is not known of it.
fn offset(check: &'static str, theirs: Timestamp, before: Timestamp, after: Timestamp) -> Finding {
    let middle = before + after.since(before) / 2;
    let (off, direction) = match theirs >= middle {
        true => (theirs.since(middle), "behind"),
        false => (middle.since(theirs), "ahead of"),
    };
    let unknown = after.since(before) / 2;
    let message = format!(
        "this machine's clock is {} ms {direction} it, ± {} ms",
        off.as_millis(),
        unknown.as_millis()
    );
    const ADVICE: &str = "keep the clocks of all machines in step, with NTP or what the platform offers";
    match off.saturating_sub(unknown) {
        off if off >= OFFSET_BAD => Finding::error(check, message, ADVICE),
        off if off >= OFFSET_NOTICED => Finding::warning(check, message, ADVICE),
        _ => Finding::ok(check, message),
    }
}

/// Asks, and says when it began and ended.
async fn timed<T>(clock: &Clock, asking: impl Future<Output = T>) -> (T, Timestamp, Timestamp) {
    let before = clock.now();
    let answer = asking.await;
    (answer, before, clock.now())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offset_is_what_the_way_there_and_back_does_not_explain() {
        let at = |millis: u64| Timestamp::from_micros(1_000_000_000 + millis * 1000);
        let of = |theirs, before, after| offset("clock", at(theirs), at(before), at(after)).severity;
        assert_eq!(of(1005, 1000, 1010), Severity::Ok);
        assert_eq!(of(1505, 1000, 1010), Severity::Ok);
        assert_eq!(of(1511, 1000, 1010), Severity::Warning);
        assert_eq!(of(0, 1000, 1010), Severity::Warning);
        assert_eq!(of(7000, 1000, 1010), Severity::Error);
        // A slow answer says little.
        assert_eq!(of(0, 1000, 2500), Severity::Warning);
        assert_eq!(of(600, 1000, 2000), Severity::Ok);
    }
}
