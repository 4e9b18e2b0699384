//! A Redis server that belongs to one test, which may start it late, freeze, kill and replace it.

mod cluster;

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

pub use cluster::RedisCluster;
use redis::FromRedisValue;
use redis::aio::MultiplexedConnection;
use rustix::process::Signal;
use tempfile::TempDir;
use url::Url;

use crate::certificates::ServerCertificate;
use crate::port::Port;
use crate::process::Process;
use crate::program::Program;
use crate::services;

/// A server with a password, which keeps nothing on disk.
#[derive(Debug)]
pub struct RedisServer {
    process: Option<Process>,
    program: Program,
    password: String,
    port: Port,
    dir: TempDir,
}

impl RedisServer {
    /// Starts one and waits until it takes connections.
    ///
    /// # Panics
    ///
    /// If there is no `redis-server`, or it does not start.
    pub async fn start() -> Self {
        let mut server = Self::absent();
        server.start_again().await;
        server
    }

    /// Starts a Valkey server.
    ///
    /// # Panics
    ///
    /// As [`RedisServer::start`].
    pub async fn valkey() -> Self {
        let mut server = Self::of(Path::new(&services::variable("CRYPTOSERVE_TEST_VALKEY")));
        server.start_again().await;
        server
    }

    /// One whose address is known and that does not run yet.
    pub fn absent() -> Self {
        Self::of(Path::new("redis-server"))
    }

    fn of(program: &Path) -> Self {
        let password = services::random_name("password");
        let port = Port::take();
        let dir = tempfile::tempdir().expect("a temporary directory");
        let address = port.address();
        let settings = [
            ("port", address.port().to_string()),
            ("bind", address.ip().to_string()),
            ("requirepass", password.clone()),
            ("save", String::new()),
            ("appendonly", "no".to_owned()),
            ("dir", dir.path().to_string_lossy().into_owned()),
        ];
        let program = with_settings(Program::at(program), settings);
        Self { process: None, program, password, port, dir }
    }

    /// Starts one that speaks TLS alone and shows `certificate`; the test itself cannot connect.
    ///
    /// # Panics
    ///
    /// As [`RedisServer::start`].
    pub async fn with_certificate(certificate: &ServerCertificate) -> Self {
        let mut server = Self::absent();
        let (chain, key) = (server.dir.path().join("server.pem"), server.dir.path().join("server.key"));
        fs::write(&chain, &certificate.chain).expect("a writable directory");
        fs::write(&key, &certificate.key).expect("a writable directory");
        let settings = [
            ("port", "0".to_owned()),
            ("tls-port", server.address().port().to_string()),
            ("tls-cert-file", chain.to_string_lossy().into_owned()),
            ("tls-key-file", key.to_string_lossy().into_owned()),
            ("tls-ca-cert-file", chain.to_string_lossy().into_owned()),
            ("tls-auth-clients", "no".to_owned()),
        ];
        server.program = with_settings(server.program, settings);
        server.start_again().await;
        server
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// Its address, as `REDIS_URL` takes it.
    pub fn url(&self) -> Url {
        format!("redis://:{}@{}", self.password, self.address()).parse().expect("a URL")
    }

    /// The password.
    pub fn password(&self) -> &str {
        &self.password
    }

    /// A connection of the test's own.
    ///
    /// # Panics
    ///
    /// If the server refuses.
    pub async fn connect(&self) -> MultiplexedConnection {
        services::redis_connection(&self.url()).await
    }

    /// What it answers to a command, given as words.
    ///
    /// # Panics
    ///
    /// If that is an error.
    pub async fn ask<T: FromRedisValue>(&self, command: &str) -> T {
        let mut words = command.split(' ');
        let mut built = redis::cmd(words.next().expect("split yields at least one"));
        built.arg(words.collect::<Vec<_>>());
        let answer = built.query_async(&mut self.connect().await).await;
        answer.unwrap_or_else(|error| panic!("{command}: {error}"))
    }

    /// Has it carry out a command, given as words.
    ///
    /// # Panics
    ///
    /// As [`RedisServer::ask`].
    pub async fn run(&self, command: &str) {
        let _: redis::Value = self.ask(command).await;
    }

    /// Kills it at once.
    ///
    /// # Panics
    ///
    /// If it does not run.
    pub async fn kill(&mut self) {
        let mut process = self.process.take().expect("it runs");
        process.signal(Signal::KILL);
        process.ended().await;
    }

    /// Starts it, empty, at its address, and waits until it takes connections.
    ///
    /// # Panics
    ///
    /// If it runs already, or does not start.
    pub async fn start_again(&mut self) {
        assert!(self.process.is_none(), "it still runs");
        let process = self.program.spawn();
        process.stdout().find("readiness", |line| line.0.contains("Ready to accept connections")).await;
        self.process = Some(process);
    }

    /// Freezes it: connections are accepted by the kernel, nothing answers.
    ///
    /// # Panics
    ///
    /// If it does not run.
    pub fn freeze(&self) {
        self.process.as_ref().expect("it runs").pause();
    }

    /// Lets it go on.
    ///
    /// # Panics
    ///
    /// If it does not run.
    pub fn thaw(&self) {
        self.process.as_ref().expect("it runs").resume();
    }

    /// How often a command was run since the start, scripts' own commands included.
    ///
    /// # Panics
    ///
    /// If it does not say.
    pub async fn calls(&self, command: &str) -> u64 {
        let mut connection = self.connect().await;
        let info: redis::InfoDict =
            redis::cmd("INFO").arg("commandstats").query_async(&mut connection).await.expect("INFO");
        let statistics: Option<String> = info.get(&format!("cmdstat_{command}"));
        let calls = statistics
            .as_deref()
            .and_then(|text| text.strip_prefix("calls=")?.split(',').next()?.parse().ok());
        calls.unwrap_or(0)
    }
}

fn with_settings<const N: usize>(program: Program, settings: [(&str, String); N]) -> Program {
    let set = |program: Program, (name, value): (&str, String)| program.arg(format!("--{name}")).arg(value);
    settings.into_iter().fold(program, set)
}
