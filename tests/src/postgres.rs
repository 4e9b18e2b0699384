//! A PostgreSQL server that belongs to one test, which may stop, freeze, kill and replace it.

mod family;
mod standby;
mod statements;

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;
use tokio_postgres::{Client, Config, NoTls};
use url::Url;

use crate::certificates::ServerCertificate;
use crate::log::Log;
use crate::port::Port;
use crate::process::Process;
use crate::program::Program;
use crate::services;
use crate::unprivileged::own;

/// How a server is to be; see the methods.
#[derive(Debug, Default)]
pub struct PostgresBuilder {
    settings: Vec<(String, String)>,
    certificate: Option<ServerCertificate>,
}

/// A server with the empty database `cryptoserve`, and a role of that name that owns it. It logs every statement.
#[derive(Debug)]
pub struct PostgresServer {
    process: Process,
    program: Program,
    password: String,
    port: Port,
    _dir: TempDir,
}

/// The database, and its owner.
const NAME: &str = "cryptoserve";
const SUPERUSER: &str = "postgres";
/// What the test's own connections are called.
const APPLICATION: &str = "test";

impl PostgresBuilder {
    /// A line of `postgresql.conf`.
    pub fn setting(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Offers TLS.
    pub fn certificate(mut self, certificate: ServerCertificate) -> Self {
        self.certificate = Some(certificate);
        self
    }

    /// Starts it and waits until it takes connections.
    ///
    /// # Panics
    ///
    /// If `CRYPTOSERVE_TEST_POSTGRES_BIN` is not set, or PostgreSQL does not start; prints what it says.
    pub async fn start(mut self) -> PostgresServer {
        let password = services::random_name("password");
        let dir = tempfile::tempdir().expect("a temporary directory");
        own(dir.path());
        let password_file = dir.path().join("password");
        fs::write(&password_file, &password).expect("a writable directory");
        own(&password_file);
        let data = dir.path().join(DATA);
        let made = binary("initdb")
            .arg("--no-sync")
            .arg("--no-instructions")
            .arg("--wal-segsize=1")
            .arg("--locale=C.UTF-8")
            .arg("--auth=scram-sha-256")
            .arg(format!("--username={SUPERUSER}"))
            .arg(format!("--pwfile={}", password_file.display()))
            .arg(format!("--pgdata={}", data.display()))
            .run()
            .await;
        assert!(made.status.success(), "initdb: {}", made.stderr);
        if let Some(certificate) = self.certificate.take() {
            self = self.with_files(&certificate, &dir);
        }
        let mut settings = SETTINGS.to_owned();
        for (name, value) in &self.settings {
            writeln!(settings, "{name} = '{value}'").expect("text grows");
        }
        let conf = data.join("postgresql.conf");
        fs::write(&conf, settings).expect("a writable directory");

        let server = PostgresServer::launch(password, dir).await;
        let owner = format!("CREATE ROLE {NAME} LOGIN PASSWORD '{}'", server.password);
        let client = server.connect_to(SUPERUSER).await;
        client.batch_execute(&owner).await.expect("a role");
        client.batch_execute(&format!("CREATE DATABASE {NAME} OWNER {NAME}")).await.expect("a database");
        server
    }

    fn with_files(self, certificate: &ServerCertificate, dir: &TempDir) -> Self {
        let (chain, key) = (dir.path().join("server.pem"), dir.path().join("server.key"));
        fs::write(&chain, &certificate.chain).expect("a writable directory");
        fs::write(&key, &certificate.key).expect("a writable directory");
        // PostgreSQL refuses a key that others could read.
        fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("ours");
        own(&key);
        self.setting("ssl", "on")
            .setting("ssl_cert_file", &chain.to_string_lossy())
            .setting("ssl_key_file", &key.to_string_lossy())
    }
}

impl PostgresServer {
    /// One with the usual settings.
    ///
    /// # Panics
    ///
    /// As [`PostgresBuilder::start`].
    pub async fn start() -> Self {
        Self::builder().start().await
    }

