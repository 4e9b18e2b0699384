//! The metrics of one process, for Prometheus.

mod operations;
mod process;
mod requests;
mod state;
mod tls;

use std::borrow::Cow;
use std::fmt;
use std::sync::OnceLock;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, text};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

pub(crate) use operations::{Done, Operations};
use process::ProcessCollector;
use requests::Requests;
pub(crate) use requests::method_name;
pub(crate) use state::State;
use state::StateGauges;
pub use tls::{Handshake, TlsMetrics};

use super::dropped_lines;

/// What every metric's name starts with, but those of the process.
const PREFIX: &str = "cryptoserve";

/// What a process counts and measures. Nothing of it is global: each application has its own.
pub struct Metrics {
    registry: Registry,
    /// Of the metrics whose names are everybody's.
    of_process: Registry,
    pub(crate) requests: Requests,
    pub(crate) operations: Operations,
    connections: Gauge,
    state: StateGauges,
    /// Where the state is looked up; nothing once the application is gone.
    look: OnceLock<Box<dyn Fn() -> Option<State> + Send + Sync>>,
    /// Of a listener that speaks TLS.
    pub tls: Option<TlsMetrics>,
}

/// A connection of a client, until it is dropped.
pub struct CountedConnection(Gauge);

impl Metrics {
    /// The media type of [`Metrics::text`].
    pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

    /// All at zero, labelled with the name of this process; what `others` register; and with `tls` what a listener counts
    /// that speaks it.
    pub(crate) fn new(instance: &str, tls: bool, others: impl FnOnce(&mut Registry)) -> Self {
        let label = || std::iter::once((Cow::Borrowed("instance_id"), Cow::Owned(instance.to_owned())));
        let mut registry = Registry::with_prefix_and_labels(PREFIX, label());
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "The release that this process runs", build);
        let requests = Requests::new(&mut registry);
        let operations = Operations::new(&mut registry);
        let connections = Gauge::default();
        registry.register("http_connections", "Open connections of clients", connections.clone());
        let state = StateGauges::new(&mut registry);
        registry.register_collector(Box::new(DroppedLines));
        others(&mut registry);
        let tls = tls.then(|| TlsMetrics::new(&mut registry));
        let mut of_process = Registry::with_labels(label());
        of_process.register_collector(Box::new(ProcessCollector::new()));
        Self { registry, of_process, requests, operations, connections, state, look: OnceLock::new(), tls }
    }

    /// Says where the state is to be looked up whenever somebody wants to know.
    pub(crate) fn look_at(&self, look: impl Fn() -> Option<State> + Send + Sync + 'static) {
        // A second application would have metrics of its own.
        let _ = self.look.set(Box::new(look));
    }

    /// Counts a connection until what this returns is dropped.
    pub fn connection(&self) -> CountedConnection {
        self.connections.inc();
        CountedConnection(self.connections.clone())
    }

    /// All metrics as they are now, in the text format of OpenMetrics 1.0.
    pub fn text(&self) -> String {
        if let Some(state) = self.look.get().and_then(|look| look()) {
            self.state.show(&state);
        }
        let mut text = String::new();
        self.encode(&mut text).expect("writing to a string does not fail");
        text
    }

    fn encode(&self, text: &mut String) -> fmt::Result {
        text::encode_registry(text, &self.registry)?;
        text::encode_registry(text, &self.of_process)?;
        text::encode_eof(text)
    }
}

impl Drop for CountedConnection {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// The log is the process's, and so is what was left out of it.
#[derive(Debug)]
struct DroppedLines;

impl Collector for DroppedLines {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let dropped = ConstCounter::new(dropped_lines());
        let help = "Log lines that were dropped, as standard error took too few";
        let encoder = encoder.encode_descriptor("log_lines_dropped", help, None, dropped.metric_type())?;
        dropped.encode(encoder)
    }
}
