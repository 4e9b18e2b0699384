//! Traces: what one request spent its time on, as spans of OpenTelemetry.
//!
//! Without a collector nobody listens to the target of these spans, and each is one look at a flag.

mod client;
mod sampler;

use std::time::Duration;

use http::request;
use opentelemetry::KeyValue;
use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry::trace::{TraceContextExt, TracerProvider};
use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::{Span, Subscriber, field};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::Layer;
use tracing_subscriber::registry::LookupSpan;

use super::method_name;
use crate::config;

/// The target of every span, which tells them from log lines.
pub(super) const TARGET: &str = "spans";

const SCOPE: &str = "cryptoserve";
/// Longest time for one export, and for the last at the end.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(5);

/// The way of spans to a collector. Spans wait in a bounded queue and leave it on a thread of its own; what finds no room
/// is dropped, so that nobody waits for a collector.
pub struct Traces {
    provider: SdkTracerProvider,
}

/// Nothing can be exported.
#[derive(Debug, thiserror::Error)]
#[error("traces cannot be exported: {0}")]
pub struct TracesError(#[from] ExporterBuildError);

impl Traces {
    /// Begins. Needs tokio's runtime.
    ///
    /// # Errors
    ///
    /// When variables that the library reads itself are wrong.
    pub fn start(config: &config::Tracing, instance_id: &str) -> Result<Self, TracesError> {
        let endpoint = format!("{}/v1/traces", config.endpoint.as_str().trim_end_matches('/'));
        let headers = config.headers.iter().map(|(name, value)| (name.clone(), value.expose().clone()));
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(client::Client::new(&config.endpoint))
            .with_endpoint(endpoint)
            .with_headers(headers.collect())
            .with_timeout(EXPORT_TIMEOUT)
            .build()?;
        let resource = Resource::builder()
            .with_service_name(config.service_name.clone())
            .with_attributes([
                KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
                KeyValue::new("service.instance.id", instance_id.to_owned()),
            ])
            .build();
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_sampler(sampler::OfRequests { share: config.sample })
            .with_resource(resource)
            .build();
        Ok(Self { provider })
    }

    /// What turns spans of `tracing` into those of OpenTelemetry.
    pub(super) fn layer<S>(&self) -> impl Layer<S> + use<S>
    where
        S: Subscriber + for<'span> LookupSpan<'span>,
    {
        tracing_opentelemetry::layer()
            .with_tracer(self.provider.tracer(SCOPE))
            .with_location(false)
            .with_threads(false)
            .with_tracked_inactivity(false)
            .with_level(false)
            .with_target(false)
    }

    /// Exports what is left, in a time that is bounded.
    pub async fn stop(self) {
        let stopping = tokio::task::spawn_blocking(move || {
            // What cannot be exported any more has been said to the log.
            let _ = self.provider.shutdown_with_timeout(EXPORT_TIMEOUT);
        });
        let _ = tokio::time::timeout(2 * EXPORT_TIMEOUT, stopping).await;
    }
}

/// The span of a request, beneath the one that its `traceparent` (W3C Trace Context) names, if that is good.
pub(crate) fn request(head: &request::Parts, request_id: &str) -> Span {
    if !tracing::span_enabled!(target: TARGET, tracing::Level::INFO, "request") {
        return Span::none();
    }
    let span = tracing::info_span!(
        target: TARGET,
        "request",
        otel.kind = "server",
        otel.status_code = field::Empty,
        http.request.method = method_name(&head.method),
        http.route = field::Empty,
        http.response.status_code = field::Empty,
        cryptoserve.request_id = request_id,
    );
    let parent = TraceContextPropagator::new().extract(&Headers(&head.headers));
    if parent.span().span_context().is_valid() {
        // It has just been made, and nothing has looked at it.
        let _ = span.set_parent(parent);
    }
    span
}

/// Says on the span of a request what it was.
pub(crate) fn set_route(span: &Span, method: &'static str, route: &'static str) {
    if !span.is_none() {
        // It has begun, and the field `otel.name` names one that has not.
        span.context().span().update_name(format!("{method} {route}"));
        span.record("http.route", route);
    }
}

/// Says on the span of a request how it ended.
pub(crate) fn set_status(span: &Span, status: u16) {
    span.record("http.response.status_code", status);
    if status >= 500 {
        span.record("otel.status_code", "ERROR");
    }
}

/// Asking the limits.
pub(crate) fn limits() -> Span {
    tracing::info_span!(target: TARGET, "limits")
}

/// Bringing a row into the keyring, or waiting for it.
pub(crate) fn keyring_load() -> Span {
    tracing::info_span!(target: TARGET, "keyring.load")
}

/// Asking the store: `read`, `write`, or the name of a change.
pub(crate) fn store(operation: &'static str) -> Span {
    tracing::info_span!(target: TARGET, "store", otel.kind = "client", db.operation.name = operation)
}

/// Works with keys.
pub(crate) fn crypto<T>(work: impl FnOnce() -> T) -> T {
    tracing::info_span!(target: TARGET, "crypto").in_scope(work)
}

/// Headers as a propagator reads them. Two of one name are no header.
struct Headers<'a>(&'a http::HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        let mut values = self.0.get_all(key).iter();
        let value = values.next()?.to_str().ok();
        if values.next().is_some() { None } else { value }
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(http::HeaderName::as_str).collect()
    }
}
