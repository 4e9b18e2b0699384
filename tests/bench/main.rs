//! Benchmarks: `tests/bench/run`, or `cargo run --release -p cryptoserve-tests --bin bench`.
//!
//! Three questions. What does the service cost beyond the least that any such server must do? Does an old version of a
//! key cost more than a new one? And how soon after its start does it serve? Everything runs on this machine over loopback and shares its cores, load generator included,
//! so ratios travel and absolute numbers do not.

mod baseline;
mod health;
mod load;
mod startup;
mod summary;
mod throughput;
mod versions;

use std::io::{self, Write};
use std::time::Duration;

use clap::{Parser, Subcommand};
use cryptoserve_tests::{Cluster, TokenRequest};

/// Measures CryptoServe against a bare hyper server doing the same JSON, base64 and AES-256-GCM.
#[derive(Debug, Parser)]
struct Options {
    #[command(subcommand)]
    command: Option<Command>,
    /// Measurements of each side, taken in turns
    #[arg(long, default_value_t = 5)]
    runs: u32,
    /// Seconds per measurement, at most 60
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=60))]
    seconds: u64,
    /// Connections, each with one request under way
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=1024))]
    connections: u32,
    /// Plaintext bytes per request
    #[arg(long, default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..=1_048_576))]
    bytes: u32,
    /// Starts to time
    #[arg(long, default_value_t = 20)]
    starts: u32,
    /// Versions of the key whose first and last are compared
    #[arg(long, default_value_t = 10_000)]
    versions: u32,
    /// The shortest run that touches every part
    #[arg(long)]
    smoke: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Only the bare server, until killed; tells its address like the real one
    Baseline,
    /// Only the health paths, at rest, under load, and while the database and Redis hang; needs PostgreSQL and Redis
    Health {
        /// How often each is asked
        #[arg(long, default_value_t = 15)]
        rounds: u32,
    },
}

#[tokio::main]
async fn main() -> io::Result<()> {
    let mut options = Options::parse();
    match options.command {
        Some(Command::Baseline) => return baseline::serve().await,
        Some(Command::Health { rounds }) => {
            let measured = health::measure(rounds, options.connections as usize).await;
            return writeln!(io::stdout(), "{measured}");
        }
        None => {}
    }
    if options.smoke {
        (options.runs, options.seconds, options.starts, options.versions) = (1, 1, 2, 100);
    }

    // Every successful request in the log would measure this program's reading of it.
    let cluster = Cluster::builder().env("AUDIT_MODE", "batched").env("LOG_SAMPLE", "0").start(1).await;
    let token = cluster.token(&TokenRequest::identity("bench").contexts([load::CONTEXT])).await;
    let mut out = io::stdout();

    let plan = throughput::Plan {
        runs: options.runs,
        duration: Duration::from_secs(options.seconds),
        connections: options.connections as usize,
        plaintext_bytes: options.bytes as usize,
    };
    writeln!(out, "{}", throughput::measure(&plan, &cluster.replicas()[0], &token).await)?;

    let admin = cluster.token(&TokenRequest::admin()).await;
    let service = &cluster.replicas()[0];
    writeln!(out, "{}", versions::measure(options.versions, options.runs, service, &admin, &token).await)?;

    // The embedded store serves one process: end the first before timing others on its data.
    let (program, _data) = cluster.stop().await;
    writeln!(out, "{}", startup::measure(options.starts, &program, &token).await)
}
