use std::fs;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full};
use indicatif::ProgressBar;

use super::*;
use crate::client::ServerUrl;
use crate::test_server::{self, Body};

/// What [`cipher`] does to each byte, twice to no effect.
const KEY: u8 = 0x55;

type Seen = Arc<Mutex<Vec<(Uri, HeaderMap)>>>;

/// A server that changes each byte as it passes, and keeps the heads of requests.
async fn cipher() -> (ServerUrl, Seen) {
    let seen = Seen::default();
    let heads = seen.clone();
    let server = test_server::http(move |request| {
        let (head, body) = request.into_parts();
        let length = head.headers.get(header::CONTENT_LENGTH).cloned();
        heads.lock().unwrap().push((head.uri, head.headers));
        async move {
            let map = |data: Bytes| data.iter().map(|byte| byte ^ KEY).collect::<Bytes>();
            let mut response = Response::new(body.map_frame(move |frame| frame.map_data(map)).boxed());
            response.headers_mut().extend(length.map(|length| (header::CONTENT_LENGTH, length)));
            response
        }
    })
    .await;
    (server, seen)
}

fn exchange(direction: Direction, server: &ServerUrl) -> Exchange {
    Exchange {
        direction,
        server: server.clone(),
        token: "Bearer t".try_into().expect("a header"),
        context: Some("general".parse().expect("a name")),
        associated_data: Some("YQ==".try_into().expect("a header")),
    }
}

/// A directory with a file `in` of `length` bytes, and what is said of it on the command line.
fn directory(length: usize) -> (tempfile::TempDir, Paths) {
    let directory = tempfile::tempdir().expect("a directory");
    let input = directory.path().join("in");
    let bytes: Vec<u8> = (0..=250).cycle().take(length).collect();
    fs::write(&input, bytes).expect("writable");
    (directory, Paths { input: Some(input), output: None, force: false })
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).expect("a directory");
    let mut names: Vec<_> =
        entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8")).collect();
    names.sort();
    names
}

#[tokio::test]
async fn a_file_goes_there_and_back() {
    let (server, seen) = cipher().await;
    let (directory, paths) = directory(8 << 20);
    let path = |name| directory.path().join(name);
    transfer(&exchange(Direction::Encrypt, &server), &paths).await.expect("encrypted");
    let (plaintext, ciphertext) = (fs::read(path("in")).unwrap(), fs::read(path("in.cs")).unwrap());
    assert!(plaintext.iter().zip(&ciphertext).all(|(a, b)| a ^ KEY == *b));
    assert_eq!(plaintext.len(), ciphertext.len());

    fs::remove_file(path("in")).unwrap();
    let paths = Paths { input: Some(path("in.cs")), ..paths };
    transfer(&exchange(Direction::Decrypt, &server), &paths).await.expect("decrypted");
    assert!(fs::read(path("in")).unwrap() == plaintext);
    assert_eq!(names(directory.path()), ["in", "in.cs"]);

    let seen = seen.lock().unwrap();
    let uris: Vec<_> = seen.iter().map(|(uri, _)| uri.to_string()).collect();
    assert_eq!(
        uris,
        ["/api/v1/crypto/encrypt/stream?context=general", "/api/v1/crypto/decrypt/stream?context=general"]
    );
    for (_, headers) in seen.iter() {
        assert_eq!(headers[header::AUTHORIZATION], "Bearer t");
        assert_eq!(headers["x-associated-data"], "YQ==");
        assert_eq!(headers[header::CONTENT_LENGTH], (8 << 20).to_string());
    }
}

