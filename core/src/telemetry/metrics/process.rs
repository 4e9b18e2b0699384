use std::fmt;
use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;
use rustix::process::{Resource, getrlimit};

/// What the system says of this process, under the names that Prometheus' own clients use. Where there is no `/proc`,
/// nothing.
#[derive(Debug)]
pub(super) struct ProcessCollector {
    started_at: f64,
}

/// From `/proc/self/stat`.
struct Usage {
    cpu_seconds: f64,
    threads: i64,
    virtual_bytes: i64,
    resident_bytes: i64,
}

impl ProcessCollector {
    /// The process counts as started now: metrics are among the first that it makes.
    pub(super) fn new() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { started_at: now.as_secs_f64() }
    }
}

impl Collector for ProcessCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let mut show = |name: &str, help: &str, unit: Option<&Unit>, metric: &dyn EncodeMetric| {
            metric.encode(encoder.encode_descriptor(name, help, unit, metric.metric_type())?)
        };
        let started_at = ConstGauge::new(self.started_at);
        show("process_start_time", "Start time since 1970", Some(&Unit::Seconds), &started_at)?;
        if let Some(usage) = Usage::now() {
            let cpu = ConstCounter::new(usage.cpu_seconds);
            show("process_cpu", "User and system time spent", Some(&Unit::Seconds), &cpu)?;
            let resident = ConstGauge::new(usage.resident_bytes);
            show("process_resident_memory", "Resident memory", Some(&Unit::Bytes), &resident)?;
            let virtual_bytes = ConstGauge::new(usage.virtual_bytes);
            show("process_virtual_memory", "Virtual memory", Some(&Unit::Bytes), &virtual_bytes)?;
            show("process_threads", "Threads", None, &ConstGauge::new(usage.threads))?;
        }
        if let Ok(files) = fs::read_dir("/proc/self/fd") {
            // One of them is the directory's own.
            let open = i64::try_from(files.count().saturating_sub(1)).unwrap_or(i64::MAX);
            show("process_open_fds", "Open files", None, &ConstGauge::new(open))?;
        }
        let most =
            getrlimit(Resource::Nofile).current.map_or(i64::MAX, |n| i64::try_from(n).unwrap_or(i64::MAX));
        show("process_max_fds", "Most files that may be open", None, &ConstGauge::new(most))
    }
}

impl Usage {
    fn now() -> Option<Self> {
        Self::parse(&fs::read_to_string("/proc/self/stat").ok()?)
    }

    /// See proc(5).
    fn parse(stat: &str) -> Option<Self> {
        // The second field, the name in brackets, may hold anything; what follows it starts at field 3.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let field = |number: usize| fields.get(number - 3)?.parse::<i64>().ok();
        let seconds = |ticks: i64| Some(ticks as f64 / rustix::param::clock_ticks_per_second() as f64);
        let page = i64::try_from(rustix::param::page_size()).ok()?;
        Some(Self {
            cpu_seconds: seconds(field(14)? + field(15)?)?,
            threads: field(20)?,
            virtual_bytes: field(23)?,
            resident_bytes: field(24)? * page,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_behind_a_name_that_looks_like_fields() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 100 0 0 0 150 50 0 0 20 0 9 0 100 4096000 25 184467";
        let usage = Usage::parse(stat).unwrap();
        let tick = rustix::param::clock_ticks_per_second() as f64;
        assert_eq!((usage.cpu_seconds, usage.threads), (200.0 / tick, 9));
        assert_eq!(usage.virtual_bytes, 4_096_000);
        assert_eq!(usage.resident_bytes, 25 * i64::try_from(rustix::param::page_size()).unwrap());
    }
}
