//! The `cryptoserve` command.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod banner;
mod cli;
mod client;
mod commands;
mod deployment;
mod exit;
mod metrics;
mod server;
#[cfg(test)]
mod test_server;

use std::io::{IsTerminal, Write, stderr};
use std::process::ExitCode;

use cli::{Cli, Command};
use commands::{
    backup, completions, doctor, healthcheck, keygen, migrate, rewrap_keys, serve, token, transfer,
};
use cryptoserve_core::config::Config;
use cryptoserve_core::telemetry;
use exit::Failure;

fn main() -> ExitCode {
    let command = match Cli::read() {
        Ok(command) => command,
        Err(code) => return code,
    };
    match run(command) {
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
    runtime.block_on(async {
        match command {
            Command::Serve => serve::serve(configured()?).await,
            Command::Migrate => migrate::migrate(configured()?).await,
            Command::Token(args) => token::token(configured()?, args).await,
            Command::Keygen => keygen::run().map_err(Failure::failed),
            Command::RewrapKeys(args) => rewrap_keys::rewrap_keys(configured()?, args).await,
            Command::Healthcheck(args) => healthcheck::run(args).await.map_err(Failure::failed),
            Command::Encrypt(args) => Ok(transfer::encrypt(args).await?),
            Command::Decrypt(args) => Ok(transfer::decrypt(args).await?),
            Command::Backup(args) => backup::backup(&configured()?, &args),
            Command::Restore(args) => backup::restore(&configured()?, &args),
            Command::Doctor(args) => doctor::doctor(configured()?, args).await,
            Command::Completions { shell } => completions::run(shell).map_err(Failure::failed),
        }
    })
}

/// The configuration, with log lines on standard error from here on.
fn configured() -> Result<Config, Failure> {
    let config = Config::from_process()?;
    telemetry::init(&config.logging, &config.server.instance_id, stderr().is_terminal())
        .map_err(Failure::failed)?;
    // The default hook prints the message of a panic, which may hold data.
    std::panic::set_hook(Box::new(|panic| {
        let location = panic.location().map(tracing::field::display);
        tracing::error!(location, "a bug: a thread panicked");
    }));
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    Ok(config)
}
