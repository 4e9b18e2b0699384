//! `cryptoserve encrypt` and `cryptoserve decrypt`: files and pipes of any length through a server's stream routes.
//!
//! Memory stays flat: one thread reads, one writes, and the exchange in between sends and receives at the same time. An
//! output file appears whole, under its name, once the reply has ended as it should; otherwise nothing is left.

use std::io::{self, IsTerminal};
use std::path::PathBuf;

use cryptoserve_core::name::Name;
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::{DecryptArgs, EncryptArgs, TransferArgs};

mod associated_data;
mod error;
mod exchange;
mod input;
mod output;
mod progress;
mod sink;
mod source;
mod token;

pub(crate) use error::Error;
use exchange::Exchange;
use input::Input;
use output::Output;
use sink::Sink;

/// Which way a transfer goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    Encrypt,
    Decrypt,
}

/// Encrypts as `args` say.
pub(crate) async fn encrypt(args: EncryptArgs) -> Result<(), Error> {
    run(Direction::Encrypt, Some(args.context), args.transfer).await
}

/// Decrypts as `args` say.
pub(crate) async fn decrypt(args: DecryptArgs) -> Result<(), Error> {
    run(Direction::Decrypt, args.context, args.transfer).await
}

async fn run(direction: Direction, context: Option<Name>, args: TransferArgs) -> Result<(), Error> {
    let exchange = Exchange {
        direction,
        server: args.server,
        token: token::read(args.token_file.as_deref(), std::env::var_os(token::VARIABLE))?,
        context,
        associated_data: associated_data::read(args.associated_data.as_deref())?,
    };
    let paths = Paths { input: args.input, output: args.output, force: args.force };
    tokio::select! {
        // First, so that signals are waited for before there is a file. Dropping the transfer removes it.
        biased;
        signal = interrupted() => Err(signal.map_or_else(Error::Signals, |()| Error::Interrupted)),
        result = transfer(&exchange, &paths) => result,
    }
}

/// What the command line says of files.
struct Paths {
    input: Option<PathBuf>,
    output: Option<PathBuf>,
    force: bool,
}

async fn transfer(exchange: &Exchange, paths: &Paths) -> Result<(), Error> {
    let direction = exchange.direction;
    let input = Input::open(paths.input.as_deref())?;
    let destination = output::decide(
        direction,
        input.path.as_deref(),
        paths.output.as_deref(),
        io::stdout().is_terminal(),
    )?;
    let output = Output::create(direction, destination, &input, paths.force)?;

    let progress = progress::show(input.length, io::stderr().is_terminal());
    let (body, sent) = source::start(input.file, input.length, progress.bar())?;
    let sink = Sink::start(output.file()?)?;
    exchange.run(body, &sent, sink).await?;
    output.keep()
}

/// Waits until somebody wants this process to end.
async fn interrupted() -> io::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests;
