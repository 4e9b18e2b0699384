//! What is logged, and how: `LOG_FORMAT`, `LOG_LEVEL`, `LOG_LEVEL_FILE`, `LOG_SAMPLE`, `LOG_SLOW_REQUEST`.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use tracing::Level;

use super::environment::Environment;
use super::setting::{Parse, Setting, words};

/// `LOG_LEVEL`.
pub const DEFAULT_LOG_LEVEL: Level = Level::INFO;
/// `LOG_SAMPLE`.
pub const DEFAULT_LOG_SAMPLE: f64 = 1.0;

/// `LOG_SLOW_REQUEST`.
pub const DEFAULT_LOG_SLOW_REQUEST: Duration = Duration::from_secs(1);

pub(super) const VARIABLES: &[&str] =
    &["LOG_FORMAT", "LOG_LEVEL", "LOG_LEVEL_FILE", "LOG_SAMPLE", "LOG_SLOW_REQUEST"];

/// Log lines.
#[derive(Clone, Debug)]
pub struct Logging {
    /// The form of a line; `None` is `pretty` on a terminal and `json` anywhere else.
    pub format: Option<LogFormat>,
    /// The least severe level that is logged.
    pub level: Level,
    /// A file that says the level, now and whenever it is read again.
    pub level_file: Option<PathBuf>,
    /// The share of successful requests that are logged, from 0 to 1; everything else always is.
    pub sample: f64,
    /// From which time on a request is logged as slow, whatever the share.
    pub slow_request: Duration,
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
    log_slow_request: Setting<Duration>,
}

impl Logging {
    pub(super) fn read(env: &mut Environment) -> Self {
        let vars: Variables = env.read(VARIABLES);
        let level = env.value("LOG_LEVEL", vars.log_level, DEFAULT_LOG_LEVEL);
        let level_file = env.text("LOG_LEVEL_FILE").map(PathBuf::from);
        let level_of_file = level_file.as_deref().map(|path| match env.text("LOG_LEVEL") {
            Some(_) => Err("must not be set together with LOG_LEVEL"),
            None => level_in(path),
        });
        let level = match level_of_file {
            None => level,
            Some(Ok(level)) => level,
            Some(Err(message)) => {
                env.problem("LOG_LEVEL_FILE", message);
                level
            }
        };
        Self {
            format: env.optional("LOG_FORMAT", vars.log_format),
            level,
            level_file,
            sample: env.within("LOG_SAMPLE", vars.log_sample, DEFAULT_LOG_SAMPLE, 0.0..=1.0),
            slow_request: env.within(
                "LOG_SLOW_REQUEST",
                vars.log_slow_request,
                DEFAULT_LOG_SLOW_REQUEST,
                Duration::from_millis(1)..=Duration::from_secs(3600),
            ),
        }
    }
}

/// The level that a file says.
///
/// # Errors
///
/// Continues the name of the variable that holds the path.
pub fn level_in(path: &Path) -> Result<Level, &'static str> {
    let text = fs::read_to_string(path).map_err(|_| "must name a file that this process can read")?;
    Level::parse(text.trim()).map_err(|_| "must name a file that says error, warn, info, debug or trace")
}
