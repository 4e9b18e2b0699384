//! A bare connection, for HTTP that no client would send.

use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::eventually::LIMIT;

/// A connection on which a test writes the bytes itself.
#[derive(Debug)]
pub struct RawConnection<T = TcpStream> {
    stream: T,
}

impl RawConnection {
    /// Connects.
    ///
    /// # Panics
    ///
    /// If refused.
    pub async fn open(server: SocketAddr) -> Self {
        let stream = TcpStream::connect(server).await.unwrap_or_else(|error| panic!("{server}: {error}"));
        stream.set_nodelay(true).expect("a connected socket takes the option");
        Self { stream }
    }

    /// One connection: sends `request` and returns all that comes until the server closes.
    ///
    /// # Panics
    ///
    /// As the single steps.
    pub async fn exchange(server: SocketAddr, request: impl AsRef<[u8]>) -> String {
        let mut connection = Self::open(server).await;
        connection.send(request).await;
        connection.read_to_end().await
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> RawConnection<T> {
    /// Over a stream that is connected.
    pub fn over(stream: T) -> Self {
        Self { stream }
    }

    /// What it goes over.
    pub fn stream(&self) -> &T {
        &self.stream
    }

    /// Sends bytes as they are. Returns whether the server's system took them all: one that has already closed is not
    /// an error here, and reading tells more.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.write_all(bytes.as_ref()).await.is_ok()
    }

    /// Says that nothing more will be sent, and keeps reading.
    pub async fn finish(&mut self) {
        let _ = self.stream.shutdown().await;
    }

    /// All that comes until the server closes or resets.
    ///
    /// # Panics
    ///
    /// If it has not within [`LIMIT`]: a server must not leave a broken request hanging.
    pub async fn read_to_end(&mut self) -> String {
        let mut reply = Vec::new();
        let end = timeout(LIMIT, self.stream.read_to_end(&mut reply)).await;
        assert!(
            end.is_ok(),
            "the server keeps the connection open; so far {:?}",
            String::from_utf8_lossy(&reply)
        );
        String::from_utf8_lossy(&reply).into_owned()
    }

    /// The next reply, head and body; its head must tell the body's length.
    ///
    /// # Panics
    ///
    /// If the connection ends or [`LIMIT`] passes before, or the head tells no length.
    pub async fn read_reply(&mut self) -> String {
        let head = self.read_head().await;
        let lower = head.to_ascii_lowercase();
        let length = lower.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
        let mut body = vec![0; length.unwrap_or_else(|| panic!("no length in {head:?}"))];
        let end = timeout(LIMIT, self.stream.read_exact(&mut body)).await;
        assert!(matches!(end, Ok(Ok(_))), "{end:?} after {head:?}");
        head + &String::from_utf8_lossy(&body)
    }

    /// Sends `bytes` again and again until the server closes, and reads nothing of what it sends.
    ///
    /// # Panics
    ///
    /// If it has not closed within [`LIMIT`].
    pub async fn send_until_closed(&mut self, bytes: &[u8]) {
        let sending = async { while self.stream.write_all(bytes).await.is_ok() {} };
        assert!(
            timeout(LIMIT, sending).await.is_ok(),
            "the server waits for ever for a client that does not read"
        );
    }

    /// The head of the next reply, up to and with its empty line.
    ///
    /// # Panics
    ///
    /// If the connection ends or [`LIMIT`] passes before.
    pub async fn read_head(&mut self) -> String {
        let mut head = Vec::new();
        let read = async {
            while !head.ends_with(b"\r\n\r\n") {
                head.push(self.stream.read_u8().await?);
            }
            Ok::<_, std::io::Error>(())
        };
        let end = timeout(LIMIT, read).await;
        assert!(matches!(end, Ok(Ok(()))), "{end:?} after {:?}", String::from_utf8_lossy(&head));
        String::from_utf8_lossy(&head).into_owned()
    }
}
