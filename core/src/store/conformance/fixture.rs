//! Databases for tests, and what they are filled with.

use std::panic::{AssertUnwindSafe, resume_unwind};
use std::time::Duration;

use futures_util::FutureExt;
use tempfile::TempDir;
use tokio_postgres::NoTls;
use uuid::Uuid;

use crate::clock::Timestamp;
use crate::config::SslMode;
use crate::contexts::{NewContext, RotationPolicy, StoredVersion, default_contexts, new_context};
use crate::crypto::{Algorithm, AlgorithmSet, Kek};
use crate::id::{ReplicaId, TenantId};
use crate::name::Name;
use crate::secret::Secret;
use crate::store::postgres::{PostgresOptions, PostgresStore};
use crate::store::sqlite::SqliteStore;
use crate::store::{Bootstrap, KekRecord, Store, Tenant};

/// A database of one test.
pub(in crate::store) trait Fixture: Sync {
    type Store: Store + std::fmt::Debug;

    /// One more store on the same database, as another process would have.
    async fn open(&self) -> Self::Store;

    /// Runs SQL behind the store's back, with foreign keys and without the checks on `table`.
    async fn tamper(&self, table: &str, sql: &str) -> Result<(), String>;

    /// The one integer that a query returns.
    async fn count(&self, sql: &str) -> i64;

    fn bytes(&self, bytes: &[u8]) -> String;
    fn uuid(&self, uuid: Uuid) -> String;
    fn seconds(&self, seconds: u32) -> String;
    /// An expression for 32 bytes that differ in each row.
    fn random_bytes(&self) -> &'static str;

    /// Lets a replica have been silent for so much longer.
    async fn silence(&self, replica: ReplicaId, seconds: u32) {
        let (id, seconds) = (self.uuid(replica.0), self.seconds(seconds));
        let silence = format!("UPDATE replicas SET seen_at = seen_at - {seconds} WHERE id = {id}");
        self.tamper("replicas", &silence).await.expect("made silent");
    }

    /// A store with a schema and a deployment.
    async fn ready(&self) -> (Self::Store, TenantId) {
        let store = self.open().await;
        store.migrate().await.expect("migrated");
        let deployment = store.bootstrap(&bootstrap()).await.expect("set up");
        (store, deployment.tenant.id)
    }

    async fn add_tenant(&self) -> TenantId {
        let tenant = TenantId::random();
        let sql = format!(
            "INSERT INTO tenants (id, name, created_at) SELECT {}, 'other', created_at FROM deployment",
            self.uuid(tenant.0)
        );
        self.tamper("tenants", &sql).await.expect("another tenant");
        tenant
    }
}

pub(in crate::store) struct Sqlite(TempDir);

impl Sqlite {
    pub(in crate::store) fn new() -> Self {
        Self(TempDir::new().expect("a directory"))
    }

    pub(in crate::store) fn path(&self) -> std::path::PathBuf {
        self.0.path().join("cryptoserve.db")
    }
}

impl Fixture for Sqlite {
    type Store = SqliteStore;

    async fn open(&self) -> SqliteStore {
        SqliteStore::open(self.path()).await.expect("opened")
    }

    async fn tamper(&self, _: &str, sql: &str) -> Result<(), String> {
        let connection = rusqlite::Connection::open(self.path()).expect("opened");
        connection
            .execute_batch("PRAGMA foreign_keys = ON; PRAGMA ignore_check_constraints = ON")
            .expect("set");
        connection.execute_batch(sql).map_err(|error| error.to_string())
    }

    async fn count(&self, sql: &str) -> i64 {
        let connection = rusqlite::Connection::open(self.path()).expect("opened");
        connection.query_row(sql, [], |row| row.get(0)).expect("counted")
    }

    fn bytes(&self, bytes: &[u8]) -> String {
        format!("x'{}'", hex::encode(bytes))
    }

    fn uuid(&self, uuid: Uuid) -> String {
        self.bytes(uuid.as_bytes())
    }

    fn seconds(&self, seconds: u32) -> String {
        format!("{seconds}000000")
    }

    fn random_bytes(&self) -> &'static str {
        "randomblob(32)"
    }
}

pub(in crate::store) struct Postgres {
    options: PostgresOptions,
    admin: tokio_postgres::Client,
}

