//! Where limits are shared between replicas: `REDIS_URL`.

use redis::IntoConnectionInfo;
use serde::Deserialize;
use url::Url;

use super::environment::Environment;
use super::setting::{Parse, Setting};
use crate::secret::Secret;

pub(super) const VARIABLES: &[&str] = &["REDIS_URL"];

const DEFAULT_PORT: u16 = 6379;

const EXPECTED: &str = "must be a URL such as redis://user:password@host:6379/0, rediss://host, \
                        redis+cluster://host1:6379,host2:6379 or rediss+cluster://host, with the password \
                        percent-encoded";

/// Where limits are shared between replicas.
#[derive(Clone, Debug)]
pub struct Redis {
    /// `None` keeps limits in this process.
    pub url: Option<RedisUrl>,
}

/// How to reach Redis or Valkey. `Debug` shows no credentials.
#[derive(Clone, Debug)]
pub struct RedisUrl {
    flavour: RedisFlavour,
    urls: Vec<Secret<String>>,
    hosts: Vec<String>,
}

/// One server, or many that share the keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RedisFlavour {
    /// One server (or what looks like one).
    Single,
    /// Redis Cluster.
    Cluster,
}

impl RedisUrl {
    /// One server, or a cluster.
    pub fn flavour(&self) -> RedisFlavour {
        self.flavour
    }

    /// `redis://` or `rediss://` URLs with credentials, never empty: exactly one for a single server, and for a
    /// cluster the nodes to start from.
    pub fn urls(&self) -> &[Secret<String>] {
        &self.urls
    }

    /// `host:port` of each of them; fit for logs.
    pub fn hosts(&self) -> &[String] {
        &self.hosts
    }
}

impl Parse for RedisUrl {
    fn parse(text: &str) -> Result<Self, &'static str> {
        let (scheme, rest) = text.trim().split_once("://").ok_or(EXPECTED)?;
        let (scheme, flavour) = match scheme {
            "redis" | "rediss" => (scheme, RedisFlavour::Single),
            "redis+cluster" => ("redis", RedisFlavour::Cluster),
            "rediss+cluster" => ("rediss", RedisFlavour::Cluster),
            _ => return Err(EXPECTED),
        };
        // The list of hosts stands between credentials and path.
        let (authority, tail) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let (credentials, hosts) = authority.split_at(authority.rfind('@').map_or(0, |at| at + 1));
        if flavour == RedisFlavour::Single && hosts.contains(',') {
            return Err("must name one host, or be a redis+cluster:// URL");
        }
        let nodes = hosts
            .split(',')
            .map(|host| Node::parse(&format!("{scheme}://{credentials}{host}{tail}"), flavour));
        let nodes = nodes.collect::<Result<Vec<_>, _>>()?;
        let (urls, hosts) = nodes.into_iter().map(|node| (node.url, node.host)).unzip();
        Ok(Self { flavour, urls, hosts })
    }
}

struct Node {
    url: Secret<String>,
    host: String,
}

impl Node {
    fn parse(text: &str, flavour: RedisFlavour) -> Result<Self, &'static str> {
        let url = Url::parse(text).map_err(|_| EXPECTED)?;
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or(EXPECTED)?;
        let host = format!("{host}:{}", url.port().unwrap_or(DEFAULT_PORT));
        let path = url.path().trim_start_matches('/');
        let database: u32 = if path.is_empty() { 0 } else { path.parse().map_err(|_| EXPECTED)? };
        if flavour == RedisFlavour::Cluster && database != 0 {
            return Err("must not name a database: a cluster has only number 0");
        }
        // The client would take `#insecure` as leave to accept any certificate.
        if url.fragment().is_some() || url.query_pairs().any(|(key, _)| key != "protocol") {
            return Err("must have no fragment, and no parameter but protocol");
        }
        if url.query_pairs().any(|(_, value)| !matches!(&*value, "2" | "3" | "resp2" | "resp3")) {
            return Err("has an unknown protocol: use resp2 or resp3");
        }
        let url = Secret::new(String::from(url));
        if url.expose().as_str().into_connection_info().is_err() {
            return Err(EXPECTED);
        }
        Ok(Self { url, host })
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Variables {
    redis_url: Setting<RedisUrl>,
}

impl Redis {
    pub(super) fn read(env: &mut Environment) -> Self {
        let vars: Variables = env.read(VARIABLES);
        Self { url: env.optional("REDIS_URL", vars.redis_url) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flavours_become_urls_of_the_client() {
        for (text, flavour, url, host) in [
            ("redis://h", RedisFlavour::Single, "redis://h", "h:6379"),
            ("redis://h:1/3", RedisFlavour::Single, "redis://h:1/3", "h:1"),
            ("rediss://u:p%40@h/", RedisFlavour::Single, "rediss://u:p%40@h/", "h:6379"),
            ("redis://:p@[::1]:7", RedisFlavour::Single, "redis://:p@[::1]:7", "[::1]:7"),
            ("redis://h/?protocol=resp3", RedisFlavour::Single, "redis://h/?protocol=resp3", "h:6379"),
            ("redis+cluster://h/0", RedisFlavour::Cluster, "redis://h/0", "h:6379"),
            ("rediss+cluster://h:1", RedisFlavour::Cluster, "rediss://h:1", "h:1"),
        ] {
            let parsed = RedisUrl::parse(text).expect(text);
            assert_eq!(parsed.flavour(), flavour, "{text}");
            assert_eq!(parsed.urls(), [Secret::new(url.to_owned())], "{text}");
            assert_eq!(parsed.hosts(), [host], "{text}");
        }
    }

    #[test]
    fn a_cluster_may_name_several_nodes() {
        let parsed = RedisUrl::parse("redis+cluster://u:p@a:1,b:2").expect("a good URL");
        let urls: Vec<_> = parsed.urls().iter().map(|url| url.expose().as_str()).collect();
        assert_eq!(urls, ["redis://u:p@a:1", "redis://u:p@b:2"]);
        assert_eq!(parsed.hosts(), ["a:1", "b:2"]);
        assert!(!format!("{parsed:?}").contains("u:p"));
    }

    #[test]
    fn what_the_client_cannot_use_is_refused() {
        for text in [
            "",
            "h:6379",
            "http://h",
            "redis://",
            "redis:///0",
            "redis://h:port",
            "redis://h:99999",
            "redis://a,b",
            "redis://h/name",
            "redis+cluster://h/1",
            "redis+cluster://a:1,,b:2",
            "rediss://h/#insecure",
            "redis://h?protocol=9",
            "redis://h?db=1",
            "redis://0.0.0.0",
        ] {
            assert!(RedisUrl::parse(text).is_err(), "{text}");
        }
    }
}
