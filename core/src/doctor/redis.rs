use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{InfoDict, RedisResult, cmd};

use super::{Finding, offset, timed};
use crate::clock::{Clock, Timestamp};
use crate::config::RedisUrl;

/// For the connection and all questions.
const TIMEOUT: Duration = Duration::from_secs(3);
const OLDEST: u32 = 7;

/// What each server of the URL says of itself.
pub async fn redis(url: &RedisUrl, clock: &Clock) -> Vec<Finding> {
    let mut found = Vec::new();
    for (url, host) in url.urls().iter().zip(url.hosts()) {
        match tokio::time::timeout(TIMEOUT, ask(url.expose(), clock)).await {
            Ok(Ok(server)) => found.extend(server.judge(host)),
            // Its text may hold what the server sent, and not what we did.
            Ok(Err(error)) => found.push(unreachable(host, &error.to_string())),
            Err(_) => found.push(unreachable(host, "no answer within 3 s")),
        }
    }
    found
}

fn unreachable(host: &str, error: &str) -> Finding {
    let advice = "look at REDIS_URL, its password, and whether the server runs; until then limits are what \
                  RATE_LIMIT_ON_REDIS_FAILURE says";
    Finding::error("redis", format!("{host}: {error}"), advice)
}

/// What one server says; `None` where it does not let us ask.
#[derive(Clone, Debug)]
struct Server {
    release: Option<String>,
    eviction: Option<String>,
    /// Whether it writes its state to disk.
    keeps: Option<bool>,
    time: Option<(Timestamp, Timestamp, Timestamp)>,
}

async fn ask(url: &str, clock: &Clock) -> RedisResult<Server> {
    let mut connection = redis::Client::open(url)?.get_multiplexed_async_connection().await?;
    // Also tells whether user and password are good.
    cmd("PING").query_async::<()>(&mut connection).await?;
    let (time, before, after) = timed(clock, cmd("TIME").query_async::<(u64, u64)>(&mut connection)).await;
    let time =
        time.ok().map(|(secs, micros)| (Timestamp::from_micros(secs * 1_000_000 + micros), before, after));
    let get = |info: &Option<InfoDict>, name: &str| info.as_ref().and_then(|info| info.get::<String>(name));
    let release = get(&info(&mut connection, "server").await, "redis_version");
    let eviction = get(&info(&mut connection, "memory").await, "maxmemory_policy");
    let log = get(&info(&mut connection, "persistence").await, "aof_enabled").map(|enabled| enabled == "1");
    let save: RedisResult<(String, String)> =
        cmd("CONFIG").arg("GET").arg("save").query_async(&mut connection).await;
    let snapshots = save.ok().map(|(_, points)| !points.is_empty());
    let keeps = match (log, snapshots) {
        (Some(true), _) | (_, Some(true)) => Some(true),
        (Some(false), Some(false)) => Some(false),
        _ => None,
    };
    Ok(Server { release, eviction, keeps, time })
}

/// A section of `INFO`, if that is permitted.
async fn info(connection: &mut MultiplexedConnection, section: &str) -> Option<InfoDict> {
    cmd("INFO").arg(section).query_async(connection).await.ok()
}

impl Server {
    fn judge(&self, host: &str) -> Vec<Finding> {
        let release = self.release.as_deref().unwrap_or("of an unknown release");
        let mut found = vec![Finding::ok("redis", format!("{host}: Redis {release} answers"))];
        let major = release.split('.').next().and_then(|major| major.parse::<u32>().ok());
        if major.is_some_and(|major| major < OLDEST) {
            let message = format!("{host}: the release is not supported");
            found.push(Finding::error("redis", message, "use Redis 7 or later, or Valkey"));
        }
        match self.eviction.as_deref() {
            Some("noeviction" | "volatile-ttl") => {}
            Some(policy) => found.push(Finding::error(
                "redis",
                format!("{host}: maxmemory-policy is {policy}: limits that are in use are forgotten when memory is short"),
                "set it to volatile-ttl, which forgets full buckets first, or to noeviction",
            )),
            None => found.push(Finding::warning(
                "redis",
                format!("{host}: what it does when memory is short cannot be asked"),
                "let the user run INFO, and see that maxmemory-policy is volatile-ttl or noeviction",
            )),
        }
        if self.keeps == Some(false) {
            found.push(Finding::warning(
                "redis",
                format!(
                    "{host}: nothing is written to disk: each restart may admit one burst more of every limit"
                ),
                "turn appendonly on, or know that it is so",
            ));
        }
        if let Some((theirs, before, after)) = self.time {
            found.push(offset("clock of Redis", theirs, before, after));
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::super::Severity;
    use super::*;

    #[test]
    fn old_releases_wrong_policies_and_lost_state_are_told() {
        let good = Server {
            release: Some("7.0.15".to_owned()),
            eviction: Some("volatile-ttl".to_owned()),
            keeps: Some(true),
            time: None,
        };
        let worst = |server: Server| server.judge("h:1").iter().map(|found| found.severity).max();
        assert_eq!(worst(good.clone()), Some(Severity::Ok));
        assert_eq!(
            worst(Server { release: Some("6.2.14".to_owned()), ..good.clone() }),
            Some(Severity::Error)
        );
        assert_eq!(
            worst(Server { eviction: Some("allkeys-lru".to_owned()), ..good.clone() }),
            Some(Severity::Error)
        );
        assert_eq!(worst(Server { eviction: None, ..good.clone() }), Some(Severity::Warning));
        assert_eq!(worst(Server { keeps: Some(false), ..good.clone() }), Some(Severity::Warning));
        assert_eq!(worst(Server { keeps: None, ..good }), Some(Severity::Ok));
    }
}
