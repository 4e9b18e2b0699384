//! Listeners, names and sizes of the HTTP server.
//!
//! `BIND_ADDR`, `METRICS_BIND_ADDR`, `INSTANCE_ID`, `TRUSTED_PROXIES`, `FORWARDED_HEADER`, `SHUTDOWN_DELAY`,
//! `SHUTDOWN_TIMEOUT`, `HTTP_IDLE_TIMEOUT`, `MAX_BODY_BYTES`, `MAX_INFLIGHT_BYTES`.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytesize::ByteSize;
use ipnet::IpNet;
use serde::Deserialize;

use super::environment::Environment;
use super::setting::{Parse, Setting, words};

/// `BIND_ADDR`; the image sets `[::]:8003`.
pub const DEFAULT_BIND_ADDR: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8003);
/// `METRICS_BIND_ADDR`.
pub const DEFAULT_METRICS_BIND_ADDR: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9003);
/// `FORWARDED_HEADER`.
pub const DEFAULT_FORWARDED_HEADER: ForwardedHeader = ForwardedHeader::XForwardedFor;
/// `SHUTDOWN_DELAY`.
pub const DEFAULT_SHUTDOWN_DELAY: Duration = Duration::ZERO;
/// `SHUTDOWN_TIMEOUT`.
pub const DEFAULT_SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(30);
/// `HTTP_IDLE_TIMEOUT`; longer than Nginx's 60 s, so that the proxy closes first.
pub const DEFAULT_HTTP_IDLE_TIMEOUT: Duration = Duration::from_secs(75);
/// `MAX_BODY_BYTES`.
pub const DEFAULT_MAX_BODY_BYTES: u64 = 16 << 20;
/// `MAX_INFLIGHT_BYTES`.
pub const DEFAULT_MAX_INFLIGHT_BYTES: u64 = 256 << 20;

pub(super) const VARIABLES: &[&str] = &[
    "BIND_ADDR",
    "METRICS_BIND_ADDR",
    "INSTANCE_ID",
    "TRUSTED_PROXIES",
    "FORWARDED_HEADER",
    "SHUTDOWN_DELAY",
    "SHUTDOWN_TIMEOUT",
    "HTTP_IDLE_TIMEOUT",
    "MAX_BODY_BYTES",
    "MAX_INFLIGHT_BYTES",
];

/// How this process listens, and how it is called.
#[derive(Clone, Debug)]
pub struct Server {
    /// Where requests arrive.
    pub bind_addr: SocketAddr,
    /// Where `/metrics` is served; never the public address.
    pub metrics_bind_addr: SocketAddr,
    /// This replica's name in log lines, metrics and audit records: 1–128 characters of `[A-Za-z0-9._-]`.
    pub instance_id: String,
    /// Peers whose [`Server::forwarded_header`] is believed. IPv4-mapped networks are IPv4 networks here; peers must be
    /// made canonical ([`std::net::IpAddr::to_canonical`]) before they are compared.
    pub trusted_proxies: Vec<IpNet>,
    /// The header that they write; the other one is ignored.
    pub forwarded_header: ForwardedHeader,
    /// How long readiness answers 503 before the listener closes.
    pub shutdown_delay: Duration,
    /// How long requests in flight may take once the listener is closed.
    pub shutdown_timeout: Duration,
    /// How long a connection may be idle between requests.
    pub http_idle_timeout: Duration,
    /// The largest JSON request, in bytes.
    pub max_body_bytes: u64,
    /// All request bodies in memory together, in bytes; at least [`Server::max_body_bytes`].
    pub max_inflight_bytes: u64,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Variables {
    bind_addr: Setting<SocketAddr>,
    metrics_bind_addr: Setting<SocketAddr>,
    instance_id: Setting<InstanceId>,
    trusted_proxies: Setting<Vec<IpNet>>,
    forwarded_header: Setting<ForwardedHeader>,
    shutdown_delay: Setting<Duration>,
    shutdown_timeout: Setting<Duration>,
    http_idle_timeout: Setting<Duration>,
    max_body_bytes: Setting<ByteSize>,
    max_inflight_bytes: Setting<ByteSize>,
}

impl Server {
    pub(super) fn read(env: &mut Environment) -> Self {
        const HOUR: Duration = Duration::from_secs(3600);
        const SECOND: Duration = Duration::from_secs(1);
        const MILLISECOND: Duration = Duration::from_millis(1);

        let vars: Variables = env.read(VARIABLES);
        let max_body = env.within(
            "MAX_BODY_BYTES",
            vars.max_body_bytes,
            ByteSize::b(DEFAULT_MAX_BODY_BYTES),
            ByteSize::kib(1)..=ByteSize::gib(1),
        );
        let max_inflight = env.within(
            "MAX_INFLIGHT_BYTES",
            vars.max_inflight_bytes,
            ByteSize::b(DEFAULT_MAX_INFLIGHT_BYTES),
            ByteSize::kib(1)..=ByteSize::tib(1),
        );
        let this = Self {
            bind_addr: env.value("BIND_ADDR", vars.bind_addr, DEFAULT_BIND_ADDR),
            metrics_bind_addr: env.value(
                "METRICS_BIND_ADDR",
                vars.metrics_bind_addr,
                DEFAULT_METRICS_BIND_ADDR,
            ),
            instance_id: env.optional("INSTANCE_ID", vars.instance_id).unwrap_or_else(InstanceId::of_host).0,
            trusted_proxies: env.list("TRUSTED_PROXIES", vars.trusted_proxies),
            forwarded_header: env.value("FORWARDED_HEADER", vars.forwarded_header, DEFAULT_FORWARDED_HEADER),
            shutdown_delay: env.within(
                "SHUTDOWN_DELAY",
                vars.shutdown_delay,
                DEFAULT_SHUTDOWN_DELAY,
                Duration::ZERO..=HOUR,
            ),
            shutdown_timeout: env.within(
                "SHUTDOWN_TIMEOUT",
                vars.shutdown_timeout,
                DEFAULT_SHUTDOWN_TIMEOUT,
                MILLISECOND..=HOUR,
            ),
            http_idle_timeout: env.within(
                "HTTP_IDLE_TIMEOUT",
                vars.http_idle_timeout,
                DEFAULT_HTTP_IDLE_TIMEOUT,
                SECOND..=HOUR,
            ),
            max_body_bytes: max_body.as_u64(),
            max_inflight_bytes: max_inflight.as_u64(),
        };
        this.check(env);
        this
    }

