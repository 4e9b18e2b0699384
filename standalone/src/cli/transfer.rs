//! The options of `encrypt` and `decrypt`.

use std::path::PathBuf;

use clap::Args;
use cryptoserve_core::name::Name;

use crate::client::{InvalidServerUrl, ServerUrl};

const DEFAULT_SERVER: &str = "http://127.0.0.1:8003";

const TOKEN_HELP: &str = "\
Token:
  Comes from --token-file or from the environment variable CRYPTOSERVE_TOKEN. There is no option
  for the token itself: every user of this machine can read the arguments of its processes.

";

const ENCRYPT_EXAMPLES: &str = "\
Examples:
  cryptoserve encrypt --context general report.pdf              makes report.pdf.cs
  cryptoserve encrypt --context backup-data -o db.cs < db.dump
  pg_dump app | cryptoserve encrypt --context backup-data > app.cs
  cryptoserve encrypt --context user-pii --associated-data customer-17 photo.jpg

";

const DECRYPT_EXAMPLES: &str = "\
Examples:
  cryptoserve decrypt report.pdf.cs                             makes report.pdf
  cryptoserve decrypt < app.cs | psql app
  cryptoserve decrypt --associated-data customer-17 -o photo.jpg photo.jpg.cs

An altered, cut or extended ciphertext never ends as success: no file is made, and the exit code is
1. What was written to a pipe by then is authentic, but only the beginning: look at the exit code.

";

#[derive(Args, Debug)]
#[command(after_help = [ENCRYPT_EXAMPLES, TOKEN_HELP, super::EXIT_CODES].concat())]
pub(crate) struct EncryptArgs {
    /// The context whose key is used
    #[arg(long, value_name = "NAME")]
    pub(crate) context: Name,
    #[command(flatten)]
    pub(crate) transfer: TransferArgs,
}

#[derive(Args, Debug)]
#[command(after_help = [DECRYPT_EXAMPLES, TOKEN_HELP, super::EXIT_CODES].concat())]
pub(crate) struct DecryptArgs {
    /// Fail unless the ciphertext belongs to this context; the ciphertext itself says which
    #[arg(long, value_name = "NAME")]
    pub(crate) context: Option<Name>,
    #[command(flatten)]
    pub(crate) transfer: TransferArgs,
}

/// What both have in common.
#[derive(Args, Debug)]
pub(crate) struct TransferArgs {
    /// What to read; `-` or nothing is standard input
    #[arg(value_name = "IN")]
    pub(crate) input: Option<PathBuf>,
    /// What to write; `-` is standard output [default: IN with `.cs` added or taken off]
    ///
    /// Made whole or not at all. A ciphertext gets the usual mode, a plaintext is for its owner only.
    #[arg(short, long, value_name = "OUT")]
    pub(crate) output: Option<PathBuf>,
    /// Replace an existing output
    #[arg(short, long)]
    pub(crate) force: bool,
    /// What the ciphertext is bound to, needed again to decrypt; `@file` is a file's content
    ///
    /// Not encrypted, and not a secret: a record's id, a file's name.
    #[arg(long, value_name = "TEXT")]
    pub(crate) associated_data: Option<String>,
    /// Address of the server
    #[arg(long, value_name = "URL", env = "CRYPTOSERVE_SERVER", default_value = DEFAULT_SERVER, value_parser = server)]
    pub(crate) server: ServerUrl,
    /// File that holds the bearer token
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
}

/// An empty variable counts as unset, as everywhere else.
fn server(text: &str) -> Result<ServerUrl, InvalidServerUrl> {
    if text.is_empty() { DEFAULT_SERVER.parse() } else { text.parse() }
}
