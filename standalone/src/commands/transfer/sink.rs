//! The reply's body on its way to a file or pipe, written by a thread.

use std::fs::File;
use std::io::{self, Write};
use std::thread;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use super::Error;

/// How many pieces of the reply may wait to be written.
const PIECES_AHEAD: usize = 4;

/// Takes what is to be written. A thread of its own writes, since a write to a pipe that nobody reads cannot be broken
/// off, and the runtime would wait for one of its own threads at exit.
pub(super) struct Sink {
    pieces: mpsc::Sender<Bytes>,
    outcome: oneshot::Receiver<io::Result<()>>,
}

impl Sink {
    /// Starts to write to `file`.
    pub(super) fn start(file: File) -> Result<Self, Error> {
        let (pieces, receiver) = mpsc::channel(PIECES_AHEAD);
        let (sender, outcome) = oneshot::channel();
        let write = move || {
            // Nobody listens any more where the transfer has ended otherwise.
            let _ = sender.send(write_all(file, receiver));
        };
        thread::Builder::new().name("output".into()).spawn(write).map_err(Error::Thread)?;
        Ok(Self { pieces, outcome })
    }

    /// Hands `piece` over to be written.
    pub(super) async fn write(&mut self, piece: Bytes) -> Result<(), Error> {
        match self.pieces.send(piece).await {
            Ok(()) => Ok(()),
            // The thread has ended before its time, so it failed.
            Err(_) => Err(Error::Output(outcome(&mut self.outcome).await.err().unwrap_or_else(ended))),
        }
    }

    /// Waits until all is written, and on disk if it is a regular file.
    pub(super) async fn finish(self) -> Result<(), Error> {
        let Self { pieces, outcome: mut receiver } = self;
        drop(pieces);
        outcome(&mut receiver).await.map_err(Error::Output)
    }
}

async fn outcome(receiver: &mut oneshot::Receiver<io::Result<()>>) -> io::Result<()> {
    receiver.await.unwrap_or_else(|_| Err(ended()))
}

fn ended() -> io::Error {
    io::Error::other("the writing thread ended")
}

fn write_all(mut file: File, mut pieces: mpsc::Receiver<Bytes>) -> io::Result<()> {
    while let Some(piece) = pieces.blocking_recv() {
        file.write_all(&piece)?;
    }
    if file.metadata()?.is_file() { file.sync_all() } else { Ok(()) }
}
