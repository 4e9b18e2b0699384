use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use refinery::Runner;
use tokio::task::spawn_blocking;

use super::SqliteStore;
use super::error::Failure;
use crate::store::Error;
use crate::store::sql::schema;

#[allow(clippy::unwrap_used, missing_docs, unreachable_pub, reason = "written by refinery's macro")]
mod embedded {
    refinery::embed_migrations!("src/store/migrations/sqlite");
}

/// Migrations of this release; what a newer release added is left alone.
fn runner() -> Runner {
    embedded::migrations::runner().set_abort_missing(false)
}

pub(super) async fn migrate(store: &SqliteStore) -> Result<(), Error> {
    let lock = lock(&store.path).await?;
    match schema::check_allowed(store).await {
        Ok(()) | Err(Error::NoSchema) => {}
        Err(error) => return Err(error),
    }
    let run = move |connection: &mut _| {
        runner().run(connection)?;
        drop(lock);
        Ok(())
    };
    store.writer.run(run).await
}

pub(super) async fn check(store: &SqliteStore) -> Result<(), Error> {
    schema::check(store, schema::latest(&runner())).await
}

/// Waits until this process alone may open or migrate the file, which lasts as long as the result lives. A process that
/// dies lets go.
pub(super) async fn lock(database: &Path) -> Result<File, Failure> {
    let mut path = database.as_os_str().to_owned();
    path.push(".migrate.lock");
    let lock = move || {
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
        file.lock()?;
        Ok(file)
    };
    spawn_blocking(lock).await.map_err(Failure::Task)?.map_err(Failure::File)
}
