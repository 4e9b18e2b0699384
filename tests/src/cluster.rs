//! Replicas on one store.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;

use futures_util::future::join_all;
use tempfile::TempDir;
use url::Url;

use crate::client::Client;
use crate::program::Program;
use crate::proxy::FaultProxy;
use crate::server::Replica;
use crate::services::{TestDatabase, TestRedis};
use crate::tables::Tables;
use crate::token::TokenRequest;

/// Where a cluster keeps its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreKind {
    /// The embedded store, in a directory of its own; one replica only.
    Sqlite,
    /// A PostgreSQL database of its own.
    Postgres,
}

/// The three secrets that replicas of one deployment share.
#[derive(Clone, Debug)]
pub struct Secrets {
    /// `CRYPTOSERVE_MASTER_KEY`.
    pub master_key: String,
    /// `JWT_SECRET_KEY`.
    pub jwt_secret_key: String,
    /// `HKDF_SALT`.
    pub hkdf_salt: String,
}

impl Secrets {
    /// Fresh random ones: 32 bytes each, in hex.
    pub fn generate() -> Self {
        let random = || {
            let mut bytes = [0; 32];
            aws_lc_rs::rand::fill(&mut bytes).expect("the system's random numbers");
            hex::encode(bytes)
        };
        Self { master_key: random(), jwt_secret_key: random(), hkdf_salt: random() }
    }

    fn apply(&self, program: Program) -> Program {
        program
            .default_env("CRYPTOSERVE_MASTER_KEY", &self.master_key)
            .default_env("JWT_SECRET_KEY", &self.jwt_secret_key)
            .default_env("HKDF_SALT", &self.hkdf_salt)
    }
}

/// How a cluster is to be; see the methods.
#[derive(Debug)]
pub struct ClusterBuilder {
    store: StoreKind,
    database_url: Option<String>,
    redis: bool,
    proxied: bool,
    quiet: bool,
    program: Program,
}

/// Running replicas and what they run on; all of it ends with the value.
#[derive(Debug)]
pub struct Cluster {
    // Dropped in this order: processes before what they use.
    replicas: Vec<Replica>,
    postgres_proxy: Option<FaultProxy>,
    redis_proxy: Option<FaultProxy>,
    redis: Option<TestRedis>,
    database: Option<TestDatabase>,
    data_dir: TempDir,
    secrets: Secrets,
    quiet: bool,
    program: Program,
}

impl Cluster {
    /// The embedded store, no Redis, no proxy, and limits out of the way.
    pub fn builder() -> ClusterBuilder {
        ClusterBuilder::new(Program::cryptoserve())
    }

    /// `replicas` replicas on PostgreSQL and Redis, ready.
    ///
    /// # Panics
    ///
    /// As [`ClusterBuilder::start`].
    pub async fn start(replicas: usize) -> Self {
        Self::builder().store(StoreKind::Postgres).redis().start(replicas).await
    }

    /// The replicas, in order of their number.
    pub fn replicas(&self) -> &[Replica] {
        &self.replicas
    }

    /// One replica, for waiting on it and starting it again.
    pub fn replica_mut(&mut self, index: usize) -> &mut Replica {
        &mut self.replicas[index]
    }

    /// Adds `count` replicas, started together, and waits until they are ready.
    ///
    /// # Panics
    ///
    /// As [`ClusterBuilder::start`].
    pub async fn grow(&mut self, count: usize) {
        let first = self.replicas.len();
        let starting = (first..first + count).map(|number| {
            let program = self.program.clone().env("INSTANCE_ID", format!("replica-{number}"));
            let quiet = self.quiet;
            async move {
                if quiet { Replica::start_quiet(&program).await } else { Replica::start(&program).await }
            }
        });
        self.replicas.extend(join_all(starting).await);
    }

    /// Ends all replicas (SIGTERM) and keeps the rest: the command with its environment, and the cluster's services,
    /// to be held as long as it is used.
    ///
    /// # Panics
    ///
    /// If one does not end in time.
    pub async fn stop(mut self) -> (Program, Self) {
        for replica in &self.replicas {
            replica.process().terminate();
        }
        for mut replica in self.replicas.drain(..) {
            replica.ended().await;
        }
        (self.program.clone(), self)
    }

    /// Where each replica serves.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.replicas.iter().map(Replica::address).collect()
    }

    /// A client of one replica, without a token.
    pub fn client(&self, index: usize) -> Client {
        self.replicas[index].client()
    }

    /// A token by `cryptoserve token`.
    ///
    /// # Panics
    ///
    /// If the command fails.
    pub async fn token(&self, request: &TokenRequest) -> String {
        request.make(&self.program).await
    }

    /// The command with this cluster's environment, for its other subcommands and for replicas that differ.
    pub fn program(&self) -> Program {
        self.program.clone()
    }

    /// The secrets in use on PostgreSQL. The embedded store makes its own.
    pub fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    /// The directory of the embedded store.
    pub fn data_dir(&self) -> PathBuf {
        self.data_dir.path().join(DATA_DIR)
    }

    /// The database, reached without the proxy.
    ///
    /// # Panics
    ///
    /// On the embedded store, and on a database that the test looks after.
    pub fn database(&self) -> &TestDatabase {
        self.database.as_ref().expect("the cluster has a PostgreSQL database of its own")
    }

    /// The store's tables, whichever store it is, reached without the proxy.
    ///
    /// # Panics
    ///
    /// If there are none yet.
    pub async fn tables(&self) -> Tables {
        match &self.database {
            Some(database) => Tables::Postgres(database.connect().await),
            None => Tables::sqlite(&self.data_dir()),
        }
    }

    /// Redis, reached without the proxy.
    ///
    /// # Panics
    ///
    /// If built without.
    pub fn redis(&self) -> &TestRedis {
        self.redis.as_ref().expect("the cluster was built with Redis")
    }

    /// The proxy in front of PostgreSQL.
    ///
    /// # Panics
    ///
    /// If built without.
    pub fn postgres_proxy(&self) -> &FaultProxy {
        self.postgres_proxy.as_ref().expect("the cluster was built with PostgreSQL through a proxy")
    }

    /// The proxy in front of Redis.
    ///
    /// # Panics
    ///
    /// If built without.
    pub fn redis_proxy(&self) -> &FaultProxy {
        self.redis_proxy.as_ref().expect("the cluster was built with Redis through a proxy")
    }
}