#[tokio::test]
async fn an_empty_file_is_no_special_case() {
    let (server, seen) = cipher().await;
    let (directory, paths) = directory(0);
    transfer(&exchange(Direction::Encrypt, &server), &paths).await.expect("encrypted");
    assert_eq!(fs::read(directory.path().join("in.cs")).unwrap(), b"");
    assert_eq!(seen.lock().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_reply_is_written_while_the_input_is_still_open() {
    let (server, seen) = cipher().await;
    let ((mut writer, input), (output, mut reader)) =
        (UnixStream::pair().unwrap(), UnixStream::pair().unwrap());
    let (body, sent) = source::start(input, None, ProgressBar::hidden()).expect("a thread");
    let sink = Sink::start(OwnedFd::from(output).into()).expect("a thread");
    let talk = tokio::task::spawn_blocking(move || {
        for round in 0..100 {
            let sent = [round; 1000];
            writer.write_all(&sent).unwrap();
            // Comes only if the reply is passed on before the request has ended.
            let mut received = [0; 1000];
            reader.read_exact(&mut received).unwrap();
            assert_eq!(received, sent.map(|byte| byte ^ KEY));
        }
        drop(writer);
        reader.read_to_end(&mut Vec::new()).unwrap()
    });
    exchange(Direction::Encrypt, &server).run(body, &sent, sink).await.expect("encrypted");
    assert_eq!(talk.await.unwrap(), 0);
    assert_eq!(seen.lock().unwrap()[0].1[header::TRANSFER_ENCODING], "chunked");
}

#[tokio::test]
async fn a_refusal_shows_its_detail_and_leaves_nothing() {
    let server = test_server::http(|_| async {
        let problem = Full::from(r#"{"status":403,"detail":"not your context"}"#);
        let mut response: Response<Body> = Response::new(problem.map_err(|never| match never {}).boxed());
        *response.status_mut() = StatusCode::FORBIDDEN;
        response
    })
    .await;
    let (directory, paths) = directory(8 << 20);
    let error = transfer(&exchange(Direction::Encrypt, &server), &paths).await.expect_err("refused");
    assert_eq!(error.to_string(), "the server answered 403 Forbidden: not your context");
    assert_eq!(names(directory.path()), ["in"]);
}

/// What comes of a reply to an input of unknown length, and what is written of it by then.
async fn after(reply: &str) -> Result<(), Error> {
    let server = test_server::read_reply_and_close(reply.into()).await;
    let (body, sent) = source::start(&b"input"[..], None, ProgressBar::hidden()).expect("a thread");
    let sink = Sink::start(tempfile::tempfile().unwrap()).expect("a thread");
    exchange(Direction::Decrypt, &server).run(body, &sent, sink).await
}

#[tokio::test]
async fn only_a_reply_that_ends_as_http_says_is_success() {
    for whole in [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabcde",
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\n\r\n",
    ] {
        after(whole).await.expect(whole);
    }
    for cut in [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabcd",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\n",
    ] {
        assert!(matches!(after(cut).await, Err(Error::Incomplete(_))), "{cut}");
    }
    for endless in ["HTTP/1.1 200 OK\r\n\r\nabcde", "HTTP/1.0 200 OK\r\n\r\nabcde"] {
        assert!(matches!(after(endless).await, Err(Error::NoLength)), "{endless}");
    }
}

#[tokio::test]
async fn a_broken_reply_leaves_no_file() {
    for reply in [
        // The connection is reset, since most of the request was not read.
        "HTTP/1.1 200 OK\r\nContent-Length: 8388608\r\n\r\nabcde",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n",
        // Whole, but it cannot be of what was not read yet.
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabcde",
    ] {
        let server = test_server::tcp(move |mut stream| async move {
            test_server::read_head(&mut stream).await;
            tokio::io::AsyncWriteExt::write_all(&mut stream, reply.as_bytes()).await.unwrap();
        })
        .await;
        let (directory, paths) = directory(8 << 20);
        let result = transfer(&exchange(Direction::Encrypt, &server), &paths).await;
        assert!(matches!(result, Err(Error::Incomplete(_))), "{reply} {result:?}");
        assert_eq!(names(directory.path()), ["in"], "{reply}");
    }
}

#[tokio::test]
async fn an_existing_output_is_replaced_only_by_a_whole_one() {
    let broken = test_server::reply_and_close("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n".into()).await;
    let (server, seen) = cipher().await;
    let (directory, mut paths) = directory(1000);
    let output = directory.path().join("in.cs");
    fs::write(&output, "old").unwrap();

    let result = transfer(&exchange(Direction::Encrypt, &server), &paths).await;
    assert!(matches!(result, Err(Error::Exists(_))));
    assert!(seen.lock().unwrap().is_empty(), "nothing was sent for nothing");
    paths.force = true;
    assert!(transfer(&exchange(Direction::Encrypt, &broken), &paths).await.is_err());
    assert_eq!(fs::read(&output).unwrap(), b"old");
    transfer(&exchange(Direction::Encrypt, &server), &paths).await.expect("replaced");
    assert_eq!(fs::read(&output).unwrap().len(), 1000);
    assert_eq!(names(directory.path()), ["in", "in.cs"]);
}

#[tokio::test]
async fn a_transfer_that_is_dropped_leaves_nothing() {
    let (started, mut has_started) = tokio::sync::mpsc::unbounded_channel();
    let server = test_server::tcp(move |mut stream| {
        let started = started.clone();
        async move {
            test_server::read_head(&mut stream).await;
            started.send(()).unwrap();
            std::future::pending().await
        }
    })
    .await;
    let (directory, paths) = directory(8 << 20);
    let exchange = exchange(Direction::Encrypt, &server);
    tokio::select! {
        result = transfer(&exchange, &paths) => panic!("{result:?}"),
        () = async {
            assert!(has_started.recv().await.is_some());
            assert_eq!(names(directory.path()).len(), 2, "the unfinished file is there");
        } => {}
    }
    assert_eq!(names(directory.path()), ["in"]);
}

#[tokio::test]
async fn an_output_that_cannot_be_written_ends_the_transfer() {
    let (server, _) = cipher().await;
    let (output, reader) = UnixStream::pair().unwrap();
    drop(reader);
    let (body, sent) = source::start(std::io::repeat(7), None, ProgressBar::hidden()).expect("a thread");
    let sink = Sink::start(OwnedFd::from(output).into()).expect("a thread");
    let result = exchange(Direction::Encrypt, &server).run(body, &sent, sink).await;
    assert!(matches!(result, Err(Error::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe));
}

#[test]
fn a_directory_is_no_input() {
    let (directory, _) = directory(0);
    let error = Input::open(Some(directory.path())).expect_err("a directory");
    assert!(matches!(error, Error::File { cause, .. } if cause.kind() == io::ErrorKind::IsADirectory));
}
