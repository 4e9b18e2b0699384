//! What is asked of a Redis server before it is trusted with limits, and from time to time.

use redis::aio::ConnectionLike;
use redis::{FromRedisValue, InfoDict, RedisResult, cmd, pipe};

use crate::id;

/// What a server says of itself. A user without the right to `INFO` learns nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Server {
    pub(super) version: Option<String>,
    /// Of this run of the server's process.
    run_id: Option<String>,
    eviction: Option<String>,
}

/// A random value that is in a server as long as the buckets are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Epoch {
    pub(super) key: String,
    pub(super) value: String,
    /// Which run of a server told it, if that is known: a replica that is promoted has the value too, and may lack the last
    /// buckets.
    run_id: Option<String>,
}

impl Epoch {
    /// As told by `server`.
    pub(super) fn of(self, server: &Server) -> Self {
        Self { run_id: server.run_id.clone(), ..self }
    }

    pub(super) fn is_of_another_run(&self, known: &Self) -> bool {
        self.run_id.is_some() && known.run_id.is_some() && self.run_id != known.run_id
    }

    /// Where this does not say which run it is of, it is that of the one before, on the same connection.
    pub(super) fn keep_run(&mut self, known: &Self) {
        if self.run_id.is_none() {
            self.run_id.clone_from(&known.run_id);
        }
    }
}

const EPOCH_SECS: u64 = 24 * 60 * 60;
/// The oldest release whose scripts and commands are as ours need them.
const OLDEST: u32 = 7;

impl Server {
    pub(super) async fn ask(connection: &mut impl ConnectionLike) -> RedisResult<Self> {
        let server = info(connection, "server").await?;
        let memory = info(connection, "memory").await?;
        let get = |info: &Option<InfoDict>, name| info.as_ref().and_then(|info| info.get::<String>(name));
        Ok(Self {
            version: get(&server, "redis_version"),
            run_id: get(&server, "run_id"),
            eviction: get(&memory, "maxmemory_policy"),
        })
    }

    /// Whether the release is known to be too old. Valkey says which release of Redis it is like.
    pub(super) fn is_too_old(&self) -> bool {
        let major =
            self.version.as_deref().and_then(|version| version.split('.').next()?.parse::<u32>().ok());
        major.is_some_and(|major| major < OLDEST)
    }

    /// What is to be told of several: all releases, and a policy that is bad.
    pub(super) fn worst_of(servers: Vec<Self>) -> Self {
        let bad = servers.iter().find(|server| server.bad_eviction().is_some()).or(servers.first());
        let eviction = bad.and_then(|server| server.eviction.clone());
        let mut versions: Vec<_> = servers.into_iter().filter_map(|server| server.version).collect();
        versions.sort();
        versions.dedup();
        Self { version: (!versions.is_empty()).then(|| versions.join(", ")), run_id: None, eviction }
    }

    /// The eviction policy, if it would drop buckets that are not full, which resets limits.
    pub(super) fn bad_eviction(&self) -> Option<&str> {
        self.eviction.as_deref().filter(|policy| !matches!(*policy, "noeviction" | "volatile-ttl"))
    }
}

/// A section of `INFO`; `None` if that is not permitted.
async fn info(connection: &mut impl ConnectionLike, section: &str) -> RedisResult<Option<InfoDict>> {
    match cmd("INFO").arg(section).query_async::<redis::Value>(connection).await {
        Ok(value) => Ok(Some(InfoDict::from_redis_value(value)?)),
        Err(error) if error.code() == Some("NOPERM") => Ok(None),
        Err(error) => Err(error),
    }
}

/// What tells whether the buckets are still those of before; made if there is none.
pub(super) async fn epoch(connection: &mut impl ConnectionLike, key: String) -> RedisResult<Epoch> {
    let fresh = id::random_uuid().simple().to_string();
    let set = cmd("SET").arg(&key).arg(&fresh).arg("NX").arg("GET").arg("EX").arg(EPOCH_SECS).to_owned();
    let (found, _): (Option<String>, bool) =
        pipe().add_command(set).expire(&key, EPOCH_SECS.cast_signed()).query_async(connection).await?;
    Ok(Epoch { key, value: found.unwrap_or(fresh), run_id: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_releases_and_wrong_policies_are_told() {
        let server = |version: &str, eviction: &str| Server {
            version: Some(version.to_owned()),
            eviction: Some(eviction.to_owned()),
            run_id: None,
        };
        assert!(server("6.2.14", "noeviction").is_too_old());
        for version in ["7.0.15", "8.2.1", "10.0.0", "unknown"] {
            assert!(!server(version, "noeviction").is_too_old(), "{version}");
        }
        assert_eq!(server("7.0.0", "allkeys-lru").bad_eviction(), Some("allkeys-lru"));
        assert_eq!(server("7.0.0", "volatile-lru").bad_eviction(), Some("volatile-lru"));
        assert_eq!(server("7.0.0", "volatile-ttl").bad_eviction(), None);
        assert!(!Server::default().is_too_old() && Server::default().bad_eviction().is_none());
    }
}
