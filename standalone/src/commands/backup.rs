//! `cryptoserve backup` and `cryptoserve restore`: the embedded store, out of its directory and back.

use std::fmt::Write as _;
use std::io::Write as _;

use cryptoserve_core::backup::{self, Manifest};
use cryptoserve_core::clock::Clock;
use cryptoserve_core::config::{Config, DatabaseUrl, Secrets};
use cryptoserve_core::data_dir::DataDir;
use cryptoserve_core::keyring::Keks;

use crate::cli::{BackupArgs, RestoreArgs};
use crate::exit::Failure;

/// Makes a backup while a server may run, and says what is not in it.
pub(crate) fn backup(config: &Config, args: &BackupArgs) -> Result<(), Failure> {
    if let DatabaseUrl::Sqlite(database) = &config.database.url {
        // Asked first, as a directory that is not there would be made.
        backup::find(database)?;
    }
    let data_dir = embedded(config, "back it up with pg_dump")?;
    let secrets = match args.with_secrets {
        true => Some(Secrets::resolve(config, Some(&data_dir))?.secrets),
        false => None,
    };
    let manifest = backup::take(&data_dir, &args.to, secrets.as_ref(), Clock::system().now())?;
    say(&taken(&manifest, args, secrets.as_ref()))
}

/// Puts a backup in place, and says what comes next.
pub(crate) fn restore(config: &Config, args: &RestoreArgs) -> Result<(), Failure> {
    let data_dir = embedded(config, "restore it with pg_restore")?;
    let lock = data_dir.lock_server()?;
    let manifest = backup::restore(&args.from, &data_dir, &lock)?;
    // Only now, as secrets are made where there is no database.
    let secrets = Secrets::resolve(config, Some(&data_dir));
    let wrong = match &secrets {
        Ok(resolved) => lacks(&resolved.secrets, &manifest)?,
        Err(error) => Some(error.to_string()),
    };
    say(&restored(&manifest, &data_dir, wrong.as_deref()))
}

/// The directory of the embedded store.
fn embedded(config: &Config, instead: &str) -> Result<DataDir, Failure> {
    let data_dir = DataDir::of_store(&config.database)?;
    data_dir.ok_or_else(|| {
        Failure::configuration(format!(
            "DATABASE_URL names PostgreSQL, and this command is for the embedded store: {instead}; \
             docs/recovery.md has the commands"
        ))
    })
}

/// What these secrets lack to open the database.
fn lacks(secrets: &Secrets, manifest: &Manifest) -> Result<Option<String>, Failure> {
    let Secrets { master_key, master_key_previous, hkdf_salt, .. } = secrets;
    let keks = Keks::derive(master_key, master_key_previous, hkdf_salt).map_err(Failure::failed)?;
    let lacking =
        manifest.fingerprints().find(|needed| !keks.ids().iter().any(|id| id.to_string() == **needed));
    Ok(lacking.map(|fingerprint| {
        format!(
            "The master key and salt of this configuration are not the backup's: it needs the fingerprint \
             {fingerprint}."
        )
    }))
}

fn taken(manifest: &Manifest, args: &BackupArgs, secrets: Option<&Secrets>) -> String {
    let mut text = format!(
        "Backup made: {}\n\n  database     {} bytes, SHA-256 {}\n  release      {}, schema {}\n  master key   fingerprint {}\n\n",
        args.to.display(),
        manifest.database_bytes,
        manifest.database_sha256,
        manifest.release,
        manifest.schema_version,
        fingerprints(manifest),
    );
    let others = manifest.other_master_key_fingerprints.join(", ");
    text += match secrets {
        None => {
            "NOT in it, keep copies elsewhere:\n\n  \
             CRYPTOSERVE_MASTER_KEY, HKDF_SALT   without them nothing of it can ever be decrypted\n  \
             JWT_SECRET_KEY                      without it a new one is needed, and new tokens\n"
        }
        Some(_) => {
            "The secrets are in it: whoever has this directory can decrypt everything, so keep it as safe as \
             they must be.\n"
        }
    };
    if !others.is_empty() && secrets.is_none() {
        // Writing to a text cannot fail.
        let _ = writeln!(
            text,
            "\nNOT in it either: the master keys of CRYPTOSERVE_MASTER_KEY_PREVIOUS, under which some keys are \
             still wrapped ({others})."
        );
    }
    text
}

fn restored(manifest: &Manifest, data_dir: &DataDir, wrong: Option<&str>) -> String {
    let mut text = format!(
        "Restored {} from the backup of {} (release {}, schema {}, master key {}).\n\n",
        data_dir.database_file().display(),
        manifest.created_at,
        manifest.release,
        manifest.schema_version,
        fingerprints(manifest),
    );
    if let Some(wrong) = wrong {
        let _ = writeln!(text, "{wrong}\n");
    }
    text += "Next: `cryptoserve doctor --after-restore`. No server starts on this database before.\n";
    text
}

fn fingerprints(manifest: &Manifest) -> String {
    manifest.fingerprints().cloned().collect::<Vec<_>>().join(", ")
}

fn say(text: &str) -> Result<(), Failure> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).map_err(Failure::failed)
}
