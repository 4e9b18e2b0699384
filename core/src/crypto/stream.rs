//! Ciphertext of a stream (format 2): any length in flat memory, every chunk authenticated before it is released.
//!
//! | bytes | field |
//! | --- | --- |
//! | 24 | [`Prefix`] |
//! | 24 | salt, random |
//! | 32 | key commitment |
//! | n | chunks of 16 KiB + 16; the last one shorter |
//!
//! What follows the prefix is C2SP chunked encryption, instance Cobblestone-256
//! (<https://c2sp.org/chunked-encryption>), whose context is the prefix followed by the caller's associated data.

mod cobblestone;
mod rewrap;

use std::fmt;

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use self::cobblestone::{CHUNK_LEN, COMMITMENT_LEN, Chunks, MAX_CHUNKS, SALT_LEN, SEALED_CHUNK_LEN};
pub use self::rewrap::Rewrapper;
use super::aead::TAG_LEN;
use super::envelope::PREFIX_LEN;
use super::{Algorithm, Error, Format, KeyId, KeyVersion, Prefix, VersionKeys, random};

/// Length in bytes of what comes before the first chunk.
pub const HEADER_LEN: usize = PREFIX_LEN + SALT_LEN + COMMITMENT_LEN;

/// The algorithm of every stream.
pub const ALGORITHM: Algorithm = Algorithm::Aes256Gcm;

/// The longest plaintext, in bytes: just under 4 PiB.
pub const MAX_PLAINTEXT_LEN: u64 = MAX_CHUNKS * CHUNK_LEN as u64 - 1;

/// Length in bytes of the ciphertext of `plaintext_len` bytes; `None` beyond [`MAX_PLAINTEXT_LEN`].
pub fn ciphertext_len(plaintext_len: u64) -> Option<u64> {
    let chunks = plaintext_len / CHUNK_LEN as u64 + 1;
    (plaintext_len <= MAX_PLAINTEXT_LEN).then(|| HEADER_LEN as u64 + plaintext_len + chunks * TAG_LEN as u64)
}

/// Length in bytes of the plaintext of `ciphertext_len` bytes; `None` if no stream has that length.
pub fn plaintext_len(ciphertext_len: u64) -> Option<u64> {
    let body = ciphertext_len.checked_sub(HEADER_LEN as u64)?;
    let full_chunks = body / SEALED_CHUNK_LEN as u64;
    let last = (body % SEALED_CHUNK_LEN as u64).checked_sub(TAG_LEN as u64)?;
    (full_chunks < MAX_CHUNKS).then(|| full_chunks * CHUNK_LEN as u64 + last)
}

/// Encrypts a stream piece by piece.
pub struct Encryptor {
    chunks: Chunks,
    /// Plaintext of the next chunk, always shorter than a chunk.
    pending: Zeroizing<Vec<u8>>,
}

impl Encryptor {
    /// Begins a stream; also returns its first bytes.
    ///
    /// # Errors
    /// [`Error::Internal`] if the library fails or has no randomness.
    pub fn new(
        keys: &VersionKeys,
        key_id: KeyId,
        version: KeyVersion,
        associated_data: &[u8],
    ) -> Result<(Self, [u8; HEADER_LEN]), Error> {
        let prefix = Prefix { format: Format::Stream, algorithm: ALGORITHM, key_id, version }.to_bytes();
        let salt = random::array()?;
        let (chunks, commitment) = Chunks::derive(keys.stream()?, &salt, [&prefix, associated_data])?;
        let mut header = [0; HEADER_LEN];
        header[..PREFIX_LEN].copy_from_slice(&prefix);
        header[PREFIX_LEN..][..SALT_LEN].copy_from_slice(&salt);
        header[PREFIX_LEN + SALT_LEN..].copy_from_slice(&commitment);
        Ok((Self::over(chunks), header))
    }

    fn over(chunks: Chunks) -> Self {
        Self { chunks, pending: Zeroizing::new(Vec::with_capacity(CHUNK_LEN)) }
    }

    /// Takes the next piece of plaintext, of any length, and appends to `out` the chunks that it completes.
    ///
    /// # Errors
    /// [`Error::Malformed`] beyond [`MAX_PLAINTEXT_LEN`]; [`Error::Internal`] if the library fails.
    pub fn push(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
        for_each_whole(CHUNK_LEN, &mut self.pending, input, |chunk| self.chunks.seal(chunk, out))
    }

    /// Ends the stream: appends the last chunk to `out`.
    ///
    /// # Errors
    /// As [`Encryptor::push`].
    pub fn finish(mut self, out: &mut Vec<u8>) -> Result<(), Error> {
        self.chunks.seal(&self.pending, out)
    }
}

impl fmt::Debug for Encryptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Encryptor(..)")
    }
}

/// Decrypts a stream piece by piece. Without an `Ok` from [`Decryptor::finish`] the plaintext is incomplete.
pub struct Decryptor {
    /// `None` once something was not authentic: nothing after it can be.
    chunks: Option<Chunks>,
    /// Ciphertext of the next chunk, always shorter than a whole one.
    pending: Vec<u8>,
}

