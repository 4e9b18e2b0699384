//! TLS of the listener: its files, their change while it runs, and handshakes.

mod handshake;
mod material;
mod reload;

use std::sync::Arc;

use cryptoserve_core::clock::{Clock, Timestamp};
use cryptoserve_core::config;
use cryptoserve_core::telemetry::TlsMetrics;
use rustls::ServerConfig;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::exit::Failure;
pub(crate) use handshake::{Unencrypted, client_certificate};
use material::{Material, Served};
use reload::Reload;

/// The files as they were at the start, good to serve with.
pub(crate) struct Files {
    config: config::Tls,
    clock: Clock,
    material: Material,
    served: Served,
}

/// What new connections are served with. Clones see the same files.
#[derive(Clone)]
pub(crate) struct Tls {
    current: watch::Receiver<Arc<ServerConfig>>,
    metrics: Option<TlsMetrics>,
}

impl Files {
    /// Reads them.
    ///
    /// # Errors
    ///
    /// When they cannot be used; names the variable.
    pub(crate) fn read(config: &config::Tls, clock: Clock) -> Result<Self, Failure> {
        let material = Material::read(config).map_err(Failure::configuration)?;
        let served = material.serve(clock.now()).map_err(Failure::configuration)?;
        if material.readable_by_others {
            tracing::warn!(
                "TLS_KEY_FILE names a file that every user of this machine can read; give it mode 0400"
            );
        }
        Ok(Self { config: config.clone(), clock, material, served })
    }

    /// When the first certificate of the chain expires that does.
    pub(crate) fn expires_at(&self) -> Timestamp {
        self.served.expires_at
    }

    /// Serves with them, and looks at them again every few seconds and at each SIGHUP. A connection keeps what it began
    /// with.
    pub(crate) fn start(self, metrics: Option<TlsMetrics>) -> Result<Tls, Failure> {
        let Self { config, clock, material, served } = self;
        let hangups = signal(SignalKind::hangup()).map_err(Failure::failed)?;
        let (sender, current) = watch::channel(served.config);
        let reload = Reload::new(config, clock, metrics.clone(), material, served.expires_at);
        tokio::spawn(reload.run(hangups, sender));
        Ok(Tls { current, metrics })
    }
}
