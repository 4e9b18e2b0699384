use std::time::Duration;

use http::Method;

use crate::api::{self, Error, Route};
use crate::id::IdentityId;
use crate::name::Name;
use crate::telemetry::causes;

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
}

impl RequestLine<'_> {
    /// Writes it: what is a fault of the service at level error, with its cause.
    pub(super) fn write(&self, error: Option<&Error>) {
        let micros = u32::try_from(self.latency.as_micros()).unwrap_or(u32::MAX);
        macro_rules! line {
            ($level:ident, $($more:tt)*) => {
                tracing::$level!(
                    request_id = self.request_id,
                    method = self.method.as_str(),
                    route = self.route.map_or("none", |route| route.path),
                    status = self.status,
                    latency_ms = f64::from(micros) / 1000.0,
                    identity_id = self.identity.map(tracing::field::display),
                    context = self.context.map(tracing::field::display),
                    $($more)*
                )
            };
        }
        match error {
            None => line!(info, "request completed"),
            Some(error) if api::is_fault(error) => {
                let cause = std::error::Error::source(error).map(|source| causes(source).to_string());
                line!(error, code = api::code(error), cause, "request failed");
            }
            Some(error) => line!(info, code = api::code(error), "request refused"),
        }
    }
}
