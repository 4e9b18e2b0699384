use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

type Label = [(&'static str, &'static str); 1];

/// What is true of the application at one moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    pub(crate) ready: bool,
    pub(crate) degraded: bool,
    /// How long ago the view of the store was last known to be current.
    pub(crate) keyring_age: Duration,
    /// By what they are.
    pub(crate) keyring_entries: Vec<(&'static str, usize)>,
    /// Records that wait, and how many may.
    pub(crate) audit_queue: (usize, usize),
    /// How long the oldest of those that are being written has waited.
    pub(crate) audit_lag: Duration,
    /// Records of which `AUDIT_SINK` has no copy.
    pub(crate) lost_by_sink: u64,
}

/// Shows it.
pub(super) struct StateGauges {
    ready: Gauge,
    degraded: Gauge,
    keyring_age: Gauge<f64, AtomicU64>,
    keyring_entries: Family<Label, Gauge>,
    audit_queue: Gauge,
    audit_capacity: Gauge,
    audit_lag: Gauge<f64, AtomicU64>,
    lost_by_sink: Counter,
}

impl StateGauges {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let this = Self {
            ready: Gauge::default(),
            degraded: Gauge::default(),
            keyring_age: Gauge::default(),
            keyring_entries: Family::default(),
            audit_queue: Gauge::default(),
            audit_capacity: Gauge::default(),
            audit_lag: Gauge::default(),
            lost_by_sink: Counter::default(),
        };
        registry.register("ready", "Whether requests should be sent here", this.ready.clone());
        registry.register(
            "degraded",
            "Whether it does without something that is wanted",
            this.degraded.clone(),
        );
        let help = "How long ago the view of the database was last known to be current";
        registry.register_with_unit("keyring_age", help, Unit::Seconds, this.keyring_age.clone());
        let help = "Entries of the view of the database that are in memory";
        registry.register("keyring_entries", help, this.keyring_entries.clone());
        let help = "Audit records that wait to be written";
        registry.register("audit_queue_records", help, this.audit_queue.clone());
        let help = "Audit records that may wait before requests are refused";
        registry.register("audit_queue_capacity_records", help, this.audit_capacity.clone());
        let help = "How long the oldest audit record that is being written has waited";
        registry.register_with_unit("audit_lag", help, Unit::Seconds, this.audit_lag.clone());
        let help = "Audit records of which AUDIT_SINK has no copy";
        registry.register("audit_sink_lost_records", help, this.lost_by_sink.clone());
        this
    }

    pub(super) fn show(&self, state: &State) {
        let number = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        self.ready.set(state.ready.into());
        self.degraded.set(state.degraded.into());
        self.keyring_age.set(state.keyring_age.as_secs_f64());
        for (kind, count) in &state.keyring_entries {
            self.keyring_entries.get_or_create(&[("kind", *kind)]).set(number(*count));
        }
        self.audit_queue.set(number(state.audit_queue.0));
        self.audit_capacity.set(number(state.audit_queue.1));
        self.audit_lag.set(state.audit_lag.as_secs_f64());
        // It only grows, and scrapes that overlap add nothing twice.
        self.lost_by_sink.inner().fetch_max(state.lost_by_sink, Ordering::Relaxed);
    }
}
