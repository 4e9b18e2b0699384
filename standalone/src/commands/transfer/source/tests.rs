use std::io::Cursor;

use http_body_util::BodyExt;

use super::*;

async fn body(bytes: usize, announced: Option<u64>) -> (Result<usize, Unreadable>, Arc<Sent>) {
    let reader = Cursor::new(vec![7; bytes]);
    let (mut body, sent) = start(reader, announced, ProgressBar::hidden()).expect("a thread");
    let mut read = 0;
    // As hyper does: no more is asked for once all that was announced is there.
    while announced != Some(read as u64) {
        match body.frame().await {
            Some(Ok(frame)) => read += frame.into_data().expect("data").len(),
            Some(Err(error)) => return (Err(error), sent),
            None => break,
        }
    }
    (Ok(read), sent)
}

#[tokio::test]
async fn a_body_is_the_whole_input() {
    for bytes in [0, 1, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 3 * PIECE_BYTES] {
        for announced in [None, Some(bytes as u64).filter(|&bytes| bytes > 0)] {
            let (read, sent) = body(bytes, announced).await;
            assert_eq!(read.ok(), Some(bytes));
            assert!(sent.is_complete(), "{bytes} {announced:?}");
        }
    }
}

#[tokio::test]
async fn an_input_of_another_length_than_announced_is_an_error() {
    for (bytes, announced) in
        [(0, 1), (9, 10), (11, 10), (PIECE_BYTES + 1, PIECE_BYTES), (PIECE_BYTES, PIECE_BYTES + 1)]
    {
        let (read, sent) = body(bytes, Some(announced as u64)).await;
        assert!(read.is_err(), "{bytes} of {announced}");
        assert!(!sent.is_complete());
        assert!(sent.take_failure().is_some_and(|error| error.to_string().contains("changed")));
    }
}

#[tokio::test]
async fn a_failing_input_says_why() {
    struct Failing;
    impl Read for Failing {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("disk on fire"))
        }
    }
    let (mut body, sent) = start(Failing, None, ProgressBar::hidden()).expect("a thread");
    assert!(matches!(body.frame().await, Some(Err(Unreadable))));
    assert_eq!(sent.take_failure().map(|error| error.to_string()).as_deref(), Some("disk on fire"));
    assert!(!sent.is_complete());
}
