//! The real PgBouncer in transaction mode.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use tempfile::TempDir;
use url::Url;

use crate::LogLine;
use crate::port::Port;
use crate::postgres::PostgresServer;
use crate::process::Process;
use crate::program::Program;
use crate::services;
use crate::unprivileged::own;

/// Hands out a connection of a server to each transaction.
#[derive(Debug)]
pub struct PgBouncer {
    process: Process,
    url: Url,
    _port: Port,
    _dir: TempDir,
}

impl PgBouncer {
    /// Starts it in front of `server`, to which it keeps at most `connections`.
    ///
    /// # Panics
    ///
    /// If `CRYPTOSERVE_TEST_PGBOUNCER` names no binary, or it does not start; prints what it says.
    pub async fn start(server: &PostgresServer, connections: u32) -> Self {
        let port = Port::take();
        let mut url = server.url();
        url.set_port(Some(port.address().port())).expect("the URL has a host");
        let dir = tempfile::tempdir().expect("a temporary directory");
        own(dir.path());
        let users = dir.path().join("users");
        write(&users, &format!("\"{}\" \"{}\"\n", url.username(), server.password()));
        let config = dir.path().join("pgbouncer.ini");
        write(&config, &configuration(server.address(), port.address(), &users, connections));
        let binary = services::variable("CRYPTOSERVE_TEST_PGBOUNCER");
        let process = Program::at(Path::new(&binary)).unprivileged().arg(config.to_string_lossy()).spawn();
        process.stderr().find("readiness", |line: &LogLine| line.0.contains("process up")).await;
        Self { process, url, _port: port, _dir: dir }
    }

    /// The server's database through it, as `DATABASE_URL` takes it.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// The process, for signals and its log.
    pub fn process(&self) -> &Process {
        &self.process
    }
}

fn configuration(server: SocketAddr, own: SocketAddr, users: &Path, connections: u32) -> String {
    format!(
        "[databases]\n\
         * = host={} port={}\n\
         [pgbouncer]\n\
         listen_addr = {}\n\
         listen_port = {}\n\
         unix_socket_dir =\n\
         auth_type = scram-sha-256\n\
         auth_file = {}\n\
         pool_mode = transaction\n\
         default_pool_size = {connections}\n\
         max_client_conn = 500\n",
        server.ip(),
        server.port(),
        own.ip(),
        own.port(),
        users.display(),
    )
}

fn write(path: &Path, text: &str) {
    fs::write(path, text).expect("a writable directory");
    own(path);
}
