//! The log of this process: there is one, as there is one standard error.

use std::io;
use std::sync::OnceLock;
use std::time::Duration;

use tracing::Level;
use tracing::subscriber::set_global_default;

use super::writer::LineQueue;
use super::{SetLevel, Traces, subscriber};
use crate::clock::Clock;
use crate::config::Logging;

/// What can be done to the log once it is there.
struct Log {
    set_level: SetLevel,
    queue: Option<LineQueue>,
}

static LOG: OnceLock<Log> = OnceLock::new();

/// Who waits while standard error takes no lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogWriting {
    /// Whoever logs: for commands, which end.
    Direct,
    /// Nobody: a bounded queue in memory, beyond which lines are dropped and counted.
    Queued,
}

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// There is one already.
    #[error("the log was set up before")]
    Twice,
    /// The thread that writes it cannot be started.
    #[error("the log's thread cannot be started: {0}")]
    Thread(#[from] io::Error),
}

/// Sends this process' log lines to standard error from now on, and spans to `traces` if there are any; `is_terminal` says
/// whether a person reads there.
///
/// What dependencies say through the `log` crate is not heard, since nothing bridges it to `tracing`.
///
/// # Errors
///
/// [`LogError`].
pub fn init(
    logging: &Logging,
    instance_id: &str,
    is_terminal: bool,
    writing: LogWriting,
    traces: Option<&Traces>,
) -> Result<(), LogError> {
    let clock = Clock::system();
    let (set, set_level, queue) = match writing {
        LogWriting::Direct => {
            let (subscriber, set_level) =
                subscriber(logging, instance_id, is_terminal, clock, io::stderr, traces);
            (set_global_default(subscriber), set_level, None)
        }
        LogWriting::Queued => {
            let queue = LineQueue::start(io::stderr())?;
            let (subscriber, set_level) =
                subscriber(logging, instance_id, is_terminal, clock, queue.clone(), traces);
            (set_global_default(subscriber), set_level, Some(queue))
        }
    };
    set.map_err(|_| LogError::Twice)?;
    LOG.set(Log { set_level, queue }).map_err(|_| LogError::Twice)
}

/// Logs what is at least as severe as `level` from now on.
pub fn set_level(level: Level) {
    if let Some(log) = LOG.get() {
        (log.set_level)(level);
    }
}

/// How many lines were dropped so far.
pub fn dropped_lines() -> u64 {
    LOG.get().and_then(|log| log.queue.as_ref()).map_or(0, LineQueue::dropped)
}

/// Waits until all lines are written, at most for `limit`.
pub fn flush(limit: Duration) {
    if let Some(queue) = LOG.get().and_then(|log| log.queue.as_ref()) {
        queue.flush(limit);
    }
}
