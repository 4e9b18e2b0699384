//! Configuration from the environment, read once at start. docs/configuration.md describes every variable for users.
//!
//! | concern | variables |
//! | --- | --- |
//! | [`server`] | `BIND_ADDR`, `METRICS_BIND_ADDR`, `INSTANCE_ID`, `TRUSTED_PROXIES`, `FORWARDED_HEADER`, `SHUTDOWN_DELAY`, `SHUTDOWN_TIMEOUT`, `HTTP_IDLE_TIMEOUT`, `MAX_BODY_BYTES`, `MAX_INFLIGHT_BYTES` |
//! | [`database`] | `DATABASE_URL`, `DATA_DIR`, `DB_POOL_SIZE`, `DB_MAX_OVERFLOW`, `DB_POOL_RECYCLE`, `DB_POOL_TIMEOUT`, `DB_QUERY_TIMEOUT`, `MIGRATE`, `CRYPTOSERVE_IMAGE` |
//! | [`redis`] | `REDIS_URL` |
//! | [`auth`] | `JWT_SECRET_KEY`, `JWT_SECRET_KEY_PREVIOUS`, `JWT_ISSUER`, `JWT_AUDIENCE`, `JWT_JWKS_URL` |
//! | [`crypto`] | `CRYPTOSERVE_MASTER_KEY`, `CRYPTOSERVE_MASTER_KEY_PREVIOUS`, `HKDF_SALT` |
//! | [`keyring`] | `KEYRING_MAX_STALENESS` |
//! | [`limits`] | `RATE_LIMIT_IP`, `RATE_LIMIT_IDENTITY`, `RATE_LIMIT_CONTEXT`, `RATE_LIMIT_ON_REDIS_FAILURE`, `RATE_LIMIT_LOCAL_SHARE` |
//! | [`audit`] | `AUDIT_MODE`, `AUDIT_QUEUE_BYTES`, `AUDIT_RETENTION_DAYS`, `AUDIT_SINK`, `AUDIT_SINK_FILE` |
//! | [`logging`] | `LOG_FORMAT`, `LOG_LEVEL`, `LOG_LEVEL_FILE`, `LOG_SAMPLE`, `LOG_SLOW_REQUEST` |
//! | [`traces`] | `OTEL_EXPORTER_OTLP_ENDPOINT`, `OTEL_EXPORTER_OTLP_HEADERS`, `OTEL_SERVICE_NAME`, `OTEL_TRACES_SAMPLER_ARG` |
//! | [`tls`] | `TLS_CERT_FILE`, `TLS_KEY_FILE`, `TLS_CLIENT_CA_FILE` |
//!
//! `DATABASE_URL`, `REDIS_URL` and the secrets may stand in a file instead, named by the variable with `_FILE`
//! appended. An empty variable counts as unset. Every mistake is reported at once, and no value ever.

use std::ffi::OsString;
use std::fmt;
use std::time::Duration;

pub mod audit;
pub mod auth;
pub mod crypto;
pub mod database;
mod environment;
pub mod keyring;
mod known;
pub mod limits;
pub mod logging;
mod postgres_url;
pub mod redis;
mod secret_file;
mod secrets;
pub mod server;
mod setting;
pub mod tls;
pub mod traces;
mod weakness;

pub use audit::{Audit, AuditMode, AuditSink};
pub use auth::{Auth, IdentityProvider};
pub use crypto::Crypto;
pub use database::{Database, DatabaseUrl, Migrate};
pub use environment::Problem;
pub use keyring::Keyring;
pub use limits::{Limits, LocalShare, OnRedisFailure, RateLimit};
pub use logging::{LogFormat, Logging};
pub use postgres_url::{PostgresUrl, SslMode};
pub use redis::{Redis, RedisFlavour, RedisUrl};
pub use secret_file::SecretFile;
pub use secrets::{SecretName, Secrets, generate_env_lines};
pub use server::{ForwardedHeader, Server};
pub use tls::Tls;
pub use traces::Tracing;

pub(crate) use crypto::MASTER_KEY_PREVIOUS;
pub(crate) use secrets::Partial;

