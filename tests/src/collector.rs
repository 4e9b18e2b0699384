//! A collector of OpenTelemetry: takes traces by OTLP over HTTP, as protobuf.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use prost::Message;
use tokio::net::TcpListener;

use crate::eventually::eventually;

/// Listens on loopback until the test's runtime ends.
#[derive(Clone, Debug)]
pub struct Collector {
    address: SocketAddr,
    received: Arc<Mutex<Received>>,
}

#[derive(Debug, Default)]
struct Received {
    spans: Vec<Span>,
    requests: Vec<(HeaderMap, Bytes)>,
    /// Answered instead of 200.
    refusal: Option<StatusCode>,
}

/// A span that was exported.
#[derive(Clone, Debug)]
pub struct Span {
    /// What it is called.
    pub name: String,
    /// In hexadecimal.
    pub trace: String,
    /// In hexadecimal.
    pub id: String,
    /// In hexadecimal; empty for none.
    pub parent: String,
    /// As the protocol numbers them: 1 internal, 2 server, 3 client.
    pub kind: i32,
    /// Its attributes, as text.
    pub attributes: BTreeMap<String, String>,
    /// Those of the process that made it.
    pub resource: BTreeMap<String, String>,
    /// Texts of its events, of which there should be none.
    pub events: Vec<String>,
}

impl Collector {
    /// Starts one.
    ///
    /// # Panics
    ///
    /// If there is no free port.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let this = Self { address, received: Arc::default() };
        let serving = this.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let this = serving.clone();
                let service = service_fn(move |request| {
                    let this = this.clone();
                    async move { Ok::<_, Infallible>(this.answer(request).await) }
                });
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        this
    }

    /// As `OTEL_EXPORTER_OTLP_ENDPOINT` takes it.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Answers `status` from now on, and 200 with `None`.
    pub fn refuse(&self, status: Option<StatusCode>) {
        self.lock().refusal = status;
    }

    /// All spans so far.
    pub fn spans(&self) -> Vec<Span> {
        self.lock().spans.clone()
    }

    /// Headers and bodies of all requests so far.
    pub fn requests(&self) -> Vec<(HeaderMap, Bytes)> {
        self.lock().requests.clone()
    }

    /// The spans of a trace once one of them is `name`: it is the last that ends.
    ///
    /// # Panics
    ///
    /// If it is not there within [`crate::LIMIT`].
    pub async fn trace(&self, trace: &str, name: &str) -> Vec<Span> {
        eventually(&format!("the span {name:?} of the trace {trace}"), async || {
            let spans: Vec<_> = self.spans().into_iter().filter(|span| span.trace == trace).collect();
            spans.iter().any(|span| span.name == name).then_some(spans)
        })
        .await
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
        let mut received = self.lock();
        received.requests.push((head.headers, body.clone()));
        let status = match received.refusal {
            Some(refusal) => refusal,
            None if head.uri.path() != "/v1/traces" => StatusCode::NOT_FOUND,
            None => match ExportTraceServiceRequest::decode(body) {
                Ok(export) => {
                    received.spans.extend(spans(export));
                    StatusCode::OK
                }
                Err(_) => StatusCode::BAD_REQUEST,
            },
        };
        let mut response = Response::new(ExportTraceServiceResponse::default().encode_to_vec().into());
        *response.status_mut() = status;
        response
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Received> {
        self.received.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn spans(export: ExportTraceServiceRequest) -> Vec<Span> {
    let mut all = Vec::new();
    for resource in export.resource_spans {
        let of_process = texts(resource.resource.map(|resource| resource.attributes).unwrap_or_default());
        for span in resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            all.push(Span {
                name: span.name,
                trace: hex::encode(span.trace_id),
                id: hex::encode(span.span_id),
                parent: hex::encode(span.parent_span_id),
                kind: span.kind,
                attributes: texts(span.attributes),
                resource: of_process.clone(),
                events: span.events.into_iter().map(|event| event.name).collect(),
            });
        }
    }
    all
}

fn texts(attributes: Vec<KeyValue>) -> BTreeMap<String, String> {
    let text = |value| match value {
        any_value::Value::StringValue(text) => text,
        any_value::Value::IntValue(number) => number.to_string(),
        other => format!("{other:?}"),
    };
    let pairs = attributes.into_iter().filter_map(|pair| Some((pair.key, text(pair.value?.value?))));
    pairs.collect()
}
