use bytes::Bytes;
use cryptoserve_tests::Client;
use futures_util::stream;
use http::Method;
use http_body_util::{Full, StreamBody};
use hyper::body::Frame;

use crate::support::{DECRYPT, app, base64, on_each_store, one, sealed, service, unbase64};

pub(super) const ENCRYPT_STREAM: &str = "/api/v1/crypto/encrypt/stream?context=backup-data";
pub(super) const DECRYPT_STREAM: &str = "/api/v1/crypto/decrypt/stream";
/// Prefix, salt and commitment.
const HEADER: usize = 24 + 24 + 32;
/// A chunk of 16 KiB with its tag.
const CHUNK: usize = 16 * 1024 + 16;

pub(super) fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|n| u8::try_from(n * 7 % 251).expect("below 251")).collect()
}

pub(super) async fn encrypt(client: &Client, plaintext: &[u8]) -> Vec<u8> {
    client.post_bytes(ENCRYPT_STREAM, plaintext.to_vec()).await.expect(200).body.to_vec()
}

/// What a decryption of `ciphertext` ends as, or what else stands at `path`: the whole reply if it looks complete to a
/// client, else nothing.
pub(super) async fn complete(client: &Client, path: &str, ciphertext: &[u8]) -> Option<Vec<u8>> {
    let request = client.request(Method::POST, path);
    let request = request.body(Full::new(Bytes::copy_from_slice(ciphertext))).expect("a request");
    match client.try_send(request).await {
        Ok(reply) if reply.status == 200 => Some(reply.body.to_vec()),
        Ok(reply) => {
            assert_eq!(reply.status, 400, "{reply:?}");
            None
        }
        Err(_) => None,
    }
}

/// The same with a chunked body, whose reply has no length that would give a cut away.
pub(super) async fn complete_chunked(client: &Client, path: &str, ciphertext: &[u8]) -> Option<Vec<u8>> {
    let pieces: Vec<_> = ciphertext.chunks(10_000).map(Bytes::copy_from_slice).collect();
    let frames = pieces.into_iter().map(|piece| Ok::<_, std::io::Error>(Frame::data(piece)));
    let body = StreamBody::new(stream::iter(frames.collect::<Vec<_>>()));
    let request = client.request(Method::POST, path).body(body).expect("a request");
    match client.try_send(request).await {
        Ok(reply) if reply.status == 200 => {
            assert_eq!(reply.header("content-length"), None);
            Some(reply.body.to_vec())
        }
        Ok(reply) => {
            assert_eq!(reply.status, 400, "{reply:?}");
            None
        }
        Err(_) => None,
    }
}

/// A stream of six chunks, cut, reordered, extended and altered, each with its description.
pub(super) fn damaged(ciphertext: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut cases: Vec<(String, Vec<u8>)> = Vec::new();
    for chunk in 0..=5 {
        let boundary = HEADER + chunk * CHUNK;
        for cut in [boundary.saturating_sub(1), boundary, boundary + 1] {
            cases.push((format!("cut at {cut}"), ciphertext[..cut.min(ciphertext.len() - 1)].to_vec()));
        }
    }
    for cut in [0, 1, 23, 24, 48, HEADER - 1] {
        cases.push((format!("cut at {cut}"), ciphertext[..cut].to_vec()));
    }
    let chunk = |n: usize| &ciphertext[HEADER + n * CHUNK..ciphertext.len().min(HEADER + (n + 1) * CHUNK)];
    let header = &ciphertext[..HEADER];
    cases.push((
        "reordered".into(),
        [header, chunk(1), chunk(0), chunk(2), chunk(3), chunk(4), chunk(5)].concat(),
    ));
    cases.push(("dropped".into(), [header, chunk(0), chunk(2), chunk(3), chunk(4), chunk(5)].concat()));
    cases.push((
        "doubled".into(),
        [header, chunk(0), chunk(0), chunk(1), chunk(2), chunk(3), chunk(4), chunk(5)].concat(),
    ));
    cases.push(("last first".into(), [header, chunk(5)].concat()));
    cases.push(("extended".into(), [ciphertext, b"x"].concat()));
    cases.push(("twice".into(), [ciphertext, ciphertext].concat()));
    for position in [0, 3, 5, 20, 30, 60, HEADER, HEADER + CHUNK + 5, ciphertext.len() - 1] {
        let mut flipped = ciphertext.to_vec();
        flipped[position] ^= 1;
        cases.push((format!("flipped at {position}"), flipped));
    }
    cases
}

