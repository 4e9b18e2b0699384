//! Logs, metrics and traces.
//!
//! Log lines go to standard error: one JSON object per line for machines, or plain lines for people.
//!
//! A JSON line starts with `timestamp` (RFC 3339, milliseconds, UTC), `level` in lower case, `message` and
//! `instance_id`; the fields of the event follow, flat, numbers as numbers, and without those that are `None`.
//! Lines of level `debug` and `trace` also say where they come from, as `target`.
//!
//! [`Metrics`] count what log lines tell one by one.

use tracing::level_filters::LevelFilter;
use tracing::{Level, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{Layer, Registry, fmt, reload};

use crate::clock::Clock;
use crate::config::{LogFormat, Logging};

mod fields;
mod line;
mod log;
mod metrics;
mod spent;
pub(crate) mod traces;
mod writer;

use line::{Line, Style};
pub use log::{LogError, LogWriting, dropped_lines, flush, init, set_level};
pub use metrics::{CountedConnection, Handshake, Metrics, TlsMetrics};
pub(crate) use metrics::{Done, State, method_name};
pub(crate) use spent::{Spent, Wait, waiting_for};
pub use traces::{Traces, TracesError};

/// How the targets of this project's crates start.
const OURS: &str = "cryptoserve";

/// Dependencies log statements, headers and handshakes at lower levels, and with them secrets.
const MOST_OF_DEPENDENCIES: LevelFilter = LevelFilter::WARN;

/// Changes the least severe level that is logged.
pub type SetLevel = Box<dyn Fn(Level) + Send + Sync>;

/// What [`init`] installs, with the time from `clock` and lines to `writer`: each line is one write. Spans go to `traces`.
pub fn subscriber<W>(
    logging: &Logging,
    instance_id: &str,
    is_terminal: bool,
    clock: Clock,
    writer: W,
    traces: Option<&Traces>,
) -> (impl Subscriber + Send + Sync + use<W>, SetLevel)
where
    W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
{
    let style = match logging.format {
        Some(LogFormat::Json) => Style::Json,
        None if !is_terminal => Style::Json,
        Some(LogFormat::Pretty) | None => Style::Pretty { colours: is_terminal },
    };
    let line = Line { style, clock, instance_id: instance_id.to_owned() };
    // The layer would report a failed write with `eprintln!`, which panics where standard error itself is gone.
    let lines = fmt::layer().event_format(line).with_writer(writer).log_internal_errors(false);
    let (filtering, handle) = reload::Layer::new(filter(logging.level));
    let set_level = move |level| {
        // It fails only when there is no subscriber any longer, and so nothing to log.
        let _ = handle.reload(filter(level));
    };
    // Each listens to its own: filters of the whole would be those of both.
    let spans = Targets::new().with_target(traces::TARGET, Level::INFO);
    let traces = traces.map(|traces| traces.layer().with_filter(spans));
    (Registry::default().with(lines.with_filter(filtering)).with(traces), Box::new(set_level))
}

/// An error with what caused it, and what caused that: for the log, as libraries hide the reason in the cause.
pub fn causes(error: &dyn std::error::Error) -> impl std::fmt::Display {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        // Some errors repeat their cause in their own text.
        if !text.ends_with(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    text
}

fn filter(level: Level) -> Targets {
    let level = LevelFilter::from_level(level);
    let targets = Targets::new().with_default(level.min(MOST_OF_DEPENDENCIES)).with_target(OURS, level);
    targets.with_target(traces::TARGET, LevelFilter::OFF)
}

#[cfg(test)]
mod tests;
