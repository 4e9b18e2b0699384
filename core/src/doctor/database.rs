use super::{Finding, offset, timed};
use crate::clock::Clock;
use crate::config::Config;
use crate::keyring::Keks;
use crate::store::{self, ReplicaRecord, ServerFacts, Store};
use crate::telemetry::causes;

/// Connections of each replica that are not for requests: what changed, the audit trail, upkeep.
const OTHER_CONNECTIONS: u64 = 3;
/// The first release of PostgreSQL that is supported.
const OLDEST: u32 = 140_000;

/// What the store says of itself and of those who use it. `planned` is how many replicas are to run, if not those that do.
pub async fn database(
    store: &impl Store,
    keks: &Keks,
    config: &Config,
    planned: Option<u32>,
    clock: &Clock,
) -> Vec<Finding> {
    const CHECK: &str = "database";
    let (facts, before, after) = timed(clock, store.facts()).await;
    let facts = match facts {
        Ok(facts) => facts,
        Err(error) => return vec![unreachable(&error)],
    };
    let time = after.since(before).as_millis();
    let kind = if facts.server.is_some() { "PostgreSQL" } else { "SQLite" };
    let mut found = vec![Finding::ok(CHECK, format!("{kind} {} answers in {time} ms", facts.release))];
    match store.check_schema().await {
        Ok(()) => {}
        Err(store::Error::NoSchema) => {
            let message = "the schema is not there, or of an older release";
            let advice =
                "a server brings it up to date at its start; with MIGRATE=off run `cryptoserve migrate`";
            found.push(Finding::warning("schema", message, advice));
            return found;
        }
        Err(error) => {
            found.push(Finding::error("schema", causes(&error).to_string(), "run a release that fits"));
            return found;
        }
    }
    found.extend(keys(store, keks).await);
    let replicas = match store.replicas().await {
        Ok(replicas) => replicas,
        Err(error) => return [found, vec![unreachable(&error)]].concat(),
    };
    let alive: Vec<_> = replicas.iter().filter(|replica| replica.is_alive()).collect();
    found.extend(releases(&alive));
    let running = u32::try_from(alive.len()).unwrap_or(u32::MAX).max(1);
    let count = planned.unwrap_or(running).max(1);
    if let Some(server) = &facts.server {
        found.extend(judge(server, config, count));
        found.push(offset("clock of the database", facts.now, before, after));
        if count > 1 && config.redis.url.is_none() {
            let message =
                format!("{count} replicas limit each on its own: together they admit as many times too much");
            found.push(Finding::error("limits", message, "set REDIS_URL, the same on every replica"));
        }
    }
    found
}

fn unreachable(error: &store::Error) -> Finding {
    let advice =
        "look at DATABASE_URL, whether the server runs, and whether its firewall lets this machine in";
    Finding::error("database", causes(error).to_string(), advice)
}

/// Whether the secrets of this process are the deployment's.
async fn keys(store: &impl Store, keks: &Keks) -> Option<Finding> {
    let deployment = match store.deployment().await {
        Ok(deployment) => deployment?,
        Err(error) => return Some(unreachable(&error)),
    };
    Some(match keks.check(&deployment) {
        Ok(()) => {
            Finding::ok("secrets", format!("the master key {} is the deployment's", deployment.active_kek))
        }
        Err(missing) => {
            let advice = "give every replica the same CRYPTOSERVE_MASTER_KEY and HKDF_SALT, and further keys in \
                          CRYPTOSERVE_MASTER_KEY_PREVIOUS";
            Finding::error("secrets", missing.to_string(), advice)
        }
    })
}

