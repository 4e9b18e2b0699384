//! C2SP chunked encryption, instance Cobblestone-256: SHA-512 and AES-256-GCM.
//!
//! A message of any length is cut into chunks of 16 KiB; the last one is shorter and possibly empty, by which the
//! end is recognised. Specification: <https://c2sp.org/chunked-encryption>.

use aws_lc_rs::aead::{AES_256_GCM, LessSafeKey, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA512, Prk};
use zeroize::Zeroizing;

use crate::crypto::aead::{self, TAG_LEN};
use crate::crypto::{Error, derive};

/// Length in bytes of every chunk of plaintext but the last, which is shorter.
pub(super) const CHUNK_LEN: usize = 16 * 1024;
/// Length of an encrypted chunk in bytes; the last one is shorter.
pub(super) const SEALED_CHUNK_LEN: usize = CHUNK_LEN + TAG_LEN;
/// Length of the random salt in bytes.
pub(super) const SALT_LEN: usize = 24;
/// Length of the key commitment in bytes.
pub(super) const COMMITMENT_LEN: usize = 32;
/// The largest number of chunks in a message.
pub(super) const MAX_CHUNKS: u64 = 1 << 38;

const KEY_LEN: usize = 32;
const NONCE_LEN: usize = 12;
const LABEL: &[u8] = b"c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\0";

/// The cipher of one message, which seals or opens its chunks in order.
pub(super) struct Chunks {
    key: LessSafeKey,
    base_nonce: [u8; NONCE_LEN],
    next: u64,
}

impl Chunks {
    /// Derives a message's key, and the commitment to it that stands in the ciphertext; the parts of `context`
    /// are concatenated.
    pub(super) fn derive(
        input_key: &[u8; KEY_LEN],
        salt: &[u8; SALT_LEN],
        context: [&[u8]; 2],
    ) -> Result<(Self, [u8; COMMITMENT_LEN]), Error> {
        let prk = Prk::new_less_safe(HKDF_SHA512, input_key);
        let mut derived = Zeroizing::new([0; KEY_LEN + NONCE_LEN + COMMITMENT_LEN]);
        derive::expand(&prk, &[LABEL, salt, context[0], context[1]], derived.as_mut_slice())?;

        let (key, rest) = derived.split_at(KEY_LEN);
        let mut base_nonce = [0; NONCE_LEN];
        base_nonce.copy_from_slice(&rest[..NONCE_LEN]);
        let mut commitment = [0; COMMITMENT_LEN];
        commitment.copy_from_slice(&rest[NONCE_LEN..]);
        let key = UnboundKey::new(&AES_256_GCM, key).map_err(Error::internal)?;
        Ok((Self { key: LessSafeKey::new(key), base_nonce, next: 0 }, commitment))
    }

    /// Appends the next chunk to `out`, encrypted.
    pub(super) fn seal(&mut self, chunk: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
        let nonce = self.next_nonce()?;
        let start = out.len();
        out.reserve(chunk.len() + TAG_LEN);
        out.extend_from_slice(chunk);
        out.extend_from_slice(&[0; TAG_LEN]);
        aead::seal(&self.key, &nonce, &[], &mut out[start..])
    }

    /// Appends the next chunk to `out`, authenticated and decrypted; after an error, nothing.
    pub(super) fn open(&mut self, sealed: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
        let nonce = self.next_nonce()?;
        let start = out.len();
        out.extend_from_slice(sealed);
        let opened = aead::open(&self.key, &nonce, &[], &mut out[start..]).map(|plaintext| plaintext.len());
        out.truncate(start + opened.unwrap_or(0));
        opened.map(drop)
    }

    /// The base nonce XOR the chunk's number.
    fn next_nonce(&mut self) -> Result<[u8; NONCE_LEN], Error> {
        if self.next >= MAX_CHUNKS {
            return Err(Error::Malformed("stream too long"));
        }
        let mut nonce = self.base_nonce;
        let number = self.next.to_be_bytes();
        nonce[NONCE_LEN - number.len()..].iter_mut().zip(number).for_each(|(byte, mask)| *byte ^= mask);
        self.next += 1;
        Ok(nonce)
    }

    /// Moves on to chunk `number`, to reach the end without encrypting four pebibytes.
    #[cfg(test)]
    pub(super) fn skip_to(&mut self, number: u64) {
        self.next = number;
    }
}
