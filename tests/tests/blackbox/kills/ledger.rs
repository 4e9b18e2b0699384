//! What was acknowledged.

use std::collections::BTreeMap;

/// What must be true of the service whatever happens. What a request without an answer was about is taken out before it
/// is sent, and comes back with the answer.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// By name.
    pub(super) contexts: BTreeMap<String, Versions>,
    /// By id.
    pub(super) identities: BTreeMap<String, Identity>,
    pub(super) ciphertexts: Vec<Sealed>,
}

/// The versions of a context's key.
#[derive(Clone, Debug, Default)]
pub(super) struct Versions {
    /// There are this many at least.
    pub(super) count: u64,
    /// Of these it is known in which state they are; none of them is enabled.
    pub(super) states: BTreeMap<u64, &'static str>,
}

/// An identity that is there.
#[derive(Clone, Debug)]
pub(super) struct Identity {
    /// `None` once deleted.
    pub(super) enabled: Option<bool>,
}

/// A message.
#[derive(Clone, Debug)]
pub(super) struct Sealed {
    pub(super) ciphertext: String,
    pub(super) plaintext: String,
}