fn releases(alive: &[&ReplicaRecord]) -> Vec<Finding> {
    let mut names: Vec<_> = alive.iter().map(|record| record.replica.instance.as_str()).collect();
    names.sort_unstable();
    if names.is_empty() {
        return vec![Finding::ok("replicas", "none serves at the moment")];
    }
    let mut found = vec![Finding::ok("replicas", format!("{} serve: {}", names.len(), names.join(", ")))];
    let own = env!("CARGO_PKG_VERSION");
    let other = alive.iter().find(|record| record.replica.release != own);
    if let Some(other) = other.map(|record| &record.replica) {
        let message = format!("{} runs release {}, and this is {own}", other.instance, other.release);
        found.push(Finding::warning(
            "replicas",
            message,
            "finish the deployment, so that all run one release",
        ));
    }
    names.dedup();
    if names.len() < alive.len() {
        let message =
            "two replicas have one INSTANCE_ID: logs, metrics and audit records cannot tell them apart";
        found.push(Finding::warning("replicas", message, "give each its own"));
    }
    found
}

/// Whether the server fits `replicas` replicas of this configuration.
fn judge(server: &ServerFacts, config: &Config, replicas: u32) -> Vec<Finding> {
    let mut found = Vec::new();
    if server.version < OLDEST {
        let message = "the release of PostgreSQL is not supported";
        found.push(Finding::error("database", message, "use PostgreSQL 14 or later"));
    }
    let (size, overflow) = (config.database.pool_size, config.database.max_overflow);
    let each = u64::from(size) + u64::from(overflow) + OTHER_CONNECTIONS;
    let (needed, given) = (each * u64::from(replicas), u64::from(server.connections));
    let message = format!(
        "{replicas} × (DB_POOL_SIZE {size} + DB_MAX_OVERFLOW {overflow} + {OTHER_CONNECTIONS}) = {needed} connections \
         at most, of {given} that the server gives"
    );
    let advice = format!(
        "raise max_connections by {} at least, lower DB_POOL_SIZE or DB_MAX_OVERFLOW, or put a pooler in between",
        (needed + needed / 10).saturating_sub(given)
    );
    found.push(match needed {
        _ if needed > given => Finding::error("connections", message, advice),
        // Others want some too: backups, monitoring, a second deployment while one replaces the other.
        _ if needed * 10 > given * 9 => Finding::warning("connections", message, advice),
        _ => Finding::ok("connections", message),
    });
    if !server.durable {
        let message = "fsync or full_page_writes is off: a crash of its machine may destroy the database";
        found.push(Finding::error("durability", message, "turn both on"));
    }
    if !server.waits {
        let message = "synchronous_commit is off: a crash undoes changes that were acknowledged, revocations and counts of \
                       messages among them";
        found.push(Finding::error("durability", message, "turn it on, for the role of CryptoServe at least"));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::Severity;
    use super::*;

    #[test]
    fn a_server_must_fit_all_replicas_and_keep_what_it_says() {
        let config = Config::from_vars([("DB_POOL_SIZE", "10"), ("DB_MAX_OVERFLOW", "20")]).unwrap();
        let good = ServerFacts {
            version: 150_004,
            connections: 97,
            durable: true,
            waits: true,
            encrypted: Some(true),
        };
        let of = |server: &ServerFacts, replicas| -> Vec<_> {
            judge(server, &config, replicas).into_iter().map(|found| (found.check, found.severity)).collect()
        };
        assert_eq!(of(&good, 2), [("connections", Severity::Ok)]);
        let found = &judge(&good, &config, 3)[0];
        assert_eq!(found.severity, Severity::Error);
        assert!(
            found.message.contains("3 × (DB_POOL_SIZE 10 + DB_MAX_OVERFLOW 20 + 3) = 99 connections"),
            "{found:?}"
        );
        assert!(found.advice.as_ref().unwrap().contains("by 11 at least"), "{found:?}");
        assert_eq!(
            of(&ServerFacts { connections: 100, ..good.clone() }, 3),
            [("connections", Severity::Warning)]
        );
        for (server, check) in [
            (ServerFacts { version: 130_012, ..good.clone() }, "database"),
            (ServerFacts { durable: false, ..good.clone() }, "durability"),
            (ServerFacts { waits: false, ..good.clone() }, "durability"),
        ] {
            assert!(of(&server, 1).contains(&(check, Severity::Error)), "{server:?}");
        }
    }
}
