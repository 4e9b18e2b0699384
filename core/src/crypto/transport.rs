//! Transport of keys between deployments and into ours: `CKM_RSA_AES_KEY_WRAP` of PKCS #11, which tools for hardware
//! modules and clouds speak.
//!
//! The blob is a fresh AES-256 key encrypted with RSAES-OAEP (RFC 8017; SHA-256, MGF1 with SHA-256, no label), as long
//! as the modulus, followed by the key itself, wrapped under that one with AES-KWP (RFC 5649).

use std::fmt;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::key_wrap::{AES_256, AesKek, KeyWrapPadded};
use aws_lc_rs::rsa::{
    KeySize, OAEP_SHA256_MGF1SHA256, OaepPrivateDecryptingKey, OaepPublicEncryptingKey, PrivateDecryptingKey,
    PublicEncryptingKey,
};

use super::{Error, HashAlgorithm, pem, random};
use crate::secret::Secret;

/// The longest key that is transported, in bytes: enough for the private key of any algorithm.
pub const MAX_KEY_LEN: usize = 16 * 1024;

const MODULUS_LEN: usize = 384;
const EPHEMERAL_LEN: usize = 32;
/// What AES-KWP adds at most: eight bytes of integrity check and seven of padding.
const MAX_PADDING: usize = 15;
/// Bits of the public keys to which keys are wrapped.
const ACCEPTED_BITS: std::ops::RangeInclusive<usize> = 3072..=8192;

/// The private key to which others wrap the keys that they bring; RSA with a modulus of 3072 bits.
pub struct TransportKey {
    private_key: PrivateDecryptingKey,
    spki: Vec<u8>,
}

impl TransportKey {
    /// A fresh key. Takes up to a second of one core.
    ///
    /// # Errors
    /// [`Error::Internal`] if the library fails or has no randomness.
    pub fn generate() -> Result<Self, Error> {
        Self::of(PrivateDecryptingKey::generate(KeySize::Rsa3072).map_err(Error::internal)?)
    }

    /// Takes up a stored key, as unwrapped: a PKCS #8 `PrivateKeyInfo` (RFC 5958) in DER.
    ///
    /// # Errors
    /// [`Error::Malformed`] unless it is an RSA key of 3072 bits.
    pub fn from_pkcs8(pkcs8: &[u8]) -> Result<Self, Error> {
        const MALFORMED: Error = Error::Malformed("not an RSA private key of 3072 bits");
        let key = PrivateDecryptingKey::from_pkcs8(pkcs8).map_err(|_| MALFORMED)?;
        if key.key_size_bits() != MODULUS_LEN * 8 {
            return Err(MALFORMED);
        }
        Self::of(key)
    }

    fn of(private_key: PrivateDecryptingKey) -> Result<Self, Error> {
        let spki: PublicKeyX509Der<'_> = private_key.public_key().as_der().map_err(Error::internal)?;
        Ok(Self { spki: spki.as_ref().to_vec(), private_key })
    }

    /// The key for wrapping: a PKCS #8 `PrivateKeyInfo` in DER.
    ///
    /// # Errors
    /// [`Error::Internal`] if the library fails.
    pub fn to_pkcs8(&self) -> Result<Secret<Vec<u8>>, Error> {
        let der: Pkcs8V1Der<'_> = self.private_key.as_der().map_err(Error::internal)?;
        Ok(Secret::new(der.as_ref().to_vec()))
    }

    /// The public key in PEM (RFC 7468), for whoever brings a key.
    pub fn public_key_pem(&self) -> String {
        pem::encode("PUBLIC KEY", &self.spki)
    }

    /// The check value that is stored beside the wrapped private key: the first half of the SHA-256 of the public key
    /// as `SubjectPublicKeyInfo`.
    pub fn check_value(&self) -> [u8; 16] {
        let digest = HashAlgorithm::Sha256.digest(&self.spki);
        *digest.first_chunk().expect("SHA-256 has 32 bytes")
    }

