use std::collections::BTreeSet;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::time::Duration;

use super::*;

mod audit;
mod bad_values;
mod secrets;

const MASTER: &str = "8f1c5bd2e97a40363db1f60e7ca2945817e3ab6cd0492f85be6713d8a4fc902e";
const MASTER_2: &str = "41d7e9036ab85cf2d01e7b94c3a86f5092be47d1605acf83e2197bd46c0fa835";
const JWT: &str = "Zk3q9VvLr0XbN7sTgWmPyE5cHuJd2A1f,";
const JWT_2: &str = "pL8xR2nQv6Yt0KdWz4Hs7MbCf1Gj9EaU";
const SALT: &str = "q7Wd0xVn3RtYk9Lp";

fn read(vars: &[(&str, &str)]) -> Result<Config, ConfigError> {
    Config::from_vars(vars.iter().copied())
}

fn good(vars: &[(&str, &str)]) -> Config {
    read(vars).expect("a good environment")
}

/// The names of the bad variables.
fn bad(vars: &[(&str, &str)]) -> Vec<String> {
    let error = read(vars).expect_err("a bad environment");
    error.problems().iter().map(|problem| problem.variable.clone()).collect()
}

#[test]
fn nothing_set_is_the_embedded_store_with_every_default() {
    let config = good(&[]);
    assert_eq!(config.server.bind_addr.to_string(), "127.0.0.1:8003");
    assert_eq!(config.server.metrics_bind_addr.to_string(), "127.0.0.1:9003");
    assert!(!config.server.instance_id.is_empty());
    assert!(config.server.trusted_proxies.is_empty());
    assert_eq!(config.server.forwarded_header, ForwardedHeader::XForwardedFor);
    assert_eq!(config.server.shutdown_delay, Duration::ZERO);
    assert_eq!(config.server.shutdown_timeout, Duration::from_secs(30));
    assert_eq!(config.server.http_idle_timeout, Duration::from_secs(75));
    assert_eq!((config.server.max_body_bytes, config.server.max_inflight_bytes), (16 << 20, 256 << 20));
    let file = Path::new("./cryptoserve-data/cryptoserve.db");
    assert!(matches!(&config.database.url, DatabaseUrl::Sqlite(path) if path == file));
    assert_eq!(config.database.data_dir, Path::new("./cryptoserve-data"));
    assert_eq!((config.database.pool_size, config.database.max_overflow), (10, 20));
    assert_eq!(config.database.pool_recycle, Duration::from_secs(3600));
    assert_eq!(config.database.pool_timeout, Duration::from_secs(5));
    assert_eq!(config.database.query_timeout, Duration::from_secs(2));
    assert_eq!(config.database.migrate, Migrate::Auto);
    assert!(config.redis.url.is_none());
    assert!(config.auth.jwt_key.is_none() && config.auth.jwt_key_previous.is_empty());
    assert!(config.auth.provider.is_none());
    assert!(config.crypto.master_key.is_none() && config.crypto.master_key_previous.is_empty());
    assert!(config.crypto.hkdf_salt.is_none());
    assert_eq!(config.keyring.max_staleness, Duration::from_secs(180));
    assert_eq!(config.limits.ip, RateLimit { requests_per_minute: 200, burst: 50 });
    assert_eq!(config.limits.identity, RateLimit { requests_per_minute: 100, burst: 20 });
    assert_eq!(config.limits.context, RateLimit { requests_per_minute: 500, burst: 100 });
    assert_eq!(config.limits.redis_timeout, Duration::from_millis(50));
    assert_eq!(config.limits.on_redis_failure, OnRedisFailure::Local);
    assert_eq!(config.limits.local_share, LocalShare::Auto);
    assert_eq!((config.audit.mode, config.audit.queue_bytes), (AuditMode::Batched, 16 * 1024 * 1024));
    assert_eq!((config.logging.format, config.logging.level), (None, tracing::Level::INFO));
    assert_eq!(config.logging.sample, 1.0);
    assert!(config.warnings.is_empty());
}

