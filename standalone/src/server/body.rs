use std::time::Duration;

use bytes::{Bytes, BytesMut};
use cryptoserve_core::app::BodyError;
use futures_util::{Stream, stream};
use http::{HeaderMap, header};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};

use super::room::Taken;

/// A refused request's body that is at most this long, and comes this soon, is read for the sake of the connection.
const SKIPPED_BYTES: u64 = 64 * 1024;
const SKIPPED_TIME: Duration = Duration::from_millis(50);

/// Reads a whole body of at most `longest` bytes into memory, within `time` and within the room that it takes there as it
/// arrives.
pub(super) async fn read(
    body: &mut Incoming,
    longest: u64,
    time: Duration,
    room: &mut Taken,
) -> Result<Bytes, BodyError> {
    if body.size_hint().lower() > longest {
        return Err(BodyError::TooLarge);
    }
    let collect = async {
        let mut whole = BytesMut::new();
        let mut first = Bytes::new();
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.map_err(|_| BodyError::Incomplete)?.into_data() else { continue };
            if (first.len() + whole.len() + data.len()) as u64 > longest {
                return Err(BodyError::TooLarge);
            }
            room.grow(data.len() as u64)?;
            if first.is_empty() && whole.is_empty() {
                // Most bodies come in one piece, which is used as it is.
                first = data;
            } else {
                whole.extend_from_slice(&std::mem::take(&mut first));
                whole.extend_from_slice(&data);
            }
        }
        Ok(if whole.is_empty() { first } else { whole.freeze() })
    };
    tokio::time::timeout(time, collect).await.map_err(|_| BodyError::Timeout)?
}

/// The pieces of a body as they arrive, each within `idle`.
pub(super) fn stream(
    body: Incoming,
    idle: Duration,
) -> impl Stream<Item = Result<Bytes, BodyError>> + Send + 'static {
    stream::try_unfold(body, move |mut body| async move {
        loop {
            let frame = tokio::time::timeout(idle, body.frame()).await.map_err(|_| BodyError::Timeout)?;
            match frame {
                None => return Ok(None),
                Some(Err(_)) => return Err(BodyError::Incomplete),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some((data, body)));
                    }
                }
            }
        }
    })
}

/// Reads and forgets the body of a refused request if that costs next to nothing. Returns whether the connection can go
/// on to the next request.
pub(super) async fn skip(headers: &HeaderMap, body: &mut Incoming) -> bool {
    if body.is_end_stream() {
        return true;
    }
    let small = body.size_hint().exact().is_some_and(|length| length <= SKIPPED_BYTES);
    // A client that asks whether it should send the body is not asked for it.
    if !small || headers.contains_key(header::EXPECT) {
        return false;
    }
    let rest = async {
        while let Some(frame) = body.frame().await {
            if frame.is_err() {
                return false;
            }
        }
        true
    };
    tokio::time::timeout(SKIPPED_TIME, rest).await.unwrap_or(false)
}
