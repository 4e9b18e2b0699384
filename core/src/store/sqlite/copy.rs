//! Copies of the database file, and what a copy says of itself.

use std::path::Path;

use rusqlite::{Connection, OpenFlags};
use url::Url;

use super::connections;
use super::error::Failure;
use crate::crypto::KekId;
use crate::store::Error;
use crate::store::sql::{damaged, schema};

/// Writes a copy of the database into the empty file `target`: all of one moment, while others go on to use it.
///
/// Blocks. The copy is not yet on the disk: the caller has to sync it.
///
/// # Errors
///
/// [`Error::Unavailable`] when it cannot be read or written, [`Error::Invalid`] when it is damaged.
pub fn copy_into(database: &Path, target: &Path) -> Result<(), Error> {
    let target = target.to_str().ok_or_else(|| Failure::File(std::io::ErrorKind::InvalidFilename.into()))?;
    let connection = connections::connect(database)?;
    connection.execute("VACUUM INTO ?1", [target]).map_err(Failure::Sqlite)?;
    connection.close().map_err(|(_, error)| Failure::Sqlite(error))?;
    Ok(())
}

/// What a database file says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspected {
    /// The number of its last migration.
    pub schema_version: u32,
    /// The oldest release that may run on it.
    pub oldest_release: String,
    /// Wraps new keys.
    pub active_kek: KekId,
    /// The others that some key is wrapped under.
    pub other_keks: Vec<KekId>,
}

impl Inspected {
    /// Checks every page and every reference of a database that nobody else uses, and reads it. Writes nothing, and
    /// makes no files beside it. Blocks.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] when it is damaged or none of ours, [`Error::NoSchema`] when it was never migrated.
    pub fn read(file: &Path) -> Result<Self, Error> {
        let inspected = Self::read_from(&open_unchanging(file)?);
        inspected.map_err(|error| match error {
            // Of a query that always has a row: nothing was ever set up in it.
            Failure::Sqlite(rusqlite::Error::QueryReturnedNoRows) => Error::NoSchema,
            error => error.into(),
        })
    }

    fn read_from(connection: &Connection) -> Result<Self, Failure> {
        let text = |sql| connection.query_row(sql, [], |row| row.get::<_, String>(0));
        if text("PRAGMA integrity_check(1)")? != "ok" {
            return Err(damaged("integrity_check").into());
        }
        if connection.prepare("PRAGMA foreign_key_check")?.exists([])? {
            return Err(damaged("foreign_key_check").into());
        }
        let version = "SELECT max(version) FROM refinery_schema_history";
        let active_kek = kek(connection, "SELECT active_kek FROM deployment")?;
        let mut others = connection.prepare(
            "SELECT DISTINCT kek_id FROM wrapped_keys WHERE kek_id <> (SELECT active_kek FROM deployment) \
             ORDER BY kek_id",
        )?;
        let others = others.query_map([], |row| row.get(0))?;
        Ok(Self {
            schema_version: connection.query_row(version, [], |row| row.get(0))?,
            oldest_release: text("SELECT oldest_release FROM schema_compat")?,
            active_kek,
            other_keks: others.map(|id| id.map(KekId)).collect::<Result<_, _>>()?,
        })
    }

    /// Whether this release may run on it.
    ///
    /// # Errors
    ///
    /// [`Error::TooOld`] if not.
    pub fn check_release(&self) -> Result<(), Error> {
        schema::check_release(env!("CARGO_PKG_VERSION"), self.oldest_release.clone())
    }
}

fn kek(connection: &Connection, sql: &str) -> Result<KekId, rusqlite::Error> {
    connection.query_row(sql, [], |row| row.get(0).map(KekId))
}

/// A connection that takes no locks and looks for no log, since nobody else has the file.
fn open_unchanging(file: &Path) -> Result<Connection, Failure> {
    let absolute = std::path::absolute(file).map_err(Failure::File)?;
    let mut url =
        Url::from_file_path(absolute).map_err(|()| Failure::File(std::io::ErrorKind::InvalidInput.into()))?;
    url.set_query(Some("mode=ro&immutable=1"));
    let flags =
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Ok(Connection::open_with_flags(url.as_str(), flags)?)
}
