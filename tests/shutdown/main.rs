//! Ends replicas under load, one after the other as a rolling deployment does, and counts requests that fail:
//! `tests/shutdown/run`, or `cargo run --release -p cryptoserve-tests --bin shutdown`.
//!
//! The clients do what HTTP allows and no more. A connection that is closed, or that cannot be made, carries no request:
//! another one is made, to another replica if need be. A request that was sent and not answered has failed, unless its
//! method is idempotent (RFC 9110, section 9.2.2).

mod load;
mod mix;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use cryptoserve_tests::{Cluster, StoreKind, TokenRequest};

use load::{Counts, Load};
use mix::Mix;

/// Ends replicas under load and counts what fails.
#[derive(Debug, Parser)]
struct Options {
    /// Requests per second of all clients together
    #[arg(long, default_value_t = 2000)]
    rate: u32,
    /// Clients, each with a connection to one replica at a time
    #[arg(long, default_value_t = 64)]
    clients: u32,
    /// Replicas
    #[arg(long, default_value_t = 2)]
    replicas: usize,
    /// How often a replica is ended and started again
    #[arg(long, default_value_t = 6)]
    rounds: usize,
    /// Load before each end, in seconds
    #[arg(long, default_value_t = 3)]
    seconds: u64,
    /// `SHUTDOWN_DELAY`: without one, no balancer learns in time, and clients are all there is
    #[arg(long, default_value = "0s")]
    delay: String,
}

/// How one replica ended.
struct End {
    replica: usize,
    code: Option<i32>,
    took: Duration,
}

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    let builder = Cluster::builder().store(StoreKind::Postgres).quiet().env("SHUTDOWN_DELAY", &options.delay);
    let mut cluster = builder.start(options.replicas).await;
    let token = cluster.token(&TokenRequest::identity("load").contexts(["*"])).await;
    let mix = Mix::prepare(&cluster.client(0), &token).await;
    let load = Load { rate: options.rate, clients: options.clients }.start(cluster.addresses(), mix);
    let began = Instant::now();
    let mut ends = Vec::new();
    for round in 0..options.rounds {
        tokio::time::sleep(Duration::from_secs(options.seconds)).await;
        let replica = round % options.replicas;
        let asked = Instant::now();
        cluster.replicas()[replica].process().terminate();
        let status = cluster.replica_mut(replica).ended().await;
        ends.push(End { replica, code: status.code(), took: asked.elapsed() });
        cluster.replica_mut(replica).start_again().await;
    }
    let counts = load.stop().await;
    report(&options, began.elapsed(), &ends, &counts);
    let clean = ends.iter().all(|end| end.code == Some(0));
    if clean && counts.failed == 0 && counts.answered > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[expect(clippy::print_stdout, reason = "it is what this program is for")]
fn report(options: &Options, elapsed: Duration, ends: &[End], counts: &Counts) {
    let rate = counts.answered as f64 / elapsed.as_secs_f64();
    println!(
        "SIGTERM under load: {} replicas, {} clients, {} requests/s asked, SHUTDOWN_DELAY {}\n",
        options.replicas, options.clients, options.rate, options.delay
    );
    println!("| what | count |\n| --- | --- |");
    println!("| requests answered as they should be | {} ({rate:.0}/s) |", counts.answered);
    println!("| requests that failed | {} |", counts.failed);
    println!("| requests repeated as their method allows | {} |", counts.repeated);
    println!("| requests that found their connection closed before they were sent | {} |", counts.unsent);
    println!("| connections refused, and made to another replica | {} |", counts.refused);
    println!("| replies with `Connection: close` | {} |", counts.closing);
    println!("| latency p50, p99, max in ms | {} |\n", counts.latencies());
    println!("| replica | exit code | from SIGTERM to the end |\n| --- | --- | --- |");
    for End { replica, code, took } in ends {
        let code = code.map_or("a signal".to_owned(), |code| code.to_string());
        println!("| {replica} | {code} | {:.2} s |", took.as_secs_f64());
    }
    for sample in &counts.samples {
        println!("failed: {sample}");
    }
}
