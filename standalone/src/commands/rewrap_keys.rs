//! `cryptoserve rewrap-keys`: the master keys, and the change from one to another.

mod listing;
mod progress;

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};

use cryptoserve_core::audit::{ChainWriter, Outcome, Record};
use cryptoserve_core::clock::Clock;
use cryptoserve_core::config::Config;
use cryptoserve_core::crypto::KekId;
use cryptoserve_core::keyring::Keks;
use cryptoserve_core::master_key::{Error, Failed, KeyChange, Overview, Rewrapped};
use cryptoserve_core::store::Store;

use crate::cli::RewrapKeysArgs;
use crate::deployment::{Opened, WithStore};
use crate::exit::Failure;
use progress::Progress;

/// Keys that are named when they cannot be rewrapped; of further ones the number is told.
const NAMED: usize = 20;

/// Lists the master keys, or changes to the one of `args`.
pub(crate) async fn rewrap_keys(config: Config, args: RewrapKeysArgs) -> Result<(), Failure> {
    let opened = Opened::for_command(&config)?;
    match args.to {
        None => opened.with_store(&config, List).await,
        Some(to) => {
            let instance = config.server.instance_id.as_str().into();
            opened.with_store(&config, Change { to, instance, clock: Clock::system() }).await
        }
    }
}

struct List;

impl WithStore for List {
    type Output = Result<(), Failure>;

    async fn run<S: Store>(self, store: S, keks: Keks) -> Self::Output {
        store.check_schema().await?;
        let overview = Overview::read(&store, &keks).await?;
        store.close().await;
        say(listing::text(&overview))
    }
}

struct Change {
    to: KekId,
    instance: std::sync::Arc<str>,
    clock: Clock,
}

impl WithStore for Change {
    type Output = Result<(), Failure>;

    async fn run<S: Store>(self, store: S, keks: Keks) -> Self::Output {
        store.check_schema().await?;
        let result = self.change(&store, &keks).await;
        store.close().await;
        result
    }
}

impl Change {
    async fn change<S: Store>(&self, store: &S, keks: &Keks) -> Result<(), Failure> {
        let to = self.to;
        let change = KeyChange::prepare(store, keks, to).await?;
        let mut trail = ChainWriter::for_command(store, keks, &self.instance, &self.clock).await?;
        let activated = change.activate(self.clock.now()).await?;
        if activated {
            trail.append(vec![self.record(format!("{to} is the active master key"), 1, 0)]).await?;
            say(format_args!("{to} is the active master key now: new keys are wrapped under it.\n"))?;
        } else {
            say(format_args!("{to} is the active master key already.\n"))?;
        }
        let left = change.left().await?;
        let rewrapped = if left == 0 { Rewrapped::default() } else { rewrap(&change, left).await? };
        let Rewrapped { keys, failed } = &rewrapped;
        if *keys > 0 || !failed.is_empty() {
            let detail = format!("{keys} keys rewrapped under master key {to}, {} failed", failed.len());
            let record = self.record(detail, keys + failed.len() as u64, failed.len() as u64);
            trail.append(vec![record]).await?;
            say(format_args!("{keys} keys were rewrapped.\n"))?;
        }
        trail.end().await?;
        match change.left().await? {
            0 => {
                let nothing = if activated || *keys > 0 { "" } else { "Nothing was left to do. " };
                say(format_args!("{nothing}Every key is wrapped under {to}.\n"))?;
                say(listing::advice(&Overview::read(store, keks).await?))
            }
            left => Err(Failure::failed(Incomplete { left, failed })),
        }
    }

    fn record(&self, detail: String, items: u64, failed: u64) -> Record {
        Record {
            at: self.clock.now(),
            instance: self.instance.clone(),
            request_id: String::new(),
            // The master key is that of all tenants.
            tenant: None,
            identity: None,
            operation: "command.rewrap-keys",
            context: None,
            key_version: None,
            outcome: if failed == 0 { Outcome::Success } else { Outcome::Failure("incomplete") },
            items: u32::try_from(items).unwrap_or(u32::MAX),
            failed: u32::try_from(failed).unwrap_or(u32::MAX),
            bytes: 0,
            address: None,
            detail: Some(detail),
        }
    }
}

async fn rewrap<S: Store>(change: &KeyChange<'_, S>, left: u64) -> Result<Rewrapped, Error> {
    let mut progress = Progress::new(left, io::stderr().is_terminal());
    change.rewrap(|through| progress.set(through)).await
}

/// Why some keys are still wrapped under another master key.
struct Incomplete<'a> {
    left: u64,
    failed: &'a [Failed],
}

impl Display for Incomplete<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} keys are still wrapped under another master key, so keep that", self.left)?;
        if self.failed.is_empty() {
            return write!(f, ", and run this again");
        }
        write!(f, ". These rows could not be rewrapped; restore them from a backup, then run this again:")?;
        for Failed { id, reason } in self.failed.iter().take(NAMED) {
            write!(f, "\n  tenant {}, key {}, version {}: {reason}", id.tenant, id.key, id.version)?;
        }
        match self.failed.len().saturating_sub(NAMED) {
            0 => Ok(()),
            more => write!(f, "\n  and {more} more"),
        }
    }
}

fn say(text: impl Display) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    write!(stdout, "{text}").and_then(|()| stdout.flush()).map_err(Failure::failed)
}
