//! Why a transfer did not happen, or not wholly.

use std::io;
use std::path::PathBuf;

use crate::client::{self, Refusal};

/// Why nothing, or nothing whole, was written. The text is for a person and holds no secret.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// There is no token.
    #[error("a token is needed: give --token-file or set CRYPTOSERVE_TOKEN (`cryptoserve token` makes one)")]
    NoToken,
    /// What should be a token is none; its text is not shown.
    #[error("what {0} holds is no token: it must be one line of printable characters")]
    BadToken(&'static str),
    /// A file of the command line cannot be read.
    #[error("cannot read {}: {cause}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// The input cannot be read, or changed meanwhile.
    #[error("cannot read the input: {0}")]
    Input(io::Error),
    /// The output cannot be written.
    #[error("cannot write the output: {0}")]
    Output(io::Error),
    /// The name does not say what the plaintext is called.
    #[error("{} does not end in .cs: name the output with -o", .0.display())]
    NoSuffix(PathBuf),
    /// Bytes would go to a terminal.
    #[error("{0}")]
    Terminal(&'static str),
    /// There is one already.
    #[error("{} exists; --force replaces it", .0.display())]
    Exists(PathBuf),
    /// Not to be replaced by a file.
    #[error("{} is not a regular file; write to standard output with `-o -` instead", .0.display())]
    NotAFile(PathBuf),
    /// The input would be replaced.
    #[error("{} is the input; name another output with -o", .0.display())]
    SameFile(PathBuf),
    /// No reply, or the connection broke before it began.
    #[error(transparent)]
    Client(#[from] client::Error),
    /// The server refuses.
    #[error("{0}")]
    Refused(Refusal),
    /// The reply's end cannot be told from a broken connection.
    #[error(
        "the reply has no length, so that its end could not be told from a broken connection; a proxy may have changed it"
    )]
    NoLength,
    /// The reply broke off.
    #[error("the reply broke off{0}; the output is not complete")]
    Incomplete(&'static str),
    /// A thread cannot be started.
    #[error("cannot start a thread: {0}")]
    Thread(io::Error),
    /// Signals cannot be waited for.
    #[error("cannot wait for signals: {0}")]
    Signals(io::Error),
    /// Somebody wanted it to end.
    #[error("interrupted")]
    Interrupted,
}

impl Error {
    /// Whether another command line or environment is what it takes.
    pub(crate) const fn is_usage(&self) -> bool {
        matches!(
            self,
            Self::NoToken | Self::BadToken(_) | Self::NoSuffix(_) | Self::Terminal(_) | Self::SameFile(_)
        )
    }
}
