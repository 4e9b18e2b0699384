use std::io;
use std::sync::Arc;
use std::time::Duration;

use cryptoserve_core::auth::ClientCertificate;
use cryptoserve_core::certificate::Certificate;
use cryptoserve_core::telemetry::Handshake;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::Tls;

/// For the client's part and ours together.
const LONGEST: Duration = Duration::from_secs(10);

/// Why there is no TLS on a connection.
pub(crate) enum Unencrypted {
    /// The client speaks plain HTTP; what it said is not read yet.
    PlainHttp(TcpStream),
    /// Anything else.
    Failed,
}

impl Tls {
    /// Agrees on keys with a client, within `time` or [`LONGEST`].
    pub(crate) async fn accept(
        &self,
        stream: TcpStream,
        time: Duration,
    ) -> Result<TlsStream<TcpStream>, Unencrypted> {
        let shaken = tokio::time::timeout(time.min(LONGEST), self.shake_hands(stream)).await;
        let (result, counted) = match shaken {
            Ok(Ok(stream)) => (Ok(stream), Handshake::Done),
            Ok(Err(why)) => (Err(why), Handshake::Failed),
            Err(_) => (Err(Unencrypted::Failed), Handshake::TimedOut),
        };
        if let Some(metrics) = &self.metrics {
            metrics.handshake(counted);
        }
        result
    }

    async fn shake_hands(&self, stream: TcpStream) -> Result<TlsStream<TcpStream>, Unencrypted> {
        let mut first = [0];
        match stream.peek(&mut first).await {
            // No record of TLS begins with a letter, and every request of HTTP does.
            Ok(1) if first[0].is_ascii_alphabetic() => return Err(Unencrypted::PlainHttp(stream)),
            Ok(1) => {}
            // One that looks whether the port is open says nothing.
            _ => return Err(Unencrypted::Failed),
        }
        let config = self.current.borrow().clone();
        TlsAcceptor::from(config).accept(stream).await.map_err(|error: io::Error| {
            tracing::debug!(%error, "a TLS handshake failed");
            Unencrypted::Failed
        })
    }
}

/// What the client showed, if anything.
pub(crate) fn client_certificate(stream: &TlsStream<TcpStream>) -> Option<Arc<ClientCertificate>> {
    let (_, session) = stream.get_ref();
    let shown = Certificate::from_der(session.peer_certificates()?.first()?).ok()?;
    Some(Arc::new(shown.into()))
}
