use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::io::tcp::TcpSettings;
use redis::{AsyncConnectionConfig, Client, IntoConnectionInfo, RedisError};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use super::script::TakeScript;
use super::server::{self, Server};
use crate::config::RedisUrl;
use crate::secret::Secret;

/// The way to Redis, and the circuit breaker in it: there is a connection, or nobody asks Redis.
///
/// One connection serves all requests. The first that fails drops it for all; another is made, and tried, beside the
/// requests, so none of them ever waits for a connection.
pub(super) struct Link {
    url: Secret<String>,
    host: String,
    /// How long a request waits.
    timeout: Duration,
    state: RwLock<State>,
    lost: Notify,
}

#[derive(Default)]
struct State {
    connection: Option<Connection>,
    /// Counts connections, so that a late failure of one does not drop the next.
    made: u64,
    tried_at: Option<Instant>,
    made_at: Option<Instant>,
}

/// A connection that worked when last used.
#[derive(Clone)]
pub(super) struct Connection {
    pub(super) redis: MultiplexedConnection,
    number: u64,
}

/// A connection that was made and has shown that it can do what is needed.
pub(super) struct Tried {
    redis: MultiplexedConnection,
    pub(super) server: Server,
    pub(super) epoch: String,
}

/// Why Redis cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    #[error(transparent)]
    Redis(#[from] RedisError),
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    #[error("it is Redis {0}; 7 or later is needed")]
    TooOld(String),
    #[error("it decided otherwise than this release would")]
    Disagrees,
}

/// How long no request is made to wait again for a Redis that failed, and how often one that works is looked after.
pub(super) const PERIOD: Duration = Duration::from_secs(1);
/// To make a connection and try it, beside what a request would wait.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Requests that may wait to be written.
const PIPELINE: usize = 1024;

impl Link {
    /// Not connected yet.
    pub(super) fn new(url: &RedisUrl, timeout: Duration) -> Self {
        let [url_of_server, ..] = url.urls() else { unreachable!("a RedisUrl is never empty") };
        Self {
            url: url_of_server.clone(),
            host: url.hosts().join(","),
            timeout,
            state: RwLock::default(),
            lost: Notify::new(),
        }
    }

    /// Where Redis is; fit for logs.
    pub(super) fn host(&self) -> &str {
        &self.host
    }

    pub(super) fn is_up(&self) -> bool {
        self.read().connection.is_some()
    }

    pub(super) fn connection(&self) -> Option<Connection> {
        self.read().connection.clone()
    }

    /// What `answer` gives, unless that takes longer than a request waits.
    pub(super) async fn in_time<T, E: Into<Trouble>>(
        &self,
        answer: impl Future<Output = Result<T, E>>,
    ) -> Result<T, Trouble> {
        match timeout(self.timeout, answer).await {
            Ok(answer) => answer.map_err(Into::into),
            Err(_) => Err(Trouble::TimedOut(self.timeout)),
        }
    }

    /// Drops `failed` for all, and tells how long it had worked; `None` if that was done before.
    pub(super) fn drop_connection(&self, failed: &Connection) -> Option<Duration> {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        state.connection.take_if(|current| current.number == failed.number)?;
        self.lost.notify_one();
        Some(state.made_at.map_or(Duration::ZERO, |at| at.elapsed()))
    }

    /// Completes when the connection is dropped.
    pub(super) async fn lost(&self) {
        self.lost.notified().await;
    }

    /// When Redis may be tried again.
    pub(super) fn next_try(&self) -> Instant {
        self.read().tried_at.map_or_else(Instant::now, |at| at + PERIOD)
    }

    /// Makes a connection and tries on it all that requests will need.
    pub(super) async fn connect(&self, script: &TakeScript) -> Result<Tried, Trouble> {
        self.state.write().unwrap_or_else(PoisonError::into_inner).tried_at = Some(Instant::now());
        let limit = self.connect_timeout();
        match timeout(limit, self.try_new(script)).await {
            Ok(tried) => tried,
            Err(_) => Err(Trouble::TimedOut(limit)),
        }
    }

    /// Lets requests use a connection.
    pub(super) fn use_connection(&self, tried: Tried) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        state.made += 1;
        state.made_at = Some(Instant::now());
        state.connection = Some(Connection { redis: tried.redis, number: state.made });
    }

    async fn try_new(&self, script: &TakeScript) -> Result<Tried, Trouble> {
        let address = self.url.expose().as_str().into_connection_info()?;
        let client = Client::open(address.set_tcp_settings(TcpSettings::default().set_nodelay(true)))?;
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.connect_timeout()))
            // Whoever asks sets one.
            .set_response_timeout(None)
            .set_pipeline_buffer_size(PIPELINE);
        let mut redis = client.get_multiplexed_async_connection_with_config(&config).await?;
        let server = Server::ask(&mut redis).await?;
        if server.is_too_old() {
            return Err(Trouble::TooOld(server.version.unwrap_or_default()));
        }
        let epoch = server::epoch(&mut redis).await?;
        // The first time loads the script; the second shows how long a request would wait.
        script.probe(&mut redis).await?;
        self.in_time(script.probe(&mut redis)).await?;
        Ok(Tried { redis, server, epoch })
    }

    /// To make a connection and try it.
    fn connect_timeout(&self) -> Duration {
        CONNECT_TIMEOUT + self.timeout
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }
}
