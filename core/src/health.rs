//! Whether this process is well: its own state, and that of what it depends on.
//!
//! Readiness is a look at state that is kept fresh anyway ([`Shared::unready`](crate::app::Shared)). The deep check asks
//! every dependency at the same moment, each with its own time-out, at most once a second however many want to know.

mod checks;
mod once;
mod self_test;

use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

pub(crate) use once::DeepHealth;

/// How long a dependency has to answer. All are asked at once, so that is also how long a deep check takes.
pub(crate) const TIMEOUT: Duration = Duration::from_millis(350);

/// How something does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    /// As it should.
    Healthy,
    /// Works, without something that is wanted.
    Degraded,
    /// Does not work.
    Unhealthy,
}

/// What a deep check found.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    /// That of the worst check.
    pub(crate) status: State,
    /// By name; each has a `status`.
    pub(crate) checks: serde_json::Map<String, Value>,
}

impl State {
    /// Healthy if `good`, else unhealthy.
    pub(crate) const fn of(good: bool) -> Self {
        if good { Self::Healthy } else { Self::Unhealthy }
    }
}

impl Report {
    /// Without what only those who run the deployment may see.
    pub(crate) fn states_alone(mut self) -> Self {
        for check in self.checks.values_mut() {
            *check = serde_json::json!({ "status": check["status"] });
        }
        self
    }
}