#[test]
fn every_variable_is_read() {
    let config = good(&[
        ("BIND_ADDR", "[::]:80"),
        ("METRICS_BIND_ADDR", "10.0.0.1:90"),
        ("INSTANCE_ID", "replica-7.b_c"),
        ("TRUSTED_PROXIES", "10.0.0.0/8,::1"),
        ("FORWARDED_HEADER", "Forwarded"),
        ("SHUTDOWN_DELAY", "5s"),
        ("SHUTDOWN_TIMEOUT", "1m"),
        ("HTTP_IDLE_TIMEOUT", "90"),
        ("MAX_BODY_BYTES", "1MiB"),
        ("MAX_INFLIGHT_BYTES", "1048576"),
        ("DATABASE_URL", "postgresql+asyncpg://u:p@db/app?sslmode=require"),
        ("DB_POOL_SIZE", "7"),
        ("DB_MAX_OVERFLOW", "0"),
        ("DB_POOL_RECYCLE", "30m"),
        ("DB_POOL_TIMEOUT", "250ms"),
        ("DB_QUERY_TIMEOUT", "750ms"),
        ("MIGRATE", "off"),
        ("REDIS_URL", "redis+cluster://r"),
        ("CRYPTOSERVE_MASTER_KEY", MASTER),
        ("CRYPTOSERVE_MASTER_KEY_PREVIOUS", MASTER_2),
        ("JWT_SECRET_KEY", JWT),
        ("JWT_SECRET_KEY_PREVIOUS", &[JWT_2, JWT].join(",")),
        ("HKDF_SALT", SALT),
        ("JWT_ISSUER", "https://id.example/realms/a"),
        ("JWT_AUDIENCE", "cryptoserve-api"),
        ("JWT_JWKS_URL", "https://id.example/keys?p=1"),
        ("KEYRING_MAX_STALENESS", "10s"),
        ("RATE_LIMIT_IP", "10000000:10000000"),
        ("RATE_LIMIT_IDENTITY", "1:1"),
        ("RATE_LIMIT_CONTEXT", "50:10"),
        ("RATE_LIMIT_ON_REDIS_FAILURE", "closed"),
        ("RATE_LIMIT_REDIS_TIMEOUT", "20ms"),
        ("RATE_LIMIT_LOCAL_SHARE", "0.25"),
        ("LOG_FORMAT", "pretty"),
        ("LOG_LEVEL", "DEBUG"),
        ("LOG_SAMPLE", "0.1"),
    ]);
    assert_eq!(config.server.bind_addr.to_string(), "[::]:80");
    assert_eq!(config.server.metrics_bind_addr.to_string(), "10.0.0.1:90");
    assert_eq!(config.server.instance_id, "replica-7.b_c");
    assert_eq!(config.server.trusted_proxies.len(), 2);
    assert_eq!(config.server.forwarded_header, ForwardedHeader::Forwarded);
    assert_eq!(config.server.shutdown_delay, Duration::from_secs(5));
    assert_eq!(config.server.shutdown_timeout, Duration::from_secs(60));
    assert_eq!(config.server.http_idle_timeout, Duration::from_secs(90));
    assert_eq!((config.server.max_body_bytes, config.server.max_inflight_bytes), (1 << 20, 1 << 20));
    assert!(matches!(&config.database.url, DatabaseUrl::Postgres(url) if url.ssl_mode() == SslMode::Require));
    assert_eq!((config.database.pool_size, config.database.max_overflow), (7, 0));
    assert_eq!(config.database.pool_recycle, Duration::from_secs(1800));
    assert_eq!(config.database.pool_timeout, Duration::from_millis(250));
    assert_eq!(config.database.query_timeout, Duration::from_millis(750));
    assert_eq!(config.database.migrate, Migrate::Off);
    assert_eq!(config.redis.url.map(|url| url.flavour()), Some(RedisFlavour::Cluster));
    let hex = |key: &crate::secret::Secret<[u8; 32]>| hex::encode(key.expose());
    assert_eq!(config.crypto.master_key.as_ref().map(hex).as_deref(), Some(MASTER));
    assert_eq!(config.crypto.master_key_previous.iter().map(hex).collect::<Vec<_>>(), [MASTER_2]);
    assert_eq!(config.crypto.hkdf_salt.as_ref().map(|salt| &salt.expose()[..]), Some(SALT.as_bytes()));
    assert_eq!(config.auth.jwt_key.as_ref().map(|key| &key.expose()[..]), Some(JWT.as_bytes()));
    assert_eq!(config.auth.jwt_key_previous.len(), 2);
    let provider = config.auth.provider.expect("a provider");
    assert_eq!(provider.issuer, "https://id.example/realms/a");
    assert_eq!(provider.audience, "cryptoserve-api");
    assert_eq!(provider.jwks_url.as_str(), "https://id.example/keys?p=1");
    assert_eq!(config.keyring.max_staleness, Duration::from_secs(10));
    assert_eq!(config.limits.ip.burst, 10_000_000);
    assert_eq!(config.limits.identity.requests_per_minute, 1);
    assert_eq!(config.limits.context, RateLimit { requests_per_minute: 50, burst: 10 });
    assert_eq!(config.limits.redis_timeout, Duration::from_millis(20));
    assert_eq!(config.limits.on_redis_failure, OnRedisFailure::Closed);
    assert_eq!(config.limits.local_share, LocalShare::Fixed(0.25));
    assert_eq!(
        (config.logging.format, config.logging.level),
        (Some(LogFormat::Pretty), tracing::Level::DEBUG)
    );
    assert_eq!(config.logging.sample, 0.1);
}