impl Decryptor {
    /// Begins a stream with its first bytes; the keys are those that [`Prefix::from_bytes`] names.
    ///
    /// # Errors
    /// [`Error::Malformed`] if this is no stream; [`Error::AuthenticationFailed`] if the header was altered, or
    /// made with another key or other associated data.
    pub fn new(keys: &VersionKeys, header: &[u8; HEADER_LEN], associated_data: &[u8]) -> Result<Self, Error> {
        let (prefix, rest) = header.split_first_chunk::<PREFIX_LEN>().expect("a header begins with a prefix");
        let (salt, commitment) = rest.split_first_chunk().expect("a header holds a salt after the prefix");
        if Prefix::from_bytes(prefix)?.format != Format::Stream {
            return Err(Error::Malformed("not a stream"));
        }
        Self::commit(Chunks::derive(keys.stream()?, salt, [prefix, associated_data])?, commitment)
    }

    /// Checks the commitment before anything is decrypted.
    fn commit((chunks, expected): (Chunks, [u8; COMMITMENT_LEN]), commitment: &[u8]) -> Result<Self, Error> {
        if !bool::from(expected.ct_eq(commitment)) {
            return Err(Error::AuthenticationFailed);
        }
        Ok(Self { chunks: Some(chunks), pending: Vec::with_capacity(SEALED_CHUNK_LEN) })
    }

    /// Takes the next piece of ciphertext, of any length, and appends to `out` the plaintext of the chunks that it
    /// completes.
    ///
    /// # Errors
    /// [`Error::AuthenticationFailed`] if a chunk was altered or is out of place, now and at every later call;
    /// chunks before it may have been appended to `out`.
    pub fn push(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
        let chunks = self.chunks.as_mut().ok_or(Error::AuthenticationFailed)?;
        let result =
            for_each_whole(SEALED_CHUNK_LEN, &mut self.pending, input, |chunk| chunks.open(chunk, out));
        if result.is_err() {
            self.chunks = None;
        }
        result
    }

    /// Ends the stream: appends the last plaintext to `out`. Only its success says that the plaintext is whole.
    ///
    /// # Errors
    /// [`Error::AuthenticationFailed`] if the stream was cut, altered or extended.
    pub fn finish(mut self, out: &mut Vec<u8>) -> Result<(), Error> {
        let chunks = self.chunks.as_mut().ok_or(Error::AuthenticationFailed)?;
        if self.pending.len() < TAG_LEN {
            return Err(Error::AuthenticationFailed);
        }
        // Shorter than a whole chunk, so that authentic means authentic as the last one.
        chunks.open(&self.pending, out)
    }
}

impl fmt::Debug for Decryptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Decryptor(..)")
    }
}

/// Encrypts a whole message as a stream.
///
/// # Errors
/// As [`Encryptor::new`] and [`Encryptor::push`].
pub fn seal(
    keys: &VersionKeys,
    key_id: KeyId,
    version: KeyVersion,
    plaintext: &[u8],
    associated_data: &[u8],
) -> Result<Vec<u8>, Error> {
    let (mut encryptor, header) = Encryptor::new(keys, key_id, version, associated_data)?;
    let mut ciphertext = header.to_vec();
    encryptor.push(plaintext, &mut ciphertext)?;
    encryptor.finish(&mut ciphertext)?;
    Ok(ciphertext)
}

/// Decrypts a whole stream.
///
/// # Errors
/// As [`envelope::open`](super::envelope::open).
pub(super) fn open(
    keys: &VersionKeys,
    ciphertext: &[u8],
    associated_data: &[u8],
) -> Result<Zeroizing<Vec<u8>>, Error> {
    let (header, body) = ciphertext.split_first_chunk().ok_or(Error::Malformed("too short"))?;
    let mut decryptor = Decryptor::new(keys, header, associated_data)?;
    // A chunk is decrypted behind those before it, tag and all; growing would leave a copy of them behind.
    let mut plaintext = Zeroizing::new(Vec::with_capacity(body.len()));
    decryptor.push(body, &mut plaintext)?;
    decryptor.finish(&mut plaintext)?;
    Ok(plaintext)
}

/// Calls `f` with each whole chunk of `length` bytes in `pending` followed by `input`, and leaves the rest in
/// `pending`, whose capacity is `length`. Only chunks that lie across two inputs are copied.
fn for_each_whole(
    length: usize,
    pending: &mut Vec<u8>,
    mut input: &[u8],
    mut f: impl FnMut(&[u8]) -> Result<(), Error>,
) -> Result<(), Error> {
    if !pending.is_empty() {
        let (head, rest) = input.split_at(input.len().min(length - pending.len()));
        pending.extend_from_slice(head);
        input = rest;
        if pending.len() < length {
            return Ok(());
        }
        f(pending)?;
        pending.clear();
    }
    let mut chunks = input.chunks_exact(length);
    chunks.by_ref().try_for_each(&mut f)?;
    pending.extend_from_slice(chunks.remainder());
    Ok(())
}

#[cfg(test)]
mod tests;
