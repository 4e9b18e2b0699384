use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;

use super::StreamError;
use crate::api::{Error, code};
use crate::audit::{Outcome, Permit, Record};
use crate::crypto::stream::{Decryptor, Encryptor, HEADER_LEN, Rewrapper};
use crate::crypto::{self, VersionKeys};
use crate::keyring::LoadedKey;

/// The outcome of a stream that nobody read to its end.
const CLIENT_GONE: &str = "client_gone";

/// A body on its way through a cipher.
pub(super) struct Transfer {
    body: BoxStream<'static, Result<Bytes, StreamError>>,
    /// `None` before it is started and once it is finished.
    cipher: Option<Cipher>,
    /// What came out and was not yet sent.
    out: Vec<u8>,
    /// Bytes of plaintext that went in or came out.
    plaintext: u64,
    report: Option<Report>,
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
        Self { body, cipher: None, out: Vec::new(), plaintext: 0, report: None }
    }

    /// Writes `record` to the audit trail when it ends, however it ends.
    pub(super) fn reporting(mut self, permit: Permit, record: Record) -> Self {
        self.report = Some(Report { permit, record });
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
            self.report_failure(code(&error.clone().into_error()));
            return Err(error);
        }
        if self.cipher.is_none()
            && let Some(Report { permit, mut record }) = self.report.take()
        {
            // Before the last piece leaves, so that with a strict audit no complete reply is unrecorded.
            record.bytes = self.plaintext;
            let request_id = record.request_id.clone();
            if permit.record(record).await.is_err() {
                tracing::error!(request_id, "a stream was not recorded in the audit trail and is cut");
                return Err(StreamError::Audit);
            }
        }
        if self.out.is_empty() {
            return Ok(None);
        }
        let piece = Bytes::from(std::mem::take(&mut self.out));
        Ok(Some((piece, self)))
    }

    fn report_failure(&mut self, code: &'static str) {
        if let Some(Report { permit, mut record }) = self.report.take() {
            tracing::info!(
                request_id = record.request_id,
                code,
                bytes = self.plaintext,
                "a stream broke off"
            );
            record.bytes = self.plaintext;
            record.outcome = Outcome::Failure(code);
            permit.record_later(record);
        }
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

/// The audit record of a stream, written when it ends, however it ends.
struct Report {
    permit: Permit,
    record: Record,
}

impl Drop for Transfer {
    fn drop(&mut self) {
        self.report_failure(CLIENT_GONE);
    }
}
