//! A row per scenario.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::fleet::Limit;
use crate::measure::Measurement;

/// What a scenario showed; prints as a row of the table.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) scenario: &'static str,
    requests: u64,
    requests_per_second: f64,
    admitted: u64,
    refused: u64,
    /// Cut, with a replica that was killed.
    unknown: u64,
    other: u64,
    seconds: f64,
    seconds_inner: Option<f64>,
    allowed: Option<u64>,
    share: Option<f64>,
    share_inner: Option<f64>,
    commands: Option<u64>,
    commands_per_request: Option<f64>,
    cpu_seconds: f64,
    fallbacks: usize,
    slowest_ms: f64,
    /// What the numbers do not say.
    pub(crate) notes: Vec<String>,
    /// What is not as promised.
    pub(crate) failures: Vec<String>,
}

/// Of the table.
pub(crate) const HEADER: &str = "\
| scenario | requests | requests/s | admitted | refused | unknown | other | seconds | allowed | share | share, inner | commands | per request | CPU s | fallbacks | slowest ms | |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |";

impl Row {
    /// Nothing is promised yet but that every request is answered with 200 or 429.
    pub(crate) fn new(scenario: &'static str, measured: &Measurement) -> Self {
        let counts = &measured.counts;
        let mut row = Self {
            scenario,
            requests: counts.sent(),
            requests_per_second: counts.sent() as f64 / measured.elapsed.as_secs_f64(),
            admitted: counts.admitted,
            refused: counts.refused,
            unknown: counts.unknown,
            other: counts.other,
            seconds: measured.outer.as_secs_f64(),
            seconds_inner: measured.inner.as_ref().map(Duration::as_secs_f64),
            allowed: None,
            share: None,
            share_inner: None,
            commands: measured.commands,
            commands_per_request: measured.commands.map(|calls| calls as f64 / counts.sent() as f64),
            cpu_seconds: measured.cpu_time.as_secs_f64(),
            fallbacks: measured.fallbacks,
            slowest_ms: measured.slowest_ms(),
            notes: Vec::new(),
            failures: Vec::new(),
        };
        if counts.other > 0 {
            let sample = counts.other_sample.as_deref().unwrap_or_default();
            row.fail(format!("{} requests got neither 200 nor 429; one: {sample}", counts.other));
        }
        row
    }

    /// No replica was killed, so no connection breaks.
    pub(crate) fn none_cut(mut self, measured: &Measurement) -> Self {
        if self.unknown > 0 {
            let sample = measured.counts.unknown_sample.as_deref().unwrap_or_default();
            self.fail(format!("{} connections broke; one: {sample}", self.unknown));
        }
        self
    }

    /// Redis answered all the time, so that all of it was Redis' decision.
    pub(crate) fn without_fallback(mut self) -> Self {
        if self.fallbacks > 0 {
            self.fail(format!(
                "replicas found {} times that Redis does not answer, though it was there: the figures are of another thing",
                self.fallbacks
            ));
        }
        self
    }

    /// `limit` admits never one more than burst + rate × seconds, and `surplus` for a reason.
    pub(crate) fn at_most(mut self, limit: Limit, surplus: u64, measured: &Measurement) -> Self {
        let allowed = limit.allows(measured.outer) + surplus;
        self.allowed = Some(allowed);
        self.share = Some(self.admitted as f64 / allowed as f64);
        self.share_inner =
            measured.inner.map(|inner| self.admitted as f64 / (limit.allows(inner) + surplus) as f64);
        if self.admitted > allowed {
            self.fail(format!(
                "admitted {} too many: {} of {allowed}",
                self.admitted - allowed,
                self.admitted
            ));
        }
        self
    }

    /// And at least this share of it. The last token may have been on its way when the load ended.
    pub(crate) fn at_least(mut self, share: f64) -> Self {
        let allowed = self.allowed.expect("what is allowed was said before");
        if ((self.admitted + 1) as f64) < share * allowed as f64 {
            let seen = self.admitted as f64 / allowed as f64;
            self.fail(format!(
                "admitted {:.2} % of what is allowed, which is less than {:.0} %",
                100.0 * seen,
                100.0 * share
            ));
        }
        self
    }

    /// At least `demand` requests per second were made.
    pub(crate) fn demanded(mut self, demand: f64) -> Self {
        if self.requests_per_second < demand {
            let seen = self.requests_per_second;
            self.fail(format!("only {seen:.0} requests/s were made, of {demand:.0} that it takes to tell"));
        }
        self
    }

    /// Redis was asked at most this often.
    pub(crate) fn commands_at_most(mut self, per_request: f64) -> Self {
        let seen = self.commands_per_request.unwrap_or(f64::NAN);
        // Also where there is no number.
        if !matches!(
            seen.partial_cmp(&per_request),
            Some(std::cmp::Ordering::Less | std::cmp::Ordering::Equal)
        ) {
            self.fail(format!("{seen:.4} commands per request, which is more than {per_request}"));
        }
        self
    }

    /// Says what is not as promised.
    pub(crate) fn fail(&mut self, what: String) {
        self.failures.push(what);
    }
}

impl Measurement {
    fn slowest_ms(&self) -> f64 {
        self.counts.slowest.as_secs_f64() * 1e3
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent =
            |share: Option<f64>| share.map_or("–".to_owned(), |share| format!("{:.2} %", 100.0 * share));
        let number = |number: Option<u64>| number.map_or("–".to_owned(), |number| number.to_string());
        write!(f, "| {} | {} | {:.0} ", self.scenario, self.requests, self.requests_per_second)?;
        write!(f, "| {} | {} | {} | {} ", self.admitted, self.refused, self.unknown, self.other)?;
        write!(f, "| {:.3} | {} ", self.seconds, number(self.allowed))?;
        write!(f, "| {} | {} ", percent(self.share), percent(self.share_inner))?;
        let per_request = self.commands_per_request.map_or("–".to_owned(), |calls| format!("{calls:.4}"));
        write!(f, "| {} | {per_request} | {:.1} ", number(self.commands), self.cpu_seconds)?;
        let result = if self.failures.is_empty() { "ok" } else { "FAILED" };
        write!(f, "| {} | {:.0} | {result} |", self.fallbacks, self.slowest_ms)
    }
}
