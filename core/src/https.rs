//! The client with which this process asks others over HTTP, with TLS or without.

use std::sync::Arc;
use std::time::Duration;

use hyper::body::Body;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::{ClientConfig, RootCertStore};

/// A client over HTTP/1.1 that checks certificates against the system's authorities, or those of `SSL_CERT_FILE`.
pub(crate) type HttpsClient<B> = Client<HttpsConnector<HttpConnector>, B>;

/// Makes one, of which `only` allows no plain HTTP. Follows no redirect and no proxy variable. Each request has a
/// connection of its own: a kept one would have died in the time between two.
pub(crate) fn client<B>(only: bool, connect_timeout: Duration) -> HttpsClient<B>
where
    B: Body + Send,
    B::Data: Send,
{
    let mut roots = RootCertStore::empty();
    // Without any, an `https` endpoint is not trusted, and its failure says so.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider has cipher suites of every version")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    http.set_connect_timeout(Some(connect_timeout));
    let builder = HttpsConnectorBuilder::new().with_tls_config(tls);
    let builder = if only { builder.https_only() } else { builder.https_or_http() };
    Client::builder(TokioExecutor::new())
        .pool_max_idle_per_host(0)
        .build(builder.enable_http1().wrap_connector(http))
}
