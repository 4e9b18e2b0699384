//! The options of `backup`, `restore` and `doctor`.

use std::path::PathBuf;

use clap::Args;

const BACKUP_HELP: &str = "\
Examples:
  cryptoserve backup --to /backups/2026-11-23
  DATA_DIR=/var/lib/cryptoserve cryptoserve backup --to \"/backups/$(date +%F)\"

What is in it: cryptoserve.db (the database at one moment), destructions.ndjson (which key
versions were destroyed, if any), manifest.json (release, schema, time, SHA-256, fingerprint of
the master key).

The keys in the database are wrapped: whoever has the backup and not the master key can decrypt
nothing, and neither can you. Keep CRYPTOSERVE_MASTER_KEY and HKDF_SALT elsewhere; they do not
change from one backup to the next. --with-secrets puts them beside the data, for a place that is
as safe as they must be.

With PostgreSQL there is pg_dump; docs/recovery.md has the commands.

";

const RESTORE_HELP: &str = "\
Example, on an empty machine, with DATA_DIR set:
  cryptoserve restore --from /backups/2026-11-23
  install -m 600 secrets.env \"$DATA_DIR/secrets.env\"
  cryptoserve doctor --after-restore
  cryptoserve

The second line puts the saved secrets in place; leave it out if the backup was made with
--with-secrets, or if CRYPTOSERVE_MASTER_KEY, HKDF_SALT and JWT_SECRET_KEY are set.

Refuses if there is a database or a running server, if the backup was altered or cut, or if this
release is too old for it. Nothing is overwritten, and the database appears whole or not at all;
when it is interrupted, run it again. Nothing may use the database before
`cryptoserve doctor --after-restore`.

What was written after the backup is lost. docs/recovery.md says what that means, and how to
restore PostgreSQL.

";

#[derive(Args, Debug)]
#[command(after_help = [BACKUP_HELP, super::EXIT_CODES].concat())]
pub(crate) struct BackupArgs {
    /// The directory to make, or an empty one; the directory in which it lies must exist
    #[arg(long, value_name = "DIRECTORY")]
    pub(crate) to: PathBuf,
    /// Put the secrets into it, too: then whoever has it can decrypt everything
    #[arg(long)]
    pub(crate) with_secrets: bool,
}

#[derive(Args, Debug)]
#[command(after_help = [RESTORE_HELP, super::EXIT_CODES].concat())]
pub(crate) struct RestoreArgs {
    /// The directory that `cryptoserve backup` made
    #[arg(long, value_name = "DIRECTORY")]
    pub(crate) from: PathBuf,
}

const DOCTOR_HELP: &str = "\
Examples:
  cryptoserve doctor
  cryptoserve doctor --replicas 6 --json              before six replicas run
  cryptoserve doctor --after-restore --dry-run        says what would be done
  cryptoserve doctor --after-restore
  cryptoserve doctor --after-restore --destructions destroyed.ndjson

Without --after-restore it changes nothing. It reads the server's configuration, asks the database
and Redis, beside servers that run, and says of each thing whether it is ok, worth a warning, or an
error, and what to do. Errors make the exit code 1.

A restored database knows nothing of what came after its backup. Before anything serves it, this
  - gives every identity a new token epoch, so that every token issued before is refused, also
    those that were issued after the backup
  - raises the revision beyond any that a replica has seen, so that one that still runs drops
    its view
  - rotates the key of every context that allows an algorithm whose messages are counted, as
    nobody knows how many there were; until then nothing more is encrypted with them
  - destroys again the key versions that were destroyed since the backup
  - makes audit records

Destructions come from DATA_DIR/destructions.ndjson with the embedded store, and from every FILE:
one JSON object per line with tenant_id, key_id, version and destroyed_at, or a log of the servers
as it is.

Run it while nothing else runs. Ended at any point, it can be run again: whatever it did stays
right. Each run ends all tokens anew, and rotates once more.

";

#[derive(Args, Debug)]
#[command(after_help = [DOCTOR_HELP, super::EXIT_CODES].concat())]
pub(crate) struct DoctorArgs {
    /// Make a restored database fit to serve
    #[arg(long)]
    pub(crate) after_restore: bool,
    /// How many replicas are to run [default: those that do]
    #[arg(long, value_name = "COUNT", conflicts_with = "after_restore", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) replicas: Option<u32>,
    /// Print what was found as JSON
    #[arg(long, conflicts_with = "after_restore")]
    pub(crate) json: bool,
    /// What was destroyed since the backup; may be given more than once
    #[arg(long, value_name = "FILE", requires = "after_restore")]
    pub(crate) destructions: Vec<PathBuf>,
    /// Only say what would be done
    #[arg(long, requires = "after_restore")]
    pub(crate) dry_run: bool,
}
