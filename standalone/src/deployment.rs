//! From the configuration to an open store and the keys for it.

use cryptoserve_core::config::{Config, DatabaseUrl, Secrets};
use cryptoserve_core::data_dir::{DataDir, ResolvedSecrets, ServerLock};
use cryptoserve_core::keyring::Keks;
use cryptoserve_core::store::Store;
use cryptoserve_core::store::postgres::{PostgresOptions, PostgresStore};
use cryptoserve_core::store::sqlite::SqliteStore;

use crate::exit::Failure;

/// What a command needs of this machine before it can open the store.
pub(crate) struct Opened {
    pub(crate) secrets: Secrets,
    data_dir: Option<DataDir>,
    /// Held as long as this lives.
    _lock: Option<ServerLock>,
}

/// What a command does with the store, whichever it is.
pub(crate) trait WithStore {
    type Output;

    fn run<S: Store>(self, store: S, keks: Keks) -> impl Future<Output = Self::Output>;
}

impl Opened {
    /// For the one server that may use an embedded store.
    pub(crate) fn for_server(config: &Config) -> Result<Self, Failure> {
        let data_dir = DataDir::of_store(&config.database)?;
        let lock = data_dir.as_ref().map(DataDir::lock_server).transpose()?;
        check_restored(data_dir.as_ref())?;
        Self::open(config, data_dir, lock)
    }

    /// For a command beside the server.
    pub(crate) fn for_command(config: &Config) -> Result<Self, Failure> {
        let data_dir = DataDir::of_store(&config.database)?;
        check_restored(data_dir.as_ref())?;
        Self::open(config, data_dir, None)
    }

    /// For a command that only changes the schema, which may also come before [`Opened::for_recovery`].
    pub(crate) fn for_migration(config: &Config) -> Result<Self, Failure> {
        Self::open(config, DataDir::of_store(&config.database)?, None)
    }

    /// For the command that makes a restored database usable, while no server runs.
    pub(crate) fn for_recovery(config: &Config) -> Result<Self, Failure> {
        if let DatabaseUrl::Sqlite(database) = &config.database.url
            && !database.exists()
        {
            return Err(Failure::configuration(format!(
                "{} does not exist: run `cryptoserve restore` first; DATA_DIR and DATABASE_URL say where the store is",
                database.display(),
            )));
        }
        let data_dir = DataDir::of_store(&config.database)?;
        let lock = data_dir.as_ref().map(DataDir::lock_server).transpose()?;
        Self::open(config, data_dir, lock)
    }

    /// Lets the others use the restored database.
    pub(crate) fn clear_restored(&self) -> Result<(), Failure> {
        Ok(self.data_dir.as_ref().map_or(Ok(()), DataDir::clear_restored)?)
    }

    fn open(config: &Config, data_dir: Option<DataDir>, lock: Option<ServerLock>) -> Result<Self, Failure> {
        let ResolvedSecrets { secrets, generated } = Secrets::resolve(config, data_dir.as_ref())?;
        if let Some(path) = generated {
            tracing::warn!(
                path = %path.display(),
                "secrets were generated; whoever loses this file loses all encrypted data: keep a copy, apart from the data"
            );
        }
        Ok(Self { secrets, data_dir, _lock: lock })
    }

    /// Opens the store and gives it to `command`.
    pub(crate) async fn with_store<C, T>(&self, config: &Config, command: C) -> Result<T, Failure>
    where
        C: WithStore<Output = Result<T, Failure>>,
    {
        let Secrets { master_key, master_key_previous, hkdf_salt, .. } = &self.secrets;
        let keks = Keks::derive(master_key, master_key_previous, hkdf_salt).map_err(Failure::failed)?;
        match &config.database.url {
            DatabaseUrl::Sqlite(path) => command.run(SqliteStore::open(path).await?, keks).await,
            DatabaseUrl::Postgres(url) => {
                let options = PostgresOptions::new(url, &config.database);
                command.run(PostgresStore::connect(&options).await?, keks).await
            }
        }
    }
}

/// Nothing uses a backup that was put in place before it was looked after.
fn check_restored(data_dir: Option<&DataDir>) -> Result<(), Failure> {
    Ok(data_dir.map_or(Ok(()), DataDir::check_restored)?)
}