use environment::Environment;
use setting::Parse;

/// Everything the environment says.
#[derive(Clone, Debug)]
pub struct Config {
    /// Listeners, names and sizes.
    pub server: Server,
    /// The store.
    pub database: Database,
    /// Shared limits.
    pub redis: Redis,
    /// What tokens are signed with, and by whom.
    pub auth: Auth,
    /// What keys are wrapped with.
    pub crypto: Crypto,
    /// The in-memory view of the store.
    pub keyring: Keyring,
    /// Default limits.
    pub limits: Limits,
    /// The audit trail.
    pub audit: Audit,
    /// Log lines.
    pub logging: Logging,
    /// TLS of the listener, if it speaks TLS.
    pub tls: Option<Tls>,
    /// Where traces go, if anywhere.
    pub tracing: Option<Tracing>,
    /// What is allowed but worth a line in the log; holds no values.
    pub warnings: Vec<String>,
}

impl Config {
    /// Reads this process' environment. It writes nothing, but reads the files that `_FILE` variables name.
    pub fn from_process() -> Result<Self, ConfigError> {
        Self::from_vars(std::env::vars_os())
    }

    /// Reads `vars`, pairs of name and value, as [`Config::from_process`] reads the process' own.
    pub fn from_vars<N, V>(vars: impl IntoIterator<Item = (N, V)>) -> Result<Self, ConfigError>
    where
        N: Into<OsString>,
        V: Into<OsString>,
    {
        let mut env = Environment::new(vars.into_iter().map(|(name, value)| (name.into(), value.into())));
        let server = Server::read(&mut env);
        let database = Database::read(&mut env);
        let redis = Redis::read(&mut env);
        let auth = Auth::read(&mut env);
        let crypto = Crypto::read(&mut env);
        let keyring = Keyring::read(&mut env);
        let limits = Limits::read(&mut env);
        let audit = Audit::read(&mut env, &database.data_dir);
        let logging = Logging::read(&mut env);
        let tls = Tls::read(&mut env);
        let tracing = Tracing::read(&mut env);
        check_secrets(&mut env);
        let warnings = env.finish().map_err(|problems| ConfigError { problems })?;
        Ok(Self {
            server,
            database,
            redis,
            auth,
            crypto,
            keyring,
            limits,
            audit,
            logging,
            tls,
            tracing,
            warnings,
        })
    }
}

/// Reads a duration as variables hold it (`500ms`, `30s`, `2m`, `1h`; a plain number is seconds), for options of commands.
///
/// # Errors
///
/// Continues the name of what held the text: "must be …".
pub fn parse_duration(text: &str) -> Result<Duration, &'static str> {
    Duration::parse(text)
}

/// What concerns more than one of the secrets.
fn check_secrets(env: &mut Environment) {
    // By its start, so that a mistake further on in the URL does not hide the missing secrets.
    let with_postgres = env.text("DATABASE_URL").is_some_and(|url| url.starts_with("postgres"));
    for name in SecretName::ALL {
        let variable = name.variable();
        if with_postgres && env.text(variable).is_none() && !env.is_bad(variable) {
            let expected = name.expected();
            env.problem(
                variable,
                format!("is required with PostgreSQL: {expected}, as `cryptoserve keygen` prints"),
            );
        }
        let twin = |other: &SecretName| *other != name && env.text(other.variable()) == env.text(variable);
        if env.text(variable).is_some() && !env.is_bad(variable) && SecretName::ALL.iter().any(twin) {
            env.problem(variable, "must differ from the other secrets");
        }
    }
}

/// Everything that is wrong with the environment. `Display` is one message that names every bad variable and no value;
/// the process then ends with [`ConfigError::EXIT_CODE`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    problems: Vec<Problem>,
}

impl ConfigError {
    /// `EX_USAGE` of sysexits.h.
    pub const EXIT_CODE: u8 = 64;

    /// Each mistake; never empty.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the configuration has mistakes:")?;
        self.problems.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
    }
}

impl std::error::Error for ConfigError {}

#[cfg(test)]
mod tests;
