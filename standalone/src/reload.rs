//! SIGHUP: files that may change while the server runs are read again.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use cryptoserve_core::config::logging;
use cryptoserve_core::telemetry;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

/// Tells when files are to be read again. Clones are told of the same.
#[derive(Clone)]
pub(crate) struct Reload(watch::Receiver<()>);

impl Reload {
    /// From here on SIGHUP does not end the process.
    pub(crate) fn on_hangup() -> io::Result<Self> {
        let mut hangup = signal(SignalKind::hangup())?;
        let (tell, told) = watch::channel(());
        tokio::spawn(async move {
            while hangup.recv().await.is_some() && tell.send(()).is_ok() {
                tracing::info!("SIGHUP: reading files again");
            }
        });
        Ok(Self(told))
    }

    /// Completes at the next time.
    pub(crate) async fn asked(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending().await
        }
    }
}

/// Keeps the level that is logged as `file` says, for ever.
pub(crate) async fn follow_log_level(mut reload: Reload, file: Option<PathBuf>) {
    loop {
        reload.asked().await;
        let Some(file) = &file else {
            tracing::info!("LOG_LEVEL_FILE is not set: the log level stays as it is");
            continue;
        };
        match logging::level_in(file) {
            Ok(level) => {
                // Before it is in force, or after: so that a change is seen whichever of the two levels is the lower.
                tracing::info!(log_level = level.as_str(), "the log level is read again");
                telemetry::set_level(level);
                tracing::info!(log_level = level.as_str(), "the log level was read again");
            }
            Err(expected) => tracing::error!("LOG_LEVEL_FILE {expected}; the log level stays as it is"),
        }
    }
}

/// Says how many log lines were dropped, once there is room for that, for ever.
pub(crate) async fn tell_dropped_lines() {
    let mut ticks = interval(Duration::from_secs(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut told = 0;
    loop {
        ticks.tick().await;
        let dropped = telemetry::dropped_lines();
        if dropped > told {
            // If this one is dropped too, the count goes on and it is said again.
            tracing::warn!(lines = dropped - told, "log lines were dropped: standard error takes too few");
            told = dropped;
        }
    }
}
