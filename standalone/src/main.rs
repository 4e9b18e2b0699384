//! The `cryptoserve` command.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod banner;
mod cli;
mod client;
mod commands;
mod deployment;
mod exit;
mod metrics;
mod reload;
mod server;
#[cfg(test)]
mod test_server;
mod tls;

use std::io::{IsTerminal, Write, stderr};
use std::process::ExitCode;
use std::time::Duration;

use cli::{Cli, Command};
use commands::{
    audit, backup, completions, doctor, healthcheck, keygen, migrate, rewrap_keys, serve, token, transfer,
};
use cryptoserve_core::config::Config;
use cryptoserve_core::telemetry::{self, LogWriting, Traces};
use exit::Failure;

/// Longest wait in a thread that panicked.
const PANIC_FLUSH_TIMEOUT: Duration = Duration::from_millis(100);
/// Longest wait at the end for threads that block.
const LAST_THREADS: Duration = Duration::from_secs(1);
/// Longest wait at the end for somebody to take the last log lines.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    let command = match Cli::read() {
        Ok(command) => command,
        Err(code) => return code,
    };
    let result = run(command);
    telemetry::flush(FLUSH_TIMEOUT);
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // Where nothing can be printed, the code is all that is left to say.
            let _ = writeln!(stderr().lock(), "cryptoserve: {failure}");
            failure.exit_code()
        }
    }
}

fn run(command: Command) -> Result<(), Failure> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Failure::failed)?;
    let result = runtime.block_on(async {
        match command {
            Command::Serve => {
                let config = Config::from_process()?;
                let traces = serve::traces(&config)?;
                let result = serve::serve(ready(config, LogWriting::Queued, traces.as_ref())?).await;
                if let Some(traces) = traces {
                    traces.stop().await;
                }
                result
            }
            Command::Migrate => migrate::migrate(configured(LogWriting::Direct)?).await,
            Command::Token(args) => token::token(configured(LogWriting::Direct)?, args).await,
            Command::Keygen => keygen::run().map_err(Failure::failed),
            Command::RewrapKeys(args) => {
                rewrap_keys::rewrap_keys(configured(LogWriting::Direct)?, args).await
            }
            Command::Healthcheck(args) => healthcheck::run(args).await.map_err(Failure::failed),
            Command::Encrypt(args) => Ok(transfer::encrypt(args).await?),
            Command::Decrypt(args) => Ok(transfer::decrypt(args).await?),
            Command::Backup(args) => backup::backup(&configured(LogWriting::Direct)?, &args),
            Command::Restore(args) => backup::restore(&configured(LogWriting::Direct)?, &args),
            Command::Doctor(args) => doctor::doctor(configured(LogWriting::Direct)?, args).await,
            Command::Audit(command) => audit::audit(configured(LogWriting::Direct)?, command).await,
            Command::Completions { shell } => completions::run(shell).map_err(Failure::failed),
        }
    });
    // A thread may hang in what the system does not answer, such as a pipe that nobody reads.
    runtime.shutdown_timeout(LAST_THREADS);
    result
}

/// The configuration, with log lines on standard error from here on.
fn configured(writing: LogWriting) -> Result<Config, Failure> {
    ready(Config::from_process()?, writing, None)
}

fn ready(config: Config, writing: LogWriting, traces: Option<&Traces>) -> Result<Config, Failure> {
    telemetry::init(&config.logging, &config.server.instance_id, stderr().is_terminal(), writing, traces)
        .map_err(Failure::failed)?;
    // The default hook prints the message of a panic, which may hold data.
    std::panic::set_hook(Box::new(|panic| {
        let location = panic.location().map(tracing::field::display);
        tracing::error!(location, "a bug: a thread panicked");
        // The process may end with it.
        telemetry::flush(PANIC_FLUSH_TIMEOUT);
    }));
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    Ok(config)
}
