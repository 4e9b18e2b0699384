//! The command line: `cryptoserve [COMMAND]`, without one `serve`.

use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use cryptoserve_core::auth::{ContextGrant, Role};
use cryptoserve_core::config::{ConfigError, parse_duration};
use cryptoserve_core::name::Name;

mod audit;
mod recovery;
mod rewrap_keys;
mod transfer;

use crate::client::ServerUrl;
pub(crate) use audit::{Anchor, AuditCommand, ExportArgs, VerifyArgs};
pub(crate) use recovery::{BackupArgs, DoctorArgs, RestoreArgs};
pub(crate) use rewrap_keys::RewrapKeysArgs;
pub(crate) use transfer::{DecryptArgs, EncryptArgs, TransferArgs};

/// The name of the identity that `cryptoserve token` uses unless told otherwise.
const DEFAULT_IDENTITY: &str = "default";

const EXIT_CODES: &str = "\
Exit codes:
  0   done
  1   failed; standard error says why
  64  the command line or the configuration is wrong";

const AFTER_HELP: &str = "\
Examples:
  cryptoserve                                  start a server that needs no set-up
  cryptoserve token > token                    a token for it, valid for an hour; --help: for whom
  cryptoserve encrypt --context general --token-file token report.pdf
  cryptoserve decrypt --token-file token -o copy.pdf report.pdf.cs

First steps by curl, Python and Rust: docs/quickstart.md

Environment of the server (docs/configuration.md lists all):
  DATABASE_URL            the store; unset: SQLite in DATA_DIR
  DATA_DIR                directory of the embedded store [./cryptoserve-data]
  BIND_ADDR               where requests arrive [127.0.0.1:8003]
  CRYPTOSERVE_MASTER_KEY, JWT_SECRET_KEY, HKDF_SALT
                          the secrets; required with PostgreSQL, same on every replica
Environment of the client:
  CRYPTOSERVE_SERVER      address of the server [http://127.0.0.1:8003]
  CRYPTOSERVE_TOKEN       bearer token

";

/// Cryptography as a service: callers name a context, the server chooses keys and algorithms.
#[derive(Debug, Parser)]
#[command(name = "cryptoserve", version, after_help = [AFTER_HELP, EXIT_CODES].concat())]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

/// What is to be done.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start the server (also without a command)
    ///
    /// Configured by environment variables alone; docs/configuration.md lists them. Without any, it keeps its data in
    /// ./cryptoserve-data and listens on 127.0.0.1:8003. Ends on SIGTERM or Ctrl-C once requests in flight are done.
    Serve,
    /// Bring the database's schema up to date
    ///
    /// The server does this itself at start; run it as its own step where the server is started with MIGRATE=off. Any
    /// number may run at once. Reads the server's configuration.
    Migrate,
    /// Issue a token, printed on standard output
    ///
    /// Nothing else is printed there; with --refresh, a second line holds the refresh token. Works on the store
    /// directly and so needs the server's configuration, but no running server. Makes the identity if there is none of
    /// that name, and an audit record.
    Token(TokenArgs),
    /// Print fresh secrets as lines for the environment
    ///
    /// CRYPTOSERVE_MASTER_KEY, JWT_SECRET_KEY and HKDF_SALT, each of 256 random bits. Keep them: whoever loses the
    /// master key or the salt loses the data. They must be the same on every replica.
    #[command(after_help = "Example:\n  cryptoserve keygen > secrets.env && chmod 600 secrets.env")]
    Keygen,
    /// List the master keys, or wrap every key under another one
    ///
    /// Works on the store directly, beside servers that run, and so needs the server's configuration. Refuses as long
    /// as a replica that is alive does not know the new master key.
    RewrapKeys(RewrapKeysArgs),
    /// Ask a server whether it is ready; for containers, which may have no curl
    ///
    /// Exit code 0 when it answers 200 within three seconds, else 1.
    Healthcheck(HealthcheckArgs),
    /// Encrypt a file or standard input through a server
    Encrypt(EncryptArgs),
    /// Decrypt a file or standard input through a server
    Decrypt(DecryptArgs),
    /// Copy the embedded store to a directory, while a server runs
    Backup(BackupArgs),
    /// Put a backup of the embedded store in place, on a machine that has none
    Restore(RestoreArgs),
    /// Look whether a deployment is as it should be, and say what to do
    Doctor(DoctorArgs),
    /// Verify and export the audit trail
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Print a script that completes this command in a shell
    #[command(
        after_help = "Example:\n  cryptoserve completions bash > ~/.local/share/bash-completion/completions/cryptoserve"
    )]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  cryptoserve token                                     for the identity `default`, all contexts, an hour
  cryptoserve token --identity billing --contexts payment-data,user-pii --ttl 30m
  cryptoserve token --admin > admin-token               for /api/admin
  cryptoserve token --admin --tenant acme               for the administrator of another tenant
  cryptoserve token --operator                          for /api/admin/tenants
  cryptoserve token --identity billing --refresh | tail -n 1   a refresh token, for POST /api/v1/auth/refresh")]
