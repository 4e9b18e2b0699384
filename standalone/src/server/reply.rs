use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use cryptoserve_core::api::{StreamError, TransferStream};
use hyper::body::{Body, Frame, SizeHint};

use super::room::Taken;

/// The body of a reply, with what is held until it is written: the room that the request took, and the mark that its
/// connection is at work.
pub(super) struct ReplyBody {
    content: Content,
    _room: Option<Taken>,
    _at_work: AtWork,
}

enum Content {
    Whole(Bytes),
    Stream(TransferStream),
}

impl ReplyBody {
    pub(super) fn whole(bytes: Bytes, room: Option<Taken>, at_work: AtWork) -> Self {
        Self { content: Content::Whole(bytes), _room: room, _at_work: at_work }
    }

    pub(super) fn stream(stream: TransferStream, at_work: AtWork) -> Self {
        Self { content: Content::Stream(stream), _room: None, _at_work: at_work }
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = StreamError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StreamError>>> {
        match &mut self.content {
            Content::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Content::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Content::Stream(stream) => stream.as_mut().poll_next(context).map_ok(Frame::data),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(&self.content, Content::Whole(bytes) if bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Content::Stream(_) => SizeHint::default(),
        }
    }
}

/// A mark that every request of a connection holds until it is wholly answered: more than the connection's own two
/// handles to it mean that somebody waits.
#[derive(Clone, Default)]
pub(super) struct AtWork(Arc<()>);

impl AtWork {
    /// Whether any request holds the mark, besides the connection and its service.
    pub(super) fn is_held(&self) -> bool {
        Arc::strong_count(&self.0) > 2
    }
}
