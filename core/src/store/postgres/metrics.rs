use std::fmt;
use std::time::Duration;

use deadpool_postgres::Pool;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::error::Failure;
use super::lane;

type Label = [(&'static str, &'static str); 1];
type Histograms = Family<Label, Histogram, fn() -> Histogram>;

/// Upper bounds, in seconds.
const TIMES: [f64; 11] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0];

/// How the database does, by purpose of the connections.
#[derive(Debug)]
pub(super) struct DatabaseMetrics {
    waits: Histograms,
    queries: Histograms,
    failures: Family<[(&'static str, &'static str); 2], Counter>,
}

/// What a lane measures.
#[derive(Clone)]
pub(super) struct LaneMetrics {
    lane: &'static str,
    wait: Histogram,
    query: Histogram,
    failures: Family<[(&'static str, &'static str); 2], Counter>,
}

impl DatabaseMetrics {
    pub(super) fn new() -> Self {
        let histogram: fn() -> Histogram = || Histogram::new(TIMES);
        Self {
            waits: Family::new_with_constructor(histogram),
            queries: Family::new_with_constructor(histogram),
            failures: Family::default(),
        }
    }

    pub(super) fn of_lane(&self, lane: &'static str) -> LaneMetrics {
        // From zero on, so that the first of its kind shows as an increase.
        for reason in Failure::REASONS {
            drop(self.failures.get_or_create(&[("lane", lane), ("reason", reason)]));
        }
        LaneMetrics {
            lane,
            wait: self.waits.get_or_create_owned(&[("lane", lane)]),
            query: self.queries.get_or_create_owned(&[("lane", lane)]),
            failures: self.failures.clone(),
        }
    }

    /// Shows all that, and `pool`.
    pub(super) fn register(&self, registry: &mut Registry, pool: Pool) {
        let help = "Time until a connection to the database was there, or was given up";
        registry.register_with_unit("db_wait", help, Unit::Seconds, self.waits.clone());
        let help = "Time of a statement or transaction on its connection";
        registry.register_with_unit("db_query", help, Unit::Seconds, self.queries.clone());
        let help = "Statements and transactions that the database did not carry out, by reason";
        registry.register("db_failures", help, self.failures.clone());
        registry.register_collector(Box::new(PoolCollector(pool)));
    }
}

impl LaneMetrics {
    pub(super) fn waited(&self, time: Duration) {
        self.wait.observe(time.as_secs_f64());
    }

    pub(super) fn queried(&self, time: Duration) {
        self.query.observe(time.as_secs_f64());
    }

    pub(super) fn failed(&self, failure: &Failure) {
        self.failures.get_or_create(&[("lane", self.lane), ("reason", failure.reason())]).inc();
    }
}

/// The connections for requests.
struct PoolCollector(Pool);

impl fmt::Debug for PoolCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the pool, which holds the configuration.
        f.write_str("PoolCollector")
    }
}

impl Collector for PoolCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let pool = lane::status(&self.0);
        let help_in_use = "Connections for requests that are at work";
        for (name, help, value) in [
            ("db_pool_in_use_connections", help_in_use, pool.in_use),
            ("db_pool_open_connections", "Connections for requests that are open", pool.size),
            ("db_pool_max_connections", "Connections for requests that may be open", pool.max),
            ("db_pool_waiting_requests", "Requests that wait for a connection", pool.waiting),
        ] {
            let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        Ok(())
    }
}
