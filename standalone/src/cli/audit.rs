//! The options of `audit`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use cryptoserve_core::audit::verify::Anchors;
use cryptoserve_core::audit::{Format, OutcomeFilter};
use cryptoserve_core::clock::Timestamp;
use cryptoserve_core::id::IdentityId;
use cryptoserve_core::name::Name;

const VERIFY_HELP: &str = "\
Examples:
  cryptoserve audit verify
  cryptoserve audit verify --anchor 4711:5bd4…e0
  cryptoserve audit verify --anchor /var/log/cryptoserve.ndjson
  cryptoserve audit verify --since 2026-11-01T00:00:00Z

What it looks at:
  - each chain, from its begin to its end: whether a record was changed, removed, added or moved.
    A chain is what one run of a process wrote; each record's code covers the one before it
  - the checkpoints, signed every minute: whether the ends of chains, or whole chains, are gone
  - the cuts, signed by retention: whether what is missing before them was removed by it
  - the anchors: whether checkpoints are gone, or the database is an older one

An anchor is the hash of a checkpoint, kept where nobody who can change the database can change it.
The servers log one line for each: \"audit checkpoint\", with number and hash. Without an anchor,
nobody can tell a trail whose last hours were removed, checkpoints included, from one in which
nothing happened since.

A chain that ended `crashed` was left by a process that was killed: nothing is wrong with it.

";

const VERIFY_CODES: &str = "\
Exit codes:
  0   everything is as it was written
  1   something is not; standard output says what and where
  2   it could not be verified; standard error says why
  64  the command line or the configuration is wrong";

const EXPORT_HELP: &str = "\
Examples:
  cryptoserve audit export > audit.ndjson
  cryptoserve audit export --format csv --from 2026-11-01T00:00:00Z --output november.csv
  cryptoserve audit export --outcome failure --tenant acme

Writes the oldest record first, and none that is recorded after it began. In CSV, text stands as it
was recorded: a spreadsheet may take what begins with = + - @ for a formula. The export is an audit
record itself.

";

const PUBLIC_KEY_HELP: &str = "\
Example, for whoever is to check a checkpoint's signature without the service:
  cryptoserve audit public-key > audit-key.pem

";

/// What is to be done with the audit trail.
#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// Say whether the audit trail is what was written
    ///
    /// Reads the store directly, beside servers that run, and so needs the server's configuration. Changes nothing. What is
    /// recorded while it runs is left for the next time.
    Verify(VerifyArgs),
    /// Print the public key that checkpoints and cuts are signed with
    ///
    /// Ed25519, as PEM (SubjectPublicKeyInfo), below a line with its SHA-256.
    #[command(after_help = [PUBLIC_KEY_HELP, super::EXIT_CODES].concat())]
    PublicKey,
    /// Write the records, all or some, as NDJSON or CSV
    ///
    /// Reads the store directly, beside servers that run, and so needs the server's configuration. Takes little memory,
    /// however many there are.
    Export(ExportArgs),
}

#[derive(Args, Debug)]
#[command(after_help = [VERIFY_HELP, VERIFY_CODES].concat())]
pub(crate) struct VerifyArgs {
    /// A checkpoint that is known from elsewhere, or a file of such: a server's log, or one NUMBER:HASH per line
    #[arg(long, value_name = "FILE|NUMBER:HASH", value_parser = anchor)]
    pub(crate) anchor: Vec<Anchor>,
    /// Take what the last checkpoint before this time covers as it was then, and verify the rest
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<Timestamp>,
    /// Also list the chains that ended cleanly
    #[arg(long)]
    pub(crate) all: bool,
}

/// Where anchors are.
#[derive(Clone, Debug)]
pub(crate) enum Anchor {
    Given(Anchors),
    File(PathBuf),
}

#[derive(Args, Debug)]
#[command(after_help = [EXPORT_HELP, super::EXIT_CODES].concat())]
pub(crate) struct ExportArgs {
    /// How it is written
    #[arg(long, value_name = "FORMAT", default_value = "ndjson", value_enum)]
    pub(crate) format: FormatArg,
    /// The file to make or replace, for its owner alone [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Recorded at this time (RFC 3339) or later
    #[arg(long, value_name = "TIME")]
    pub(crate) from: Option<Timestamp>,
    /// Recorded before this time [default: now]
    #[arg(long, value_name = "TIME")]
    pub(crate) to: Option<Timestamp>,
    /// Of this operation, for example `encrypt`
    #[arg(long, value_name = "NAME")]
    pub(crate) operation: Option<String>,
    /// That ended so: `success`, `failure`, or the code of an error
    #[arg(long, value_name = "OUTCOME")]
    pub(crate) outcome: Option<OutcomeFilter>,
    /// Of this tenant
    #[arg(long, value_name = "NAME")]
    pub(crate) tenant: Option<Name>,
    /// Of this identity
    #[arg(long, value_name = "ID")]
    pub(crate) identity_id: Option<IdentityId>,
    /// Of this context
    #[arg(long, value_name = "NAME")]
    pub(crate) context: Option<String>,
    /// Of this key version
    #[arg(long, value_name = "VERSION")]
    pub(crate) key_version: Option<u32>,
    /// Of this request
    #[arg(long, value_name = "ID")]
    pub(crate) request_id: Option<String>,
    /// Of this instance
    #[arg(long, value_name = "ID")]
    pub(crate) instance: Option<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum FormatArg {
    /// One JSON object per line
    Ndjson,
    /// Comma-separated values below a line of names
    Csv,
}

impl From<FormatArg> for Format {
    fn from(format: FormatArg) -> Self {
        match format {
            FormatArg::Ndjson => Self::Ndjson,
            FormatArg::Csv => Self::Csv,
        }
    }
}

/// What looks like an anchor is one; anything else is a file.
fn anchor(text: &str) -> Result<Anchor, String> {
    match text.parse() {
        Ok(anchors) => Ok(Anchor::Given(anchors)),
        Err(error) if text.split_once(':').is_some_and(|(number, _)| number.parse::<u64>().is_ok()) => {
            Err(format!("{error}"))
        }
        Err(_) => Ok(Anchor::File(text.into())),
    }
}
