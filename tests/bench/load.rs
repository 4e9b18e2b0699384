//! A closed-loop load generator: each connection sends its next request when the last is answered.

use std::net::SocketAddr;
use std::time::Duration;

use base64_simd::STANDARD;
use bytes::Bytes;
use futures_util::future::try_join_all;
use http::{Method, Request, header};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::Instant;

/// The context that is encrypted for; one of those that every deployment has.
pub(crate) const CONTEXT: &str = "general";

/// More requests than any run makes, so that one gone wild ends.
const MOST_REQUESTS: usize = 5_000_000;

/// An encrypt request, ready to be sent again and again.
#[derive(Clone, Debug)]
pub(crate) struct EncryptLoad {
    body: Bytes,
    token: String,
}

/// What came of a load.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) elapsed: Duration,
    /// One per request, sorted.
    pub(crate) latencies: Vec<Duration>,
}

/// Why a load was broken off: a measurement with failures in it measures something else.
pub(crate) type LoadError = Box<dyn std::error::Error + Send + Sync>;

impl EncryptLoad {
    /// Random bytes as plaintext.
    pub(crate) fn new(plaintext_bytes: usize, token: &str) -> Self {
        let mut plaintext = vec![0; plaintext_bytes];
        aws_lc_rs::rand::fill(&mut plaintext).expect("the system's random numbers");
        let body =
            serde_json::json!({"plaintext": STANDARD.encode_to_string(&plaintext), "context": CONTEXT});
        Self { body: Bytes::from(body.to_string()), token: token.to_owned() }
    }

    /// The request.
    pub(crate) fn request(&self, server: SocketAddr) -> Request<Full<Bytes>> {
        Request::builder()
            .method(Method::POST)
            .uri("/api/v1/crypto/encrypt")
            .header(header::HOST, server.to_string())
            .header(header::AUTHORIZATION, format!("Bearer {}", self.token))
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(self.body.clone()))
            .expect("a token and an address can stand in headers")
    }

    /// Keeps `connections` connections busy for `duration`.
    ///
    /// # Errors
    ///
    /// At the first reply that is not 200 and the first connection that fails.
    pub(crate) async fn run(
        &self,
        server: SocketAddr,
        connections: usize,
        duration: Duration,
    ) -> Result<Outcome, LoadError> {
        let start = Instant::now();
        let deadline = start + duration;
        let most = MOST_REQUESTS / connections;
        let loops = (0..connections).map(|_| {
            let load = self.clone();
            let running = tokio::spawn(async move { load.one_connection(server, deadline, most).await });
            async { running.await? }
        });
        let latencies = try_join_all(loops).await?;
        let elapsed = start.elapsed();
        let mut latencies: Vec<_> = latencies.into_iter().flatten().collect();
        latencies.sort_unstable();
        Ok(Outcome { elapsed, latencies })
    }

    async fn one_connection(
        &self,
        server: SocketAddr,
        deadline: Instant,
        most: usize,
    ) -> Result<Vec<Duration>, LoadError> {
        let stream = TcpStream::connect(server).await?;
        stream.set_nodelay(true)?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let connection = tokio::spawn(connection);
        let mut latencies = Vec::new();
        let mut sent = Instant::now();
        while sent < deadline && latencies.len() < most {
            sender.ready().await?;
            let reply = sender.send_request(self.request(server)).await?;
            let status = reply.status();
            let body = reply.into_body().collect().await?.to_bytes();
            if status != 200 {
                return Err(format!("{status}: {}", String::from_utf8_lossy(&body)).into());
            }
            let answered = Instant::now();
            latencies.push(answered - sent);
            sent = answered;
        }
        connection.abort();
        Ok(latencies)
    }
}

impl Outcome {
    /// Requests answered.
    pub(crate) fn requests(&self) -> usize {
        self.latencies.len()
    }

    /// Requests per second.
    pub(crate) fn rate(&self) -> f64 {
        self.requests() as f64 / self.elapsed.as_secs_f64()
    }

    /// The latency that `percent` of the requests did not exceed, in milliseconds.
    pub(crate) fn percentile(&self, percent: usize) -> f64 {
        let index = (self.latencies.len() * percent / 100).min(self.latencies.len().saturating_sub(1));
        self.latencies.get(index).map_or(f64::NAN, |latency| latency.as_secs_f64() * 1e3)
    }
}