#[test]
fn every_bad_value_is_reported_under_its_name_and_never_shown() {
    let tried: BTreeSet<_> = bad_values::BAD_VALUES.iter().map(|(name, _)| *name).collect();
    let known: BTreeSet<_> = known::all().filter(|name| !audit::TAKE_ANY_TEXT.contains(name)).collect();
    assert_eq!(tried, known);
    for (name, values) in bad_values::BAD_VALUES {
        for value in *values {
            let error = read(&[(name, value)]).expect_err(&format!("{name}={value}"));
            let named = match (*name, *value) {
                ("MAX_BODY_BYTES", "300MiB") => "MAX_INFLIGHT_BYTES",
                _ => name,
            };
            // With PostgreSQL also the three secrets are missing.
            let count = if value.starts_with("postgres") { 4 } else { 1 };
            assert_eq!(error.problems().len(), count, "{name}={value}: {error}");
            assert_eq!(error.problems()[0].variable, named, "{value}: {error}");
            for shown in [error.to_string(), format!("{error:?}")] {
                assert!(!shown.contains("canary") && !shown.contains("77"), "{shown}");
            }
        }
    }
}

#[test]
fn every_mistake_is_reported_at_once() {
    let all_bad: Vec<_> = bad_values::BAD_VALUES
        .iter()
        .filter(|(name, _)| !name.ends_with("_FILE"))
        .map(|(name, values)| (*name, values[0]))
        .collect();
    let mut expected: Vec<_> = all_bad.iter().map(|(name, _)| name.to_string()).collect();
    let mut reported = bad(&all_bad);
    expected.sort();
    reported.sort();
    assert_eq!(reported, expected);

    let error = read(&[("DB_POOL_SIZE", "0"), ("LOG_LEVEL", "loud")]).expect_err("two mistakes");
    assert_eq!(
        error.to_string(),
        "the configuration has mistakes:\n  DB_POOL_SIZE must be a whole number from 1 to 1000\n  \
         LOG_LEVEL must be error, warn, info, debug or trace"
    );
}

#[test]
fn ranges_are_shown_as_people_write_them() {
    let vars = [("KEYRING_MAX_STALENESS", "0"), ("MAX_BODY_BYTES", "0"), ("LOG_SAMPLE", "2")];
    let error = read(&vars).expect_err("three mistakes").to_string();
    for range in ["from 2s to 24h", "from 1.0 KiB to 1.0 GiB", "a number from 0 to 1"] {
        assert!(error.contains(range), "{error}");
    }
}

#[test]
fn empty_variables_are_unset() {
    let empty: Vec<_> = known::all().map(|name| (name, "")).collect();
    assert!(good(&empty).redis.url.is_none());
}

#[test]
fn a_value_that_is_not_utf8_is_a_mistake_only_if_it_is_ours() {
    let value = || OsString::from_vec(b"\xffcanary".to_vec());
    let error = Config::from_vars([("LOG_LEVEL", value()), ("HKDF_SALT", value()), ("LS_COLORS", value())]);
    let error = error.expect_err("two of them are ours");
    assert_eq!(
        error.problems().iter().map(|p| p.variable.as_str()).collect::<Vec<_>>(),
        ["LOG_LEVEL", "HKDF_SALT"]
    );
    assert!(!error.to_string().contains("canary"));
    let name = OsString::from_vec(b"DB_\xff".to_vec());
    assert!(Config::from_vars([(name, OsString::from("x"))]).is_ok());
}

