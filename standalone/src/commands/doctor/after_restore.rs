//! `cryptoserve doctor --after-restore`: makes a restored database fit to serve.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufReader, Write as _};
use std::path::Path;
use std::time::Duration;

use cryptoserve_core::app::set_up;
use cryptoserve_core::clock::Clock;
use cryptoserve_core::config::{Config, Migrate};
use cryptoserve_core::contexts::{Destruction, DestructionList, DestructionListError};
use cryptoserve_core::data_dir::DestructionLog;
use cryptoserve_core::keyring::Keks;
use cryptoserve_core::recovery::{Plan, Recovered, Recovery, RecoveryError};
use cryptoserve_core::store::{self, Store};

use crate::cli::DoctorArgs;
use crate::deployment::{Opened, WithStore};
use crate::exit::Failure;

/// Some statements concern every identity or every key.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(30 * 60);

/// Does what must follow a restore, or says what that would be.
pub(super) async fn run(mut config: Config, args: DoctorArgs) -> Result<(), Failure> {
    config.database.query_timeout = STATEMENT_TIMEOUT;
    let opened = Opened::for_recovery(&config)?;
    let lists = Lists::read(&config, &args)?;
    let command = AfterRestore { config: &config, dry_run: args.dry_run, lists: &lists };
    let text = opened.with_store(&config, command).await?;
    if !args.dry_run {
        opened.clear_restored()?;
    }
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).map_err(Failure::failed)
}

/// What is known of destructions, outside of the database.
#[derive(Default)]
struct Lists {
    destructions: Vec<Destruction>,
    files: usize,
    /// What a person should know of the files.
    notes: Vec<String>,
}

impl Lists {
    fn read(config: &Config, args: &DoctorArgs) -> Result<Self, Failure> {
        let mut lists = Self::default();
        if let Some(log) = DestructionLog::of_store(&config.database) {
            let there = log.path().exists();
            lists.add(log.path(), log.read(), there)?;
        }
        for path in &args.destructions {
            let list = File::open(path).map_err(DestructionListError::from);
            lists.add(path, list.and_then(|file| DestructionList::read(BufReader::new(file))), true)?;
        }
        Ok(lists)
    }

    fn add(
        &mut self,
        path: &Path,
        list: Result<DestructionList, DestructionListError>,
        there: bool,
    ) -> Result<(), Failure> {
        let list = list.map_err(|error| Failure::failed(format!("{}: {error}", path.display())))?;
        if !list.unreadable.is_empty() {
            let lines: Vec<_> = list.unreadable.iter().take(10).map(u64::to_string).collect();
            let (count, path) = (list.unreadable.len(), path.display());
            self.notes.push(format!(
                "{path}: {count} {} no JSON and passed over (line {}{})",
                if count == 1 { "line is" } else { "lines are" },
                lines.join(", "),
                if count > lines.len() { ", …" } else { "" },
            ));
        }
        self.destructions.extend(list.destructions);
        self.files += usize::from(there);
        Ok(())
    }
}

struct AfterRestore<'a> {
    config: &'a Config,
    dry_run: bool,
    lists: &'a Lists,
}

impl WithStore for AfterRestore<'_> {
    type Output = Result<String, Failure>;

    async fn run<S: Store>(self, store: S, keks: Keks) -> Self::Output {
        let clock = Clock::system();
        // Asked first, as a database that is empty would be set up.
        match store.deployment().await {
            Ok(Some(_)) => {}
            Ok(None) | Err(store::Error::NoSchema) => return Err(Failure::failed(EMPTY)),
            Err(error) => return Err(error.into()),
        }
        let migrate = if self.dry_run { Migrate::Off } else { self.config.database.migrate };
        let deployment = set_up(&store, &keks, migrate, &clock).await?;
        let recovery = Recovery {
            store: &store,
            keks: &keks,
            deployment: &deployment,
            destructions: &self.lists.destructions,
            clock: &clock,
            instance: &self.config.server.instance_id,
        };
        let plan = recovery.plan().await?;
        let done = if self.dry_run { None } else { Some(recovery.run().await?) };
        store.close().await;
        Ok(summary(&plan, done.as_ref(), self.lists))
    }
}

const EMPTY: &str = "there is nothing in this database: restore it first, with `cryptoserve restore` or pg_restore; \
     docs/recovery.md has the commands";

fn summary(plan: &Plan, done: Option<&Recovered>, lists: &Lists) -> String {
    let mut text = String::new();
    // Writing to a text cannot fail.
    let mut line = |what: &str, value: String| {
        let _ = writeln!(text, "  {what:<11} {value}");
    };
    let identities = plan.outlook.identities;
    let have = if identities == 1 { "identity has" } else { "identities have" };
    line("tokens", format!("all that were issued before are refused: {identities} {have} a new epoch"));
    match done {
        Some(done) => line("replicas", format!("drop what they know: revision {}", done.revision.0)),
        None => line("replicas", "drop what they know: a new revision".into()),
    }
    let rotated = done.map_or(plan.outlook.counted_contexts, |done| done.rotated);
    let contexts =
        if rotated == 1 { "the key of 1 context" } else { &format!("the keys of {rotated} contexts") };
    line("rotated", format!("{contexts}, whose counted messages are not known any more"));
    let destroyed = done.map_or(plan.again, |done| done.destroyed);
    let versions = if destroyed == 1 { "version" } else { "versions" };
    let again = format!("{destroyed} key {versions} again");
    line(
        "destroyed",
        match plan.again + plan.already + plan.unknown {
            0 => again,
            recorded => format!(
                "{again}; of the {recorded} recorded, destroyed before the backup: {}, not in it: {}",
                plan.already, plan.unknown,
            ),
        },
    );
    let title = match done {
        Some(_) => "After the restore, done:\n\n",
        None => "After the restore, to be done (nothing was changed):\n\n",
    };
    text.insert_str(0, title);
    let mut notes = lists.notes.clone();
    if lists.files == 0 {
        notes.push(NO_LIST.to_owned());
    }
    if !plan.alive.is_empty() {
        notes.push(format!(
            "replicas were running on this database a moment ago, or when it was backed up: {}. If they run, stop \
             them, and run this again",
            plan.alive.join(", ")
        ));
    }
    for note in notes {
        let _ = write!(text, "\nNote: {note}.\n");
    }
    text
}

const NO_LIST: &str = "no list of destructions was found. Key versions that were destroyed after the backup are back; to \
     destroy them again, give the log lines \"a key version was destroyed\" with --destructions FILE, and run this again";

impl From<RecoveryError> for Failure {
    fn from(error: RecoveryError) -> Self {
        match error {
            RecoveryError::MissingKek(missing) => Self::configuration(missing),
            other => Self::failed(cryptoserve_core::telemetry::causes(&other)),
        }
    }
}
