use serde::Serialize;

use super::State;
use crate::crypto::{self, Algorithm, AlgorithmSet, ContextKey, KeyId, KeyVersion, VersionKeys, envelope};

/// How encrypting and decrypting with one algorithm went.
#[derive(Serialize)]
pub(super) struct Tested {
    name: &'static str,
    pub(super) status: State,
}

/// Encrypts and decrypts with every algorithm, under a key of its own.
pub(super) fn every_algorithm() -> Vec<Tested> {
    let keys = ContextKey::generate().map(|key| VersionKeys::new(&key));
    let test = |algorithm: Algorithm| {
        let good = keys.as_ref().is_ok_and(|keys| goes_there_and_back(keys, algorithm).unwrap_or(false));
        Tested { name: algorithm.name(), status: State::of(good) }
    };
    AlgorithmSet::ALL.iter().map(test).collect()
}

fn goes_there_and_back(keys: &VersionKeys, algorithm: Algorithm) -> Result<bool, crypto::Error> {
    const MESSAGE: &[u8] = b"self-test";
    let sealed = envelope::seal(keys, algorithm, KeyId::random()?, KeyVersion::FIRST, MESSAGE, b"")?;
    Ok(**envelope::open(keys, &sealed, b"")? == *MESSAGE)
}
