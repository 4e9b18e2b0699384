//! Authenticated encryption with any of the five algorithms, in the caller's buffer and with the caller's nonce.

use std::fmt;

use aws_lc_rs::aead::{self, Aad, LessSafeKey, Nonce, UnboundKey};

use super::xaes::XaesKey;
use super::{Algorithm, Error};

/// Tag length in bytes, the same for every algorithm.
pub const TAG_LEN: usize = 16;

/// A key made ready for one algorithm.
pub struct AeadKey(Cipher);

enum Cipher {
    // Boxed: it holds whole key schedules, the other variant a pointer.
    Xaes(Box<XaesKey>),
    Direct(LessSafeKey),
}

impl AeadKey {
    /// Prepares `key`, which has [`Algorithm::key_len`] bytes.
    ///
    /// # Errors
    /// [`Error::Malformed`] for another length; [`Error::Internal`] if the library fails.
    pub fn new(algorithm: Algorithm, key: &[u8]) -> Result<Self, Error> {
        const WRONG_LENGTH: Error = Error::Malformed("wrong key length");
        let direct = match algorithm {
            Algorithm::Xaes256Gcm => {
                let key = XaesKey::new(key.try_into().map_err(|_| WRONG_LENGTH)?)?;
                return Ok(Self(Cipher::Xaes(Box::new(key))));
            }
            Algorithm::Aes256Gcm => &aead::AES_256_GCM,
            Algorithm::Aes128Gcm => &aead::AES_128_GCM,
            Algorithm::ChaCha20Poly1305 => &aead::CHACHA20_POLY1305,
            Algorithm::Aes256GcmSiv => &aead::AES_256_GCM_SIV,
        };
        if key.len() != algorithm.key_len() {
            return Err(WRONG_LENGTH);
        }
        let key = UnboundKey::new(direct, key).map_err(Error::internal)?;
        Ok(Self(Cipher::Direct(LessSafeKey::new(key))))
    }

    /// Encrypts all of `in_out` but its last [`TAG_LEN`] bytes, which receive the tag.
    ///
    /// `nonce` has [`Algorithm::nonce_len`] bytes and is never used twice with this key.
    ///
    /// # Errors
    /// [`Error::Malformed`] for another nonce length, or if `in_out` has no room for the tag;
    /// [`Error::Internal`] if the library fails.
    pub fn seal_in_place(
        &self,
        nonce: &[u8],
        associated_data: &[u8],
        in_out: &mut [u8],
    ) -> Result<(), Error> {
        match &self.0 {
            Cipher::Xaes(key) => key.seal_in_place(xaes_nonce(nonce)?, associated_data, in_out),
            Cipher::Direct(key) => seal(key, nonce, associated_data, in_out),
        }
    }

    /// Authenticates and decrypts `in_out`, which ends with the tag, and returns the part that is plaintext.
    ///
    /// # Errors
    /// [`Error::AuthenticationFailed`], upon which `in_out` holds nothing of the plaintext;
    /// [`Error::Malformed`] for a wrong nonce length, or if `in_out` is shorter than a tag.
    pub fn open_in_place<'a>(
        &self,
        nonce: &[u8],
        associated_data: &[u8],
        in_out: &'a mut [u8],
    ) -> Result<&'a mut [u8], Error> {
        match &self.0 {
            Cipher::Xaes(key) => key.open_in_place(xaes_nonce(nonce)?, associated_data, in_out),
            Cipher::Direct(key) => open(key, nonce, associated_data, in_out),
        }
    }
}

impl fmt::Debug for AeadKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AeadKey(..)")
    }
}

/// [`AeadKey::seal_in_place`] for a bare key of the library.
pub(super) fn seal(
    key: &LessSafeKey,
    nonce: &[u8],
    associated_data: &[u8],
    in_out: &mut [u8],
) -> Result<(), Error> {
    let (text, room) = in_out.split_last_chunk_mut::<TAG_LEN>().ok_or(TOO_SHORT)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| WRONG_NONCE)?;
    let tag =
        key.seal_in_place_separate_tag(nonce, Aad::from(associated_data), text).map_err(Error::internal)?;
    room.copy_from_slice(tag.as_ref());
    Ok(())
}

/// [`AeadKey::open_in_place`] for a bare key of the library, which wipes its output when a tag does not match.
pub(super) fn open<'a>(
    key: &LessSafeKey,
    nonce: &[u8],
    associated_data: &[u8],
    in_out: &'a mut [u8],
) -> Result<&'a mut [u8], Error> {
    if in_out.len() < TAG_LEN {
        return Err(TOO_SHORT);
    }
    let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| WRONG_NONCE)?;
    key.open_in_place(nonce, Aad::from(associated_data), in_out).map_err(Error::authentication)
}

fn xaes_nonce(nonce: &[u8]) -> Result<&[u8; super::xaes::NONCE_LEN], Error> {
    nonce.try_into().map_err(|_| WRONG_NONCE)
}

const TOO_SHORT: Error = Error::Malformed("shorter than its tag");
const WRONG_NONCE: Error = Error::Malformed("wrong nonce length");

#[cfg(test)]
mod tests;
