//! Secrets that the environment does not give: `secrets.env` in the data directory, made once.

use std::fs::{File, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use tempfile::PersistError;
use zeroize::Zeroizing;

use super::{DataDir, DataDirError, FILE_MODE, check_private};
use crate::config::{Config, MASTER_KEY_PREVIOUS, Partial, SecretName, Secrets, generate_env_lines};

const SECRETS_FILE: &str = "secrets.env";
/// Far above the few lines of it.
const MAX_BYTES: u64 = 64 * 1024;

/// The secrets of this deployment.
#[derive(Clone, Debug)]
pub struct ResolvedSecrets {
    /// All of them.
    pub secrets: Secrets,
    /// The file that this call made, if it did: the operator must be told that losing it loses the data.
    pub generated: Option<PathBuf>,
}

impl Secrets {
    /// The secrets of the environment, completed from `data_dir`, where missing ones are made at first start. However
    /// many processes start together, all of them come to the same.
    ///
    /// Without a directory nothing may be missing, which [`Config`] has made sure of with PostgreSQL.
    pub fn resolve(config: &Config, data_dir: Option<&DataDir>) -> Result<ResolvedSecrets, DataDirError> {
        let mut partial = Partial { auth: config.auth.clone(), crypto: config.crypto.clone() };
        let missing = partial.missing();
        let generated = match data_dir {
            Some(data_dir) if !missing.is_empty() => data_dir.complete(&mut partial, &missing)?,
            _ => None,
        };
        let secrets = partial.complete().map_err(|missing| DataDirError::SecretsMissing { missing })?;
        Ok(ResolvedSecrets { secrets, generated })
    }
}

impl DataDir {
    /// Where generated secrets are kept.
    pub fn secrets_file(&self) -> PathBuf {
        self.path.join(SECRETS_FILE)
    }

    /// Fills in what is missing, and says which file was made for it.
    fn complete(
        &self,
        partial: &mut Partial,
        missing: &[SecretName],
    ) -> Result<Option<PathBuf>, DataDirError> {
        let path = self.secrets_file();
        // Looked at first: who makes a database has made its secrets before.
        let has_database =
            self.database_file.try_exists().map_err(|source| self.io(&self.database_file, source))?;
        let mut generated = None;
        let text = match self.read_secrets()? {
            Some(text) => text,
            None if has_database => {
                let database = self.database_file.clone();
                return Err(DataDirError::SecretsLost { database, secrets: path, missing: missing.to_vec() });
            }
            None => {
                let made = self.write_secrets(generate_env_lines(missing).expose());
                generated = made.map_err(|source| self.io(&path, source))?.then(|| path.clone());
                self.read_secrets()?.ok_or_else(|| self.io(&path, io::ErrorKind::NotFound.into()))?
            }
        };
        fill(partial, missing, &text).map_err(|reason| DataDirError::SecretsDamaged { path, reason })?;
        Ok(generated)
    }

    /// The content of the secrets file, if there is one.
    fn read_secrets(&self) -> Result<Option<Zeroizing<String>>, DataDirError> {
        let path = self.secrets_file();
        let file = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            result => result.map_err(|source| self.io(&path, source))?,
        };
        check_private(&path)?;
        let mut text = Zeroizing::new(String::new());
        match file.take(MAX_BYTES).read_to_string(&mut text) {
            Ok(_) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                Err(DataDirError::SecretsDamaged { path, reason: "is not text".into() })
            }
            Err(source) => Err(self.io(&path, source)),
        }
    }

    /// Writes the secrets file whole and durably; `false` if another process was first.
    fn write_secrets(&self, lines: &str) -> io::Result<bool> {
        let mut draft = tempfile::Builder::new()
            .prefix(SECRETS_FILE)
            .permissions(Permissions::from_mode(FILE_MODE))
            .tempfile_in(&self.path)?;
        draft.write_all(lines.as_bytes())?;
        draft.as_file().sync_all()?;
        let was_first = match draft.persist_noclobber(self.secrets_file()) {
            Ok(_) => true,
            Err(PersistError { error, .. }) if error.kind() == io::ErrorKind::AlreadyExists => false,
            Err(PersistError { error, .. }) => return Err(error),
        };
        // Also by who came second: it goes on to use them.
        File::open(&self.path)?.sync_all()?;
        Ok(was_first)
    }
}

/// Reads lines `NAME=value`; blank ones and those that start with `#` are skipped. What the environment sets is left
/// as it is; further master keys are added to those that it sets.
fn fill(partial: &mut Partial, missing: &[SecretName], text: &str) -> Result<(), String> {
    // Every cut shows: in a line, here; between two, by the names that are missing.
    if !text.ends_with('\n') {
        return Err("does not end with a line break, so it may be cut".into());
    }
    let mut seen = Vec::new();
    for (i, line) in
        text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'))
    {
        let number = i + 1;
        let (name, value) =
            line.split_once('=').ok_or_else(|| format!("has no NAME=value in line {number}"))?;
        if seen.contains(&name) {
            return Err(format!("has a second {name} in line {number}"));
        }
        let filled = match SecretName::ALL.into_iter().find(|known| known.variable() == name) {
            Some(name) if missing.contains(&name) => partial.fill(name, value),
            Some(_) => Ok(()),
            None if name == MASTER_KEY_PREVIOUS => partial.add_master_keys(value),
            None => return Err(format!("has an unknown name in line {number}")),
        };
        filled.map_err(|expected| format!("has a bad value in line {number}: {name} {expected}"))?;
        seen.push(name);
    }
    let lacks = partial.missing();
    if lacks.is_empty() { Ok(()) } else { Err(format!("lacks {}", super::list(&lacks))) }
}
