//! One replica: a child process that serves HTTP.

use std::net::SocketAddr;
use std::process::ExitStatus;

use crate::client::Client;
use crate::eventually::eventually;
use crate::log::Log;
use crate::port::Port;
use crate::process::Process;
use crate::program::Program;

/// A server process whose address is known, as it has told it in the log.
#[derive(Debug)]
pub struct Replica {
    program: Program,
    process: Process,
    address: SocketAddr,
    /// Of one that logs too little to tell.
    port: Option<Port>,
}

impl Replica {
    /// Starts `program` on ports that the kernel chooses and waits until it answers `/health/ready` with 200.
    ///
    /// # Panics
    ///
    /// If it ends before, or is not ready within [`crate::LIMIT`]; prints its log.
    pub async fn start(program: &Program) -> Self {
        let mut replica = Self::launch(program).await;
        replica.ready().await;
        replica
    }

    /// As [`Replica::start`], but waits only until it listens.
    pub async fn launch(program: &Program) -> Self {
        let program = for_harness(program).default_env("BIND_ADDR", "127.0.0.1:0");
        let process = program.spawn();
        let address = address_in(process.stderr(), "listening").await;
        Self { program, process, address, port: None }
    }

    /// As [`Replica::start`], but logs errors alone, for loads whose every refusal would be a line to write and to read.
    ///
    /// # Panics
    ///
    /// As [`Replica::start`].
    pub async fn start_quiet(program: &Program) -> Self {
        let port = Port::take();
        let address = port.address();
        let program = for_harness(program).env("BIND_ADDR", address.to_string()).env("LOG_LEVEL", "error");
        let mut replica = Self { process: program.spawn(), program, address, port: Some(port) };
        replica.ready().await;
        replica
    }

    /// Where it serves the API.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it serves `/metrics`, from its log line `metrics listening`.
    pub async fn metrics_address(&self) -> SocketAddr {
        address_in(self.log(), "metrics listening").await
    }

    /// A client without a token.
    pub fn client(&self) -> Client {
        Client::new(self.address)
    }

    /// Its log.
    pub fn log(&self) -> &Log {
        self.process.stderr()
    }

    /// The process, for signals and its id.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// The command and environment that it was started with.
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// Waits until it answers `/health/ready` with 200.
    ///
    /// # Panics
    ///
    /// If it ends or [`crate::LIMIT`] passes.
    pub async fn ready(&mut self) {
        let client = self.client();
        eventually("readiness", async || {
            if let Some(status) = self.process.status() {
                panic!("the server ended with {status}; its log:\n{:?}", self.process.stderr());
            }
            client.try_get("/health/ready").await.ok().filter(|reply| reply.status == 200)
        })
        .await;
    }

    /// Waits for the end of the process after a signal.
    ///
    /// # Panics
    ///
    /// If it is still running after [`crate::LIMIT`].
    pub async fn ended(&mut self) -> ExitStatus {
        self.process.ended().await
    }

    /// As [`Replica::start_again`], with another environment from then on.
    pub async fn start_again_with(&mut self, change: impl FnOnce(Program) -> Program) {
        self.program = change(self.program.clone());
        self.start_again().await;
    }

    /// Starts the process again at the same address, after it has ended, and waits for readiness.
    ///
    /// # Panics
    ///
    /// If the old process still runs, or the new one fails.
    pub async fn start_again(&mut self) {
        assert!(self.process.status().is_some(), "the old process still runs");
        let program = self.program.clone().env("BIND_ADDR", self.address.to_string());
        self.process = program.spawn();
        if self.port.is_none() {
            let address = address_in(self.log(), "listening").await;
            assert_eq!(address, self.address);
        }
        self.ready().await;
    }
}

/// `program` with what every replica of ours has in common.
fn for_harness(program: &Program) -> Program {
    program.clone().env("METRICS_BIND_ADDR", "127.0.0.1:0").env("LOG_FORMAT", "json")
}

/// The `address` of the log line with `message`.
async fn address_in(log: &Log, message: &str) -> SocketAddr {
    let line = log.message(message).await;
    let address = line.field("address").and_then(|address| address.parse().ok());
    address.unwrap_or_else(|| panic!("no address in the log line {}", line.0))
}
