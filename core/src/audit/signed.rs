use super::Keys;
use crate::crypto::{self, KeyId};

/// An Ed25519 signature (RFC 8032) by the deployment's audit key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signature {
    /// Which key.
    pub key: KeyId,
    /// The signature.
    pub bytes: [u8; 64],
}

impl Signature {
    pub(super) fn new(keys: &Keys, message: &[u8]) -> Result<Self, crypto::Error> {
        Ok(Self { key: keys.signing_key_id(), bytes: keys.sign(message)? })
    }

    /// Confirms that it is one of `message` by this key.
    pub(super) fn verify(&self, keys: &Keys, message: &[u8]) -> Result<(), crypto::Error> {
        if self.key != keys.signing_key_id() {
            return Err(crypto::Error::WrongKey);
        }
        keys.public_key().verify_raw(message, &self.bytes)
    }
}
