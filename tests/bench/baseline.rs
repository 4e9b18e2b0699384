//! The least that a server of this kind does: HTTP/1.1, JSON, base64, and AES-256-GCM with a key at hand.

use std::borrow::Cow;
use std::convert::Infallible;
use std::env;
use std::io::{self, Write};
use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::rand;
use base64_simd::STANDARD;
use bytes::Bytes;
use http::{Request, Response, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;

/// What [`seal`] writes before the nonce: as long as the service's envelope, and authenticated like it.
const PREFIX: [u8; 24] = *b"CS\x01\x02baseline baseline\0\0\x01";

#[derive(Deserialize)]
struct EncryptRequest<'a> {
    #[serde(borrow)]
    plaintext: Cow<'a, str>,
    #[serde(borrow)]
    context: Cow<'a, str>,
}

#[derive(Serialize)]
struct EncryptReply<'a> {
    ciphertext: String,
    algorithm: Algorithm,
    key_id: &'a str,
    key_version: u32,
    warnings: [&'a str; 0],
}

#[derive(Serialize)]
struct Algorithm {
    name: &'static str,
    mode: &'static str,
    key_bits: u16,
}

/// Serves on `BIND_ADDR` until the process is killed, and writes the same log line as the service once it listens.
pub(crate) async fn serve() -> io::Result<()> {
    let key = UnboundKey::new(&AES_256_GCM, &[7; 32]).expect("32 bytes are an AES-256 key");
    let key = Arc::new(LessSafeKey::new(key));
    let listener = TcpListener::bind(env::var("BIND_ADDR").as_deref().unwrap_or("127.0.0.1:0")).await?;
    let address = listener.local_addr()?.to_string();
    writeln!(io::stderr(), "{}", serde_json::json!({"message": "listening", "address": address}))?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let key = key.clone();
        let service = service_fn(move |request| answer(key.clone(), request));
        // A client that leaves is no event here.
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

async fn answer(
    key: Arc<LessSafeKey>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (status, body) = match request.uri().path() {
        "/health/live" | "/health/ready" => (200, Bytes::from_static(br#"{"status":"alive"}"#)),
        "/api/v1/crypto/encrypt" => match request.into_body().collect().await {
            Ok(body) => encrypt(&key, &body.to_bytes()).map_or((400, Bytes::new()), |reply| (200, reply)),
            Err(_) => (400, Bytes::new()),
        },
        _ => (404, Bytes::new()),
    };
    let reply = Response::builder()
        .status(status)
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::new(body))
        .expect("a constant status and header");
    Ok(reply)
}

/// The reply to an encrypt request; `None` if it is not one.
fn encrypt(key: &LessSafeKey, body: &[u8]) -> Option<Bytes> {
    let request: EncryptRequest<'_> = serde_json::from_slice(body).ok()?;
    let plaintext = STANDARD.decode_to_vec(request.plaintext.as_bytes()).ok()?;
    let reply = EncryptReply {
        ciphertext: STANDARD.encode_to_string(seal(key, &plaintext)),
        algorithm: Algorithm { name: "AES-256-GCM", mode: "GCM", key_bits: 256 },
        key_id: &request.context,
        key_version: 1,
        warnings: [],
    };
    serde_json::to_vec(&reply).ok().map(Bytes::from)
}

fn seal(key: &LessSafeKey, plaintext: &[u8]) -> Vec<u8> {
    let mut nonce = [0; 12];
    rand::fill(&mut nonce).expect("the system's random numbers");
    let head = PREFIX.len() + nonce.len();
    let mut sealed = Vec::with_capacity(head + plaintext.len() + AES_256_GCM.tag_len());
    sealed.extend_from_slice(&PREFIX);
    sealed.extend_from_slice(&nonce);
    sealed.extend_from_slice(plaintext);
    let nonce = Nonce::assume_unique_for_key(nonce);
    let tag = key.seal_in_place_separate_tag(nonce, Aad::from(PREFIX), &mut sealed[head..]);
    sealed.extend_from_slice(tag.expect("far below the length limit of AES-GCM").as_ref());
    sealed
}
