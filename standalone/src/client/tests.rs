use bytes::Bytes;
use http::StatusCode;
use http_body_util::{BodyExt, Full};

use super::*;
use crate::test_server;

const REFUSAL: &[u8] = b"HTTP/1.1 401 Unauthorized\r\nContent-Type: application/problem+json\r\n\
    Content-Length: 26\r\nConnection: close\r\n\r\n{\"detail\":\"token expired\"}";

fn large() -> Request<Full<Bytes>> {
    Request::post("/").body(Full::new(vec![7; 8 << 20].into())).expect("a request")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_before_the_upload_ends_is_read_though_the_connection_is_reset() {
    let server = test_server::reply_and_close(REFUSAL.into()).await;
    for _ in 0..50 {
        let response = send(server.as_url(), large()).await.expect("an answer");
        let refusal = Refusal::read(response).await;
        assert_eq!(
            (refusal.status, refusal.detail.as_deref()),
            (StatusCode::UNAUTHORIZED, Some("token expired"))
        );
    }
}

#[tokio::test]
async fn an_answer_is_read_while_the_server_takes_no_more_of_the_upload() {
    let server = test_server::tcp(|mut stream| async move {
        test_server::read_head(&mut stream).await;
        tokio::io::AsyncWriteExt::write_all(&mut stream, REFUSAL).await.expect("the client reads");
        std::future::pending().await
    })
    .await;
    let response = send(server.as_url(), large()).await.expect("an answer");
    assert_eq!(Refusal::read(response).await.detail.as_deref(), Some("token expired"));
}

#[tokio::test]
async fn a_connection_that_ends_without_an_answer_is_an_error() {
    for reply in ["", "HTTP/1.1 200 OK\r\nContent-Le", "SSH-2.0-x\r\n"] {
        let server = test_server::reply_and_close(reply.into()).await;
        assert!(matches!(send(server.as_url(), large()).await, Err(Error::Broken(_))), "{reply}");
    }
}

#[tokio::test]
async fn the_request_names_host_and_path_as_the_url_does() {
    let server = test_server::http(|request| async move {
        let host = request.headers()[header::HOST].to_str().expect("text").to_owned();
        let text = format!("{} {host}", request.uri());
        Response::new(Full::from(text).map_err(|never| match never {}).boxed())
    })
    .await;
    let mut url = server.join("/a/b");
    url.set_query(Some("c=d"));
    let response = send(&url, Request::new(Full::<Bytes>::default())).await.expect("an answer");
    let body = response.into_body().collect().await.expect("a body").to_bytes();
    assert_eq!(body, format!("/a/b?c=d 127.0.0.1:{}", url.port().expect("a port")));
}

#[tokio::test]
async fn what_cannot_be_connected_to_is_named() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let address = closed.expect("a port that was free");
    let url = format!("http://{address}/canary").parse().expect("a URL");
    let error = send(&url, large()).await.expect_err("nobody listens");
    assert!(matches!(error, Error::Connect { .. }));
    let text = error.to_string();
    assert!(text.starts_with(&format!("cannot connect to http://{address}: Connection refused")), "{text}");
}

#[tokio::test]
async fn https_is_not_spoken_to_a_plain_server() {
    let server = test_server::tcp(|stream| async { drop(stream) }).await;
    let url = server.as_url().as_str().replace("http:", "https:").parse().expect("a URL");
    // Where the system has no authorities, that is the reason instead.
    let error = send(&url, large()).await.expect_err("no TLS there");
    assert!(matches!(error, Error::Connect { .. } | Error::Authorities(_)), "{error}");
}
