//! A small HTTP client for tests.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, header};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use tokio::time::timeout;

use crate::eventually::LIMIT;

/// Why no reply came, as text: refused, reset, cut in the middle, or too late.
pub type TransportError = Box<dyn std::error::Error + Send + Sync>;

type AnyBody = BoxBody<Bytes, TransportError>;

/// Speaks HTTP/1.1 to one server, keeping connections; clones share them.
#[derive(Clone, Debug)]
pub struct Client {
    server: SocketAddr,
    headers: HeaderMap,
    limit: Duration,
    inner: legacy::Client<HttpConnector, AnyBody>,
}

/// A reply that has arrived whole.
#[derive(Clone, Debug)]
pub struct Reply {
    /// Status code.
    pub status: u16,
    /// Headers.
    pub headers: HeaderMap,
    /// Body.
    pub body: Bytes,
}

impl Reply {
    /// The body as JSON.
    ///
    /// # Panics
    ///
    /// If it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }

    /// A string at the top level of the JSON body.
    ///
    /// # Panics
    ///
    /// If it is not there.
    pub fn text(&self, field: &str) -> String {
        let json = self.json();
        json[field].as_str().unwrap_or_else(|| panic!("no text {field:?} in {json}")).to_owned()
    }

    /// A header as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Itself, if the status is `status`.
    ///
    /// # Panics
    ///
    /// With the whole reply, if it is another.
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{self:?}");
        self
    }

    /// Itself, if it is the problem document of `status` and `code`.
    ///
    /// # Panics
    ///
    /// With the whole reply, if anything differs.
    pub fn expect_problem(self, status: u16, code: &str) -> Self {
        let reply = self.expect(status);
        assert_eq!(reply.header("content-type"), Some("application/problem+json"), "{reply:?}");
        assert_eq!(reply.text("code"), code, "{reply:?}");
        assert_eq!(reply.json()["status"], status, "{reply:?}");
        reply
    }
}

impl Client {
    /// A client of `server`, with no token.
    pub fn new(server: SocketAddr) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let inner = legacy::Client::builder(TokioExecutor::new()).build(connector);
        Self { server, headers: HeaderMap::new(), limit: LIMIT, inner }
    }

    /// Sends `token` as bearer token.
    ///
    /// # Panics
    ///
    /// If it cannot stand in a header.
    pub fn with_token(self, token: &str) -> Self {
        self.with_header("authorization", &format!("Bearer {token}"))
    }

    /// Sends a header with every request.
    ///
    /// # Panics
    ///
    /// If name or value cannot stand in a header.
    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        let name: HeaderName = name.parse().expect("a header name");
        self.headers.insert(name, HeaderValue::from_str(value).expect("a header value"));
        self
    }

    /// Gives up on a request after `limit` instead of [`LIMIT`].
    pub fn with_limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// `GET path`. Panics without a reply, as all methods here but those named `try_…`.
    pub async fn get(&self, path: &str) -> Reply {
        self.call(Method::GET, path, None).await
    }

    /// `DELETE path`.
    pub async fn delete(&self, path: &str) -> Reply {
        self.call(Method::DELETE, path, None).await
    }

    /// `POST path` with a JSON body.
    pub async fn post_json(&self, path: &str, body: &Value) -> Reply {
        self.call(Method::POST, path, Some(body)).await
    }

    /// `PUT path` with a JSON body.
    pub async fn put_json(&self, path: &str, body: &Value) -> Reply {
        self.call(Method::PUT, path, Some(body)).await
    }

    /// `POST path` with raw bytes.
    pub async fn post_bytes(&self, path: &str, body: impl Into<Bytes>) -> Reply {
        let request = self.request(Method::POST, path).body(Full::new(body.into()));
        let reply = self.try_send(request.expect("a request")).await;
        reply.unwrap_or_else(|error| panic!("POST {path}: {error}"))
    }

    /// `GET path`, where having no reply is an answer too.
    pub async fn try_get(&self, path: &str) -> Result<Reply, TransportError> {
        self.try_call(Method::GET, path, None).await
    }

    /// `POST path` with a JSON body, where having no reply is an answer too.
    pub async fn try_post_json(&self, path: &str, body: &Value) -> Result<Reply, TransportError> {
        self.try_call(Method::POST, path, Some(body)).await
    }

    /// A request to this server with the client's headers, to be completed and given to [`Client::try_send`] or
    /// [`Client::open`].
    pub fn request(&self, method: Method, path: &str) -> http::request::Builder {
        let mut request = Request::builder().method(method).uri(format!("http://{}{path}", self.server));
        if let Some(headers) = request.headers_mut() {
            headers.extend(self.headers.clone());
        }
        request
    }

    /// Sends `request` and collects the reply.
    ///
    /// # Errors
    ///
    /// If no whole reply comes within the limit.
    pub async fn try_send<B>(&self, request: Request<B>) -> Result<Reply, TransportError>
    where
        B: Body<Data = Bytes> + Send + Sync + 'static,
        B::Error: Into<TransportError>,
    {
        let whole = async {
            let (head, body) = self.open(request).await?.into_parts();
            let body = body.collect().await?.to_bytes();
            Ok(Reply { status: head.status.as_u16(), headers: head.headers, body })
        };
        timeout(self.limit, whole)
            .await
            .unwrap_or_else(|_| Err(format!("no reply within {:?}", self.limit).into()))
    }

    /// Sends `request` and returns once the head of the reply is there; for streams. Has no time limit.
    ///
    /// # Errors
    ///
    /// If no head comes.
    pub async fn open<B>(&self, request: Request<B>) -> Result<Response<Incoming>, TransportError>
    where
        B: Body<Data = Bytes> + Send + Sync + 'static,
        B::Error: Into<TransportError>,
    {
        Ok(self.inner.request(request.map(|body| body.map_err(Into::into).boxed())).await?)
    }

    async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Reply {
        let reply = self.try_call(method.clone(), path, body).await;
        reply.unwrap_or_else(|error| panic!("{method} {path}: {error:?}"))
    }

    async fn try_call(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Reply, TransportError> {
        let mut request = self.request(method, path);
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let body = body.map(Value::to_string).unwrap_or_default();
        self.try_send(request.body(Full::new(Bytes::from(body)))?).await
    }
}