on_each_store! {
    async fn streams_of_every_length_go_there_and_back(store) {
        let cluster = one(store).await;
        let app = app(&cluster).await;
        for length in [0, 1, 16_383, 16_384, 16_385, 32_768, 3_000_000] {
            let plaintext = pattern(length);
            let reply = app.post_bytes(ENCRYPT_STREAM, plaintext.clone()).await.expect(200);
            assert_eq!(reply.header("content-length"), Some(reply.body.len().to_string().as_str()));
            let opened = app.post_bytes(DECRYPT_STREAM, reply.body.clone()).await.expect(200);
            assert_eq!(opened.header("content-length"), Some(length.to_string().as_str()));
            assert!(opened.body == plaintext, "length {length}");
            assert!(complete_chunked(&app, DECRYPT_STREAM, &reply.body).await.as_deref() == Some(&plaintext[..]));
        }
    }

    async fn decrypt_takes_a_whole_stream_too(store) {
        let cluster = one(store).await;
        let app = app(&cluster).await;
        let ciphertext = encrypt(&app, &pattern(40_000)).await;
        let reply = app.post_json(DECRYPT, &sealed(&ciphertext)).await.expect(200);
        assert!(unbase64(&reply.text("plaintext")) == pattern(40_000));
        assert_eq!(reply.text("context"), "backup-data");
    }

    async fn a_cut_reordered_or_extended_stream_never_ends_as_success(store) {
        let cluster = one(store).await;
        let app = app(&cluster).await;
        let plaintext = pattern(5 * 16 * 1024 + 100);
        let ciphertext = encrypt(&app, &plaintext).await;
        assert!(complete(&app, DECRYPT_STREAM, &ciphertext).await.as_deref() == Some(&plaintext[..]));

        for (what, altered) in damaged(&ciphertext) {
            assert!(complete(&app, DECRYPT_STREAM, &altered).await.is_none(), "{what}");
            assert!(complete_chunked(&app, DECRYPT_STREAM, &altered).await.is_none(), "{what}, chunked");
        }
        // And the server is none the worse for it.
        assert!(complete(&app, DECRYPT_STREAM, &ciphertext).await.is_some());
    }

    async fn what_is_wrong_from_the_start_is_an_error_and_no_broken_reply(store) {
        let cluster = one(store).await;
        let app = app(&cluster).await;
        let ciphertext = encrypt(&app, b"short").await;
        let post = async |body: &[u8]| app.post_bytes(DECRYPT_STREAM, body.to_vec()).await;
        post(b"").await.expect_problem(400, "invalid_ciphertext");
        post(b"nonsense").await.expect_problem(400, "invalid_ciphertext");
        post(&ciphertext[..ciphertext.len() - 1]).await.expect_problem(400, "authentication_failed");
        let with = app.clone().with_header("x-associated-data", &base64("other"));
        with.post_bytes(DECRYPT_STREAM, ciphertext.clone()).await.expect_problem(400, "authentication_failed");
        let with = app.clone().with_header("x-associated-data", "*");
        with.post_bytes(DECRYPT_STREAM, ciphertext.clone()).await.expect_problem(400, "invalid_base64");
        app.post_bytes("/api/v1/crypto/encrypt/stream", "x").await.expect_problem(400, "invalid_request");
        app.post_bytes("/api/v1/crypto/encrypt/stream?context=no", "x").await.expect_problem(404, "context_not_found");
        let path = format!("{DECRYPT_STREAM}?context=general");
        app.post_bytes(&path, ciphertext).await.expect_problem(400, "context_mismatch");
    }

    async fn associated_data_goes_in_a_header(store) {
        let cluster = one(store).await;
        let app = app(&cluster).await.with_header("x-associated-data", &base64("volume 3"));
        let ciphertext = encrypt(&app, b"data").await;
        assert_eq!(app.post_bytes(DECRYPT_STREAM, ciphertext).await.expect(200).body, &b"data"[..]);
    }

    async fn a_stream_may_use_only_the_callers_contexts(store) {
        let cluster = one(store).await;
        let ciphertext = encrypt(&app(&cluster).await, b"data").await;
        let other = service(&cluster, "billing", ["payment-data"]).await;
        other.post_bytes(DECRYPT_STREAM, ciphertext).await.expect_problem(403, "context_forbidden");
        other.post_bytes(ENCRYPT_STREAM, "x").await.expect_problem(403, "context_forbidden");
    }
}
