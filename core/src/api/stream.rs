//! Bodies of any length, encrypted, decrypted or rewrapped as they pass.

mod report;
mod transfer;

use std::sync::Arc;

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use http::{HeaderName, HeaderValue, Response, header};
use serde::Deserialize;
use zeroize::Zeroizing;

pub(super) use self::report::Report;
use self::transfer::Transfer;
use super::admin_audit::export::{self, Export};
use super::{Call, Error, Operation, decrypt as single, extract, rewrap as again};
use crate::app::BodyError;
use crate::audit::{Permit, Record};
use crate::crypto;
use crate::crypto::envelope::Prefix;
use crate::crypto::stream::{self as chunked, HEADER_LEN};
use crate::keyring::LoadedKey;
use crate::limits::Cost;
use crate::store::Store;
use crate::telemetry::Metrics;

const ASSOCIATED_DATA: HeaderName = HeaderName::from_static("x-associated-data");
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
    /// What is to be sent cannot be read.
    #[error("the database cannot be read")]
    Store,
}

impl StreamError {
    /// As the error of a request that did not get as far as a reply.
    fn into_error(self) -> Error {
        match self {
            Self::Body(error) => error.into(),
            Self::Crypto(error) => error.into(),
            Self::Audit => Error::AuditUnavailable,
            Self::Store => Error::StoreUnavailable(self.into()),
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
async fn encrypt<S: Store>(
    call: &mut Call<'_, S>,
    query: &StreamQuery,
    cost: Cost,
) -> Result<Arc<LoadedKey>, Error> {
    let context = query.context.as_deref().ok_or_else(|| missing("?context="))?;
    let key = call.encryption_key(context).await?;
    call.charge(Some(key.context()), cost).await?;
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
    cost: Cost,
) -> Result<Arc<LoadedKey>, Error> {
    let prefix = header.first_chunk().expect("a header begins with a prefix");
    let key = single::decryption_key(call, Prefix::from_bytes(prefix)?).await?;
    single::require_context(&key, query.context.as_deref())?;
    call.charge(Some(key.context()), cost).await?;
    Ok(key)
}

/// Encrypts a stream again as it passes, with the newest version of its context's key. What is not authentic resets the
/// connection; what was sent until then is no whole stream.
#[utoipa::path(
    post,
    path = "/api/v1/crypto/rewrap/stream",
    tag = "Data plane",
    params(
        ("context" = Option<String>, Query, description = "If given, the stream must belong to this context"),
        ("X-Associated-Data" = Option<String>, Header, description = "As given to encrypt, in base64; stays the same"),
    ),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses(
        (status = 200, body = Vec<u8>, content_type = "application/octet-stream"),
        (status = "default", response = super::openapi::AnyProblem),
    ),
)]
async fn rewrap<S: Store>(
    call: &mut Call<'_, S>,
    query: &StreamQuery,
    header: &[u8; HEADER_LEN],
    cost: Cost,
) -> Result<(Arc<LoadedKey>, Arc<LoadedKey>), Error> {
    let prefix = header.first_chunk().expect("a header begins with a prefix");
    let (old, new) = again::keys(call, Prefix::from_bytes(prefix)?, query.context.as_deref()).await?;
    call.charge(Some(new.context()), cost).await?;
    Ok((old, new))
}

/// A stream that nothing can refuse any more.
pub(crate) struct OpenedStream(Opened);

enum Opened {
    /// Of what the request sends.
    Transfer {
        transfer: Box<Transfer>,
        /// Of the reply, when the request said its own.
        length: Option<u64>,
    },
    /// Of what the store has.
    Export(Export),
}

impl OpenedStream {
    /// The reply, which writes `record` to the audit trail when it ends.
    pub(crate) fn into_response(
        self,
        permit: Permit,
        record: Record,
        metrics: Arc<Metrics>,
    ) -> Response<TransferStream> {
        let (transfer, length) = match self.0 {
            Opened::Transfer { transfer, length } => (transfer.reporting(permit, record, metrics), length),
            Opened::Export(export) => return export.into_response(permit, record),
        };
        let mut response = Response::new(stream::try_unfold(transfer, Transfer::next).boxed());
        response.headers_mut().insert(header::CONTENT_TYPE, OCTETS);
        if let Some(length) = length {
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
    if call.route.operation == Operation::AdminExportAudit {
        return export::open(call).await.map(|export| OpenedStream(Opened::Export(export)));
    }
    let query: StreamQuery = extract::query(call.query)?;
    let associated_data = associated_data(headers)?;
    let body = body.map(|chunk| chunk.map_err(StreamError::Body)).boxed();
    let mut transfer = Transfer::new(body);
    let length = if call.route.operation == Operation::EncryptStream {
        let key = encrypt(call, &query, cost(length)).await?;
        let keys = key.encryption_keys().ok_or(Error::KeyVersionDisabled)?;
        transfer.start_encrypting(keys, &key, &associated_data)?;
        key.count_encrypts(1);
        length.and_then(chunked::ciphertext_len)
    } else if call.route.operation == Operation::RewrapStream {
        let header = transfer.read_header().await?;
        let (old, new) = rewrap(call, &query, &header, cost(length.and_then(chunked::plaintext_len))).await?;
        transfer.start_rewrapping((&old, &header), &new, &associated_data).await?;
        old.count_decrypts(1);
        new.count_encrypts(1);
        // As long as it was, if it was a whole stream.
        length.filter(|length| chunked::plaintext_len(*length).is_some())
    } else {
        let header = transfer.read_header().await?;
        let key = decrypt(call, &query, &header, cost(length.and_then(chunked::plaintext_len))).await?;
        let keys = key.decryption_keys().ok_or(Error::KeyVersionDisabled)?;
        transfer.start_decrypting(keys, &header, &associated_data).await?;
        key.count_decrypts(1);
        length.and_then(chunked::plaintext_len)
    };
    Ok(OpenedStream(Opened::Transfer { transfer: transfer.into(), length }))
}

/// Of a stream of which so many bytes of plaintext are expected. One of unknown length is longer than any limit allows.
fn cost(plaintext_len: Option<u64>) -> Cost {
    Cost { items: 1, bytes: plaintext_len.unwrap_or(u64::MAX) }
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