impl Postgres {
    /// Runs `test` with a database that is dropped afterwards, also if the test fails.
    pub(in crate::store) async fn with(test: impl AsyncFnOnce(&Self)) {
        let server = std::env::var("CRYPTOSERVE_TEST_POSTGRES")
            .expect("CRYPTOSERVE_TEST_POSTGRES names no server; ./tests/run starts one and runs the tests");
        let mut driver: tokio_postgres::Config = server.parse().expect("CRYPTOSERVE_TEST_POSTGRES is a URL");
        let server = connect(&driver).await;
        let name = format!("cryptoserve_test_{}", TenantId::random().0.simple());
        server.batch_execute(&format!("CREATE DATABASE {name}")).await.expect("created");
        driver.dbname(&name);
        let options = PostgresOptions {
            driver,
            ssl_mode: SslMode::Prefer,
            ssl_root_cert: None,
            pool_size: 4,
            max_overflow: 2,
            recycle: Duration::from_secs(3600),
            pool_timeout: Duration::from_secs(60),
            query_timeout: Duration::from_secs(60),
        };
        let fixture = Self { admin: connect(&options.driver).await, options };
        let result = AssertUnwindSafe(test(&fixture)).catch_unwind().await;
        drop(fixture);
        server.batch_execute(&format!("DROP DATABASE {name} WITH (FORCE)")).await.expect("dropped");
        result.unwrap_or_else(|panic| resume_unwind(panic));
    }

    pub(in crate::store) fn options(&self) -> PostgresOptions {
        self.options.clone()
    }

    pub(in crate::store) async fn admin(&self) -> tokio_postgres::Client {
        connect(&self.options.driver).await
    }
}

async fn connect(driver: &tokio_postgres::Config) -> tokio_postgres::Client {
    let (client, connection) = driver.connect(NoTls).await.expect("connected");
    tokio::spawn(connection);
    client
}

impl Fixture for Postgres {
    type Store = PostgresStore;

    async fn open(&self) -> PostgresStore {
        PostgresStore::connect(&self.options).await.expect("connected")
    }

    async fn tamper(&self, table: &str, sql: &str) -> Result<(), String> {
        let drop_checks = format!(
            "DO $$ DECLARE name text; BEGIN \
             FOR name IN SELECT conname FROM pg_constraint WHERE conrelid = '{table}'::regclass AND contype = 'c' \
             LOOP EXECUTE format('ALTER TABLE {table} DROP CONSTRAINT %I', name); END LOOP; END $$"
        );
        self.admin.batch_execute(&drop_checks).await.expect("no checks");
        self.admin.batch_execute(sql).await.map_err(|error| format!("{error:?}"))
    }

    async fn count(&self, sql: &str) -> i64 {
        self.admin.query_one(sql, &[]).await.expect("counted").get(0)
    }

    fn bytes(&self, bytes: &[u8]) -> String {
        format!("'\\x{}'::bytea", hex::encode(bytes))
    }

    fn uuid(&self, uuid: Uuid) -> String {
        format!("'{uuid}'::uuid")
    }

    fn seconds(&self, seconds: u32) -> String {
        format!("interval '{seconds} s'")
    }

    fn random_bytes(&self) -> &'static str {
        "sha256(random()::text::bytea)"
    }
}

pub(in crate::store) const NOW: Timestamp = Timestamp::from_micros(1_793_534_400_123_456);

pub(in crate::store) fn later(seconds: u64) -> Timestamp {
    NOW + Duration::from_secs(seconds)
}

pub(in crate::store) fn kek() -> Kek {
    Kek::derive(&Secret::new([7; 32]), b"the salt of the tests").expect("derived")
}

pub(in crate::store) fn name(text: &str) -> Name {
    text.parse().expect("a name")
}

/// A first start, with identifiers of its own.
pub(in crate::store) fn bootstrap() -> Bootstrap {
    let kek = kek();
    let tenant = Tenant { id: TenantId::random(), name: name("default") };
    let contexts = default_contexts(tenant.id, &kek, NOW).expect("nine contexts");
    let kek = KekRecord { id: kek.id(), check_value: kek.check_value() };
    Bootstrap { tenant, kek, contexts, at: NOW }
}

pub(in crate::store) fn context(tenant: TenantId, text: &str) -> StoredVersion {
    new_context(new(tenant, text), &kek(), later(1)).expect("a context")
}

pub(in crate::store) fn new(tenant: TenantId, text: &str) -> NewContext {
    NewContext {
        tenant,
        name: name(text),
        description: format!("about {text}"),
        algorithm: Algorithm::default(),
        allowed_algorithms: AlgorithmSet::default(),
        exportable: false,
        rotation: RotationPolicy::default(),
    }
}
