//! One request with a stream in it, and its reply.

use cryptoserve_core::name::Name;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode};
use http_body_util::BodyExt;
use url::Url;

use super::source::{Sent, SourceBody};
use super::{Direction, Error, Sink};
use crate::client::{self, Refusal, ServerUrl};

const ASSOCIATED_DATA: HeaderName = HeaderName::from_static("x-associated-data");
const OCTETS: HeaderValue = HeaderValue::from_static("application/octet-stream");
const AGENT: HeaderValue = HeaderValue::from_static(concat!("cryptoserve/", env!("CARGO_PKG_VERSION")));

/// What is asked of which server.
pub(super) struct Exchange {
    pub(super) direction: Direction,
    pub(super) server: ServerUrl,
    /// The `Authorization` header.
    pub(super) token: HeaderValue,
    pub(super) context: Option<Name>,
    /// The `X-Associated-Data` header.
    pub(super) associated_data: Option<HeaderValue>,
}

impl Exchange {
    /// Sends `body` and writes the reply to `sink` as it comes. Success means that the whole body was sent, that the
    /// reply ended as HTTP says, and that all of it is written.
    pub(super) async fn run(&self, body: SourceBody, sent: &Sent, mut sink: Sink) -> Result<(), Error> {
        // An input that cannot be read breaks the connection, so it is the better explanation.
        let or_input = |error| sent.take_failure().map_or(error, Error::Input);

        let mut request = Request::post("/").body(body).expect("these parts are valid");
        *request.headers_mut() = self.headers();
        let response = client::send(&self.url(), request).await.map_err(|error| or_input(error.into()))?;
        if response.status() != StatusCode::OK {
            return Err(Error::Refused(Refusal::read(response).await));
        }
        if !(response.headers().contains_key(CONTENT_LENGTH)
            || response.headers().contains_key(TRANSFER_ENCODING))
        {
            return Err(Error::NoLength);
        }
        let mut reply = response.into_body();
        while let Some(frame) = reply.frame().await {
            let frame = frame.map_err(|_| or_input(Error::Incomplete(self.hint())))?;
            if let Ok(data) = frame.into_data() {
                sink.write(data).await?;
            }
        }
        if !sent.is_complete() {
            return Err(or_input(Error::Incomplete(" before everything was sent")));
        }
        sink.finish().await
    }

    fn url(&self) -> Url {
        let mut url = self.server.join(match self.direction {
            Direction::Encrypt => "/api/v1/crypto/encrypt/stream",
            Direction::Decrypt => "/api/v1/crypto/decrypt/stream",
        });
        if let Some(context) = &self.context {
            url.query_pairs_mut().append_pair("context", context.as_str());
        }
        url
    }

    fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::from_iter([
            (AUTHORIZATION, self.token.clone()),
            (CONTENT_TYPE, OCTETS),
            (ACCEPT, OCTETS),
            (USER_AGENT, AGENT),
        ]);
        headers.extend(self.associated_data.clone().map(|value| (ASSOCIATED_DATA, value)));
        headers
    }

    /// What a broken reply most likely means.
    const fn hint(&self) -> &'static str {
        match self.direction {
            Direction::Encrypt => "",
            Direction::Decrypt => " (the ciphertext was altered or cut, or the connection was lost)",
        }
    }
}
