//! Where state is kept, and how connections to it are pooled.
//!
//! `DATABASE_URL`, `DATA_DIR`, `DB_POOL_SIZE`, `DB_MAX_OVERFLOW`, `DB_POOL_RECYCLE`, `DB_POOL_TIMEOUT`,
//! `DB_QUERY_TIMEOUT`, `MIGRATE`, and `CRYPTOSERVE_IMAGE`, which the container image sets.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use super::environment::Environment;
use super::postgres_url::PostgresUrl;
use super::setting::{Parse, Setting, words};
use crate::data_dir::is_on_mounted_volume;

/// `DATA_DIR`.
pub const DEFAULT_DATA_DIR: &str = "./cryptoserve-data";
/// The embedded store's file in `DATA_DIR`, where `DATABASE_URL` does not say otherwise.
pub const DEFAULT_DATABASE_FILE: &str = "cryptoserve.db";
/// `DB_POOL_SIZE`.
pub const DEFAULT_DB_POOL_SIZE: u32 = 10;
/// `DB_MAX_OVERFLOW`.
pub const DEFAULT_DB_MAX_OVERFLOW: u32 = 20;
/// `DB_POOL_RECYCLE`.
pub const DEFAULT_DB_POOL_RECYCLE: Duration = Duration::from_secs(3600);
/// `DB_POOL_TIMEOUT`.
pub const DEFAULT_DB_POOL_TIMEOUT: Duration = Duration::from_secs(5);
/// `DB_QUERY_TIMEOUT`.
pub const DEFAULT_DB_QUERY_TIMEOUT: Duration = Duration::from_secs(2);
/// `MIGRATE`.
pub const DEFAULT_MIGRATE: Migrate = Migrate::Auto;

pub(super) const VARIABLES: &[&str] = &[
    "DATABASE_URL",
    "DATA_DIR",
    "DB_POOL_SIZE",
    "DB_MAX_OVERFLOW",
    "DB_POOL_RECYCLE",
    "DB_POOL_TIMEOUT",
    "DB_QUERY_TIMEOUT",
    "MIGRATE",
    "CRYPTOSERVE_IMAGE",
];

/// Where state is kept.
#[derive(Clone, Debug)]
pub struct Database {
    /// Which store.
    pub url: DatabaseUrl,
    /// The directory of the embedded store and of generated secrets; unused with PostgreSQL.
    pub data_dir: PathBuf,
    /// Connections that are kept.
    pub pool_size: u32,
    /// Connections beyond those under load, closed again when idle.
    pub max_overflow: u32,
    /// The age at which a connection is closed.
    pub pool_recycle: Duration,
    /// How long a request waits for a connection before 503.
    pub pool_timeout: Duration,
    /// How long a statement may take, by this side's clock, before 503; such a connection is dropped.
    pub query_timeout: Duration,
    /// Who changes the schema.
    pub migrate: Migrate,
}

/// Which store, and where it is.
#[derive(Clone, Debug)]
pub enum DatabaseUrl {
    /// PostgreSQL, for any number of replicas.
    Postgres(Box<PostgresUrl>),
    /// The embedded store's file, for one process.
    Sqlite(PathBuf),
}

/// Who changes the schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Migrate {
    /// Each server at start, under a lock.
    Auto,
    /// `cryptoserve migrate`, as a step of its own.
    Off,
}

words!(Migrate, "must be auto or off", "auto" => Self::Auto, "off" => Self::Off);
words!(bool, "must be 1 or 0", "1" | "true" => true, "0" | "false" => false);

impl Parse for DatabaseUrl {
    fn parse(text: &str) -> Result<Self, &'static str> {
        if let Some(path) = text.strip_prefix("sqlite://") {
            return sqlite_path(path).map(Self::Sqlite);
        }
        let (scheme, rest) = text.split_once("://").unwrap_or_default();
        // `postgresql+asyncpg`: a URL written for a Python service names its driver.
        match scheme.split('+').next() {
            Some("postgres" | "postgresql") => {
                PostgresUrl::parse(rest).map(|url| Self::Postgres(Box::new(url)))
            }
            _ => Err("must start with postgres://, postgresql:// or sqlite://"),
        }
    }
}

fn sqlite_path(path: &str) -> Result<PathBuf, &'static str> {
    // Two connections to `:memory:` are two databases, and the store has several.
    if path.is_empty() || path.ends_with('/') || path.starts_with(':') || path.contains('?') {
        return Err("must name a file after sqlite://, with no parameters");
    }
    Ok(path.into())
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Variables {
    database_url: Setting<DatabaseUrl>,
    data_dir: Setting<PathBuf>,
    db_pool_size: Setting<u32>,
    db_max_overflow: Setting<u32>,
    db_pool_recycle: Setting<Duration>,
    db_pool_timeout: Setting<Duration>,
    db_query_timeout: Setting<Duration>,
    migrate: Setting<Migrate>,
    cryptoserve_image: Setting<bool>,
}

