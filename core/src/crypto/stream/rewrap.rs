use std::fmt;

use zeroize::{Zeroize, Zeroizing};

use super::cobblestone::SEALED_CHUNK_LEN;
use super::{Decryptor, Encryptor, HEADER_LEN};
use crate::crypto::{Error, KeyId, KeyVersion, VersionKeys};

/// Decrypts a stream with one key and encrypts it with another as it passes; the plaintext is nowhere but in here, and
/// never more of it than one piece of input holds.
pub struct Rewrapper {
    decryptor: Decryptor,
    encryptor: Encryptor,
    /// What is on its way from one to the other: empty between calls, and wiped.
    plaintext: Zeroizing<Vec<u8>>,
}

impl Rewrapper {
    /// Begins with the first bytes of the old stream; also returns those of the new one, which is for the same
    /// associated data.
    ///
    /// # Errors
    /// As [`Decryptor::new`] and [`Encryptor::new`].
    pub fn new(
        (from, header): (&VersionKeys, &[u8; HEADER_LEN]),
        (to, key_id, version): (&VersionKeys, KeyId, KeyVersion),
        associated_data: &[u8],
    ) -> Result<(Self, [u8; HEADER_LEN]), Error> {
        let decryptor = Decryptor::new(from, header, associated_data)?;
        let (encryptor, header) = Encryptor::new(to, key_id, version, associated_data)?;
        Ok((Self { decryptor, encryptor, plaintext: Zeroizing::default() }, header))
    }

    /// Takes the next piece of the old stream, of any length, and appends to `out` the chunks of the new one that it
    /// completes. Returns how many bytes of plaintext passed.
    ///
    /// # Errors
    /// As [`Decryptor::push`].
    pub fn push(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<usize, Error> {
        // Enough from the start: growing would leave a copy behind.
        self.plaintext.reserve(input.len() + SEALED_CHUNK_LEN);
        self.decryptor.push(input, &mut self.plaintext)?;
        self.encryptor.push(&self.plaintext, out)?;
        let passed = self.plaintext.len();
        self.plaintext.zeroize();
        Ok(passed)
    }

    /// Ends both streams. Returns how many bytes of plaintext were left. Without its success the new stream has no end,
    /// and so never looks complete.
    ///
    /// # Errors
    /// As [`Decryptor::finish`].
    pub fn finish(mut self, out: &mut Vec<u8>) -> Result<usize, Error> {
        self.plaintext.reserve(SEALED_CHUNK_LEN);
        self.decryptor.finish(&mut self.plaintext)?;
        self.encryptor.push(&self.plaintext, out)?;
        self.encryptor.finish(out)?;
        Ok(self.plaintext.len())
    }
}

impl fmt::Debug for Rewrapper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Rewrapper(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::stream::{ciphertext_len, open};
    use crate::crypto::{ContextKey, stream};

    const KEY_ID: KeyId = KeyId([7; 16]);

    fn keys() -> VersionKeys {
        VersionKeys::new(&ContextKey::generate().expect("the generator works"))
    }

    fn second() -> KeyVersion {
        KeyVersion::try_from(2).expect("not zero")
    }

    fn rewrap(
        (old, new): (&VersionKeys, &VersionKeys),
        ciphertext: &[u8],
        piece: usize,
    ) -> Result<(Vec<u8>, usize), Error> {
        let (header, body) = ciphertext.split_first_chunk().expect("a header");
        let (mut rewrapper, header) = Rewrapper::new((old, header), (new, KEY_ID, second()), b"row")?;
        let (mut out, mut passed) = (header.to_vec(), 0);
        for piece in body.chunks(piece) {
            passed += rewrapper.push(piece, &mut out)?;
            assert!(rewrapper.plaintext.is_empty());
        }
        passed += rewrapper.finish(&mut out)?;
        Ok((out, passed))
    }

    #[test]
    fn the_new_stream_is_the_old_one_under_another_key() {
        let (old, new) = (keys(), keys());
        for length in [0, 1, 16_383, 16_384, 16_385, 100_000] {
            let plaintext: Vec<u8> = (0..=255).cycle().take(length).collect();
            let sealed = stream::seal(&old, KEY_ID, KeyVersion::FIRST, &plaintext, b"row").expect("sealed");
            for piece in [1_000, 16_400, 1 << 20] {
                let (rewrapped, passed) = rewrap((&old, &new), &sealed, piece).expect("rewrapped");
                assert_eq!((rewrapped.len(), passed), (sealed.len(), length));
                assert_eq!(Some(rewrapped.len() as u64), ciphertext_len(length as u64));
                assert_eq!(rewrapped[20..24], [0, 0, 0, 2]);
                assert_eq!(**open(&new, &rewrapped, b"row").expect("opened"), plaintext);
                assert_eq!(open(&old, &rewrapped, b"row").err(), Some(Error::AuthenticationFailed));
                assert_eq!(open(&new, &rewrapped, b"other").err(), Some(Error::AuthenticationFailed));
            }
        }
    }

    #[test]
    fn what_is_not_authentic_ends_without_an_end() {
        let (old, new) = (keys(), keys());
        let sealed = stream::seal(&old, KEY_ID, KeyVersion::FIRST, &[7; 40_000], b"row").expect("sealed");
        let failed = Err(Error::AuthenticationFailed);
        assert_eq!(rewrap((&new, &old), &sealed, 1_000), failed);
        for place in [30, 60, HEADER_LEN, HEADER_LEN + 16_400, sealed.len() - 1] {
            let mut altered = sealed.clone();
            altered[place] ^= 1;
            assert_eq!(rewrap((&old, &new), &altered, 1_000), failed, "{place}");
        }
        for length in [HEADER_LEN, HEADER_LEN + 16_400, sealed.len() - 1] {
            assert_eq!(rewrap((&old, &new), &sealed[..length], 1_000), failed, "{length}");
        }
        // What came out until then does not open.
        let (header, body) = sealed.split_first_chunk().expect("a header");
        let (mut rewrapper, header) =
            Rewrapper::new((&old, header), (&new, KEY_ID, second()), b"row").expect("begun");
        let mut out = header.to_vec();
        rewrapper.push(&body[..20_000], &mut out).expect("authentic");
        assert!(out.len() > HEADER_LEN);
        assert!(open(&new, &out, b"row").is_err());
    }
}
