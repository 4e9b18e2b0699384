//! Limits under load: `tests/limits/run`.
//!
//! Real replicas on a real Redis, hammered by many clients, while nothing happens, while replicas are killed and while
//! Redis is away. Does the fleet admit what its limits promise, and never one more? And how often does it ask Redis?

mod fleet;
mod load;
mod measure;
mod outage;
mod report;
mod scenarios;

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use tokio::signal::ctrl_c;
use tokio::signal::unix::{SignalKind, signal};

use self::report::{HEADER, Row};

/// Hammers replicas that share limits, and checks what they admit; exits with 1 if anything is not as promised.
#[derive(Clone, Debug, Parser)]
struct Options {
    /// Replicas
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(3..=5))]
    replicas: u8,
    /// Seconds per scenario
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(6..=3600))]
    seconds: u64,
    /// Clients, each with a connection to every replica and one request under way
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=1024))]
    clients: u32,
    /// Requests per second that all clients together try; 0 is as many as they can
    #[arg(long, default_value_t = 4000)]
    demand: u32,
    /// Tokens per second of the leased bucket, which holds as many; the demand must be twice as much
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(40..=100_000))]
    rate: u64,
    /// `RATE_LIMIT_REDIS_TIMEOUT`; long, so that a busy machine is no outage
    #[arg(long, default_value = "500ms")]
    redis_timeout: String,
    /// What to run
    #[arg(long, value_enum, default_value_t = Scenario::All)]
    scenario: Scenario,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Scenario {
    /// All of these
    All,
    /// A bucket of `--rate`, which is leased
    Leased,
    /// A bucket of 10/s, about which Redis decides each time
    Cold,
    /// Both, with a replica killed and started again every 5 s
    Kills,
    /// How often Redis is asked: hot, refused, cold
    Commands,
    /// Redis frozen, and killed, for the middle third
    Outage,
}

const EXPLANATION: &str = "\
`seconds` is by Redis' clock from before the first request to after the last answer, so `allowed` = burst + rate × seconds
is never less than what the first and the last take allow: one admitted beyond it is one too many. `share` = admitted /
allowed, therefore a little too small. `share, inner` divides by what is allowed from just after the first 200 to just
before the last requests, and is a little too large: the true share is between the two. `unknown` requests were under way
to a replica that was killed: they may have taken tokens, and nobody saw them admitted. `commands` are calls of scripts.
`fallbacks` is how often a replica found that Redis does not answer.";

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> io::Result<ExitCode> {
    let options = Options::parse();
    let mut terminated = signal(SignalKind::terminate())?;
    // What was started ends with what is dropped.
    tokio::select! {
        done = run(&options) => done,
        _ = ctrl_c() => Ok(ExitCode::from(130)),
        _ = terminated.recv() => Ok(ExitCode::from(143)),
    }
}

async fn run(options: &Options) -> io::Result<ExitCode> {
    let mut out = io::stdout();
    writeln!(
        out,
        "{} replicas, {} clients, {} requests/s wanted, encrypt of 16 bytes; clients, replicas, Redis and PostgreSQL on the \
         same cores\n\n{EXPLANATION}\n\n{HEADER}",
        options.replicas, options.clients, options.demand
    )?;
    let wanted = |scenario| [Scenario::All, scenario].contains(&options.scenario);
    let mut rows = Vec::new();
    if wanted(Scenario::Leased) {
        tell(&mut out, &mut rows, scenarios::leased(options).await)?;
    }
    if wanted(Scenario::Cold) {
        tell(&mut out, &mut rows, scenarios::cold(options).await)?;
    }
    if wanted(Scenario::Kills) {
        tell(&mut out, &mut rows, scenarios::leased_with_kills(options).await)?;
        tell(&mut out, &mut rows, scenarios::cold_with_kills(options).await)?;
    }
    if wanted(Scenario::Commands) {
        tell(&mut out, &mut rows, scenarios::commands_when_hot(options).await)?;
        tell(&mut out, &mut rows, scenarios::commands_when_refused(options).await)?;
        tell(&mut out, &mut rows, scenarios::commands_when_cold(options).await)?;
    }
    if wanted(Scenario::Outage) {
        tell(&mut out, &mut rows, outage::frozen(options).await)?;
        tell(&mut out, &mut rows, outage::killed(options).await)?;
    }

    writeln!(out)?;
    for row in &rows {
        for note in &row.notes {
            writeln!(out, "{}: {note}", row.scenario)?;
        }
    }
    let failures: Vec<_> =
        rows.iter().flat_map(|row| row.failures.iter().map(|text| (row.scenario, text))).collect();
    for (scenario, text) in &failures {
        writeln!(out, "FAILED: {scenario}: {text}")?;
    }
    writeln!(out, "{}", serde_json::to_string(&rows).map_err(io::Error::other)?)?;
    Ok(if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn tell(out: &mut io::Stdout, rows: &mut Vec<Row>, row: Row) -> io::Result<()> {
    writeln!(out, "{row}")?;
    rows.push(row);
    Ok(())
}
