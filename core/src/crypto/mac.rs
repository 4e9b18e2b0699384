//! Message authentication codes: HMAC (RFC 2104, FIPS 198-1) with a caller's key or one [derived](super::derive) from
//! a context's.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::hmac;

use super::{Error, random};
use crate::secret::Secret;

/// Length in bytes of the shortest key of a caller: below the strength of 128 bits a key can be guessed.
pub const MIN_KEY_LEN: usize = 16;

/// A message authentication code. The numbers are part of key derivation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[repr(u8)]
pub enum MacAlgorithm {
    /// HMAC with SHA-256.
    #[default]
    HmacSha256 = 1,
    /// HMAC with SHA-384.
    HmacSha384 = 2,
    /// HMAC with SHA-512.
    HmacSha512 = 3,
}

impl MacAlgorithm {
    /// Every algorithm, by number.
    pub const ALL: [Self; 3] = [Self::HmacSha256, Self::HmacSha384, Self::HmacSha512];

    /// The number in key derivation, 1 to 3.
    pub const fn id(self) -> u8 {
        self as u8
    }

    /// The name, as users read and write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::HmacSha256 => "hmac-sha256",
            Self::HmacSha384 => "hmac-sha384",
            Self::HmacSha512 => "hmac-sha512",
        }
    }

    /// Length in bytes of the tag, and of a key made for the algorithm.
    pub const fn tag_len(self) -> usize {
        match self {
            Self::HmacSha256 => 32,
            Self::HmacSha384 => 48,
            Self::HmacSha512 => 64,
        }
    }

    /// A fresh key for callers that keep it themselves, [`MacAlgorithm::tag_len`] bytes.
    ///
    /// # Errors
    /// [`Error::Internal`] if there is no randomness.
    pub fn generate_key(self) -> Result<Secret<Vec<u8>>, Error> {
        let mut key = Secret::new(vec![0; self.tag_len()]);
        random::fill(key.expose_mut())?;
        Ok(key)
    }

    fn of_aws_lc(self) -> hmac::Algorithm {
        match self {
            Self::HmacSha256 => hmac::HMAC_SHA256,
            Self::HmacSha384 => hmac::HMAC_SHA384,
            Self::HmacSha512 => hmac::HMAC_SHA512,
        }
    }
}

impl fmt::Display for MacAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for MacAlgorithm {
    type Err = Error;

    /// Reads a [name](MacAlgorithm::name) in any case; anything else is [`Error::Malformed`].
    fn from_str(text: &str) -> Result<Self, Error> {
        Self::ALL
            .into_iter()
            .find(|algorithm| algorithm.name().eq_ignore_ascii_case(text))
            .ok_or(Error::Malformed("unknown MAC algorithm"))
    }
}

/// A key for one algorithm, wiped from memory by the library when dropped.
pub struct MacKey(hmac::Key);

impl MacKey {
    /// Takes up a caller's key of any length from [`MIN_KEY_LEN`] on.
    ///
    /// # Errors
    /// [`Error::Malformed`] if it is shorter.
    pub fn new(algorithm: MacAlgorithm, key: &[u8]) -> Result<Self, Error> {
        if key.len() < MIN_KEY_LEN {
            return Err(Error::Malformed("a MAC key has at least 16 bytes"));
        }
        Ok(Self(hmac::Key::new(algorithm.of_aws_lc(), key)))
    }

    /// The tag of `data`, [`MacAlgorithm::tag_len`] bytes.
    pub fn tag(&self, data: &[u8]) -> Vec<u8> {
        hmac::sign(&self.0, data).as_ref().to_vec()
    }

    /// Whether `tag` is the whole tag of `data`; takes the same time wherever they differ.
    pub fn verify(&self, data: &[u8], tag: &[u8]) -> bool {
        hmac::verify(&self.0, data, tag).is_ok()
    }
}

impl fmt::Debug for MacKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MacKey(..)")
    }
}

#[cfg(test)]
mod tests;
