//! Keys of a context for something else than encryption: to sign, and to bring keys. Each has one version, whose bytes
//! are a private key in PKCS #8.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::contexts::{Context, Key, KeyState, KeyVersionRecord, KeyVersionStatus, StoredVersion};
use crate::crypto::{
    Error, Kek, KeyId, KeyType, KeyVersion, Origin, Purpose, SignatureAlgorithm, SigningKey, TransportKey,
};
use crate::secret::Secret;

/// How long a transport key can be used.
pub const TRANSPORT_KEY_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// A key of one version, without its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySummary {
    /// The context that it belongs to.
    pub context: Context,
    /// The key.
    pub key: Key,
    /// Its version.
    pub status: KeyVersionStatus,
}

impl StoredVersion {
    /// `key` as a new key of `context`, enabled.
    ///
    /// # Errors
    ///
    /// [`Error::Internal`] when no random bytes can be had or wrapping fails.
    pub fn of_signing_key(
        context: Context,
        key: &SigningKey,
        kek: &Kek,
        now: Timestamp,
    ) -> Result<Self, Error> {
        let key_type = key.algorithm().key_type();
        let check_value = key.public_key().check_value();
        let new = NewKey { purpose: Purpose::Signing, key_type, state: KeyState::Enabled };
        new.wrap(context, &key.to_pkcs8()?, check_value, kek, now)
    }

    /// `key` as a new key of `context`, whose destruction is scheduled from the start; it is to be stored with the time
    /// at which that is.
    ///
    /// # Errors
    ///
    /// [`Error::Internal`] when no random bytes can be had or wrapping fails.
    pub fn of_transport_key(
        context: Context,
        key: &TransportKey,
        kek: &Kek,
        now: Timestamp,
    ) -> Result<Self, Error> {
        let key_type = KeyType::RsaOaep3072;
        let new = NewKey { purpose: Purpose::Transport, key_type, state: KeyState::Scheduled };
        new.wrap(context, &key.to_pkcs8()?, key.check_value(), kek, now)
    }

    /// Unwraps a signing key and compares its check value.
    ///
    /// # Errors
    ///
    /// As [`StoredVersion::unwrap_key`]; [`Error::WrongKey`] also when it is no signing key.
    pub fn unwrap_signing_key(&self, kek: &Kek) -> Result<SigningKey, Error> {
        let algorithm = SignatureAlgorithm::of_key_type(self.key.key_type).ok_or(Error::WrongKey)?;
        let (pkcs8, check_value) = self.unwrap_bytes(kek)?;
        let key = SigningKey::from_pkcs8(algorithm, pkcs8.expose())?;
        key.public_key().verify_check_value(check_value)?;
        Ok(key)
    }

    /// Unwraps a transport key and compares its check value.
    ///
    /// # Errors
    ///
    /// As [`StoredVersion::unwrap_key`].
    pub fn unwrap_transport_key(&self, kek: &Kek) -> Result<TransportKey, Error> {
        let (pkcs8, check_value) = self.unwrap_bytes(kek)?;
        let key = TransportKey::from_pkcs8(pkcs8.expose())?;
        // A hash of the public key: no secret.
        if key.check_value() == *check_value { Ok(key) } else { Err(Error::WrongKey) }
    }
}

struct NewKey {
    purpose: Purpose,
    key_type: KeyType,
    state: KeyState,
}

impl NewKey {
    fn wrap(
        self,
        context: Context,
        pkcs8: &Secret<Vec<u8>>,
        check_value: [u8; 16],
        kek: &Kek,
        now: Timestamp,
    ) -> Result<StoredVersion, Error> {
        let Self { purpose, key_type, state } = self;
        let key = Key { id: KeyId::random()?, purpose, key_type, exportable: false };
        let version = KeyVersionRecord {
            version: KeyVersion::FIRST,
            state,
            origin: Origin::Generated,
            created_at: now,
        };
        StoredVersion::wrap(context, key, version, pkcs8.expose(), check_value, kek)
    }
}
