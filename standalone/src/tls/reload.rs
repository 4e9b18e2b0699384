use std::sync::Arc;
use std::time::Duration;

use cryptoserve_core::clock::{Clock, Timestamp};
use cryptoserve_core::config;
use cryptoserve_core::telemetry::TlsMetrics;
use rustls::ServerConfig;
use tokio::signal::unix::Signal;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use super::material::{Material, Served, Unusable};

/// Between two looks at the files.
const PERIOD: Duration = Duration::from_secs(2);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Looks after the files for as long as the server runs.
pub(super) struct Reload {
    config: config::Tls,
    clock: Clock,
    metrics: Option<TlsMetrics>,
    /// What is served.
    material: Material,
    expires_at: Timestamp,
    /// What was said last of the time that is left.
    told_left: Left,
    /// Why the files as they are cannot be used. Said once they have been so at two looks, or when somebody asks: they
    /// are not replaced in one moment.
    unusable: Option<(Unusable, bool)>,
}

/// How long the certificate still counts, as far as that is worth a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Left {
    Enough,
    Month,
    Week,
    Day,
    Nothing,
}

impl Left {
    fn of(expires_at: Timestamp, now: Timestamp) -> Self {
        match expires_at.since(now) {
            left if left.is_zero() => Self::Nothing,
            left if left <= DAY => Self::Day,
            left if left <= 7 * DAY => Self::Week,
            left if left <= 30 * DAY => Self::Month,
            _ => Self::Enough,
        }
    }
}

impl Reload {
    pub(super) fn new(
        config: config::Tls,
        clock: Clock,
        metrics: Option<TlsMetrics>,
        material: Material,
        expires_at: Timestamp,
    ) -> Self {
        Self { config, clock, metrics, material, expires_at, told_left: Left::Enough, unusable: None }
    }

    /// Until nobody serves any more.
    pub(super) async fn run(mut self, mut hangups: Signal, current: watch::Sender<Arc<ServerConfig>>) {
        let mut ticks = interval(PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.measure();
        loop {
            let asked = tokio::select! {
                () = current.closed() => return,
                _ = ticks.tick() => false,
                _ = hangups.recv() => true,
            };
            let config = self.config.clone();
            // Elsewhere, as a disk may hang. It does not panic.
            let read = tokio::task::spawn_blocking(move || Material::read(&config)).await;
            if let Ok(read) = read {
                if let Some(served) = self.look(read, asked) {
                    current.send_replace(served);
                }
                self.warn_of_expiry();
            }
        }
    }

    /// What is served from now on, if it is something new.
    fn look(&mut self, read: Result<Material, Unusable>, asked: bool) -> Option<Arc<ServerConfig>> {
        let read = match read {
            Ok(same) if same == self.material => {
                self.unusable = None;
                if asked {
                    tracing::info!("the certificate is as it was");
                }
                return None;
            }
            read => read.and_then(|material| Ok((material.serve(self.clock.now())?, material))),
        };
        match read {
            Ok((Served { config, expires_at }, material)) => {
                (self.material, self.expires_at, self.unusable) = (material, expires_at, None);
                self.told_left = Left::Enough;
                self.measure();
                tracing::info!(%expires_at, "the certificate was replaced");
                Some(config)
            }
            Err(error) => {
                let seen = self.unusable.take().filter(|(before, _)| *before == error);
                let told = seen.as_ref().is_some_and(|(_, told)| *told);
                let tell = asked || (seen.is_some() && !told);
                if tell {
                    tracing::error!(%error, "the new certificate cannot be used; the one before is still served");
                }
                self.unusable = Some((error, told || tell));
                None
            }
        }
    }

    fn measure(&self) {
        if let Some(metrics) = &self.metrics {
            metrics.certificate_expires(self.expires_at);
        }
    }

    fn warn_of_expiry(&mut self) {
        let left = Left::of(self.expires_at, self.clock.now());
        let more = left > self.told_left;
        self.told_left = left;
        let expires_at = self.expires_at;
        match left {
            _ if !more => {}
            Left::Nothing => tracing::error!(%expires_at, "the certificate has expired; clients refuse it"),
            Left::Day => tracing::error!(%expires_at, "the certificate expires within a day"),
            _ => tracing::warn!(%expires_at, "the certificate expires soon"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_gets_less() {
        let now = Timestamp::from_secs(1_000_000_000);
        let of = |left: Duration| Left::of(now + left, now);
        assert_eq!(of(31 * DAY), Left::Enough);
        assert_eq!(of(30 * DAY), Left::Month);
        assert_eq!(of(7 * DAY), Left::Week);
        assert_eq!(of(DAY), Left::Day);
        assert_eq!(of(Duration::ZERO), Left::Nothing);
        assert_eq!(Left::of(now, now + DAY), Left::Nothing);
    }
}
