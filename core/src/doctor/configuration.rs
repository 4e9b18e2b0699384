use std::net::IpAddr;

use super::Finding;
use crate::config::{AuditMode, Config, DatabaseUrl, OnRedisFailure, SslMode};

/// What can be told without asking anybody.
pub fn configuration(config: &Config) -> Vec<Finding> {
    let mut found: Vec<_> = config
        .warnings
        .iter()
        .map(|warning| Finding::warning("configuration", warning, "see docs/configuration.md"))
        .collect();
    if found.is_empty() {
        found.push(Finding::ok("configuration", "every variable is known and good"));
    }
    found.extend(peers(config));
    found.extend(connections(config));
    if config.audit.mode == AuditMode::Off {
        found.push(Finding::warning("audit", "nothing is recorded", "set AUDIT_MODE to batched or strict"));
    }
    if config.redis.url.is_some() && config.limits.on_redis_failure == OnRedisFailure::Open {
        let advice = "set RATE_LIMIT_ON_REDIS_FAILURE to local, or to closed";
        found.push(Finding::warning("limits", "nothing is limited while Redis does not answer", advice));
    }
    found
}

/// Who is believed about whom it forwards for, and who can read what passes.
fn peers(config: &Config) -> Vec<Finding> {
    let server = &config.server;
    if server.trusted_proxies.iter().any(|network| network.prefix_len() == 0) {
        let advice = "name the addresses of the proxies alone in TRUSTED_PROXIES";
        return vec![Finding::error("peers", "every client is believed to be whom it says it is", advice)];
    }
    let local = server.bind_addr.ip().to_canonical().is_loopback();
    match (server.trusted_proxies.is_empty(), &config.tls) {
        (true, None) if !local => vec![Finding::warning(
            "peers",
            "other machines send their requests in plain HTTP, and no proxy is trusted",
            "behind a proxy, name its addresses in TRUSTED_PROXIES, or all its clients share one limit; without one, set \
             TLS_CERT_FILE and TLS_KEY_FILE",
        )],
        (true, _) => vec![Finding::ok("peers", "no proxy is trusted: each peer is the client")],
        (false, _) => {
            let networks: Vec<_> = server.trusted_proxies.iter().map(ToString::to_string).collect();
            vec![Finding::ok(
                "peers",
                format!("trusted to say whom they forward for: {}", networks.join(", ")),
            )]
        }
    }
}

/// What passes over a network without TLS that checks who is there.
fn connections(config: &Config) -> Vec<Finding> {
    let mut found = Vec::new();
    if let DatabaseUrl::Postgres(url) = &config.database.url
        && url.ssl_mode() != SslMode::VerifyFull
        && url.hosts().iter().any(|host| !is_here(host))
    {
        let advice = "add sslmode=verify-full, and sslrootcert, to DATABASE_URL";
        let message = "the database is on another machine, and its certificate or name is not checked";
        found.push(Finding::warning("database", message, advice));
    }
    if let Some(url) = &config.redis.url {
        let plain = url.urls().iter().any(|url| url.expose().starts_with("redis://"));
        if plain && url.hosts().iter().any(|host| !is_here(host)) {
            let advice = "use rediss:// in REDIS_URL: who can write there lifts limits";
            found.push(Finding::warning(
                "redis",
                "Redis is on another machine, and asked without TLS",
                advice,
            ));
        }
    }
    found
}

/// Whether `host:port`, or the path of a socket, is on this machine.
fn is_here(host: &str) -> bool {
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name).trim_matches(['[', ']']);
    host.starts_with('/')
        || name == "localhost"
        || name.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::super::Severity;
    use super::*;

    fn found(vars: &[(&str, &str)]) -> Vec<(&'static str, Severity)> {
        let secrets = [
            ("CRYPTOSERVE_MASTER_KEY", "8f1d3b7a9c2e4f60718293a4b5c6d7e8f9012a3b4c5d6e7f8091a2b3c4d5e6f7"),
            ("JWT_SECRET_KEY", "pL8xR2nQv6Yt0KdWz4Hs7MbCf1Gj9EaU"),
            ("HKDF_SALT", "Zk3q9VvLr0XbN7sTgWmPyE5c"),
        ];
        let config = Config::from_vars(vars.iter().chain(&secrets).copied()).unwrap();
        let found = configuration(&config).into_iter().filter(|found| found.severity != Severity::Ok);
        found.map(|found| (found.check, found.severity)).collect()
    }

    #[test]
    fn what_is_on_this_machine_needs_nothing_and_what_is_not_needs_care() {
        assert_eq!(found(&[]), []);
        assert_eq!(
            found(&[("DATABASE_URL", "postgres://u@localhost/d"), ("REDIS_URL", "redis://127.0.0.1")]),
            []
        );
        assert_eq!(
            found(&[("DATABASE_URL", "postgres://u@db/d?sslmode=require"), ("REDIS_URL", "redis://cache")]),
            [("database", Severity::Warning), ("redis", Severity::Warning)]
        );
        let safe =
            [("DATABASE_URL", "postgres://u@db/d?sslmode=verify-full"), ("REDIS_URL", "rediss://cache")];
        assert_eq!(found(&safe), []);
    }

    #[test]
    fn who_may_say_who_a_client_is_is_looked_at() {
        let open = ("BIND_ADDR", "0.0.0.0:8003");
        assert_eq!(found(&[open]), [("peers", Severity::Warning)]);
        assert_eq!(found(&[open, ("TRUSTED_PROXIES", "10.0.0.0/8")]), []);
        assert!(found(&[open, ("TRUSTED_PROXIES", "0.0.0.0/0")]).contains(&("peers", Severity::Error)));
        assert_eq!(found(&[open, ("TLS_CERT_FILE", "a"), ("TLS_KEY_FILE", "b")]), []);
        assert_eq!(
            found(&[
                ("AUDIT_MODE", "off"),
                ("REDIS_URL", "redis://[::1]"),
                ("RATE_LIMIT_ON_REDIS_FAILURE", "open")
            ]),
            [("audit", Severity::Warning), ("limits", Severity::Warning)]
        );
    }
}
