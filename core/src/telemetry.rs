//! Logs and metrics.
//!
//! Log lines go to standard error: one JSON object per line for machines, or plain lines for people.
//!
//! A JSON line starts with `timestamp` (RFC 3339, milliseconds, UTC), `level` in lower case, `message` and
//! `instance_id`; the fields of the event follow, flat, numbers as numbers, and without those that are `None`.
//! Lines of level `debug` and `trace` also say where they come from, as `target`.
//!
//! [`Metrics`] count what log lines tell one by one.

use std::io;

use tracing::level_filters::LevelFilter;
use tracing::subscriber::{SetGlobalDefaultError, set_global_default};
use tracing::{Level, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{Registry, fmt};

use crate::clock::Clock;
use crate::config::{LogFormat, Logging};

mod fields;
mod line;
mod metrics;

use line::{Line, Style};
pub use metrics::Metrics;

/// How the targets of this project's crates start.
const OURS: &str = "cryptoserve";

/// Dependencies log statements, headers and handshakes at lower levels, and with them secrets.
const MOST_OF_DEPENDENCIES: LevelFilter = LevelFilter::WARN;

/// Sends this process' log lines to standard error from now on; `is_terminal` says whether a person reads there.
///
/// What dependencies say through the `log` crate is not heard, since nothing bridges it to `tracing`.
///
/// # Errors
///
/// When this was done before.
pub fn init(logging: &Logging, instance_id: &str, is_terminal: bool) -> Result<(), SetGlobalDefaultError> {
    set_global_default(subscriber(logging, instance_id, is_terminal, Clock::system(), io::stderr))
}

/// What [`init`] installs, with the time from `clock` and lines to `writer`: each line is one write.
pub fn subscriber<W>(
    logging: &Logging,
    instance_id: &str,
    is_terminal: bool,
    clock: Clock,
    writer: W,
) -> impl Subscriber + Send + Sync
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
    let layer = fmt::layer().event_format(line).with_writer(writer).log_internal_errors(false);
    Registry::default().with(layer).with(filter(logging.level))
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
    Targets::new().with_default(level.min(MOST_OF_DEPENDENCIES)).with_target(OURS, level)
}

#[cfg(test)]
mod tests;
