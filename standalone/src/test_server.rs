//! Servers for tests, on free ports: one that speaks HTTP, one that misbehaves.

use std::convert::Infallible;
use std::future::Future;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::combinators::BoxBody;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::client::ServerUrl;

pub(crate) type Body = BoxBody<Bytes, hyper::Error>;

/// Gives each connection to `serve`, until the test's runtime ends.
pub(crate) async fn tcp<F>(serve: impl Fn(TcpStream) -> F + Send + 'static) -> ServerUrl
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
    });
    format!("http://{address}").parse().expect("a URL")
}

/// Answers each request with what `answer` says.
pub(crate) async fn http<F>(
    answer: impl Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
) -> ServerUrl
where
    F: Future<Output = Response<Body>> + Send + 'static,
{
    tcp(move |stream| {
        let answer = answer.clone();
        let service = service_fn(move |request| {
            let answered = answer(request);
            async { Ok::<_, Infallible>(answered.await) }
        });
        async { drop(http1::Builder::new().serve_connection(TokioIo::new(stream), service).await) }
    })
    .await
}

/// Reads a request's head, sends `reply`, and closes: with a reset where the request has more.
pub(crate) async fn reply_and_close(reply: Vec<u8>) -> ServerUrl {
    tcp(move |mut stream| {
        let reply = reply.clone();
        async move {
            read_head(&mut stream).await;
            stream.write_all(&reply).await.expect("the client reads");
        }
    })
    .await
}

/// Reads the whole request, whose body must be chunked, then sends `reply` and closes in good order.
pub(crate) async fn read_reply_and_close(reply: Vec<u8>) -> ServerUrl {
    tcp(move |mut stream| {
        let reply = reply.clone();
        async move {
            let mut request = read_head(&mut stream).await;
            while !request.ends_with(b"0\r\n\r\n") {
                assert_ne!(stream.read_buf(&mut request).await.expect("readable"), 0);
            }
            stream.write_all(&reply).await.expect("the client reads");
        }
    })
    .await
}

/// Reads until the end of a request's head, and perhaps some of its body.
pub(crate) async fn read_head(stream: &mut TcpStream) -> Vec<u8> {
    let mut head = Vec::new();
    while !head.windows(4).any(|window| window == b"\r\n\r\n") {
        assert_ne!(stream.read_buf(&mut head).await.expect("readable"), 0, "the client went away");
    }
    head
}