impl Database {
    pub(super) fn read(env: &mut Environment) -> Self {
        const MILLISECOND: Duration = Duration::from_millis(1);
        const MINUTE: Duration = Duration::from_secs(60);
        const DAY: Duration = Duration::from_secs(24 * 3600);

        let vars: Variables = env.read(VARIABLES);
        let url = env.optional("DATABASE_URL", vars.database_url);
        let data_dir = env.optional("DATA_DIR", vars.data_dir);
        let in_image = env.value("CRYPTOSERVE_IMAGE", vars.cryptoserve_image, false);
        let (url, data_dir) = place(env, url, data_dir, in_image);
        Self {
            url,
            data_dir,
            pool_size: env.within("DB_POOL_SIZE", vars.db_pool_size, DEFAULT_DB_POOL_SIZE, 1..=1000),
            max_overflow: env.within(
                "DB_MAX_OVERFLOW",
                vars.db_max_overflow,
                DEFAULT_DB_MAX_OVERFLOW,
                0..=1000,
            ),
            pool_recycle: env.within(
                "DB_POOL_RECYCLE",
                vars.db_pool_recycle,
                DEFAULT_DB_POOL_RECYCLE,
                Duration::from_secs(1)..=7 * DAY,
            ),
            pool_timeout: env.within(
                "DB_POOL_TIMEOUT",
                vars.db_pool_timeout,
                DEFAULT_DB_POOL_TIMEOUT,
                MILLISECOND..=5 * MINUTE,
            ),
            query_timeout: env.within(
                "DB_QUERY_TIMEOUT",
                vars.db_query_timeout,
                DEFAULT_DB_QUERY_TIMEOUT,
                MILLISECOND..=5 * MINUTE,
            ),
            migrate: env.value("MIGRATE", vars.migrate, DEFAULT_MIGRATE),
        }
    }
}

/// The embedded store lives in `DATA_DIR`: one directory is locked, checked and backed up.
fn place(
    env: &mut Environment,
    url: Option<DatabaseUrl>,
    data_dir: Option<PathBuf>,
    in_image: bool,
) -> (DatabaseUrl, PathBuf) {
    let or_default = |directory: Option<PathBuf>| directory.unwrap_or_else(|| DEFAULT_DATA_DIR.into());
    let (file, data_dir) = match url {
        Some(url @ DatabaseUrl::Postgres(_)) => return (url, or_default(data_dir)),
        None => {
            let data_dir = or_default(data_dir);
            (data_dir.join(DEFAULT_DATABASE_FILE), data_dir)
        }
        Some(DatabaseUrl::Sqlite(file)) => {
            let parent = match file.parent() {
                Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
                _ => ".".into(),
            };
            if data_dir.as_ref().is_some_and(|data_dir| !same_directory(data_dir, &parent)) {
                env.problem(
                    "DATABASE_URL",
                    "must name a file directly in DATA_DIR, or one of the two be left unset",
                );
            }
            (file, parent)
        }
    };
    if in_image && !env.is_bad("DATABASE_URL") && !is_on_mounted_volume(&data_dir) {
        env.problem(
            "DATA_DIR",
            "must be on a mounted volume: what a container writes elsewhere is lost with it",
        );
    }
    (DatabaseUrl::Sqlite(file), data_dir)
}

fn same_directory(a: &Path, b: &Path) -> bool {
    match (std::path::absolute(a), std::path::absolute(b)) {
        (Ok(a), Ok(b)) => a == b,
        _ => a == b,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sqlite_urls_name_a_file() {
        for (text, path) in [
            ("sqlite://data/a.db", "data/a.db"),
            ("sqlite://./data/a.db", "./data/a.db"),
            ("sqlite:///var/lib/cs/a.db", "/var/lib/cs/a.db"),
        ] {
            assert!(
                matches!(DatabaseUrl::parse(text), Ok(DatabaseUrl::Sqlite(p)) if p == Path::new(path)),
                "{text}"
            );
        }
        for text in
            ["sqlite://", "sqlite:a.db", "sqlite://:memory:", "sqlite://data/", "sqlite://a.db?mode=ro"]
        {
            assert!(DatabaseUrl::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn postgres_urls_may_name_a_driver() {
        for scheme in ["postgres", "postgresql", "postgresql+asyncpg", "postgresql+psycopg2", "postgres+x"] {
            let url = DatabaseUrl::parse(&format!("{scheme}://u@h/d"));
            assert!(matches!(url, Ok(DatabaseUrl::Postgres(url)) if url.hosts() == ["h:5432"]), "{scheme}");
        }
        for text in ["mysql://u@h/d", "postgres:u@h/d", "h/d", "postgrest://u@h/d", "postgresql://"] {
            assert!(DatabaseUrl::parse(text).is_err(), "{text}");
        }
    }
}
