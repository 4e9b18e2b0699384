use std::fs::Permissions;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use cryptoserve_core::audit::{ChainWriter, Filter, Format, Order, Outcome, Record};
use cryptoserve_core::clock::Clock;
use cryptoserve_core::config::Config;
use cryptoserve_core::keyring::Keks;
use cryptoserve_core::store::Store;
use tempfile::NamedTempFile;

use super::progress::Progress;
use crate::cli::ExportArgs;
use crate::deployment::{Opened, WithStore};
use crate::exit::Failure;

/// Records that are read at once.
const PAGE: u32 = 1000;
/// Who did what is for those who may know.
const MODE: u32 = 0o600;

/// Writes the records that are asked for.
pub(super) async fn export(config: &Config, args: ExportArgs) -> Result<(), Failure> {
    Opened::for_command(config)?.with_store(config, Export { config, args, clock: Clock::system() }).await
}

struct Export<'a> {
    config: &'a Config,
    args: ExportArgs,
    clock: Clock,
}

impl WithStore for Export<'_> {
    type Output = Result<(), Failure>;

    async fn run<S: Store>(self, store: S, keks: Keks) -> Self::Output {
        store.check_schema().await?;
        let instance = &self.config.server.instance_id;
        let mut trail = ChainWriter::for_command(&store, &keks, instance, &self.clock).await?;
        let filter = self.filter(&store).await?;
        let (tenant, format) = (filter.tenant, self.args.format.into());
        let mut out = Out::create(self.args.output.as_deref()).map_err(Failure::failed)?;
        let result = self.write(&store, &filter, format, &mut out).await;
        let (records, outcome) = match &result {
            Ok(records) => (*records, Outcome::Success),
            Err((records, _)) => (*records, Outcome::Failure("incomplete")),
        };
        let record = Record {
            at: self.clock.now(),
            instance: instance.as_str().into(),
            request_id: String::new(),
            tenant,
            identity: None,
            operation: "command.audit-export",
            context: None,
            key_version: None,
            outcome,
            items: 1,
            failed: 0,
            bytes: 0,
            address: None,
            detail: Some(format!("{records} records")),
        };
        // Before the file has its name: a whole export that nobody knows of must not exist.
        trail.append(vec![record]).await?;
        trail.end().await?;
        store.close().await;
        result.map_err(|(_, failure)| failure)?;
        out.keep(self.args.output.as_deref()).map_err(Failure::failed)
    }
}

impl Export<'_> {
    async fn filter<S: Store>(&self, store: &S) -> Result<Filter, Failure> {
        let args = &self.args;
        let tenant = match &args.tenant {
            Some(name) => {
                let record = store.tenant(name).await?;
                Some(record.ok_or_else(|| Failure::failed(format!("there is no tenant `{name}`")))?.tenant.id)
            }
            None => None,
        };
        let now = store.database_time().await?;
        Ok(Filter {
            tenant,
            from: args.from,
            to: Some(args.to.map_or(now, |to| to.min(now))),
            operation: args.operation.clone(),
            outcome: args.outcome.clone(),
            identity: args.identity_id,
            context: args.context.clone(),
            key_version: args.key_version,
            request_id: args.request_id.clone(),
            instance: args.instance.clone(),
        })
    }

    /// How many records it wrote, in any case.
    async fn write<S: Store>(
        &self,
        store: &S,
        filter: &Filter,
        format: Format,
        out: &mut Out,
    ) -> Result<u64, (u64, Failure)> {
        let progress = Progress::show();
        let mut records = 0;
        out.write(&format.head()).map_err(|error| (records, Failure::failed(error)))?;
        let mut after = None;
        loop {
            let page = filter.page(store, Order::OldestFirst, after, PAGE, 1).await;
            let page = page.map_err(|error| (records, error.into()))?;
            let lines = format.lines(&page.records);
            lines.and_then(|lines| out.write(&lines)).map_err(|error| (records, Failure::failed(error)))?;
            records += page.records.len() as u64;
            progress.add(page.records.len() as u64);
            after = page.next;
            if after.is_none() {
                return Ok(records);
            }
        }
    }
}

/// Where it is written to. A file appears whole or not at all.
enum Out {
    Stdout,
    File(NamedTempFile),
}

impl Out {
    fn create(path: Option<&Path>) -> io::Result<Self> {
        let Some(path) = path else { return Ok(Self::Stdout) };
        let directory = path.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new("."));
        let mut file = tempfile::Builder::new();
        file.prefix(".cryptoserve-").permissions(Permissions::from_mode(MODE));
        file.tempfile_in(directory).map(Self::File)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Stdout => {
                let mut stdout = io::stdout().lock();
                stdout.write_all(bytes).and_then(|()| stdout.flush())
            }
            Self::File(file) => file.write_all(bytes),
        }
    }

    fn keep(self, path: Option<&Path>) -> io::Result<()> {
        match (self, path) {
            (Self::File(file), Some(path)) => {
                file.as_file().sync_all()?;
                file.persist(path).map(drop).map_err(|error| error.error)
            }
            _ => Ok(()),
        }
    }
}
