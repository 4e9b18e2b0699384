use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use futures_util::future::try_join_all;
use redis::RedisError;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout, timeout_at};

use super::endpoint::Endpoint;
use super::nodes::{Node, Nodes};
use super::refill::RefillScript;
use super::script::TakeScript;
use super::server::{self, Epoch, Server};
use crate::config::{RedisFlavour, RedisUrl};

/// The way to Redis, and the circuit breaker in it: there is a connection, or nobody asks Redis.
///
/// One connection (in a cluster, one to each master) serves all requests. The first that fails drops it for all; the next
/// is made, and tried, beside the requests, so none of them ever waits for a connection.
pub(super) struct Link {
    flavour: RedisFlavour,
    endpoints: Vec<Endpoint>,
    hosts: String,
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
    tries: usize,
    tried_at: Option<Instant>,
    made_at: Option<Instant>,
}

/// A connection that worked when last used.
#[derive(Clone)]
pub(super) struct Connection {
    pub(super) nodes: Arc<Nodes>,
    number: u64,
}

/// A connection that was made and has shown that it can do what is needed.
pub(super) struct Tried {
    pub(super) nodes: Nodes,
    pub(super) server: Server,
    /// One of each node.
    pub(super) epochs: Vec<Epoch>,
}

/// All that requests run.
pub(super) type Scripts<'a> = (&'a TakeScript, &'a RefillScript);

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
    #[error("node {address}")]
    OfNode { address: String, source: Box<Trouble> },
}

impl Trouble {
    /// Which node of a cluster has it.
    pub(super) fn of(self, address: String) -> Self {
        Self::OfNode { address, source: Box::new(self) }
    }
}

/// How long no request is made to wait again for a Redis that failed, and how often one that works is looked after.
pub(super) const PERIOD: Duration = Duration::from_secs(1);
/// To make a connection and try it, beside what a request would wait.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

impl Link {
    /// Not connected yet.
    pub(super) fn new(url: &RedisUrl, timeout: Duration) -> Self {
        Self {
            flavour: url.flavour(),
            endpoints: Endpoint::all(url.urls()),
            hosts: url.hosts().join(","),
            timeout,
            state: RwLock::default(),
            lost: Notify::new(),
        }
    }

    /// Where Redis is; fit for logs.
    pub(super) fn hosts(&self) -> &str {
        &self.hosts
    }

    pub(super) fn is_up(&self) -> bool {
        self.read().connection.is_some()
    }

    pub(super) fn connection(&self) -> Option<Connection> {
        self.read().connection.clone()
    }

    /// When a request that begins now has waited long enough for Redis.
    pub(super) fn deadline(&self) -> Instant {
        Instant::now() + self.timeout
    }

    /// What `answer` gives, unless that takes longer than a request waits.
    pub(super) async fn in_time<T, E: Into<Trouble>>(
        &self,
        answer: impl Future<Output = Result<T, E>>,
    ) -> Result<T, Trouble> {
        self.by(self.deadline(), answer).await
    }

    /// What `answer` gives by `deadline`.
    pub(super) async fn by<T, E: Into<Trouble>>(
        &self,
        deadline: Instant,
        answer: impl Future<Output = Result<T, E>>,
    ) -> Result<T, Trouble> {
        match timeout_at(deadline, answer).await {
            Ok(answer) => answer.map_err(Into::into),
            Err(_) => Err(Trouble::TimedOut(self.timeout)),
        }
    }

    /// How long `connection` has worked; `None` if it is dropped.
    pub(super) fn worked_for(&self, connection: &Connection) -> Option<Duration> {
        let state = self.read();
        state.connection.as_ref().filter(|current| current.number == connection.number)?;
        Some(state.made_at.map_or(Duration::ZERO, |at| at.elapsed()))
    }

    /// Drops the connection for all.
    pub(super) fn drop_connection(&self) {
        self.state.write().unwrap_or_else(PoisonError::into_inner).connection = None;
        self.lost.notify_one();
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
    pub(super) async fn connect(&self, scripts: Scripts<'_>) -> Result<Tried, Trouble> {
        let limit = CONNECT_TIMEOUT + self.timeout;
        let tries = {
            let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
            state.tried_at = Some(Instant::now());
            state.tries = state.tries.wrapping_add(1);
            state.tries
        };
        // Each try begins with another node, as one that is cut off from the others knows no better.
        let count = self.endpoints.len();
        let seeds = self.endpoints.iter().cycle().skip((tries - 1) % count).take(count);
        match timeout(limit, self.try_new(scripts, seeds, limit / 2)).await {
            Ok(tried) => tried,
            Err(_) => Err(Trouble::TimedOut(limit)),
        }
    }

    /// Lets requests use a connection.
    pub(super) fn use_connection(&self, tried: Tried) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        state.made += 1;
        state.made_at = Some(Instant::now());
        state.connection = Some(Connection { nodes: Arc::new(tried.nodes), number: state.made });
    }

    async fn try_new(
        &self,
        scripts: Scripts<'_>,
        seeds: impl Iterator<Item = &Endpoint>,
        patience: Duration,
    ) -> Result<Tried, Trouble> {
        let nodes = Nodes::connect(self.flavour, seeds, patience).await?;
        let tried = nodes.iter().map(async |node| {
            let tried = self.try_node(node, scripts).await;
            tried.map_err(|trouble| node.blame(trouble))
        });
        let (servers, epochs): (Vec<_>, _) = try_join_all(tried).await?.into_iter().unzip();
        Ok(Tried { nodes, server: Server::worst_of(servers), epochs })
    }

    async fn try_node(&self, node: &Node, scripts: Scripts<'_>) -> Result<(Server, Epoch), Trouble> {
        let mut redis = node.redis();
        let server = Server::ask(&mut redis).await?;
        if server.is_too_old() {
            return Err(Trouble::TooOld(server.version.unwrap_or_default()));
        }
        let epoch = server::epoch(&mut redis, node.key("epoch")).await?.of(&server);
        // The first time loads the script; the second shows how long a request would wait.
        let (take, refill) = scripts;
        let probe = node.key("probe");
        take.probe(&mut redis, &probe).await?;
        refill.probe(&mut redis, &probe).await?;
        self.in_time(take.probe(&mut redis, &probe)).await?;
        Ok((server, epoch))
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }
}
