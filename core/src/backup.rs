//! Backups of the embedded store: a directory with a copy of the database and a manifest.
//!
//! | file | content |
//! | --- | --- |
//! | `cryptoserve.db` | the database at one moment |
//! | `destructions.ndjson` | which key versions were destroyed, if any were |
//! | `secrets.env` | the secrets, only if they were asked for |
//! | `manifest.json` | what the others are; written last, so that a directory without it is no backup |
//!
//! Everything here blocks.

mod error;
mod files;
mod manifest;
mod restore;
mod take;

pub use error::BackupError;
pub use manifest::Manifest;
pub use restore::restore;
pub use take::{find, take};

/// The copy of the database.
const DATABASE: &str = "cryptoserve.db";
/// The secrets, as lines `NAME=value`.
const SECRETS: &str = "secrets.env";
/// What the others are.
const MANIFEST: &str = "manifest.json";

#[cfg(test)]
mod tests;
