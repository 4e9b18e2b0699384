use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;

use super::{Report, StreamError};
use crate::api::Error;
use crate::audit::{Permit, Record};
use crate::crypto::stream::{Decryptor, Encryptor, HEADER_LEN, Rewrapper};
use crate::crypto::{self, VersionKeys};
use crate::keyring::LoadedKey;
use crate::telemetry::Metrics;

/// A body on its way through a cipher.
pub(super) struct Transfer {
    body: BoxStream<'static, Result<Bytes, StreamError>>,
    /// `None` before it is started and once it is finished.
    cipher: Option<Cipher>,
    /// What came out and was not yet sent.
    out: Vec<u8>,
    /// Bytes of plaintext that went in or came out.
    plaintext: u64,
    report: Report,
}

enum Cipher {
    Encrypt(Box<Encryptor>),
    Decrypt(Box<Decryptor>),
    Rewrap(Box<Rewrapper>),
}

impl Cipher {
    /// Passes `input` through; returns how many bytes of plaintext that was.
    fn push(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<usize, crypto::Error> {
        match self {
            Self::Encrypt(encryptor) => encryptor.push(input, out).map(|()| input.len()),
            Self::Decrypt(decryptor) => {
                let before = out.len();
                decryptor.push(input, out).map(|()| out.len() - before)
            }
            Self::Rewrap(rewrapper) => rewrapper.push(input, out),
        }
    }

    /// As [`Cipher::push`], for what is left.
    fn finish(self, out: &mut Vec<u8>) -> Result<usize, crypto::Error> {
        match self {
            Self::Encrypt(encryptor) => encryptor.finish(out).map(|()| 0),
            Self::Decrypt(decryptor) => {
                let before = out.len();
                decryptor.finish(out).map(|()| out.len() - before)
            }
            Self::Rewrap(rewrapper) => rewrapper.finish(out),
        }
    }
}

impl Transfer {
    pub(super) fn new(body: BoxStream<'static, Result<Bytes, StreamError>>) -> Self {
        Self { body, cipher: None, out: Vec::new(), plaintext: 0, report: Report::default() }
    }

    /// Writes `record` to the audit trail when it ends, however it ends.
    pub(super) fn reporting(mut self, permit: Permit, record: Record, metrics: Arc<Metrics>) -> Self {
        self.report = Report::new(permit, record, Some(metrics));
        self
    }

    pub(super) fn start_encrypting(
        &mut self,
        keys: &VersionKeys,
        key: &LoadedKey,
        associated_data: &[u8],
    ) -> Result<(), Error> {
        let (encryptor, header) = Encryptor::new(keys, key.context().key_id, key.version(), associated_data)?;
        self.out.extend_from_slice(&header);
        self.cipher = Some(Cipher::Encrypt(Box::new(encryptor)));
        Ok(())
    }

    /// Reads the header; what follows it in the same chunk stays in `out`.
    pub(super) async fn read_header(&mut self) -> Result<[u8; HEADER_LEN], Error> {
        while self.out.len() < HEADER_LEN {
            match self.body.next().await {
                Some(chunk) => self.out.extend_from_slice(&chunk.map_err(StreamError::into_error)?),
                None => return Err(Error::InvalidCiphertext("it is too short")),
            }
        }
        let rest = self.out.split_off(HEADER_LEN);
        let header = std::mem::replace(&mut self.out, rest);
        Ok(header.try_into().expect("cut to that length"))
    }

    pub(super) async fn start_decrypting(
        &mut self,
        keys: &VersionKeys,
        header: &[u8; HEADER_LEN],
        associated_data: &[u8],
    ) -> Result<(), Error> {
        self.start(Cipher::Decrypt(Box::new(Decryptor::new(keys, header, associated_data)?))).await
    }

    pub(super) async fn start_rewrapping(
        &mut self,
        (old, header): (&LoadedKey, &[u8; HEADER_LEN]),
        new: &LoadedKey,
        associated_data: &[u8],
    ) -> Result<(), Error> {
        let from = old.decryption_keys().ok_or(Error::KeyVersionDisabled)?;
        let to = new.encryption_keys().ok_or(Error::KeyVersionDisabled)?;
        let to = (to, new.context().key_id, new.version());
        let (rewrapper, header) = Rewrapper::new((from, header), to, associated_data)?;
        self.start(Cipher::Rewrap(Box::new(rewrapper))).await?;
        self.out.splice(..0, header);
        Ok(())
    }

    /// Decrypts until something is authentic or all is read, so that what is wrong from the start is an error and no
    /// broken reply.
    async fn start(&mut self, mut cipher: Cipher) -> Result<(), Error> {
        let rest = std::mem::take(&mut self.out);
        self.plaintext += cipher.push(&rest, &mut self.out)? as u64;
        self.cipher = Some(cipher);
        if self.out.is_empty() {
            self.fill().await.map_err(StreamError::into_error)?;
        }
        Ok(())
    }

    /// The next piece of the reply.
    pub(super) async fn next(mut self) -> Result<Option<(Bytes, Self)>, StreamError> {
        if let Err(error) = self.fill().await {
            self.report.failed(&error, tell(self.plaintext));
            return Err(error);
        }
        if self.cipher.is_none() {
            // Before the last piece leaves, so that with a strict audit no complete reply is unrecorded.
            self.report.done(tell(self.plaintext)).await?;
        }
        if self.out.is_empty() {
            return Ok(None);
        }
        let piece = Bytes::from(std::mem::take(&mut self.out));
        Ok(Some((piece, self)))
    }

    /// Passes body through the cipher until something comes out or the cipher is finished.
    async fn fill(&mut self) -> Result<(), StreamError> {
        while self.out.is_empty()
            && let Some(cipher) = &mut self.cipher
        {
            match self.body.next().await {
                Some(chunk) => self.plaintext += cipher.push(&chunk?, &mut self.out)? as u64,
                None => {
                    let cipher = self.cipher.take().expect("looked at above");
                    self.plaintext += cipher.finish(&mut self.out)? as u64;
                }
            }
        }
        Ok(())
    }
}

/// Writes down how much plaintext it was.
fn tell(plaintext: u64) -> impl FnOnce(&mut Record) {
    move |record| record.bytes = plaintext
}

impl Drop for Transfer {
    fn drop(&mut self) {
        self.report.client_gone(tell(self.plaintext));
    }
}