impl ClusterBuilder {
    /// A cluster of `program` in place of the `cryptoserve` command beside the test.
    pub fn new(program: Program) -> Self {
        let unlimited = "10000000:10000000";
        let program = ["RATE_LIMIT_IP", "RATE_LIMIT_IDENTITY", "RATE_LIMIT_CONTEXT"]
            .into_iter()
            .fold(program, |program, name| program.env(name, unlimited));
        Self {
            store: StoreKind::Sqlite,
            database_url: None,
            redis: false,
            proxied: false,
            quiet: false,
            program,
        }
    }

    /// Chooses the store.
    pub fn store(mut self, store: StoreKind) -> Self {
        self.store = store;
        self
    }

    /// Uses this PostgreSQL database, which the test looks after, instead of one of the cluster's own.
    pub fn database_url(mut self, url: impl Into<String>) -> Self {
        self.store = StoreKind::Postgres;
        self.database_url = Some(url.into());
        self
    }

    /// Keeps limits in a Redis database of its own instead of each process.
    pub fn redis(mut self) -> Self {
        self.redis = true;
        self
    }

    /// Puts a [`FaultProxy`] in front of PostgreSQL and of Redis, whichever there are.
    pub fn through_proxy(mut self) -> Self {
        self.proxied = true;
        self
    }

    /// Lets replicas log errors alone; see [`Replica::start_quiet`].
    pub fn quiet(mut self) -> Self {
        self.quiet = true;
        self
    }

    /// Sets a variable of every replica; wins over what the harness sets.
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.program = self.program.env(name, value);
        self
    }

    /// Limits as a fresh deployment has them.
    pub fn default_limits(mut self) -> Self {
        for name in ["RATE_LIMIT_IP", "RATE_LIMIT_IDENTITY", "RATE_LIMIT_CONTEXT"] {
            self.program = self.program.without_env(name);
        }
        self
    }

    /// Starts `replicas` replicas together and waits until all are ready.
    ///
    /// # Panics
    ///
    /// If a service is missing, a replica does not become ready, or several are to share the embedded store.
    pub async fn start(self, replicas: usize) -> Cluster {
        assert!(replicas <= 1 || self.store == StoreKind::Postgres, "the embedded store serves one process");
        let data_dir = tempfile::tempdir().expect("a temporary directory");
        let secrets = Secrets::generate();
        // The server makes the directory itself, with its own mode.
        let mut program =
            self.program.default_env("DATA_DIR", data_dir.path().join(DATA_DIR).to_string_lossy());
        let (mut database, mut redis) = (None, None);
        let (mut postgres_proxy, mut redis_proxy) = (None, None);
        if self.store == StoreKind::Postgres {
            let mut url = match self.database_url {
                Some(url) => url,
                None => database.insert(TestDatabase::create().await).url().to_string(),
            };
            if self.proxied {
                let mut proxied = url.parse().expect("a URL of one host");
                postgres_proxy = Some(proxy_for(&mut proxied, 5432).await);
                url = proxied.into();
            }
            program = secrets.apply(program).default_env("DATABASE_URL", url);
        }
        if self.redis {
            let made = redis.insert(TestRedis::create().await);
            let mut url = made.url().clone();
            if self.proxied {
                redis_proxy = Some(proxy_for(&mut url, 6379).await);
            }
            program = program.default_env("REDIS_URL", url);
        }
        let mut cluster = Cluster {
            replicas: Vec::new(),
            postgres_proxy,
            redis_proxy,
            redis,
            database,
            data_dir,
            secrets,
            quiet: self.quiet,
            program,
        };
        cluster.grow(replicas).await;
        cluster
    }
}

/// A proxy in front of the server that `url` names; afterwards `url` names the proxy.
async fn proxy_for(url: &mut Url, default_port: u16) -> FaultProxy {
    let upstream = (url.host_str().expect("a host"), url.port().unwrap_or(default_port));
    let upstream = upstream.to_socket_addrs().expect("the host has an address").next().expect("at least one");
    let proxy = FaultProxy::start(upstream).await;
    url.set_ip_host(proxy.address().ip()).expect("the URL has a host");
    url.set_port(Some(proxy.address().port())).expect("the URL has a host");
    proxy
}

/// `DATA_DIR` inside the temporary directory.
const DATA_DIR: &str = "data";
