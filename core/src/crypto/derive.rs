//! The key hierarchy: what is derived from the master key, and what from a context key. HKDF-SHA256, RFC 5869.

use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;

use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Prk, Salt};
use subtle::ConstantTimeEq;

use super::aead::AeadKey;
use super::xaes::XaesKey;
use super::{Algorithm, Error, MacAlgorithm, MacKey, random};
use crate::secret::Secret;

/// Names a key-encryption key, and by it the master key: its fingerprint, written as 16 hexadecimal characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KekId(pub [u8; 8]);

impl fmt::Display for KekId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for KekId {
    type Err = Error;

    /// Accepts 16 hexadecimal characters; anything else is [`Error::Malformed`].
    fn from_str(text: &str) -> Result<Self, Error> {
        let mut id = [0; 8];
        hex::decode_to_slice(text, &mut id).map_err(|_| Error::Malformed("not a fingerprint"))?;
        Ok(Self(id))
    }
}

/// A key-encryption key, under which stored keys are wrapped (see [`wrap`](super::wrap)).
pub struct Kek {
    id: KekId,
    check_value: [u8; 32],
    key: XaesKey,
}

impl Kek {
    /// Derives the key-encryption key of a master key. `salt` belongs to the deployment and never changes.
    ///
    /// # Errors
    /// [`Error::Internal`] if the library fails.
    pub fn derive(master: &Secret<[u8; 32]>, salt: &[u8]) -> Result<Self, Error> {
        let prk = Salt::new(HKDF_SHA256, salt).extract(master.expose());
        let mut key = Secret::new([0; 32]);
        expand(&prk, &[b"cryptoserve/v1/kek"], key.expose_mut())?;
        let mut id = KekId([0; 8]);
        expand(&prk, &[b"cryptoserve/v1/kek-id"], &mut id.0)?;
        let mut check_value = [0; 32];
        expand(&prk, &[b"cryptoserve/v1/kek-check"], &mut check_value)?;
        Ok(Self { id, check_value, key: XaesKey::new(key.expose())? })
    }

    /// The fingerprint: the same for every replica with the same master key and salt.
    pub fn id(&self) -> KekId {
        self.id
    }

    /// A value that only this key has and that tells nothing about it, stored once for each fingerprint.
    pub fn check_value(&self) -> [u8; 32] {
        self.check_value
    }

    /// The cipher that wraps.
    pub(super) fn cipher(&self) -> &XaesKey {
        &self.key
    }
}

impl fmt::Debug for Kek {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Kek({})", self.id)
    }
}

/// The random key of one version of a context, from which the keys that are really used are derived.
// Boxed, so that moving it leaves no copies behind.
#[derive(Clone)]
pub struct ContextKey(Box<Secret<[u8; 32]>>);

impl ContextKey {
    /// A fresh key.
    ///
    /// # Errors
    /// [`Error::Internal`] if there is no randomness.
    pub fn generate() -> Result<Self, Error> {
        let mut key = Self(Box::default());
        random::fill(key.0.expose_mut())?;
        Ok(key)
    }

    /// Takes up a stored key, as unwrapped.
    ///
    /// # Errors
    /// [`Error::Malformed`] unless `bytes` has 32 bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        if bytes.len() != 32 {
            return Err(Error::Malformed("wrong key length"));
        }
        let mut key = Self(Box::default());
        key.0.expose_mut().copy_from_slice(bytes);
        Ok(key)
    }

    /// The key itself, for wrapping.
    pub fn expose(&self) -> &[u8; 32] {
        self.0.expose()
    }

    /// A value that only this key has and that tells nothing about it, stored beside the wrapped key.
    ///
    /// # Errors
    /// [`Error::Internal`] if the library fails.
    pub fn check_value(&self) -> Result<[u8; 16], Error> {
        let mut value = [0; 16];
        self.derive("kcv", 0, &mut value)?;
        Ok(value)
    }

    /// Confirms that this is the key whose check value was stored.
    ///
    /// # Errors
    /// [`Error::WrongKey`] if it is not; [`Error::Internal`] if the library fails.
    pub fn verify_check_value(&self, stored: &[u8]) -> Result<(), Error> {
        let equal = self.check_value()?.ct_eq(stored);
        if equal.into() { Ok(()) } else { Err(Error::WrongKey) }
    }

    /// HKDF-Expand with the info `cryptoserve/v1/` ‖ purpose ‖ 0x00 ‖ algorithm number.
    fn derive(&self, purpose: &str, algorithm_id: u8, out: &mut [u8]) -> Result<(), Error> {
        let prk = Prk::new_less_safe(HKDF_SHA256, self.expose());
        expand(&prk, &[b"cryptoserve/v1/", purpose.as_bytes(), &[0, algorithm_id]], out)
    }
}

