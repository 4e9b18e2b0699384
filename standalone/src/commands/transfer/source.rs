//! The request's body: what a thread reads, in pieces, and how much of it was sent.

use std::io::{self, Read};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::thread;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use indicatif::ProgressBar;
use tokio::sync::mpsc;

use super::Error;

const PIECE_BYTES: usize = 128 * 1024;
/// How many pieces may wait to be sent.
const PIECES_AHEAD: usize = 4;

/// What the reading thread says.
enum Piece {
    Data(Bytes),
    End,
    Failed(io::Error),
}

/// Starts to read `reader`. If `length` is known, exactly so many bytes are the body, and an input that turns out to be
/// shorter or longer is an error.
///
/// A thread of its own reads, since a read from a pipe or terminal cannot be broken off, and the runtime would wait for
/// one of its own threads at exit.
pub(super) fn start(
    reader: impl Read + Send + 'static,
    length: Option<u64>,
    bar: ProgressBar,
) -> Result<(SourceBody, Arc<Sent>), Error> {
    let (sender, pieces) = mpsc::channel(PIECES_AHEAD);
    let read = move || {
        let last = match read_all(reader, length, &sender) {
            Ok(()) => Piece::End,
            Err(error) => Piece::Failed(error),
        };
        // Nobody listens any more where the transfer has ended otherwise.
        let _ = sender.blocking_send(last);
    };
    thread::Builder::new().name("input".into()).spawn(read).map_err(Error::Thread)?;
    let sent = Arc::new(Sent::default());
    Ok((SourceBody { pieces, remaining: length, bar, sent: sent.clone() }, sent))
}

fn read_all(mut reader: impl Read, length: Option<u64>, sender: &mpsc::Sender<Piece>) -> io::Result<()> {
    let mut remaining = length;
    let mut buffer = vec![0; PIECE_BYTES];
    loop {
        let read = read_some(&mut reader, &mut buffer)?;
        if let Some(remaining) = &mut remaining {
            let left = remaining.checked_sub(read as u64).filter(|&left| read > 0 || left == 0);
            *remaining = left.ok_or_else(changed)?;
        }
        // Before the last piece leaves, since with it the request is complete.
        if remaining == Some(0) && read_some(&mut reader, &mut [0])? > 0 {
            return Err(changed());
        }
        let piece = Bytes::copy_from_slice(&buffer[..read]);
        if read == 0 || sender.blocking_send(Piece::Data(piece)).is_err() || remaining == Some(0) {
            return Ok(());
        }
    }
}

fn read_some(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match reader.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

fn changed() -> io::Error {
    io::Error::other("it changed while it was read")
}

/// What became of the request's body.
#[derive(Debug, Default)]
pub(super) struct Sent(Mutex<State>);

#[derive(Debug, Default)]
enum State {
    #[default]
    Unfinished,
    Complete,
    Failed(io::Error),
}

impl Sent {
    /// Whether the body was handed over to its end.
    pub(super) fn is_complete(&self) -> bool {
        matches!(*self.0.lock().unwrap_or_else(PoisonError::into_inner), State::Complete)
    }

    /// What went wrong with reading, if that is what ended the body; only once.
    pub(super) fn take_failure(&self) -> Option<io::Error> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match std::mem::take(&mut *state) {
            State::Failed(error) => Some(error),
            other => {
                *state = other;
                None
            }
        }
    }

    fn set(&self, state: State) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }
}

/// The body. Its failure is kept in [`Sent`], since hyper does not always hand it on.
pub(super) struct SourceBody {
    pieces: mpsc::Receiver<Piece>,
    remaining: Option<u64>,
    bar: ProgressBar,
    sent: Arc<Sent>,
}

/// The input could not be read.
#[derive(Debug, thiserror::Error)]
#[error("the input cannot be read")]
pub(super) struct Unreadable;

impl Body for SourceBody {
    type Data = Bytes;
    type Error = Unreadable;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Unreadable>>> {
        let piece = ready!(self.pieces.poll_recv(cx));
        let failure = match piece {
            Some(Piece::Data(data)) => {
                self.bar.inc(data.len() as u64);
                if let Some(remaining) = &mut self.remaining {
                    *remaining = remaining.saturating_sub(data.len() as u64);
                    if *remaining == 0 {
                        // Nobody asks for more than was announced.
                        self.sent.set(State::Complete);
                    }
                }
                return Poll::Ready(Some(Ok(Frame::data(data))));
            }
            Some(Piece::End) => {
                self.sent.set(State::Complete);
                return Poll::Ready(None);
            }
            Some(Piece::Failed(error)) => error,
            None => io::Error::other("the reading thread ended"),
        };
        self.sent.set(State::Failed(failure));
        Poll::Ready(Some(Err(Unreadable)))
    }

    fn size_hint(&self) -> SizeHint {
        self.remaining.map_or_else(SizeHint::new, SizeHint::with_exact)
    }
}

#[cfg(test)]
mod tests;
