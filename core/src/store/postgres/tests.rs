//! What only PostgreSQL can do wrong: connections that die, hang or run out.

use std::time::{Duration, Instant};

use futures_util::future::join_all;

use super::*;
use crate::crypto::{KeyVersion, Purpose};
use crate::id::ReplicaId;
use crate::store::conformance::audit;
use crate::store::conformance::fixture::{Fixture, Postgres, context, name};
use crate::store::{Revision, Store, sql};
use crate::telemetry::causes;

const KILL: &str = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
     WHERE datname = current_database() AND application_name LIKE 'cryptoserve/%'";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_survive_the_death_of_every_connection() {
    Postgres::with(async |fixture| {
        let (store, tenant) = fixture.ready().await;
        // Now and then the death is noticed before the next use, so more than once.
        for _ in 0..20 {
            let reads = (0..4).map(async |_| store.context(tenant, &name("general")).await);
            assert!(
                join_all(reads).await.into_iter().all(|read| read.is_ok_and(|context| context.is_some()))
            );
            store.revision().await.expect("polled");
            assert!(fixture.count(KILL).await > 1);
            store.context(tenant, &name("general")).await.expect("read").expect("there");
            assert_eq!(store.revision().await.expect("polled"), Revision(9));
        }
        // What writes is not run again, as it may have happened; but its error says that trying again may help.
        for i in 0..10 {
            fixture.count(KILL).await;
            let result = store.create_context(&context(tenant, &format!("new-{i}"))).await;
            assert!(matches!(result, Ok(()) | Err(Error::Unavailable(_))), "{result:?}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_hangs_is_given_up_with_its_connection() {
    Postgres::with(async |fixture| {
        let (_, tenant) = fixture.ready().await;
        let query_timeout = Duration::from_secs(1);
        let options = PostgresOptions { query_timeout, pool_size: 1, max_overflow: 0, ..fixture.options() };
        let store = PostgresStore::connect(&options).await.expect("connected");
        let admin = fixture.admin().await;
        admin.batch_execute("BEGIN; LOCK TABLE revision, contexts").await.expect("locked");
        let new = context(tenant, "new");
        assert!(matches!(store.create_context(&new).await, Err(Error::Unavailable(_))));
        assert_eq!(store.0.pool.size(), 0, "the connection was dropped");
        assert!(matches!(store.context(tenant, &name("general")).await, Err(Error::Unavailable(_))));
        assert_eq!(store.0.pool.size(), 0, "the connection was dropped");
        assert!(matches!(store.revision().await, Err(Error::Unavailable(_))));
        admin.batch_execute("ROLLBACK").await.expect("unlocked");
        // What was given up held no lock and left nothing behind.
        store.create_context(&new).await.expect("created");
        assert_eq!(store.revision().await.expect("polled"), Revision(10));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_busy_pool_refuses_in_time_and_delays_neither_poll_nor_audit() {
    Postgres::with(async |fixture| {
        let (_, tenant) = fixture.ready().await;
        let pool_timeout = Duration::from_secs(1);
        let options = PostgresOptions { pool_timeout, pool_size: 1, max_overflow: 0, ..fixture.options() };
        let store = PostgresStore::connect(&options).await.expect("connected");
        let mut trail = audit::writer(&store, ReplicaId::random()).await;
        let held = store.0.pool.hold().await;
        let start = Instant::now();
        assert!(matches!(store.context(tenant, &name("general")).await, Err(Error::Unavailable(_))));
        assert!(start.elapsed() >= pool_timeout);
        store.revision().await.expect("polled");
        trail.append(vec![audit::record("one")]).await.expect("appended");
        drop(held);
        store.context(tenant, &name("general")).await.expect("read").expect("there");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_beyond_the_pool_and_old_ones_are_closed() {
    Postgres::with(async |fixture| {
        let options = PostgresOptions { pool_size: 1, max_overflow: 2, ..fixture.options() };
        let store = PostgresStore::connect(&options).await.expect("connected");
        let pool = &store.0.pool;
        let held = join_all((0..3).map(|_| pool.hold())).await;
        pool.sweep(1, options.recycle);
        assert_eq!(pool.size(), 3, "what is in use stays");
        drop(held);
        pool.sweep(1, options.recycle);
        assert_eq!(pool.size(), 1);
        pool.sweep(1, Duration::ZERO);
        assert_eq!(pool.size(), 0, "too old");
        // Between two sweeps, a connection that has become too old is not used either.
        let store = PostgresStore::connect(&PostgresOptions { recycle: Duration::ZERO, ..options }).await;
        let store = store.expect("connected");
        let pid = async || {
            let pid = Statement::new("SELECT pg_backend_pid() AS pid", []);
            store.read(pid, |row| row.optional_integer("pid")).await.expect("read")
        };
        assert_ne!(pid().await, pid().await);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_purpose_has_connections_of_its_own_without_session_state() {
    Postgres::with(async |fixture| {
        let (store, tenant) = fixture.ready().await;
        store.create_context(&context(tenant, "new")).await.expect("created");
        store.revision().await.expect("polled");
        let statement = Statement::new("SELECT 1", []);
        store.0.audit.query(&statement).await.expect("run");
        let of = async |application: &str| {
            let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = ";
            fixture.count(&format!("{sql}'{application}'")).await
        };
        assert!(of("cryptoserve/pool").await >= 1);
        assert_eq!(of("cryptoserve/poll").await, 1);
        assert_eq!(of("cryptoserve/audit").await, 1);
        let prepared = Statement::new("SELECT count(*) AS n FROM pg_prepared_statements", []);
        let prepared = store.read(prepared, |row| row.optional_integer("n")).await.expect("read");
        assert_eq!(prepared, [Some(0)]);
        let locks = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' \
                     AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
        assert_eq!(fixture.count(locks).await, 0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_not_there_is_unavailable() {
    Postgres::with(async |fixture| {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let mut options = fixture.options();
        options.driver = tokio_postgres::Config::new();
        options.driver.host("127.0.0.1").port(listener.local_addr().expect("bound").port()).user("x");
        // Accepted by the kernel, and never answered.
        options.pool_timeout = Duration::from_millis(100);
        assert!(matches!(PostgresStore::connect(&options).await, Err(Error::Unavailable(_))));
        drop(listener);
        options.pool_timeout = Duration::from_secs(60);
        assert!(matches!(PostgresStore::connect(&options).await, Err(Error::Unavailable(_))));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_prints_a_password() {
    Postgres::with(async |fixture| {
        let mut options = fixture.options();
        options.driver.password("hunter2-canary");
        // Whether the server asks for a password decides which of the two this is.
        let (refused, connected) = match PostgresStore::connect(&options).await {
            Ok(store) => (String::new(), format!("{store:?}")),
            Err(error) => (format!("{error:?} {error} {}", causes(&error)), String::new()),
        };
        assert!(!format!("{refused} {connected} {options:?}").contains("canary"));
        let store = PostgresStore::connect(&fixture.options()).await.expect("connected");
        let password = fixture.options().driver.get_password().map(<[u8]>::to_vec).unwrap_or_default();
        let password = String::from_utf8(password).expect("text");
        assert!(password.is_empty() || !format!("{store:?} {options:?}").contains(&password));
    })
    .await;
}

/// What PostgreSQL does for a statement.
async fn plan(store: &PostgresStore, statement: Statement) -> String {
    let sql =
        format!("EXPLAIN (ANALYZE, BUFFERS, COSTS OFF, TIMING OFF, SUMMARY OFF) {}", statement.sql).leak();
    let lines = Database::read(store, Statement { sql, ..statement }, |row| row.text("QUERY PLAN")).await;
    lines.expect("explained").join("\n")
}

/// Pages that were read, all together.
fn pages(plan: &str) -> u32 {
    let hit = plan.split("shared hit=").nth(1).expect("buffers");
    hit.split(|c: char| !c.is_ascii_digit()).next().and_then(|digits| digits.parse().ok()).expect("a number")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_ten_thousand_versions_is_found_by_index() {
    const MANY: &str = "
        INSERT INTO key_versions (tenant_id, key_id, version, state, created_at, state_changed_at)
        SELECT v.tenant_id, v.key_id, n, 2, v.created_at, v.created_at
        FROM contexts c JOIN key_versions v USING (tenant_id, key_id), generate_series(2, 10000) n WHERE c.name = 'general';
        INSERT INTO wrapped_keys
        SELECT w.tenant_id, w.key_id, n, w.kek_id, w.bytes, w.check_value
        FROM contexts c JOIN wrapped_keys w USING (tenant_id, key_id), generate_series(2, 10000) n WHERE c.name = 'general';
        VACUUM ANALYZE";
    Postgres::with(async |fixture| {
        let (store, tenant) = fixture.ready().await;
        let general = store.context(tenant, &name("general")).await.expect("read").expect("there");
        let admin = fixture.admin().await;
        for statement in MANY.split(';') {
            admin.batch_execute(statement).await.expect(statement);
        }
        let mut read = Vec::new();
        for version in [1, 5_000, 10_000] {
            let version = KeyVersion::try_from(version).expect("not zero");
            let statement = sql::keys::key_version(tenant, general.key_id, version, Purpose::ContextKey);
            plan(&store, statement.clone()).await;
            let plan = plan(&store, statement).await;
            assert!(plan.contains("key_versions_pkey") && plan.contains("wrapped_keys_pkey"), "{plan}");
            assert!(
                !plan.contains("Seq Scan on key_versions") && !plan.contains("Seq Scan on wrapped"),
                "{plan}"
            );
            read.push(pages(&plan));
        }
        assert!(read.iter().all(|pages| *pages <= 20), "{read:?}");

        // Nor does one that encrypts, or lists, read them all.
        let before = KeyVersion::try_from(5_000).ok();
        for statement in [
            sql::keys::enabled_version(tenant, &name("general")),
            sql::keys::list(tenant, general.key_id, before, 1),
        ] {
            plan(&store, statement.clone()).await;
            let plan = plan(&store, statement).await;
            assert!(pages(&plan) <= 30, "{plan}");
        }
    })
    .await;
}
