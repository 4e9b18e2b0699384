//! Where traces go: `OTEL_EXPORTER_OTLP_ENDPOINT`, `OTEL_EXPORTER_OTLP_HEADERS`, `OTEL_SERVICE_NAME`,
//! `OTEL_TRACES_SAMPLER_ARG`.

use http::{HeaderName, HeaderValue};
use serde::Deserialize;
use url::Url;

use super::environment::Environment;
use super::setting::{Parse, Setting};
use crate::secret::Secret;

/// `OTEL_SERVICE_NAME`.
pub const DEFAULT_SERVICE_NAME: &str = "cryptoserve";
/// `OTEL_TRACES_SAMPLER_ARG`.
pub const DEFAULT_TRACES_SAMPLE: f64 = 1.0;

pub(super) const VARIABLES: &[&str] = &[
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_HEADERS",
    "OTEL_SERVICE_NAME",
    "OTEL_TRACES_SAMPLER_ARG",
];

/// Traces by OTLP over HTTP.
#[derive(Clone, Debug)]
pub struct Tracing {
    /// The collector, without `/v1/traces`.
    pub endpoint: Url,
    /// Sent with everything that is exported; often an API key.
    pub headers: Vec<(String, Secret<String>)>,
    /// What the service is called in traces.
    pub service_name: String,
    /// The share of requests that are traced, from 0 to 1, of those that say nothing of it themselves.
    pub sample: f64,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Variables {
    otel_exporter_otlp_endpoint: Setting<Endpoint>,
    otel_exporter_otlp_headers: Setting<Headers>,
    otel_service_name: Setting<ServiceName>,
    otel_traces_sampler_arg: Setting<f64>,
}

impl Tracing {
    /// `None` where nothing is traced.
    pub(super) fn read(env: &mut Environment) -> Option<Self> {
        let vars: Variables = env.read(VARIABLES);
        let endpoint = env.optional("OTEL_EXPORTER_OTLP_ENDPOINT", vars.otel_exporter_otlp_endpoint);
        let headers = env.optional("OTEL_EXPORTER_OTLP_HEADERS", vars.otel_exporter_otlp_headers);
        let name = env.optional("OTEL_SERVICE_NAME", vars.otel_service_name);
        let sample = env.within(
            "OTEL_TRACES_SAMPLER_ARG",
            vars.otel_traces_sampler_arg,
            DEFAULT_TRACES_SAMPLE,
            0.0..=1.0,
        );
        Some(Self {
            endpoint: endpoint?.0,
            headers: headers.map(|headers| headers.0).unwrap_or_default(),
            service_name: name.map_or_else(|| DEFAULT_SERVICE_NAME.to_owned(), |name| name.0),
            sample,
        })
    }
}

struct Endpoint(Url);

impl Parse for Endpoint {
    fn parse(text: &str) -> Result<Self, &'static str> {
        const EXPECTED: &str =
            "must be a URL such as http://collector:4318, without user, password, query and fragment";
        let url: Url = text.trim().parse().map_err(|_| EXPECTED)?;
        let bare = url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none();
        let good = matches!(url.scheme(), "http" | "https") && url.has_host() && bare;
        good.then_some(Self(url)).ok_or(EXPECTED)
    }
}

struct Headers(Vec<(String, Secret<String>)>);

impl Parse for Headers {
    /// `name=value,name=value`, values percent-encoded.
    fn parse(text: &str) -> Result<Self, &'static str> {
        const EXPECTED: &str =
            "must be a list of headers such as authorization=Bearer%20x, with their values percent-encoded";
        let pairs = text.split(',').map(str::trim).filter(|pair| !pair.is_empty());
        let headers = pairs.map(|pair| {
            let (name, value) = pair.split_once('=')?;
            let value = percent_encoding::percent_decode_str(value.trim()).decode_utf8().ok()?;
            let name: HeaderName = name.trim().parse().ok()?;
            HeaderValue::from_str(&value).ok()?;
            Some((name.to_string(), Secret::new(value.into_owned())))
        });
        headers.collect::<Option<_>>().map(Self).ok_or(EXPECTED)
    }
}

struct ServiceName(String);

impl Parse for ServiceName {
    fn parse(text: &str) -> Result<Self, &'static str> {
        let good = (1..=255).contains(&text.len()) && text.chars().all(|char| !char.is_control());
        good.then(|| Self(text.to_owned())).ok_or("must be 1 to 255 bytes without control characters")
    }
}
