//! Which variables exist, and which look as if they were meant for us.

use super::{audit, auth, crypto, database, keyring, limits, logging, redis, server, tls, traces};

/// Every variable that has an effect on a server, by concern; docs/configuration.md lists the same ones.
const CONCERNS: [&[&str]; 11] = [
    server::VARIABLES,
    database::VARIABLES,
    redis::VARIABLES,
    auth::VARIABLES,
    crypto::VARIABLES,
    keyring::VARIABLES,
    limits::VARIABLES,
    audit::VARIABLES,
    logging::VARIABLES,
    tls::VARIABLES,
    traces::VARIABLES,
];

/// Values that may also stand in a file, and the variables that name it.
pub(super) const SECRETS: &[(&str, &str)] = &[
    ("DATABASE_URL", "DATABASE_URL_FILE"),
    ("REDIS_URL", "REDIS_URL_FILE"),
    ("CRYPTOSERVE_MASTER_KEY", "CRYPTOSERVE_MASTER_KEY_FILE"),
    ("CRYPTOSERVE_MASTER_KEY_PREVIOUS", "CRYPTOSERVE_MASTER_KEY_PREVIOUS_FILE"),
    ("JWT_SECRET_KEY", "JWT_SECRET_KEY_FILE"),
    ("JWT_SECRET_KEY_PREVIOUS", "JWT_SECRET_KEY_PREVIOUS_FILE"),
    ("HKDF_SALT", "HKDF_SALT_FILE"),
];

/// Read by `cryptoserve encrypt` and `cryptoserve decrypt`, which are clients of a server; a server ignores them.
const CLIENT: [&str; 2] = ["CRYPTOSERVE_SERVER", "CRYPTOSERVE_TOKEN"];

/// Starts of names that are ours in practice; `HTTP_`, `LOG_` and `TLS_` are too common to claim.
const PREFIXES: [&str; 8] =
    ["AUDIT_", "CRYPTOSERVE_", "DB_", "HKDF_", "JWT_", "KEYRING_", "OTEL_", "RATE_LIMIT_"];

/// Every variable that has an effect on a server.
pub(super) fn all() -> impl Iterator<Item = &'static str> {
    CONCERNS.into_iter().flatten().copied().chain(SECRETS.iter().map(|(_, file)| *file))
}

/// The variable of this name, if it is one of ours.
pub(super) fn lookup(name: &str) -> Option<&'static str> {
    all().find(|known| *known == name)
}

/// What to tell the operator about a variable that has no effect.
pub(super) fn warning(name: &str) -> Option<String> {
    if CLIENT.contains(&name) || name == "OTEL_RESOURCE_ATTRIBUTES" || name.starts_with("OTEL_BSP_") {
        return None;
    }
    let ours = PREFIXES.iter().any(|prefix| name.starts_with(prefix));
    (ours && !is_service_link(name))
        .then(|| format!("{name} is not a variable of this server and has no effect"))
}

/// Whether Kubernetes made this variable, as it does for every service, here one called `db` or `cryptoserve`:
/// `DB_SERVICE_HOST`, `DB_SERVICE_PORT`, `DB_SERVICE_PORT_HTTP`, `DB_PORT`, `DB_PORT_5432_TCP_ADDR`.
fn is_service_link(name: &str) -> bool {
    name.ends_with("_SERVICE_HOST")
        || name.contains("_SERVICE_PORT")
        || name.ends_with("_PORT")
        || name.split("_PORT_").nth(1).is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The names in the first column of the document's tables.
    fn documented() -> BTreeSet<&'static str> {
        include_str!("../../../docs/configuration.md")
            .lines()
            .filter_map(|line| line.strip_prefix("| `"))
            .filter_map(|line| line.split_once('`').map(|(name, _)| name))
            .collect()
    }

    #[test]
    fn the_document_lists_exactly_the_variables_of_the_code() {
        let known: BTreeSet<_> = all().collect();
        assert_eq!(known.len(), all().count(), "a variable belongs to two concerns");
        assert_eq!(documented(), &known | &CLIENT.into());
        assert!(CLIENT.iter().all(|name| !known.contains(name)), "a server acts on a variable of the client");
    }

    #[test]
    fn every_secret_is_a_variable() {
        for (name, file) in SECRETS {
            assert!(CONCERNS.iter().any(|variables| variables.contains(name)), "{name}");
            assert_eq!(*file, format!("{name}_FILE"));
        }
    }

    #[test]
    fn foreign_variables_are_left_alone() {
        for name in [
            "PATH",
            "HTTP_PROXY",
            "LOG_DIR",
            "POSTGRES_DB_NAME",
            "CRYPTOSERVE_SERVICE_HOST",
            "CRYPTOSERVE_SERVICE_PORT_HTTP",
            "CRYPTOSERVE_PORT",
            "CRYPTOSERVE_PORT_8003_TCP_ADDR",
            "DB_PORT_5432_TCP",
            "CRYPTOSERVE_SERVER",
            "CRYPTOSERVE_TOKEN",
            "OTEL_RESOURCE_ATTRIBUTES",
            "OTEL_BSP_SCHEDULE_DELAY",
        ] {
            assert_eq!(warning(name), None, "{name}");
        }
        for name in [
            "DB_POOLSIZE",
            "CRYPTOSERVE_TOKENS",
            "RATE_LIMIT_USER",
            "CRYPTOSERVE_MASTERKEY",
            "AUDIT_SINK",
            "OTEL_METRICS_EXPORTER",
        ] {
            assert!(warning(name).is_some_and(|warning| warning.starts_with(name)), "{name}");
        }
    }
}