impl fmt::Debug for ContextKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ContextKey(..)")
    }
}

/// Everything derived from one context key, each derived at its first use and kept.
///
/// Shared between threads. All of it is wiped from memory when dropped: ours by us, the library's by the library.
pub struct VersionKeys {
    key: ContextKey,
    aead: [OnceLock<AeadKey>; Algorithm::ALL.len()],
    stream: OnceLock<Box<Secret<[u8; 32]>>>,
    // Boxed, as such a key has more than a kilobyte, and few contexts use it.
    mac: [OnceLock<Box<MacKey>>; MacAlgorithm::ALL.len()],
}

impl VersionKeys {
    /// The keys below `key`.
    pub fn new(key: &ContextKey) -> Self {
        Self { key: key.clone(), aead: Default::default(), stream: OnceLock::new(), mac: Default::default() }
    }

    /// The key for messages with `algorithm`.
    ///
    /// # Errors
    /// [`Error::Internal`] if the library fails at the first use.
    pub fn aead(&self, algorithm: Algorithm) -> Result<&AeadKey, Error> {
        let place = &self.aead[usize::from(algorithm.id()) - 1];
        get_or_try_init(place, || {
            let mut key = Secret::new([0; 32]);
            let key = &mut key.expose_mut()[..algorithm.key_len()];
            self.key.derive("aead", algorithm.id(), key)?;
            AeadKey::new(algorithm, key)
        })
    }

    /// The input key for [streams](super::stream).
    ///
    /// # Errors
    /// [`Error::Internal`] if the library fails at the first use.
    pub(super) fn stream(&self) -> Result<&[u8; 32], Error> {
        let key = get_or_try_init(&self.stream, || {
            let mut key = Box::<Secret<[u8; 32]>>::default();
            self.key.derive("stream", Algorithm::Aes256Gcm.id(), key.expose_mut())?;
            Ok(key)
        })?;
        Ok(key.expose())
    }

    /// The key for tags with `algorithm`.
    ///
    /// # Errors
    /// [`Error::Internal`] if the library fails at the first use.
    pub fn mac(&self, algorithm: MacAlgorithm) -> Result<&MacKey, Error> {
        let place = &self.mac[usize::from(algorithm.id()) - 1];
        get_or_try_init(place, || {
            let mut key = Secret::new([0; 64]);
            let key = &mut key.expose_mut()[..algorithm.tag_len()];
            self.key.derive("mac", algorithm.id(), key)?;
            MacKey::new(algorithm, key).map(Box::new)
        })
        .map(Box::as_ref)
    }
}

impl fmt::Debug for VersionKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("VersionKeys(..)")
    }
}

/// Fills `out` by HKDF-Expand; the parts of `info` are concatenated.
pub(crate) fn expand(prk: &Prk, info: &[&[u8]], out: &mut [u8]) -> Result<(), Error> {
    struct Length(usize);
    impl KeyType for Length {
        fn len(&self) -> usize {
            self.0
        }
    }
    prk.expand(info, Length(out.len())).and_then(|okm| okm.fill(out)).map_err(Error::internal)
}

/// The standard library's method of this name is not stable yet. Of two threads that race, one's value is kept;
/// both values are equal, being derived from the same key.
fn get_or_try_init<T>(place: &OnceLock<T>, make: impl FnOnce() -> Result<T, Error>) -> Result<&T, Error> {
    if let Some(value) = place.get() {
        return Ok(value);
    }
    let value = make()?;
    Ok(place.get_or_init(|| value))
}

#[cfg(test)]
mod tests;
