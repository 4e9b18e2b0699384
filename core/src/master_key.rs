//! Master keys: which ones there are and who knows them, and the change from one to another.
//!
//! A new master key comes into use in four steps. Every replica learns it beside the old one; a [`KeyChange`] makes it the
//! active one and rewraps every key; every replica starts with it in the first place; the old one is dropped. What is
//! encrypted stays as it is, since only the wraps of keys change.

mod change;
mod overview;
#[cfg(test)]
mod tests;

pub use change::{Failed, KeyChange, Rewrapped};
pub use overview::{MasterKey, NextStep, Overview};

use crate::crypto::KekId;
use crate::keyring::MissingKek;
use crate::store::{self, REPLICA_TIMEOUT, ReplicaRecord};

/// Why a master key cannot be shown or changed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// There is no deployment yet.
    #[error("the database has not been set up: start a server on it first, or run `cryptoserve migrate`")]
    NotSetUp,
    /// This process cannot unwrap what is there.
    #[error(transparent)]
    MissingKek(#[from] MissingKek),
    /// This process does not have the key to which is to be changed.
    #[error(
        "this process does not have the master key with fingerprint {to}, only {}: check the fingerprint, or set \
         CRYPTOSERVE_MASTER_KEY_PREVIOUS to that master key, here and for every replica",
        list(known)
    )]
    NotKnownHere {
        /// What was asked for.
        to: KekId,
        /// What there is.
        known: Vec<KekId>,
    },
    /// Replicas would lose access to keys.
    #[error(
        "nothing was changed, as not every replica that is alive knows the master key with fingerprint {to}. It is lacking \
         on {}. Start {} again with that master key in CRYPTOSERVE_MASTER_KEY_PREVIOUS, then run this again; one that \
         was killed counts as alive for {} s",
        instances(replicas),
        if replicas.len() == 1 { "it" } else { "them" },
        REPLICA_TIMEOUT.as_secs()
    )]
    NotKnownEverywhere {
        /// What was asked for.
        to: KekId,
        /// Those that are alive and lack it.
        replicas: Vec<ReplicaRecord>,
    },
    /// Somebody changes to another master key.
    #[error(
        "another master key than {to} has been made the active one meanwhile: somebody else is changing it too"
    )]
    Superseded {
        /// What was asked for.
        to: KekId,
    },
    /// Two keys with one fingerprint, or a damaged row.
    #[error(
        "the database holds another check value for the master key with fingerprint {to}: its row in `keks` is damaged"
    )]
    OtherCheckValue {
        /// What was asked for.
        to: KekId,
    },
}

fn list(ids: &[KekId]) -> String {
    ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn instances(replicas: &[ReplicaRecord]) -> String {
    let instances = replicas.iter().map(|record| record.replica.instance.as_str());
    instances.collect::<Vec<_>>().join(", ")
}
