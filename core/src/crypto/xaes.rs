//! XAES-256-GCM: AES-256-GCM with 192-bit nonces, safe to draw at random for any number of messages.
//!
//! Each message has a key and nonce of its own, derived from half of its nonce by AES-CMAC in the counter-mode
//! KDF of NIST SP 800-108r1. Specification: <https://c2sp.org/XAES-256-GCM>.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, LessSafeKey, UnboundKey};
use aws_lc_rs::cipher::{AES_256, EncryptingKey, UnboundCipherKey};
use zeroize::Zeroizing;

use super::{Error, aead};

/// Key length in bytes.
pub const KEY_LEN: usize = 32;
/// Nonce length in bytes.
pub const NONCE_LEN: usize = 24;

const BLOCK_LEN: usize = 16;

/// An XAES-256-GCM key: the AES key schedule and the CMAC subkey K1, computed once for all messages.
pub struct XaesKey {
    // The block cipher rather than aws-lc's CMAC: each MAC is over exactly one block, so that CMAC is one
    // encryption of `block ^ K1`, while the library would allocate a context for each.
    cipher: EncryptingKey,
    k1: Zeroizing<[u8; BLOCK_LEN]>,
}

impl XaesKey {
    /// Prepares a key.
    ///
    /// # Errors
    /// [`Error::Internal`] if the library fails.
    pub fn new(key: &[u8; KEY_LEN]) -> Result<Self, Error> {
        let cipher =
            UnboundCipherKey::new(&AES_256, key).and_then(EncryptingKey::ecb).map_err(Error::internal)?;
        let mut l = Zeroizing::new([0; BLOCK_LEN]);
        cipher.encrypt(l.as_mut_slice()).map_err(Error::internal)?;
        let doubled = double(u128::from_be_bytes(*l));
        Ok(Self { cipher, k1: Zeroizing::new(doubled.to_be_bytes()) })
    }

    /// Encrypts all of `in_out` but its last [`aead::TAG_LEN`] bytes, which receive the tag.
    ///
    /// # Errors
    /// [`Error::Malformed`] if `in_out` has no room for the tag; [`Error::Internal`] if the library fails.
    pub fn seal_in_place(
        &self,
        nonce: &[u8; NONCE_LEN],
        associated_data: &[u8],
        in_out: &mut [u8],
    ) -> Result<(), Error> {
        let (message_key, nonce) = self.message_key(nonce)?;
        aead::seal(&message_key, nonce, associated_data, in_out)
    }

    /// Authenticates and decrypts `in_out`, which ends with the tag, and returns the part that is plaintext.
    ///
    /// # Errors
    /// [`Error::AuthenticationFailed`], upon which `in_out` holds nothing of the plaintext;
    /// [`Error::Malformed`] if it is shorter than a tag; [`Error::Internal`] if the library fails.
    pub fn open_in_place<'a>(
        &self,
        nonce: &[u8; NONCE_LEN],
        associated_data: &[u8],
        in_out: &'a mut [u8],
    ) -> Result<&'a mut [u8], Error> {
        let (message_key, nonce) = self.message_key(nonce)?;
        aead::open(&message_key, nonce, associated_data, in_out)
    }

    /// The AES-256-GCM key of the message with this nonce, and what remains of the nonce.
    fn message_key<'n>(&self, nonce: &'n [u8; NONCE_LEN]) -> Result<(LessSafeKey, &'n [u8]), Error> {
        let (context, rest) = nonce.split_at(NONCE_LEN / 2);
        let mut blocks = Zeroizing::new([0; 2 * BLOCK_LEN]);
        for (counter, block) in (1..).zip(blocks.chunks_exact_mut(BLOCK_LEN)) {
            block[..4].copy_from_slice(&[0, counter, b'X', 0]);
            block[4..].copy_from_slice(context);
            block.iter_mut().zip(self.k1.iter()).for_each(|(byte, mask)| *byte ^= mask);
        }
        self.cipher.encrypt(blocks.as_mut_slice()).map_err(Error::internal)?;
        let key = UnboundKey::new(&AES_256_GCM, blocks.as_slice()).map_err(Error::internal)?;
        Ok((LessSafeKey::new(key), rest))
    }
}

impl fmt::Debug for XaesKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("XaesKey(..)")
    }
}

/// Multiplies by x in GF(2^128) as NIST SP 800-38B does, without a branch on the secret.
const fn double(block: u128) -> u128 {
    (block << 1) ^ ((block >> 127) * 0b1000_0111)
}

#[cfg(test)]
mod tests;
