//! What is hammered: replicas on a PostgreSQL database and a Redis of their own.

use std::net::SocketAddr;
use std::time::Duration;

use cryptoserve_tests::{Cluster, RedisServer, Replica, StoreKind, TokenRequest};
use redis::aio::MultiplexedConnection;

/// Requests per minute, and burst.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limit {
    pub(crate) per_minute: u64,
    pub(crate) burst: u64,
}

/// Running replicas, all ready, none of whose buckets has been touched.
#[derive(Debug)]
pub(crate) struct Fleet {
    // Dropped first, so that no replica misses Redis.
    cluster: Cluster,
    pub(crate) redis: RedisServer,
    pub(crate) token: String,
    /// What killed replicas had used and seen.
    cpu_time_of_the_dead: Duration,
    fallbacks_of_the_dead: usize,
}

/// Redis' clock.
#[derive(Clone)]
pub(crate) struct RedisClock(MultiplexedConnection);

/// How a replica says that it is on its own.
const FALLBACK: &str = "Redis cannot be used for limits";

impl Limit {
    /// So much that it never refuses.
    pub(crate) const AMPLE: Self = Self { per_minute: 10_000_000, burst: 10_000_000 };

    /// Tokens that are there within `span`, at most.
    pub(crate) fn allows(self, span: Duration) -> u64 {
        self.burst + self.flows_in(span)
    }

    /// Whole tokens that flow in within `span`.
    pub(crate) fn flows_in(self, span: Duration) -> u64 {
        let tokens = u128::from(self.per_minute) * span.as_micros() / 60_000_000;
        u64::try_from(tokens).expect("a run of some minutes")
    }
}

impl Fleet {
    /// Replicas that limit each identity to `identity`, and each address and context to `others`.
    pub(crate) async fn start(replicas: u8, identity: Limit, others: Limit, redis_timeout: &str) -> Self {
        let redis = RedisServer::start().await;
        let limits =
            [("RATE_LIMIT_IP", others), ("RATE_LIMIT_IDENTITY", identity), ("RATE_LIMIT_CONTEXT", others)];
        let mut builder = Cluster::builder()
            .store(StoreKind::Postgres)
            .quiet()
            .env("REDIS_URL", redis.url())
            .env("RATE_LIMIT_REDIS_TIMEOUT", redis_timeout)
            .env("AUDIT_MODE", "off");
        for (name, limit) in limits {
            builder = builder.env(name, format!("{}:{}", limit.per_minute, limit.burst));
        }
        let cluster = builder.start(replicas.into()).await;
        let token = cluster.token(&TokenRequest::identity("hammer").contexts(["*"])).await;
        Self { cluster, redis, token, cpu_time_of_the_dead: Duration::ZERO, fallbacks_of_the_dead: 0 }
    }

    pub(crate) fn replicas(&self) -> &[Replica] {
        self.cluster.replicas()
    }

    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.cluster.addresses()
    }

    /// Kills one and starts it again, at the same address.
    pub(crate) async fn replace(&mut self, index: usize) {
        self.cpu_time_of_the_dead += self.replicas()[index].process().cpu_time();
        let replica = self.cluster.replica_mut(index);
        replica.process().kill();
        replica.ended().await;
        self.fallbacks_of_the_dead += fallbacks_of(replica);
        replica.start_again().await;
    }

    /// Processor time of all replicas.
    pub(crate) fn cpu_time(&self) -> Duration {
        let living: Duration = self.replicas().iter().map(|replica| replica.process().cpu_time()).sum();
        living + self.cpu_time_of_the_dead
    }

    /// How often a replica found that Redis does not answer.
    pub(crate) fn fallbacks(&self) -> usize {
        self.replicas().iter().map(fallbacks_of).sum::<usize>() + self.fallbacks_of_the_dead
    }

    /// How often Redis was asked to run a script, or to load one, since it was started.
    pub(crate) async fn commands(&self) -> u64 {
        let mut calls = 0;
        for command in ["evalsha", "evalsha_ro", "eval", "fcall", "script|load"] {
            calls += self.redis.calls(command).await;
        }
        calls
    }

    /// Redis' clock, as long as this Redis runs.
    pub(crate) async fn clock(&self) -> RedisClock {
        RedisClock(self.redis.connect().await)
    }
}

impl RedisClock {
    /// Since 1970.
    pub(crate) async fn now(&self) -> Duration {
        let (seconds, micros): (u64, u64) =
            redis::cmd("TIME").query_async(&mut self.0.clone()).await.expect("Redis tells the time");
        Duration::from_secs(seconds) + Duration::from_micros(micros)
    }
}

fn fallbacks_of(replica: &Replica) -> usize {
    let lines = replica.log().lines();
    lines.iter().filter(|line| line.field("message").as_deref() == Some(FALLBACK)).count()
}
