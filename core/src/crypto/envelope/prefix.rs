//! The first bytes of every ciphertext: which format, algorithm and key.

use crate::crypto::aead::TAG_LEN;
use crate::crypto::{Algorithm, Error, KeyId, KeyVersion, stream};

/// Length of the prefix in bytes.
pub const PREFIX_LEN: usize = 24;

const MAGIC: [u8; 2] = *b"CS";

/// How the bytes after the prefix are laid out. Number 3 is reserved for a key-committing message format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Format {
    /// One message under one nonce: see [`envelope`](super).
    Message = 1,
    /// A stream of chunks: see [`stream`].
    Stream = 2,
}

/// What a ciphertext says about itself. Authenticated when it is opened, and not before.
///
/// | bytes | field |
/// | --- | --- |
/// | 2 | `CS` |
/// | 1 | format |
/// | 1 | algorithm |
/// | 16 | key id |
/// | 4 | key version, big endian, not zero |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix {
    /// How the rest is laid out.
    pub format: Format,
    /// The algorithm of the rest.
    pub algorithm: Algorithm,
    /// The key that it was encrypted with.
    pub key_id: KeyId,
    /// The version of that key.
    pub version: KeyVersion,
}

impl Prefix {
    /// Reads the prefix of a whole ciphertext and checks that a ciphertext of that kind can have this length, so
    /// that what cannot be opened is known before any key is loaded.
    ///
    /// # Errors
    /// [`Error::Malformed`] with the part that is wrong.
    pub fn parse(ciphertext: &[u8]) -> Result<Self, Error> {
        let bytes = ciphertext.first_chunk().ok_or(Error::Malformed("too short"))?;
        let prefix = Self::from_bytes(bytes)?;
        let rest = ciphertext.len() - PREFIX_LEN;
        match prefix.format {
            Format::Message if rest < prefix.algorithm.nonce_len() + TAG_LEN => {
                Err(Error::Malformed("too short"))
            }
            Format::Stream if stream::plaintext_len(ciphertext.len() as u64).is_none() => {
                Err(Error::Malformed("truncated stream"))
            }
            Format::Message | Format::Stream => Ok(prefix),
        }
    }

    /// How long the plaintext of a whole ciphertext with this prefix is, given that one's length; 0 if there can be none.
    pub fn plaintext_len(&self, ciphertext_len: usize) -> usize {
        match self.format {
            Format::Message => {
                ciphertext_len.saturating_sub(PREFIX_LEN + self.algorithm.nonce_len() + TAG_LEN)
            }
            Format::Stream => {
                let length = stream::plaintext_len(ciphertext_len as u64);
                length.and_then(|length| usize::try_from(length).ok()).unwrap_or_default()
            }
        }
    }

    /// Reads a prefix alone, as when the rest is still to come.
    ///
    /// # Errors
    /// [`Error::Malformed`] with the part that is wrong.
    pub fn from_bytes(bytes: &[u8; PREFIX_LEN]) -> Result<Self, Error> {
        let [m0, m1, format, algorithm, key_id @ .., v0, v1, v2, v3] = *bytes;
        if [m0, m1] != MAGIC {
            return Err(Error::Malformed("not a CryptoServe ciphertext"));
        }
        let format = match format {
            1 => Format::Message,
            2 => Format::Stream,
            _ => return Err(Error::Malformed("unknown format")),
        };
        let algorithm = match (format, Algorithm::from_id(algorithm)) {
            (Format::Message, Some(algorithm)) => algorithm,
            (Format::Stream, Some(algorithm)) if algorithm == stream::ALGORITHM => algorithm,
            _ => return Err(Error::Malformed("unknown algorithm")),
        };
        let version = KeyVersion::try_from(u32::from_be_bytes([v0, v1, v2, v3]))?;
        Ok(Self { format, algorithm, key_id: KeyId(key_id), version })
    }

    /// The prefix as it stands in a ciphertext.
    pub fn to_bytes(&self) -> [u8; PREFIX_LEN] {
        let mut bytes = [0; PREFIX_LEN];
        bytes[..2].copy_from_slice(&MAGIC);
        bytes[2] = self.format as u8;
        bytes[3] = self.algorithm.id();
        bytes[4..20].copy_from_slice(&self.key_id.0);
        bytes[20..].copy_from_slice(&self.version.get().to_be_bytes());
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PREFIX: Prefix = Prefix {
        format: Format::Message,
        algorithm: Algorithm::ChaCha20Poly1305,
        key_id: KeyId(*b"0123456789abcdef"),
        version: KeyVersion::FIRST,
    };

    fn with(edit: impl Fn(&mut [u8])) -> Result<Prefix, Error> {
        let mut bytes = [PREFIX.to_bytes().as_slice(), &[0; 56 + 16]].concat();
        edit(&mut bytes);
        Prefix::parse(&bytes)
    }

    #[test]
    fn layout_is_that_of_the_contract() {
        assert_eq!(&PREFIX.to_bytes(), b"CS\x01\x040123456789abcdef\0\0\0\x01");
        assert_eq!(Prefix::from_bytes(&PREFIX.to_bytes()), Ok(PREFIX));
        assert_eq!(with(|_| ()), Ok(PREFIX));
    }

    #[test]
    fn every_field_is_checked() {
        assert_eq!(with(|b| b[0] = b'c'), Err(Error::Malformed("not a CryptoServe ciphertext")));
        assert_eq!(with(|b| b[1] = b's'), Err(Error::Malformed("not a CryptoServe ciphertext")));
        for format in [0, 3, 255] {
            assert_eq!(with(|b| b[2] = format), Err(Error::Malformed("unknown format")));
        }
        for algorithm in [0, 6, 255] {
            assert_eq!(with(|b| b[3] = algorithm), Err(Error::Malformed("unknown algorithm")));
        }
        assert_eq!(with(|b| b[20..24].fill(0)), Err(Error::Malformed("key version zero")));
    }

    #[test]
    fn a_stream_has_one_algorithm() {
        for algorithm in Algorithm::ALL {
            let parsed = with(|b| b[2..4].copy_from_slice(&[2, algorithm.id()]));
            let expected = Prefix { format: Format::Stream, algorithm, ..PREFIX };
            match algorithm {
                Algorithm::Aes256Gcm => assert_eq!(parsed, Ok(expected)),
                _ => assert_eq!(parsed, Err(Error::Malformed("unknown algorithm"))),
            }
        }
    }

    #[test]
    fn length_is_checked_for_each_format() {
        for (format, algorithm, shortest) in
            [(1, 1, 64), (1, 2, 52), (1, 3, 52), (1, 4, 52), (1, 5, 52), (2, 2, 96)]
        {
            let mut bytes = PREFIX.to_bytes().to_vec();
            bytes[2..4].copy_from_slice(&[format, algorithm]);
            bytes.resize(shortest, 0);
            assert!(Prefix::parse(&bytes).is_ok());
            for length in 0..shortest {
                assert!(
                    matches!(Prefix::parse(&bytes[..length]), Err(Error::Malformed(_))),
                    "{format} {length}"
                );
            }
        }
    }
}
