//! What the server makes of connections and bytes, whoever sends them. One store is as good as the other here.

mod bodies;
mod capacity;
mod connection;
mod heads;
mod replies;
mod time_outs;

use cryptoserve_tests::{Cluster, RawConnection, TokenRequest};

/// The head of a `POST` with a token, up to its empty line.
fn head(path: &str, token: &str, more: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n{more}\r\n")
}

async fn token(cluster: &Cluster) -> String {
    cluster.token(&TokenRequest::identity("app")).await
}

async fn connect(cluster: &Cluster) -> RawConnection {
    RawConnection::open(cluster.replicas()[0].address()).await
}

fn status(reply: &str) -> &str {
    reply.get(9..12).unwrap_or(reply)
}
