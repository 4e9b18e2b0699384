//! Bodies of any length, encrypted or decrypted as they pass.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use http::{HeaderName, HeaderValue, Response, header};
use serde::Deserialize;
use zeroize::Zeroizing;

use super::{Call, Error, code, decrypt as single, extract};
use crate::app::BodyError;
use crate::audit::{Outcome, Permit, Record};
use crate::crypto::envelope::Prefix;
use crate::crypto::stream::{self as chunked, Decryptor, Encryptor, HEADER_LEN};
use crate::crypto::{self, VersionKeys};
use crate::keyring::LoadedKey;
use crate::store::Store;

const ASSOCIATED_DATA: HeaderName = HeaderName::from_static("x-associated-data");
/// The outcome of a stream that nobody read to its end.
const CLIENT_GONE: &str = "client_gone";
const OCTETS: HeaderValue = HeaderValue::from_static("application/octet-stream");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StreamQuery {
    context: Option<String>,
}

/// Why a stream broke off. The connection is then reset, so that it never looks complete.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StreamError {
    /// The request's body broke off or was too slow.
    #[error("the request body did not arrive: {0}")]
    Body(BodyError),
    /// What arrived is not what was encrypted.
    #[error(transparent)]
    Crypto(#[from] crypto::Error),
    /// The audit trail cannot be written.
    #[error("the audit trail cannot be written")]
    Audit,
}

impl StreamError {
    /// As the error of a request that did not get as far as a reply.
    fn into_error(self) -> Error {
        match self {
            Self::Body(error) => error.into(),
            Self::Crypto(error) => error.into(),
            Self::Audit => Error::AuditUnavailable,
        }
    }
}

/// The body of a stream's reply.
pub type TransferStream = futures_util::stream::BoxStream<'static, Result<Bytes, StreamError>>;

/// Encrypts the body as it passes.
#[utoipa::path(
    post,
    path = "/api/v1/crypto/encrypt/stream",
    tag = "Data plane",
    params(
        ("context" = String, Query, description = "The context whose key is used"),
        ("X-Associated-Data" = Option<String>, Header, description = "In base64; needed again to decrypt"),
    ),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses(
        (status = 200, body = Vec<u8>, content_type = "application/octet-stream"),
        (status = "default", response = super::openapi::AnyProblem),
    ),
)]
async fn encrypt<S: Store>(call: &mut Call<'_, S>, query: &StreamQuery) -> Result<Arc<LoadedKey>, Error> {
    let context = query.context.as_deref().ok_or_else(|| missing("?context="))?;
    let key = call.encryption_key(context).await?;
    call.charge(Some(key.context()), 1)?;
    Ok(key)
}

/// Decrypts the body as it passes. What is not authentic resets the connection; what was sent until then is authentic,
/// but not the whole message.
#[utoipa::path(
    post,
    path = "/api/v1/crypto/decrypt/stream",
    tag = "Data plane",
    params(
        ("context" = Option<String>, Query, description = "If given, the stream must belong to this context"),
        ("X-Associated-Data" = Option<String>, Header, description = "As given to encrypt, in base64"),
    ),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses(
        (status = 200, body = Vec<u8>, content_type = "application/octet-stream"),
        (status = "default", response = super::openapi::AnyProblem),
    ),
)]
async fn decrypt<S: Store>(
    call: &mut Call<'_, S>,
    query: &StreamQuery,
    header: &[u8; HEADER_LEN],
) -> Result<Arc<LoadedKey>, Error> {
    let prefix = header.first_chunk().expect("a header begins with a prefix");
    let key = single::decryption_key(call, Prefix::from_bytes(prefix)?).await?;
    single::require_context(&key, query.context.as_deref())?;
    call.charge(Some(key.context()), 1)?;
    Ok(key)
}

/// A stream that nothing can refuse any more.
pub(crate) struct OpenedStream {
    transfer: Transfer,
    /// Of the reply, when the request said its own.
    length: Option<u64>,
}

impl OpenedStream {
    /// The reply, which writes `record` to the audit trail when it ends.
    pub(crate) fn into_response(self, permit: Permit, record: Record) -> Response<TransferStream> {
        let mut transfer = self.transfer;
        transfer.report = Some(Report { permit, record });
        let mut response = Response::new(stream::try_unfold(transfer, Transfer::next).boxed());
        response.headers_mut().insert(header::CONTENT_TYPE, OCTETS);
        if let Some(length) = self.length {
            response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        }
        response
    }
}

/// Opens the stream that `call` asks for: everything that can be refused is refused here, before the reply begins.
pub(crate) async fn open<S, B>(
    call: &mut Call<'_, S>,
    headers: &http::HeaderMap,
    length: Option<u64>,
    body: B,
) -> Result<OpenedStream, Error>
where
    S: Store,
    B: Stream<Item = Result<Bytes, BodyError>> + Send + Unpin + 'static,
{
    let query: StreamQuery = extract::query(call.query)?;
    let associated_data = associated_data(headers)?;
    let body = body.map(|chunk| chunk.map_err(StreamError::Body)).boxed();
    let mut transfer = Transfer { body, cipher: None, out: Vec::new(), plaintext: 0, report: None };
    let length = if call.route.operation == super::Operation::EncryptStream {
        let key = encrypt(call, &query).await?;
        let keys = key.encryption_keys().ok_or(Error::KeyVersionDisabled)?;
        transfer.start_encrypting(keys, &key, &associated_data)?;
        length.and_then(chunked::ciphertext_len)
    } else {
        let header = transfer.read_header().await?;
        let key = decrypt(call, &query, &header).await?;
        let keys = key.decryption_keys().ok_or(Error::KeyVersionDisabled)?;
        transfer.start_decrypting(keys, &header, &associated_data).await?;
        length.and_then(chunked::plaintext_len)
    };
    Ok(OpenedStream { transfer, length })
}

fn associated_data(headers: &http::HeaderMap) -> Result<Zeroizing<Vec<u8>>, Error> {
    const NAME: &str = "X-Associated-Data";
    let Some(value) = headers.get(ASSOCIATED_DATA) else { return Ok(Zeroizing::default()) };
    let decoded = base64_simd::STANDARD.decode_to_vec(value.as_bytes());
    decoded.map(Zeroizing::new).map_err(|_| Error::InvalidBase64(NAME))
}

fn missing(what: &str) -> Error {
    Error::InvalidRequest(format!("`{what}` is missing"))
}

/// A body on its way through a cipher.
struct Transfer {
    body: stream::BoxStream<'static, Result<Bytes, StreamError>>,
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
        }
    }
}

impl Transfer {
    fn start_encrypting(
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
    async fn read_header(&mut self) -> Result<[u8; HEADER_LEN], Error> {
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

    /// Decrypts until something is authentic or all is read, so that what is wrong from the start is an error and no
    /// broken reply.
    async fn start_decrypting(
        &mut self,
        keys: &VersionKeys,
        header: &[u8; HEADER_LEN],
        associated_data: &[u8],
    ) -> Result<(), Error> {
        let mut decryptor = Cipher::Decrypt(Box::new(Decryptor::new(keys, header, associated_data)?));
        let rest = std::mem::take(&mut self.out);
        self.plaintext += decryptor.push(&rest, &mut self.out)? as u64;
        self.cipher = Some(decryptor);
        if self.out.is_empty() {
            self.fill().await.map_err(StreamError::into_error)?;
        }
        Ok(())
    }

    /// The next piece of the reply.
    async fn next(mut self) -> Result<Option<(Bytes, Self)>, StreamError> {
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
