//! `cryptoserve healthcheck`: whether a server wants requests, as an exit code.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use cryptoserve_core::config::server::DEFAULT_BIND_ADDR;
use http::{Request, StatusCode};
use http_body_util::Empty;
use url::Url;

use crate::cli::HealthcheckArgs;
use crate::client::{self, Refusal, Trust};

/// For everything together; shorter than a container runtime waits before it tries again.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Why the server should get no requests.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unhealthy {
    /// There is no telling where the server is.
    #[error("BIND_ADDR must be an IP address and a port; give --url instead")]
    BindAddr,
    /// No answer in time.
    #[error("no answer within 3 s")]
    Timeout,
    /// No answer at all.
    #[error(transparent)]
    Client(#[from] client::Error),
    /// It says so itself.
    #[error("{0}")]
    Refused(Refusal),
}

/// Asks the server that `args`, or else BIND_ADDR, names.
pub(crate) async fn run(args: HealthcheckArgs) -> Result<(), Unhealthy> {
    let (url, trust) = match args.url {
        Some(url) => (url.as_url().clone(), Trust::Authorities),
        // Not the whole configuration: a mistake in it is the server's to report, and secrets are not needed here.
        None => {
            let tls = std::env::var_os("TLS_CERT_FILE").is_some_and(|path| !path.is_empty());
            // Its certificate names it as others know it, and it is told no secret.
            (local_url(std::env::var("BIND_ADDR").ok().as_deref(), tls)?, Trust::Anyone)
        }
    };
    check(&url, trust, TIMEOUT).await
}

async fn check(url: &Url, trust: Trust, timeout: Duration) -> Result<(), Unhealthy> {
    let asked = async {
        let response = client::send_to(url, trust, Request::new(Empty::<Bytes>::new())).await?;
        match response.status() {
            StatusCode::OK => Ok(()),
            _ => Err(Unhealthy::Refused(Refusal::read(response).await)),
        }
    };
    tokio::time::timeout(timeout, asked).await.unwrap_or(Err(Unhealthy::Timeout))
}

/// Where a server with this BIND_ADDR answers on this machine, with TLS or without.
fn local_url(bind_addr: Option<&str>, tls: bool) -> Result<Url, Unhealthy> {
    let mut address: SocketAddr = match bind_addr.map(str::trim).filter(|text| !text.is_empty()) {
        Some(text) => text.parse().map_err(|_| Unhealthy::BindAddr)?,
        None => DEFAULT_BIND_ADDR,
    };
    if address.ip().is_unspecified() {
        // A listener on [::] takes IPv4 too.
        address.set_ip(IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
    let scheme = if tls { "https" } else { "http" };
    format!("{scheme}://{address}/health/ready").parse().map_err(|_| Unhealthy::BindAddr)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_server;

    #[test]
    fn the_server_is_asked_where_it_listens_on_this_machine() {
        let of = |bind_addr| local_url(bind_addr, false).map(String::from);
        for (bind_addr, url) in [
            (None, "http://127.0.0.1:8003/health/ready"),
            (Some(""), "http://127.0.0.1:8003/health/ready"),
            (Some("0.0.0.0:9"), "http://127.0.0.1:9/health/ready"),
            (Some("[::]:9"), "http://127.0.0.1:9/health/ready"),
            (Some("[::1]:9"), "http://[::1]:9/health/ready"),
            (Some("192.0.2.7:9"), "http://192.0.2.7:9/health/ready"),
        ] {
            assert_eq!(of(bind_addr).expect("a URL"), url);
        }
        assert!(matches!(of(Some("localhost")), Err(Unhealthy::BindAddr)));
        let tls = local_url(Some("[::1]:9"), true).map(String::from);
        assert_eq!(tls.expect("a URL"), "https://[::1]:9/health/ready");
    }

    #[tokio::test]
    async fn only_200_is_healthy_and_anything_else_says_why() {
        let ask = async |reply: &str| {
            let server = test_server::reply_and_close(reply.into()).await;
            let timeout = Duration::from_secs(60);
            check(server.as_url(), Trust::Authorities, timeout).await.map_err(|error| error.to_string())
        };
        assert_eq!(ask("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await, Ok(()));
        let draining = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 41\r\n\r\n\
            {\"status\":\"unready\",\"reason\":\"draining\" }";
        let said = "the server answered 503 Service Unavailable: draining";
        assert_eq!(ask(draining).await, Err(said.into()));
        assert!(ask("HTTP/1.1 204 No Content\r\n\r\n").await.is_err());
        assert!(ask("").await.is_err());
    }

    #[tokio::test]
    async fn a_server_that_does_not_answer_is_unhealthy() {
        let server = test_server::tcp(|stream| async move {
            std::future::pending::<()>().await;
            drop(stream);
        })
        .await;
        let result = check(server.as_url(), Trust::Authorities, Duration::from_millis(20)).await;
        assert!(matches!(result, Err(Unhealthy::Timeout)), "{result:?}");
    }
}
