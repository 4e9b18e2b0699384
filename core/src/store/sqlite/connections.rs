use std::fmt;
use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::functions::{Context, FunctionFlags};
use rusqlite::{Connection, OpenFlags};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use super::error::Failure;
use crate::clock::Clock;
use crate::store::Error;

/// How long to wait for another process's write, and for a free connection of this one.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// At most so many connections, opened when first needed.
pub(super) struct Connections {
    path: Arc<PathBuf>,
    free: Mutex<Vec<Connection>>,
    permits: Arc<Semaphore>,
    size: usize,
}

impl Connections {
    pub(super) fn new(path: Arc<PathBuf>, size: usize, first: Option<Connection>) -> Self {
        let free = Mutex::new(first.into_iter().collect());
        Self { path, free, permits: Arc::new(Semaphore::new(size)), size }
    }

    /// Runs `work` on a connection that nobody else uses meanwhile, to its end even if the caller gives up.
    pub(super) async fn run<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&mut Connection) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Error> {
        let permit = tokio::time::timeout(BUSY_TIMEOUT, self.permits.clone().acquire_owned());
        let permit = permit.await.map_err(|_| Failure::Busy)?.map_err(|_| Failure::Closed)?;
        let connections = self.clone();
        let task = spawn_blocking(move || {
            let mut connection = connections.take()?;
            let result = work(&mut connection);
            connections.give_back(connection);
            drop(permit);
            result
        });
        Ok(task.await.map_err(Failure::Task)??)
    }

    /// Waits for what is running and closes every connection; what comes later fails.
    pub(super) async fn close(self: &Arc<Self>) {
        let all = u32::try_from(self.size).unwrap_or(u32::MAX);
        let idle = self.permits.acquire_many(all).await.is_ok();
        self.permits.close();
        let connections = self.clone();
        // The last connection to close writes the log back into the file.
        if idle && spawn_blocking(move || connections.lock().clear()).await.is_err() {
            tracing::warn!("closing the database was interrupted");
        }
    }

    fn take(&self) -> Result<Connection, Failure> {
        let free = self.lock().pop();
        free.map_or_else(|| connect(&self.path), Ok)
    }

    fn give_back(&self, connection: Connection) {
        self.lock().push(connection);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        // A list of idle connections is valid whatever happened to the thread that held it.
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connections")
            .field("path", &self.path)
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}

/// Makes the file if it does not exist, and connects. To be called by one process at a time.
pub(super) async fn create(path: Arc<PathBuf>) -> Result<Connection, Failure> {
    spawn_blocking(move || create_blocking(&path)).await.map_err(Failure::Task)?
}

fn create_blocking(path: &Path) -> Result<Connection, Failure> {
    // Not opened if it exists: closing it again would drop the locks of SQLite's own connections in this process.
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(Failure::File(error)),
        _ => {}
    }
    let connection = connect(path)?;
    // Kept in the file. SQLite gives the log and the shared memory beside it the mode of the file.
    connection.pragma_update(None, "journal_mode", "WAL")?;
    Ok(connection)
}

pub(super) fn connect(path: &Path) -> Result<Connection, Failure> {
    // Neither SQLITE_OPEN_CREATE, as a file that went away must not come back empty, nor SQLITE_OPEN_URI.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    // FULL: what was committed survives a loss of power, which NORMAL does not promise with a write-ahead log.
    connection.execute_batch("PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;")?;
    // What is deleted is overwritten: a destroyed key leaves nothing in the file.
    connection.pragma_update(None, "secure_delete", true)?;
    let now = |_: &Context<'_>| Ok(i64::try_from(Clock::system().now().as_micros()).unwrap_or(i64::MAX));
    connection.create_scalar_function("now", 0, FunctionFlags::SQLITE_UTF8, now)?;
    // There is one file and no server that could be another one.
    let start = |_: &Context<'_>| Ok(0);
    connection.create_scalar_function("pg_postmaster_start_time", 0, FunctionFlags::SQLITE_UTF8, start)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}