#[test]
fn debug_shows_no_secret() {
    let config = good(&[
        ("DATABASE_URL", "postgres://u:canary-1@db/app"),
        ("REDIS_URL", "redis://:canary-2@r"),
        ("CRYPTOSERVE_MASTER_KEY", MASTER),
        ("CRYPTOSERVE_MASTER_KEY_PREVIOUS", MASTER_2),
        ("JWT_SECRET_KEY", JWT),
        ("JWT_SECRET_KEY_PREVIOUS", JWT_2),
        ("HKDF_SALT", SALT),
    ]);
    let shown = format!("{config:?}");
    let first_bytes = format!("{:?}", &hex::decode(MASTER).expect("hex")[..2]);
    let first_bytes = first_bytes.trim_matches(['[', ']']);
    for secret in ["canary", MASTER, MASTER_2, JWT, JWT_2, SALT, first_bytes] {
        assert!(!shown.contains(secret), "{shown}");
    }
}

#[test]
fn a_provider_is_complete_or_absent() {
    let all = [("JWT_ISSUER", "i"), ("JWT_AUDIENCE", "a"), ("JWT_JWKS_URL", "http://127.0.0.1:1/keys")];
    assert!(good(&all).auth.provider.is_some());
    for (n, (name, _)) in all.iter().enumerate() {
        let without: Vec<_> = all.iter().copied().filter(|(other, _)| other != name).collect();
        assert_eq!(bad(&without), [*name]);
        assert_eq!(bad(&all[n..=n]).len(), 2);
    }
    // Of one that is there and bad, nothing is said twice.
    assert_eq!(bad(&[all[0], all[1], ("JWT_JWKS_URL", "http://h")]), ["JWT_JWKS_URL"]);
    for url in ["http://localhost:80/keys", "http://[::1]/keys", "http://127.9.9.9", "https://h"] {
        assert!(good(&[all[0], all[1], ("JWT_JWKS_URL", url)]).auth.provider.is_some(), "{url}");
    }
}

#[test]
fn unknown_variables_with_our_prefixes_warn_without_their_values() {
    let config = good(&[("DB_POOLSIZE", "canary"), ("HTTP_PROXY", "canary")]);
    assert_eq!(config.warnings, ["DB_POOLSIZE is not a variable of this server and has no effect"]);
    assert_eq!(good(&[("TRUSTED_PROXIES", "0.0.0.0/0")]).warnings.len(), 1);
}

#[test]
fn the_embedded_store_lies_in_the_data_directory() {
    let config = good(&[("DATA_DIR", "/srv/cs")]);
    assert!(
        matches!(config.database.url, DatabaseUrl::Sqlite(path) if path == Path::new("/srv/cs/cryptoserve.db"))
    );
    let config = good(&[("DATABASE_URL", "sqlite:///srv/cs/a.db")]);
    assert_eq!(config.database.data_dir, Path::new("/srv/cs"));
    assert_eq!(good(&[("DATABASE_URL", "sqlite://a.db")]).database.data_dir, Path::new("."));
    assert!(read(&[("DATABASE_URL", "sqlite://./cs/a.db"), ("DATA_DIR", "cs/")]).is_ok());
    assert_eq!(bad(&[("DATABASE_URL", "sqlite:///srv/cs/a.db"), ("DATA_DIR", "/srv")]), ["DATABASE_URL"]);
}

#[test]
fn in_the_image_the_data_directory_is_a_volume() {
    let image = ("CRYPTOSERVE_IMAGE", "1");
    assert_eq!(bad(&[image, ("DATA_DIR", "/no-such-directory")]), ["DATA_DIR"]);
    assert!(read(&[("CRYPTOSERVE_IMAGE", "0"), ("DATA_DIR", "/no-such-directory")]).is_ok());
    #[cfg(target_os = "linux")]
    assert!(read(&[image, ("DATA_DIR", "/proc/self")]).is_ok());
    let secrets = [("CRYPTOSERVE_MASTER_KEY", MASTER), ("JWT_SECRET_KEY", JWT), ("HKDF_SALT", SALT)];
    let postgres = [image, ("DATABASE_URL", "postgres://u@db/app"), ("DATA_DIR", "/no-such-directory")];
    assert!(read(&[&secrets[..], &postgres].concat()).is_ok());
}

proptest::proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "(\\PC|[@:/?#&=,%\\[\\]]){0,40}", index in 0..1000_usize) {
        let names: Vec<_> = known::all().collect();
        let _ = read(&[(names[index % names.len()], &text)]);
        for scheme in ["postgres", "redis", "redis+cluster", "sqlite"] {
            let url = format!("{scheme}://{text}");
            let _ = read(&[("DATABASE_URL", &url), ("REDIS_URL", &url)]);
        }
    }
}
