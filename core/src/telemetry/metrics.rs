//! The metrics of one process, for Prometheus.

mod requests;

use std::borrow::Cow;

use prometheus_client::encoding::text;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use requests::Requests;

use crate::limits::Limits;

/// What every metric's name starts with.
const PREFIX: &str = "cryptoserve";

/// What a process counts and measures. Nothing of it is global: each application has its own.
pub struct Metrics {
    registry: Registry,
    pub(crate) requests: Requests,
}

impl Metrics {
    /// The media type of [`Metrics::text`].
    pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

    /// All at zero, labelled with the name of this process; and what `limits` count.
    pub(crate) fn new(instance: &str, limits: &Limits) -> Self {
        let label = (Cow::Borrowed("instance_id"), Cow::Owned(instance.to_owned()));
        let mut registry = Registry::with_prefix_and_labels(PREFIX, std::iter::once(label));
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "The release that this process runs", build);
        let requests = Requests::new(&mut registry);
        limits.register(&mut registry);
        Self { registry, requests }
    }

    /// All metrics as they are now, in the text format of OpenMetrics 1.0.
    pub fn text(&self) -> String {
        let mut text = String::new();
        text::encode(&mut text, &self.registry).expect("writing to a string does not fail");
        text
    }
}