pub(crate) struct TokenArgs {
    /// For an administrator: its contexts and identities, and everything that services may do; at most 12h
    #[arg(long, group = "holder")]
    admin: bool,
    /// For an operator, who manages tenants and other operators, and uses no key; at most 12h
    #[arg(long, group = "holder")]
    operator: bool,
    /// For a service of this name [default: default]
    #[arg(long, group = "holder", value_name = "NAME")]
    identity: Option<Name>,
    /// The tenant that its holder belongs to [default: default]
    #[arg(long, value_name = "NAME", conflicts_with = "operator")]
    pub(crate) tenant: Option<Name>,
    /// The contexts that it may use, separated by commas; `*` is all, also later ones [default: as the identity, a new
    /// one `*`]
    #[arg(long, value_name = "NAMES", value_parser = contexts, conflicts_with = "operator")]
    pub(crate) contexts: Option<ContextGrant>,
    /// How long the token is valid: 30m, 12h, 90d; a plain number is seconds
    #[arg(long, value_name = "DURATION", value_parser = ttl, default_value = "1h")]
    pub(crate) ttl: Duration,
    /// Also make a refresh token, printed on a second line; for services alone, and at most 20 of each
    #[arg(long, conflicts_with_all = ["admin", "operator"])]
    pub(crate) refresh: bool,
}

impl TokenArgs {
    /// The role of the token's identity.
    pub(crate) fn role(&self) -> Role {
        match (self.admin, self.operator) {
            (true, _) => Role::Admin,
            (_, true) => Role::Operator,
            _ => Role::Service,
        }
    }

    /// The name of the token's identity; that of an administrator or operator is the role's.
    pub(crate) fn name(&self) -> Name {
        let role = self.role();
        let name = if role == Role::Service { DEFAULT_IDENTITY } else { role.name() };
        self.identity.clone().unwrap_or_else(|| name.parse().expect("these are valid names"))
    }
}

#[derive(Args, Debug)]
pub(crate) struct HealthcheckArgs {
    /// What to ask [default: /health/ready at the port of BIND_ADDR on this machine]
    #[arg(long)]
    pub(crate) url: Option<ServerUrl>,
}

impl Cli {
    /// Reads this process' arguments. Where there is nothing to do, for help, the version or a mistake, the text has
    /// been printed, and the error is the code to exit with.
    pub(crate) fn read() -> Result<Command, ExitCode> {
        match Self::try_parse() {
            Ok(cli) => Ok(cli.command.unwrap_or(Command::Serve)),
            Err(error) => {
                let code = if error.use_stderr() { ConfigError::EXIT_CODE } else { 0 };
                // Where nothing can be printed, the code is all that is left to say.
                let _ = error.print();
                Err(code.into())
            }
        }
    }
}

fn contexts(text: &str) -> Result<ContextGrant, String> {
    if text == "*" {
        return Ok(ContextGrant::All);
    }
    let names = text.split(',').map(|name| name.trim().parse::<Name>()).collect::<Result<_, _>>();
    names.map(ContextGrant::Named).map_err(|error| error.to_string())
}

/// As [`parse_duration`], and with days, which mean 24 hours here.
fn ttl(text: &str) -> Result<Duration, &'static str> {
    let days = text.trim().strip_suffix('d').and_then(|days| days.trim().parse::<u32>().ok());
    let ttl = match days {
        Some(days) => Duration::from_secs(u64::from(days) * 24 * 60 * 60),
        None => parse_duration(text)?,
    };
    if ttl.is_zero() { Err("must be longer than nothing") } else { Ok(ttl) }
}

#[cfg(test)]
mod tests;
