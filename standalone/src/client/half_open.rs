//! A connection that still reads when it can no longer write.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use hyper::rt::{Read, ReadBufCursor, Write};

/// Takes writes and drops them once one has failed.
///
/// A server that refuses an upload may answer and close before it has read everything. The next write then fails, and
/// hyper would give up without reading the answer, which is often here already and says why. What is read decides how
/// the exchange ends: an answer, or the end of the connection, which is an error of its own.
pub(super) struct HalfOpen<S> {
    stream: S,
    write_failed: bool,
}

impl<S> HalfOpen<S> {
    pub(super) const fn new(stream: S) -> Self {
        Self { stream, write_failed: false }
    }
}

impl<S: Unpin> HalfOpen<S> {
    fn write(
        &mut self,
        length: usize,
        write: impl FnOnce(Pin<&mut S>) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if !self.write_failed {
            match ready!(write(Pin::new(&mut self.stream))) {
                Ok(written) => return Poll::Ready(Ok(written)),
                Err(_) => self.write_failed = true,
            }
        }
        Poll::Ready(Ok(length))
    }

    fn flush(&mut self, flush: impl FnOnce(Pin<&mut S>) -> Poll<io::Result<()>>) -> Poll<io::Result<()>> {
        if !self.write_failed {
            self.write_failed = ready!(flush(Pin::new(&mut self.stream))).is_err();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: Read + Unpin> Read for HalfOpen<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: Write + Unpin> Write for HalfOpen<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.write(bytes.len(), |stream| stream.poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let length = slices.iter().map(|slice| slice.len()).sum();
        self.write(length, |stream| stream.poll_write_vectored(cx, slices))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.flush(|stream| stream.poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.flush(|stream| stream.poll_shutdown(cx))
    }
}