    /// One that differs.
    pub fn builder() -> PostgresBuilder {
        PostgresBuilder::default()
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// The database for its owner, as `DATABASE_URL` takes it.
    pub fn url(&self) -> Url {
        let url = format!("postgres://{NAME}:{}@{}/{NAME}", self.password, self.address());
        url.parse().expect("a URL")
    }

    /// The password of its roles.
    pub fn password(&self) -> &str {
        &self.password
    }

    /// The log of the present run.
    pub fn log(&self) -> &Log {
        self.process.stderr()
    }

    /// A connection of the test's own to the database, as superuser.
    ///
    /// # Panics
    ///
    /// If the server refuses.
    pub async fn connect(&self) -> Client {
        self.connect_to(NAME).await
    }

    /// Ends it in good order: clients are disconnected, and everything is written.
    ///
    /// # Panics
    ///
    /// If it does not end.
    pub async fn stop(&mut self) {
        self.process.signal(Signal::INT);
        self.process.ended().await;
    }

    /// Kills every process of it at once, as a machine that loses power does.
    ///
    /// # Panics
    ///
    /// If it has ended already.
    pub async fn kill(&mut self) {
        // What is stopped starts no others.
        self.process.pause();
        family::signal_children(self.process.id(), Signal::KILL);
        self.process.kill();
        self.process.ended().await;
    }

    /// Starts it again at the same address, after its end, and waits until it takes connections.
    ///
    /// # Panics
    ///
    /// If it does not.
    pub async fn start_again(&mut self) {
        assert!(self.process.status().is_some(), "it still runs");
        self.process = self.program.spawn();
        self.ready().await;
    }

    /// Freezes every process of it: its sockets stay open, connections are accepted by the kernel, nothing answers.
    pub fn freeze(&self) {
        self.process.pause();
        family::signal_children(self.process.id(), Signal::STOP);
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        family::signal_children(self.process.id(), Signal::CONT);
        self.process.resume();
    }

    async fn launch(password: String, dir: TempDir) -> Self {
        let port = Port::take();
        let program = binary("postgres")
            .arg("-D")
            .arg(dir.path().join(DATA).to_string_lossy())
            .arg("-p")
            .arg(port.address().port().to_string());
        let server = Self { process: program.spawn(), program, password, port, _dir: dir };
        server.ready().await;
        server
    }

    async fn ready(&self) {
        let ready = |line: &crate::LogLine| line.0.contains("database system is ready to accept");
        self.log().find("readiness", ready).await;
    }

    async fn connect_to(&self, database: &str) -> Client {
        let mut config = Config::new();
        config.user(SUPERUSER).password(&self.password).dbname(database).application_name(APPLICATION);
        config.host(self.address().ip().to_string()).port(self.address().port());
        let (client, connection) =
            config.connect(NoTls).await.unwrap_or_else(|error| panic!("PostgreSQL: {error:?}"));
        tokio::spawn(connection);
        client
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        // Killed at once, it would leave shared memory behind; told to quit, it takes its children along.
        self.thaw();
        self.process.signal(Signal::QUIT);
        for _ in 0..1000 {
            if self.process.status().is_some() {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        family::signal_children(self.process.id(), Signal::KILL);
    }
}

/// A command of PostgreSQL, run as the user that it accepts.
fn binary(name: &str) -> Program {
    let directory: PathBuf = services::variable("CRYPTOSERVE_TEST_POSTGRES_BIN").into();
    Program::at(&directory.join(name)).unprivileged().env("LC_ALL", "C.UTF-8")
}

/// The data directory in the temporary one.
const DATA: &str = "data";
/// Quick to start, and nothing need outlive the machine. `%a` is how statements are counted.
const SETTINGS: &str = "\
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
max_connections = 100
shared_buffers = '16MB'
dynamic_shared_memory_type = 'mmap'
fsync = off
full_page_writes = off
autovacuum = off
log_line_prefix = '[%a] '
log_statement = 'all'
";
