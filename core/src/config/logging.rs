//! What is logged, and how: `LOG_FORMAT`, `LOG_LEVEL`, `LOG_SAMPLE`.

use serde::Deserialize;
use tracing::Level;

use super::environment::Environment;
use super::setting::{Setting, words};

/// `LOG_LEVEL`.
pub const DEFAULT_LOG_LEVEL: Level = Level::INFO;
/// `LOG_SAMPLE`.
pub const DEFAULT_LOG_SAMPLE: f64 = 1.0;

pub(super) const VARIABLES: &[&str] = &["LOG_FORMAT", "LOG_LEVEL", "LOG_SAMPLE"];

/// Log lines.
#[derive(Clone, Debug)]
pub struct Logging {
    /// The form of a line; `None` is `pretty` on a terminal and `json` anywhere else.
    pub format: Option<LogFormat>,
    /// The least severe level that is logged.
    pub level: Level,
    /// The share of successful requests that are logged, from 0 to 1; everything else always is.
    pub sample: f64,
}

/// The form of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object per line.
    Json,
    /// For people.
    Pretty,
}

words!(LogFormat, "must be json or pretty", "json" => Self::Json, "pretty" => Self::Pretty);

words!(Level, "must be error, warn, info, debug or trace",
    "error" => Self::ERROR, "warn" => Self::WARN, "info" => Self::INFO, "debug" => Self::DEBUG,
    "trace" => Self::TRACE);

#[derive(Default, Deserialize)]
#[serde(default)]
struct Variables {
    log_format: Setting<LogFormat>,
    log_level: Setting<Level>,
    log_sample: Setting<f64>,
}

impl Logging {
    pub(super) fn read(env: &mut Environment) -> Self {
        let vars: Variables = env.read(VARIABLES);
        Self {
            format: env.optional("LOG_FORMAT", vars.log_format),
            level: env.value("LOG_LEVEL", vars.log_level, DEFAULT_LOG_LEVEL),
            sample: env.within("LOG_SAMPLE", vars.log_sample, DEFAULT_LOG_SAMPLE, 0.0..=1.0),
        }
    }
}
