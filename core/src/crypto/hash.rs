//! Digests of data: SHA-2 (FIPS 180-4), SHA-3 and SHAKE (FIPS 202), BLAKE2 (RFC 7693).

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::digest;
use blake2::digest::Digest;
use shake::digest::{ExtendableOutput, XofReader};

use super::Error;

/// A hash function.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HashAlgorithm {
    /// FIPS 180-4.
    #[default]
    Sha256,
    /// FIPS 180-4.
    Sha384,
    /// FIPS 180-4.
    Sha512,
    /// FIPS 180-4: SHA-512 with another start, cut to 256 bits.
    Sha512_256,
    /// FIPS 202.
    Sha3_256,
    /// FIPS 202.
    Sha3_384,
    /// FIPS 202.
    Sha3_512,
    /// FIPS 202, with 256 bits of output: all that its strength of 128 bits is worth.
    Shake128,
    /// FIPS 202, with 512 bits of output: all that its strength of 256 bits is worth.
    Shake256,
    /// RFC 7693, with 512 bits of output.
    Blake2b,
    /// RFC 7693, with 256 bits of output.
    Blake2s,
}

impl HashAlgorithm {
    /// Every hash function.
    pub const ALL: [Self; 11] = [
        Self::Sha256,
        Self::Sha384,
        Self::Sha512,
        Self::Sha512_256,
        Self::Sha3_256,
        Self::Sha3_384,
        Self::Sha3_512,
        Self::Shake128,
        Self::Shake256,
        Self::Blake2b,
        Self::Blake2s,
    ];

    /// The name, as users read and write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
            Self::Sha512_256 => "sha512-256",
            Self::Sha3_256 => "sha3-256",
            Self::Sha3_384 => "sha3-384",
            Self::Sha3_512 => "sha3-512",
            Self::Shake128 => "shake128",
            Self::Shake256 => "shake256",
            Self::Blake2b => "blake2b",
            Self::Blake2s => "blake2s",
        }
    }

    /// Length of the digest in bytes.
    pub const fn digest_len(self) -> usize {
        match self {
            Self::Sha256 | Self::Sha512_256 | Self::Sha3_256 | Self::Shake128 | Self::Blake2s => 32,
            Self::Sha384 | Self::Sha3_384 => 48,
            Self::Sha512 | Self::Sha3_512 | Self::Shake256 | Self::Blake2b => 64,
        }
    }

    /// The digest of `data`, [`HashAlgorithm::digest_len`] bytes.
    pub fn digest(self, data: &[u8]) -> Vec<u8> {
        let of_aws_lc = |algorithm| digest::digest(algorithm, data).as_ref().to_vec();
        match self {
            Self::Sha256 => of_aws_lc(&digest::SHA256),
            Self::Sha384 => of_aws_lc(&digest::SHA384),
            Self::Sha512 => of_aws_lc(&digest::SHA512),
            Self::Sha512_256 => of_aws_lc(&digest::SHA512_256),
            Self::Sha3_256 => of_aws_lc(&digest::SHA3_256),
            Self::Sha3_384 => of_aws_lc(&digest::SHA3_384),
            Self::Sha3_512 => of_aws_lc(&digest::SHA3_512),
            Self::Shake128 => self.squeeze(shake::Shake128::default(), data),
            Self::Shake256 => self.squeeze(shake::Shake256::default(), data),
            Self::Blake2b => blake2::Blake2b512::digest(data).to_vec(),
            Self::Blake2s => blake2::Blake2s256::digest(data).to_vec(),
        }
    }

    fn squeeze(self, mut function: impl ExtendableOutput, data: &[u8]) -> Vec<u8> {
        function.update(data);
        let mut digest = vec![0; self.digest_len()];
        function.finalize_xof().read(&mut digest);
        digest
    }
}

impl fmt::Display for HashAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for HashAlgorithm {
    type Err = Error;

    /// Reads a [name](HashAlgorithm::name) in any case; anything else is [`Error::Malformed`].
    fn from_str(text: &str) -> Result<Self, Error> {
        Self::ALL
            .into_iter()
            .find(|algorithm| algorithm.name().eq_ignore_ascii_case(text))
            .ok_or(Error::Malformed("unknown hash algorithm"))
    }
}

#[cfg(test)]
mod tests;
