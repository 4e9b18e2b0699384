//! Harness of the black-box tests and of the benchmarks.
//!
//! It runs the real `cryptoserve` command as child processes against throw-away PostgreSQL and Redis, with faults
//! in between on demand, and speaks HTTP to it. `./tests/run` starts the services; see [`services`].
//!
//! ```no_run
//! use cryptoserve_tests::{Cluster, StoreKind, TokenRequest};
//! # async fn example() {
//! let cluster = Cluster::builder().store(StoreKind::Postgres).through_proxy().start(3).await;
//! let token = cluster.token(&TokenRequest::identity("reporting").contexts(["user-pii"])).await;
//! let reply = cluster.client(0).with_token(&token).get("/api/v1/contexts").await;
//! assert_eq!(reply.status, 200);
//! # }
//! ```
//!
//! A harness may panic: what it reports is a failed test, and its message says what was expected of whom.

mod certificates;
mod client;
mod cluster;
mod collector;
mod eventually;
mod identity_provider;
mod log;
mod nginx;
mod pgbouncer;
mod port;
mod postgres;
mod process;
mod program;
mod proxy;
mod raw;
mod redis;
mod server;
pub mod services;
mod tables;
mod tls_client;
mod token;
mod traffic;
pub mod unprivileged;

pub use self::redis::{RedisCluster, RedisServer};
pub use certificates::{Authority, ServerCertificate};
pub use client::{Client, Reply, TransportError};
pub use cluster::{Cluster, ClusterBuilder, Secrets, StoreKind};
pub use collector::{Collector, Span};
pub use eventually::{LIMIT, eventually};
pub use identity_provider::{IdentityProvider, TokenKey};
pub use log::{Log, LogLine};
pub use nginx::Nginx;
pub use pgbouncer::PgBouncer;
pub use port::Port;
pub use postgres::{PostgresBuilder, PostgresServer};
pub use process::Process;
pub use program::{Finished, Program};
pub use proxy::FaultProxy;
pub use raw::RawConnection;
pub use server::Replica;
pub use services::{TestDatabase, TestRedis};
pub use tables::Tables;
pub use tls_client::{TlsClient, TlsConnection};
pub use token::TokenRequest;
pub use traffic::Traffic;