    /// The key in `blob`, which was wrapped to this one.
    ///
    /// # Errors
    /// [`Error::Malformed`] if the blob has a length that none has; [`Error::AuthenticationFailed`] if it was altered
    /// or wrapped to another key, whichever part that shows in.
    pub fn unwrap(&self, blob: &[u8]) -> Result<Secret<Vec<u8>>, Error> {
        let (encrypted, wrapped) = blob.split_at_checked(MODULUS_LEN).ok_or(Error::Malformed("too short"))?;
        if wrapped.len() < 16 || !wrapped.len().is_multiple_of(8) || wrapped.len() > MAX_KEY_LEN + MAX_PADDING
        {
            return Err(Error::Malformed("no wrapped key has this length"));
        }
        let ephemeral = self.open(encrypted)?;
        if ephemeral.expose().len() != EPHEMERAL_LEN {
            return Err(Error::AuthenticationFailed);
        }
        unwrap_padded(ephemeral.expose(), wrapped)
    }

    /// Undoes RSAES-OAEP.
    fn open(&self, encrypted: &[u8]) -> Result<Secret<Vec<u8>>, Error> {
        let private_key = OaepPrivateDecryptingKey::new(self.private_key.clone()).map_err(Error::internal)?;
        let mut opened = Secret::new(vec![0; MODULUS_LEN]);
        let length = private_key
            .decrypt(&OAEP_SHA256_MGF1SHA256, encrypted, opened.expose_mut(), None)
            .map_err(Error::authentication)?
            .len();
        opened.expose_mut().truncate(length);
        Ok(opened)
    }
}

impl fmt::Debug for TransportKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TransportKey(..)")
    }
}

/// Wraps `key` to a public key in PEM, for whoever has its private key.
///
/// # Errors
/// [`Error::Malformed`] unless `public_key` is one `SubjectPublicKeyInfo` in PEM of an RSA key of 3072 to 8192 bits
/// and `key` has 1 to [`MAX_KEY_LEN`] bytes; [`Error::Internal`] if the library fails or has no randomness.
pub fn wrap_for(public_key: &str, key: &[u8]) -> Result<Vec<u8>, Error> {
    if key.is_empty() || key.len() > MAX_KEY_LEN {
        return Err(Error::Malformed("no key has this length"));
    }
    let (public_key, _) = recipient(public_key)?;
    let public_key = OaepPublicEncryptingKey::new(public_key).map_err(Error::internal)?;

    let mut ephemeral = Secret::new([0; EPHEMERAL_LEN]);
    random::fill(ephemeral.expose_mut())?;
    let modulus_len = public_key.ciphertext_size();
    let mut blob = vec![0; modulus_len + key.len() + MAX_PADDING];
    let (encrypted, wrapped) = blob.split_at_mut(modulus_len);
    public_key
        .encrypt(&OAEP_SHA256_MGF1SHA256, ephemeral.expose(), encrypted, None)
        .map_err(Error::internal)?;
    let length = AesKek::new(&AES_256, ephemeral.expose())
        .and_then(|kek| kek.wrap_with_padding(key, wrapped).map(|wrapped| wrapped.len()))
        .map_err(Error::internal)?;
    blob.truncate(modulus_len + length);
    Ok(blob)
}

/// A public key in PEM as `SubjectPublicKeyInfo` in DER, if [`wrap_for`] would wrap to it.
///
/// # Errors
/// [`Error::Malformed`] if it would not.
pub fn public_key(pem: &str) -> Result<Vec<u8>, Error> {
    recipient(pem).map(|(_, spki)| spki)
}

fn recipient(pem: &str) -> Result<(PublicEncryptingKey, Vec<u8>), Error> {
    const REFUSED: Error = Error::Malformed("not an RSA public key of 3072 to 8192 bits");
    let spki = pem::public_key(pem.as_bytes())?;
    let public_key = PublicEncryptingKey::from_der(&spki).map_err(|_| REFUSED)?;
    let canonical: PublicKeyX509Der<'_> = public_key.as_der().map_err(|_| REFUSED)?;
    if canonical.as_ref() != spki || !ACCEPTED_BITS.contains(&public_key.key_size_bits()) {
        return Err(REFUSED);
    }
    Ok((public_key, spki))
}

/// Undoes AES-KWP.
fn unwrap_padded(kek: &[u8], wrapped: &[u8]) -> Result<Secret<Vec<u8>>, Error> {
    let mut key = Secret::new(vec![0; wrapped.len()]);
    let kek = AesKek::new(&AES_256, kek).map_err(Error::internal)?;
    let length = kek.unwrap_with_padding(wrapped, key.expose_mut()).map_err(Error::authentication)?.len();
    key.expose_mut().truncate(length);
    Ok(key)
}

#[cfg(test)]
mod tests;
