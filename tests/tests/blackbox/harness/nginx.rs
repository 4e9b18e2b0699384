//! `nginx.scale.conf` as shipped, in front of servers that fail on purpose.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use cryptoserve_core::api::ROUTES;
use cryptoserve_tests::Nginx;
use http::Method;
use http_body_util::Full;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// A server that reads requests and answers them all alike.
struct Backend {
    address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Backend {
    /// `reply` is sent after each request; if it is empty the connection is closed instead, as by a crash.
    async fn start(reply: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let heads = Arc::default();
        let seen = Arc::clone(&heads);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, reply, Arc::clone(&seen)));
            }
        });
        Self { address, heads }
    }

    fn requests(&self) -> usize {
        self.heads().len()
    }

    /// The heads of all requests so far, in lower case.
    fn heads(&self) -> Vec<String> {
        self.heads.lock().expect("no holder panics").clone()
    }
}

async fn serve(mut stream: TcpStream, reply: &'static str, heads: Arc<Mutex<Vec<String>>>) {
    while let Some(head) = read_request(&mut stream).await {
        heads.lock().expect("no holder panics").push(head);
        if reply.is_empty() || stream.write_all(reply.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// The head of a request, its body read and dropped.
async fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).ok()?.to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.map_or(0, |length| length.parse().expect("a length"))];
    stream.read_exact(&mut body).await.ok()?;
    Some(head)
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
const UNAVAILABLE: &str = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 2\r\n\r\n{}";
const CRASH: &str = "";

async fn post(nginx: &Nginx, method: Method, path: &str) -> u16 {
    let client = nginx.client();
    let request = client.request(method, path).body(Full::from("{}")).expect("a request");
    client.try_send(request).await.expect("a reply").status
}

/// How often two crashing servers together are asked for one request.
async fn attempts(method: Method, path: &str) -> usize {
    let backends = [Backend::start(CRASH).await, Backend::start(CRASH).await];
    let nginx = Nginx::start(&backends.each_ref().map(|backend| backend.address)).await;
    assert_eq!(post(&nginx, method, path).await, 503);
    backends.iter().map(Backend::requests).sum()
}

#[tokio::test]
async fn repeats_what_is_safe_to_repeat_on_one_other_replica() {
    for path in [
        "/api/v1/crypto/encrypt",
        "/v1/crypto/decrypt",
        "/api/v1/crypto/rewrap",
        "/api/v1/crypto/batch/encrypt",
        "/v1/crypto/hash",
        "/api/v1/crypto/mac/verify",
        "/v1/crypto/sign",
        "/api/v1/signatures/verify",
    ] {
        assert_eq!(attempts(Method::POST, path).await, 2, "{path}");
    }
}

#[tokio::test]
async fn never_repeats_what_makes_or_changes_something() {
    for (method, path) in [
        (Method::POST, "/api/v1/auth/refresh"),
        (Method::POST, "/api/api/v1/auth/refresh"),
        (Method::POST, "/api/v1/applications/sdk/register"),
        (Method::POST, "/api/v1/signatures/keys/generate"),
        (Method::DELETE, "/v1/signatures/keys/1"),
        (Method::POST, "/api/v1/crypto/mac/generate-key"),
        (Method::POST, "/api/v1/crypto/datakey"),
        (Method::POST, "/api/admin/contexts"),
        (Method::PUT, "/api/admin/rate-limits/ip"),
        (Method::DELETE, "/api/admin/identities/1"),
    ] {
        assert_eq!(attempts(method, path).await, 1, "{path}");
    }
}

#[tokio::test]
async fn an_answer_is_an_answer_even_if_it_is_503() {
    let backends = [Backend::start(UNAVAILABLE).await, Backend::start(UNAVAILABLE).await];
    let nginx = Nginx::start(&backends.each_ref().map(|backend| backend.address)).await;
    assert_eq!(post(&nginx, Method::POST, "/api/v1/crypto/encrypt").await, 503);
    assert_eq!(backends.iter().map(Backend::requests).sum::<usize>(), 1);
}

#[tokio::test]
async fn a_replica_that_is_gone_costs_no_request() {
    // Bound and not listening: refused for as long as this test holds it.
    let gone = TcpSocket::new_v4().expect("a socket");
    gone.bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a free port");
    let backend = Backend::start(OK).await;
    let nginx = Nginx::start(&[gone.local_addr().expect("an address"), backend.address]).await;
    // A token refresh was not sent to the one that refused, so sending it to the other is no repeat.
    for path in ["/api/v1/crypto/encrypt", "/api/v1/auth/refresh", "/health/ready"] {
        for _ in 0..4 {
            assert_eq!(post(&nginx, Method::POST, path).await, 200, "{path}");
        }
    }
    assert_eq!(backend.requests(), 12);
}

#[tokio::test]
async fn refuses_what_the_service_would_refuse_and_what_it_cannot_carry() {
    let backend = Backend::start(OK).await;
    let nginx = Nginx::start(&[backend.address]).await;
    let body = |len: usize| vec![b'x'; len];
    let limit = 16 << 20;
    nginx.client().post_bytes("/api/v1/crypto/encrypt", body(limit)).await.expect(200);
    let refused = nginx.client().post_bytes("/api/v1/crypto/encrypt", body(limit + 1)).await;
    refused.expect_problem(413, "body_too_large");
    let refused = nginx.client().post_bytes("/api/v1/crypto/encrypt/stream", body(1)).await;
    refused.expect_problem(501, "streaming_unavailable");
    assert_eq!(backend.requests(), 1);
}

#[tokio::test]
async fn tells_the_replica_who_asks_and_the_log_what_for() {
    let backend = Backend::start(OK).await;
    let nginx = Nginx::start(&[backend.address]).await;
    let client = nginx
        .client()
        .with_header("x-request-id", "abc-1")
        .with_header("x-forwarded-for", "203.0.113.7")
        .with_header("forwarded", "for=203.0.113.8");
    client.get("/v1/crypto/encrypt?context=secret").await.expect(200);
    let head = &backend.heads()[0];
    assert!(head.contains("x-request-id: abc-1\r\n"), "{head}");
    assert!(head.contains("x-forwarded-for: 203.0.113.7, 127.0.0.1\r\n"), "{head}");
    assert!(!head.contains("203.0.113.8"), "{head}");

    let line = nginx.access_log().find("the request id", |line| line.0.contains("abc-1")).await;
    let entry = line.json();
    assert_eq!((&entry["route"], &entry["status"]), (&"crypto/encrypt".into(), &200.into()), "{entry}");
    assert!(entry["upstream_time"].is_string(), "{entry}");
    assert!(!line.0.contains("secret"), "{entry}");
}

#[tokio::test]
async fn replaces_what_the_service_would_not_take_and_logs_no_path() {
    let backend = Backend::start(OK).await;
    let nginx = Nginx::start(&[backend.address]).await;
    let client = nginx.client().with_header("x-request-id", "two words");
    client.get("/unknown/eyJhbGciOi").await.expect(200);
    let head = &backend.heads()[0];
    let id = head.lines().find_map(|line| line.strip_prefix("x-request-id: ")).expect("an id");
    assert!(id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{head}");

    let line =
        nginx.access_log().find("the id", |line| line.field("request_id").as_deref() == Some(id)).await;
    assert_eq!(line.field("route").as_deref(), Some("other"), "{}", line.0);
    assert!(!line.0.contains("eyJ"), "{}", line.0);
}

#[tokio::test]
async fn every_route_has_a_name_in_the_log() {
    let backend = Backend::start(OK).await;
    let nginx = Nginx::start(&[backend.address]).await;
    for (n, route) in ROUTES.iter().enumerate() {
        let id = format!("route-{n}");
        let path: Vec<_> = route
            .path
            .split('/')
            .map(|part| if part.starts_with('{') { "a340b942-5780-458e-8817-0c241c14eeb0" } else { part })
            .collect();
        let client = nginx.client().with_header("x-request-id", &id);
        let request = client.request(route.method.clone(), &path.join("/")).body(Full::from("{}"));
        client.try_send(request.expect("a request")).await.expect("a reply");
        let line = nginx
            .access_log()
            .find(&id, |line| line.field("request_id").as_deref() == Some(id.as_str()))
            .await;
        let name = line.field("route").expect("a name");
        assert!(name != "other" && route.path.contains(&name), "{} {}: {name}", route.method, route.path);
    }
}
