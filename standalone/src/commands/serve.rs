use std::net::SocketAddr;
use std::time::Duration;

use cryptoserve_core::app::{App, Background, set_up};
use cryptoserve_core::clock::Clock;
use cryptoserve_core::config::{Config, Secrets};
use cryptoserve_core::keyring::Keks;
use cryptoserve_core::store::Store;
use cryptoserve_core::telemetry::{self, Traces};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use crate::banner;
use crate::deployment::{Opened, WithStore};
use crate::exit::Failure;
use crate::reload::{Reload, follow_log_level, tell_dropped_lines};
use crate::tls::{self, Tls};
use crate::{metrics, server};

/// Longest wait for the audit queue to be written once the requests are done.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(10);

/// Longest wait for the log after a second signal.
const AT_ONCE: Duration = Duration::from_millis(100);

/// The way to a collector, if there is one.
pub(crate) fn traces(config: &Config) -> Result<Option<Traces>, Failure> {
    let start = |tracing| Traces::start(tracing, &config.server.instance_id).map_err(Failure::configuration);
    config.tracing.as_ref().map(start).transpose()
}

/// Runs the server until it is told to stop.
pub(crate) async fn serve(config: Config) -> Result<(), Failure> {
    let tls = config.tls.as_ref().map(|tls| tls::Files::read(tls, Clock::system())).transpose()?;
    let opened = Opened::for_server(&config)?;
    // What comes of one that is set is said once it has been tried.
    if config.redis.url.is_none() {
        tracing::info!("REDIS_URL is not set: rate limits are kept in this process");
    }
    let secrets = opened.secrets.clone();
    let result = opened.with_store(&config, Serve { config: &config, secrets, tls }).await;
    drop(opened);
    result
}

struct Serve<'a> {
    config: &'a Config,
    secrets: Secrets,
    tls: Option<tls::Files>,
}

impl WithStore for Serve<'_> {
    type Output = Result<(), Failure>;

    async fn run<S: Store>(self, store: S, keks: Keks) -> Self::Output {
        let Self { config, secrets, tls } = self;
        let clock = Clock::system();
        let deployment = set_up(&store, &keks, config.database.migrate, &clock).await?;
        let fingerprint = keks.current().id();
        let (app, background) = App::new(config, &secrets, keks, &deployment, store, clock).await?;
        let tls = tls.map(|files| files.start(app.metrics().tls.clone())).transpose()?;
        // Before anybody is told that the server listens, and may tell it to stop.
        let stop = stop_signal()?;
        let reload = Reload::on_hangup().map_err(Failure::failed)?;
        tokio::spawn(follow_log_level(reload, config.logging.level_file.clone()));
        tokio::spawn(tell_dropped_lines());
        let (listener, address) = bind("BIND_ADDR", config.server.bind_addr).await?;
        let (for_metrics, address_of_metrics) =
            bind("METRICS_BIND_ADDR", config.server.metrics_bind_addr).await?;
        tracing::info!(address = %address_of_metrics, "metrics listening");
        // Not part of what drains below: a scrape works to the end.
        tokio::spawn(metrics::serve(app.metrics(), for_metrics));
        tracing::info!(
            %address,
            tls = tls.is_some(),
            version = env!("CARGO_PKG_VERSION"),
            master_key_fingerprint = %fingerprint,
            "listening"
        );
        banner::print(config, address);
        run(app, background, listener, tls, config, stop).await
    }
}

/// A listener, and where it is. Port 0 becomes a free one.
async fn bind(variable: &str, address: SocketAddr) -> Result<(TcpListener, SocketAddr), Failure> {
    let failure = |error| Failure::failed(format!("{variable} {address}: {error}"));
    let listener = TcpListener::bind(address).await.map_err(failure)?;
    let bound = listener.local_addr().map_err(failure)?;
    Ok((listener, bound))
}

async fn run<S: Store>(
    app: App<S>,
    background: Background<S>,
    listener: TcpListener,
    tls: Option<Tls>,
    config: &Config,
    stop: impl Future<Output = ()>,
) -> Result<(), Failure> {
    let (drained, requests_are_done) = oneshot::channel::<()>();
    let mut background = tokio::spawn(background.run(async {
        // Also when the sender is dropped.
        let _ = requests_are_done.await;
    }));
    let mut broken = false;
    let stop = async {
        tokio::select! {
            () = stop => {}
            // It ends only when told to, below: otherwise with a panic, and without it nothing stays true.
            _ = &mut background => broken = true,
        }
    };
    let connections = server::raise_file_limit();
    let cut = server::run(app, listener, tls, &config.server, connections, stop).await.cut;
    if broken {
        return Err(Failure::failed("a bug: the background work ended; its last log line says where"));
    }
    drop(drained);
    let flushed = matches!(tokio::time::timeout(FLUSH_TIMEOUT, background).await, Ok(Ok(())));
    match (cut, flushed) {
        (0, true) => {
            tracing::info!("stopped");
            Ok(())
        }
        (0, false) => Err(Failure::failed(UNWRITTEN)),
        (cut, true) => Err(Failure::failed(format!("{cut} {CUT}"))),
        (cut, false) => Err(Failure::failed(format!("{cut} {CUT}, and {UNWRITTEN}"))),
    }
}

const CUT: &str = "connections were cut at the end of SHUTDOWN_TIMEOUT";
const UNWRITTEN: &str = "the audit trail could not be written before the end";

/// Completes at the first SIGTERM or SIGINT. The second ends the process at once.
fn stop_signal() -> Result<impl Future<Output = ()>, Failure> {
    let mut terminate = signal(SignalKind::terminate()).map_err(Failure::failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Failure::failed)?;
    let (first, seen) = oneshot::channel();
    tokio::spawn(async move {
        let mut first = Some(first);
        loop {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            match first.take() {
                // The server may have ended by itself.
                Some(first) => drop(first.send(())),
                None => {
                    tracing::warn!("a second signal: ending at once");
                    telemetry::flush(AT_ONCE);
                    std::process::exit(1)
                }
            }
        }
    });
    Ok(async {
        let _ = seen.await;
    })
}
