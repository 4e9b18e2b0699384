//! Ciphertext of one message (format 1), and opening of whole ciphertexts in either format.
//!
//! | bytes | field |
//! | --- | --- |
//! | 24 | [`Prefix`] |
//! | 24 or 12 | nonce, random |
//! | n | encrypted message |
//! | 16 | tag |
//!
//! The prefix is authenticated as the first part of the associated data, the caller's own following it.
//! Opening does not look at the prefix's key id and version: who looked the keys up by them has done that.

mod prefix;

use std::borrow::Cow;

use zeroize::Zeroizing;

pub use self::prefix::{Format, PREFIX_LEN, Prefix};
use super::aead::TAG_LEN;
use super::{Algorithm, Error, KeyId, KeyVersion, VersionKeys, random, stream};

/// Length in bytes of the ciphertext of a message of `plaintext_len` bytes.
pub const fn ciphertext_len(algorithm: Algorithm, plaintext_len: usize) -> usize {
    PREFIX_LEN + algorithm.nonce_len() + plaintext_len + TAG_LEN
}

/// Encrypts a message under a fresh random nonce.
///
/// # Errors
/// [`Error::Internal`] if the library fails or has no randomness.
pub fn seal(
    keys: &VersionKeys,
    algorithm: Algorithm,
    key_id: KeyId,
    version: KeyVersion,
    plaintext: &[u8],
    associated_data: &[u8],
) -> Result<Vec<u8>, Error> {
    let mut sealer = Sealer::new(algorithm, key_id, version, plaintext.len())?;
    sealer.plaintext_mut().copy_from_slice(plaintext);
    sealer.seal(keys, associated_data)
}

/// A ciphertext in the making: one allocation of its final size, in which a caller that decodes or reads the
/// plaintext from elsewhere writes it at the place where it is then encrypted.
pub struct Sealer {
    // Holds plaintext until sealed, so it is wiped if it never is.
    buffer: Zeroizing<Vec<u8>>,
    algorithm: Algorithm,
}

impl Sealer {
    /// Lays out the ciphertext of a message of `plaintext_len` bytes and draws its nonce.
    ///
    /// # Errors
    /// [`Error::Internal`] if there is no randomness.
    pub fn new(
        algorithm: Algorithm,
        key_id: KeyId,
        version: KeyVersion,
        plaintext_len: usize,
    ) -> Result<Self, Error> {
        let prefix = Prefix { format: Format::Message, algorithm, key_id, version };
        let mut buffer = Zeroizing::new(vec![0; ciphertext_len(algorithm, plaintext_len)]);
        buffer[..PREFIX_LEN].copy_from_slice(&prefix.to_bytes());
        random::fill(&mut buffer[PREFIX_LEN..][..algorithm.nonce_len()])?;
        Ok(Self { buffer, algorithm })
    }

    /// The place of the plaintext, `plaintext_len` bytes of zeros until written.
    pub fn plaintext_mut(&mut self) -> &mut [u8] {
        let end = self.buffer.len() - TAG_LEN;
        &mut self.buffer[PREFIX_LEN + self.algorithm.nonce_len()..end]
    }

    /// Encrypts what was written and returns the ciphertext.
    ///
    /// # Errors
    /// [`Error::Internal`] if the library fails.
    pub fn seal(mut self, keys: &VersionKeys, associated_data: &[u8]) -> Result<Vec<u8>, Error> {
        let (prefix, rest) = self.buffer.split_at_mut(PREFIX_LEN);
        let (nonce, in_out) = rest.split_at_mut(self.algorithm.nonce_len());
        keys.aead(self.algorithm)?.seal_in_place(nonce, &bind(prefix, associated_data), in_out)?;
        Ok(std::mem::take(&mut *self.buffer))
    }
}

/// Decrypts a whole ciphertext of either format.
///
/// # Errors
/// [`Error::Malformed`] as [`Prefix::parse`]; [`Error::AuthenticationFailed`] if the ciphertext was altered, or
/// made with another key or other associated data.
pub fn open(
    keys: &VersionKeys,
    ciphertext: &[u8],
    associated_data: &[u8],
) -> Result<Zeroizing<Vec<u8>>, Error> {
    let prefix = Prefix::parse(ciphertext)?;
    match prefix.format {
        Format::Message => {
            let (prefix_bytes, rest) = ciphertext.split_at(PREFIX_LEN);
            let (nonce, sealed) = rest.split_at(prefix.algorithm.nonce_len());
            let mut buffer = Zeroizing::new(sealed.to_vec());
            let key = keys.aead(prefix.algorithm)?;
            let length = key.open_in_place(nonce, &bind(prefix_bytes, associated_data), &mut buffer)?.len();
            buffer.truncate(length);
            Ok(buffer)
        }
        Format::Stream => stream::open(keys, ciphertext, associated_data),
    }
}

/// Decrypts a whole ciphertext of either format in its own memory and returns the part that is plaintext; after
/// an error none of it is. The caller wipes the memory when done.
///
/// # Errors
/// As [`open`].
pub fn open_in_place<'a>(
    keys: &VersionKeys,
    ciphertext: &'a mut [u8],
    associated_data: &[u8],
) -> Result<&'a mut [u8], Error> {
    let prefix = Prefix::parse(ciphertext)?;
    match prefix.format {
        Format::Message => {
            let (prefix_bytes, rest) = ciphertext.split_at_mut(PREFIX_LEN);
            let (nonce, in_out) = rest.split_at_mut(prefix.algorithm.nonce_len());
            let key = keys.aead(prefix.algorithm)?;
            key.open_in_place(nonce, &bind(prefix_bytes, associated_data), in_out)
        }
        Format::Stream => {
            let plaintext = stream::open(keys, ciphertext, associated_data)?;
            let place = &mut ciphertext[..plaintext.len()];
            place.copy_from_slice(&plaintext);
            Ok(place)
        }
    }
}

/// The whole associated data: the prefix, whose length is fixed, then the caller's.
fn bind<'a>(prefix: &'a [u8], associated_data: &[u8]) -> Cow<'a, [u8]> {
    if associated_data.is_empty() { prefix.into() } else { [prefix, associated_data].concat().into() }
}

#[cfg(test)]
mod tests;
