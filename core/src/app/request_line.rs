use std::time::Duration;

use http::Method;

use crate::api::{self, Error, Route};
use crate::id::IdentityId;
use crate::name::Name;
use crate::telemetry::{Spent, Wait, causes, method_name};

/// The log line of one request: the route's template and never its path or query, and nothing of its body.
pub(super) struct RequestLine<'a> {
    pub(super) request_id: &'a str,
    pub(super) method: &'a Method,
    /// `None` where nothing is.
    pub(super) route: Option<&'static Route>,
    pub(super) status: u16,
    pub(super) latency: Duration,
    pub(super) identity: Option<IdentityId>,
    pub(super) context: Option<&'a Name>,
    /// Of a slow one.
    pub(super) split: Option<Split>,
}

/// Where the time of a slow request went, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Split {
    body: f64,
    limits: f64,
    store: f64,
    audit: f64,
    /// The rest: the work itself, and waiting for a processor.
    crypto: f64,
}

impl Split {
    /// Of a request that took `latency` in all.
    pub(super) fn of(latency: Duration, body: Duration, spent: &Spent) -> Self {
        let [limits, store, audit] =
            [Wait::Limits, Wait::Store, Wait::Audit].map(|wait| spent.waiting_for(wait));
        let crypto = latency.saturating_sub(body + limits + store + audit);
        let [body, limits, store, audit, crypto] = [body, limits, store, audit, crypto].map(millis);
        Self { body, limits, store, audit, crypto }
    }
}

impl RequestLine<'_> {
    /// Writes it: what is a fault of the service at level error, with its cause.
    pub(super) fn write(&self, error: Option<&Error>) {
        let split = self.split;
        macro_rules! line {
            ($level:ident, $($more:tt)*) => {
                tracing::$level!(
                    request_id = self.request_id,
                    method = method_name(self.method),
                    route = self.route.map_or("none", |route| route.path),
                    status = self.status,
                    latency_ms = millis(self.latency),
                    identity_id = self.identity.map(tracing::field::display),
                    context = self.context.map(tracing::field::display),
                    body_ms = split.map(|split| split.body),
                    limits_ms = split.map(|split| split.limits),
                    store_ms = split.map(|split| split.store),
                    audit_ms = split.map(|split| split.audit),
                    crypto_ms = split.map(|split| split.crypto),
                    $($more)*
                )
            };
        }
        match error {
            None if split.is_some() => line!(warn, "slow request"),
            None => line!(info, "request completed"),
            Some(error) if api::is_fault(error) => {
                let cause = std::error::Error::source(error).map(|source| causes(source).to_string());
                line!(error, code = api::code(error), cause, "request failed");
            }
            Some(error) => line!(info, code = api::code(error), "request refused"),
        }
    }
}

fn millis(duration: Duration) -> f64 {
    f64::from(u32::try_from(duration.as_micros()).unwrap_or(u32::MAX)) / 1000.0
}
