use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

/// Longest pause of a client that is still sending, and longest time in all.
const PAUSE: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(5);

/// Closes a connection whose client may still be sending, so that it gets to read the reply: the kernel resets a
/// connection that is closed on unread data, and with it what the client has not read yet (RFC 9112 section 9.6).
pub(super) async fn close<T: AsyncRead + AsyncWrite + Unpin>(mut stream: T) {
    let mut unread = [0; 16 * 1024];
    let rest = async {
        // A client that is gone needs nothing more.
        if stream.shutdown().await.is_ok() {
            while let Ok(Ok(1..)) = timeout(PAUSE, stream.read(&mut unread)).await {}
        }
    };
    // One that sends on and on has had its time.
    let _ = timeout(LONGEST, rest).await;
}
