//! The real Nginx with the shipped configuration.

use std::env;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

use crate::client::Client;
use crate::eventually::eventually;
use crate::log::Log;
use crate::process::Process;
use crate::program::Program;

/// Nginx in front of replicas, configured by `nginx.scale.conf` with only names and ports changed.
#[derive(Debug)]
pub struct Nginx {
    process: Process,
    address: SocketAddr,
    _dir: TempDir,
}

impl Nginx {
    /// Starts it in front of `replicas`.
    ///
    /// # Panics
    ///
    /// If `CRYPTOSERVE_TEST_NGINX` names no binary, or Nginx refuses the configuration; prints what it says.
    pub async fn start(replicas: &[SocketAddr]) -> Self {
        let binary = env::var_os("CRYPTOSERVE_TEST_NGINX").map(PathBuf::from);
        let binary =
            binary.expect("CRYPTOSERVE_TEST_NGINX is not set; ./tests/run sets it: run ./tests/run [FILTER]");
        // Nginx cannot choose a port and tell it, so another process may take ours in between: then try the next.
        for _ in 0..5 {
            if let Some(nginx) = Self::try_start(&binary, replicas, free_port()).await {
                return nginx;
            }
        }
        panic!("five free ports in a row were taken before Nginx had them");
    }

    async fn try_start(binary: &Path, replicas: &[SocketAddr], address: SocketAddr) -> Option<Self> {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let config = dir.path().join("nginx.conf");
        fs::write(&config, configuration(dir.path(), replicas, address)).expect("a writable directory");
        // Its workers drop root for a user that this machine may not have.
        let user = if rustix::process::geteuid().is_root() { "user root root;" } else { "" };
        let mut process = Program::at(binary)
            .arg("-e")
            .arg("stderr")
            .arg("-p")
            .arg(dir.path().to_string_lossy())
            .arg("-c")
            .arg(config.to_string_lossy())
            .arg("-g")
            .arg(format!("daemon off; {user}"))
            .spawn();
        let pid_file = dir.path().join("nginx.pid");
        // Written once the port is bound.
        let listening = eventually("Nginx to start", async || match process.status() {
            Some(_) => Some(false),
            None => fs::read(&pid_file).is_ok_and(|pid| !pid.is_empty()).then_some(true),
        });
        if listening.await {
            return Some(Self { process, address, _dir: dir });
        }
        process.stderr().ended().await;
        let said = process.stderr().text();
        assert!(said.contains("Address already in use"), "Nginx ended:\n{said}");
        None
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A client without a token.
    pub fn client(&self) -> Client {
        Client::new(self.address)
    }

    /// The access log, one JSON object per line.
    pub fn access_log(&self) -> &Log {
        self.process.stdout()
    }

    /// The error log.
    pub fn error_log(&self) -> &Log {
        self.process.stderr()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // Killed at once, the master would leave its workers behind; asked to end, it takes them along.
        self.process.terminate();
        for _ in 0..1000 {
            if self.process.status().is_some() {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// The shipped file with this test's directory, port and replicas.
fn configuration(dir: &Path, replicas: &[SocketAddr], address: SocketAddr) -> String {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../nginx.scale.conf");
    let shipped =
        fs::read_to_string(&shipped).unwrap_or_else(|error| panic!("{}: {error}", shipped.display()));
    let servers: Vec<_> =
        replicas.iter().map(|replica| format!("server {replica} max_fails=3 fail_timeout=2s;")).collect();
    let with_servers = replace_one(
        &shipped,
        "server backend:8003 resolve max_fails=3 fail_timeout=2s;",
        &servers.join("\n        "),
    );
    let with_port = replace_one(&with_servers, "listen 80;", &format!("listen {address};"));
    with_port.replace("/tmp/", &format!("{}/", dir.display()))
}

/// Replaces what occurs exactly once, so that an edit of the shipped file cannot quietly leave the test behind.
fn replace_one(text: &str, from: &str, to: &str) -> String {
    assert_eq!(text.matches(from).count(), 1, "nginx.scale.conf has {from:?} once");
    text.replace(from, to)
}

fn free_port() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port on loopback");
    listener.local_addr().expect("a bound socket has an address")
}
