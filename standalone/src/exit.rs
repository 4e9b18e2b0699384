//! How the process ends.

use std::fmt;
use std::process::ExitCode;

use cryptoserve_core::app::SetupError;
use cryptoserve_core::audit::KeysError;
use cryptoserve_core::backup::BackupError;
use cryptoserve_core::config::ConfigError;
use cryptoserve_core::data_dir::DataDirError;
use cryptoserve_core::master_key;
use cryptoserve_core::store;
use cryptoserve_core::telemetry::causes;

use crate::commands::transfer;

/// Bad configuration or usage.
const CONFIGURATION: u8 = ConfigError::EXIT_CODE;
const FAILED: u8 = 1;
/// Whether something is as it should be could not be found out.
const INCONCLUSIVE: u8 = 2;

/// Why the process ends, and with which exit code.
#[derive(Debug)]
pub(crate) struct Failure {
    code: u8,
    message: String,
}

impl Failure {
    /// Something did not work.
    pub(crate) fn failed(message: impl fmt::Display) -> Self {
        Self { code: FAILED, message: message.to_string() }
    }

    /// Something must be configured or called otherwise.
    pub(crate) fn configuration(message: impl fmt::Display) -> Self {
        Self { code: CONFIGURATION, message: message.to_string() }
    }

    /// The same, where a failure must not be taken for a finding.
    pub(crate) fn inconclusive(self) -> Self {
        Self { code: if self.code == FAILED { INCONCLUSIVE } else { self.code }, ..self }
    }

    /// For the end of `main`.
    pub(crate) fn exit_code(&self) -> ExitCode {
        self.code.into()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::configuration(error)
    }
}

impl From<DataDirError> for Failure {
    fn from(error: DataDirError) -> Self {
        Self::configuration(error)
    }
}

impl From<BackupError> for Failure {
    fn from(error: BackupError) -> Self {
        if error.is_usage() { Self::configuration(causes(&error)) } else { Self::failed(causes(&error)) }
    }
}

impl From<store::Error> for Failure {
    fn from(error: store::Error) -> Self {
        Self::failed(causes(&error))
    }
}

impl From<SetupError> for Failure {
    fn from(error: SetupError) -> Self {
        match error {
            SetupError::MissingKek(missing) => Self::configuration(missing),
            other => Self::failed(causes(&other)),
        }
    }
}

impl From<KeysError> for Failure {
    fn from(error: KeysError) -> Self {
        SetupError::from(error).into()
    }
}

impl From<master_key::Error> for Failure {
    fn from(error: master_key::Error) -> Self {
        use master_key::Error::{MissingKek, NotKnownHere};
        match error {
            NotKnownHere { .. } | MissingKek(_) => Self::configuration(error),
            other => Self::failed(causes(&other)),
        }
    }
}

impl From<transfer::Error> for Failure {
    fn from(error: transfer::Error) -> Self {
        if error.is_usage() { Self::configuration(error) } else { Self::failed(error) }
    }
}