    /// What concerns two variables at once.
    fn check(&self, env: &mut Environment) {
        let body_is_known = !env.is_bad("MAX_BODY_BYTES") && !env.is_bad("MAX_INFLIGHT_BYTES");
        if body_is_known && self.max_inflight_bytes < self.max_body_bytes {
            env.problem(
                "MAX_INFLIGHT_BYTES",
                "must be at least MAX_BODY_BYTES, or no request of that size could pass",
            );
        }
        let addresses_are_known = !env.is_bad("BIND_ADDR") && !env.is_bad("METRICS_BIND_ADDR");
        if addresses_are_known && collide(self.bind_addr, self.metrics_bind_addr) {
            env.problem("METRICS_BIND_ADDR", "must not be the address of BIND_ADDR, which is public");
        }
        if self.trusted_proxies.iter().any(|network| network.prefix_len() == 0) {
            env.warn("TRUSTED_PROXIES trusts every address, so any client can claim to be another");
        }
    }
}

/// Whether one of the two would listen where the other does; port 0 is any free one.
fn collide(a: SocketAddr, b: SocketAddr) -> bool {
    a.port() == b.port()
        && a.port() != 0
        && (a.ip().to_canonical() == b.ip().to_canonical()
            || a.ip().is_unspecified()
            || b.ip().is_unspecified())
}

/// In which header trusted proxies say whom they forward for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForwardedHeader {
    /// `X-Forwarded-For`: addresses, with or without a port.
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

words!(ForwardedHeader, "must be x-forwarded-for or forwarded",
    "x-forwarded-for" => Self::XForwardedFor, "forwarded" => Self::Forwarded);

struct InstanceId(String);

impl InstanceId {
    const MAX_LENGTH: usize = 128;

    /// The host's name without what an instance id may not hold.
    fn of_host() -> Self {
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let name: String = host.chars().filter(|c| Self::allows(*c)).take(Self::MAX_LENGTH).collect();
        Self(if name.is_empty() { "unnamed".to_owned() } else { name })
    }

    fn allows(c: char) -> bool {
        c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')
    }
}

impl Parse for InstanceId {
    fn parse(text: &str) -> Result<Self, &'static str> {
        let good = (1..=Self::MAX_LENGTH).contains(&text.len()) && text.chars().all(Self::allows);
        good.then(|| Self(text.to_owned()))
            .ok_or("must be 1 to 128 characters of A-Z, a-z, 0-9, '.', '_' and '-'")
    }
}
