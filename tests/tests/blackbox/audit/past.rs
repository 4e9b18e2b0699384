//! Records of a time long ago, and many of them, written into the store as the service writes them.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use cryptoserve_core::audit::{ChainWriter, DatabaseTime, Keys, Opening, Outcome, Record};
use cryptoserve_core::clock::{Clock, ManualClock, Timestamp};
use cryptoserve_core::config::SslMode;
use cryptoserve_core::id::ReplicaId;
use cryptoserve_core::keyring::Keks;
use cryptoserve_core::secret::Secret;
use cryptoserve_core::store::Store;
use cryptoserve_core::store::postgres::{PostgresOptions, PostgresStore};
use cryptoserve_core::store::sqlite::SqliteStore;
use cryptoserve_tests::{Cluster, Finished, Program, Secrets, StoreKind};

use crate::support::builder;

/// A cluster without replicas that has been set up, whose secrets are known whichever store it is.
pub(super) async fn deployment(store: StoreKind, variables: &[(&str, &str)]) -> (Cluster, Secrets) {
    let secrets = Secrets::generate();
    let builder = variables.iter().fold(builder(store), |builder, (name, value)| builder.env(*name, *value));
    let mut cluster = builder
        .env("CRYPTOSERVE_MASTER_KEY", &secrets.master_key)
        .env("JWT_SECRET_KEY", &secrets.jwt_secret_key)
        .env("HKDF_SALT", &secrets.hkdf_salt)
        .start(1)
        .await;
    let replica = cluster.replica_mut(0);
    replica.process().terminate();
    assert!(replica.ended().await.success(), "{:?}", replica.log());
    let registered = cluster.tables().await.number("SELECT count(*) FROM replicas").await;
    assert_eq!(registered, 0, "{:?}", cluster.replicas()[0].log());
    let (_, cluster) = cluster.stop().await;
    (cluster, secrets)
}

/// Chains of old records.
pub(super) struct Past<'a> {
    pub(super) cluster: &'a Cluster,
    pub(super) secrets: &'a Secrets,
    /// When the chain began, before now.
    pub(super) age: Duration,
    /// Time between two batches.
    pub(super) step: Duration,
    /// Records that are written together.
    pub(super) batch: u64,
}

/// Writes a chain of so many records, its begin and its end besides.
pub(super) async fn write(store: StoreKind, past: &Past<'_>, records: u64) {
    let Past { cluster, .. } = past;
    match store {
        StoreKind::Sqlite => {
            let path = cluster.data_dir().join("cryptoserve.db");
            fill(SqliteStore::open(path).await.expect("the store"), past, records).await;
        }
        StoreKind::Postgres => {
            let options = PostgresOptions {
                driver: cluster.database().url().as_str().parse().expect("an address"),
                ssl_mode: SslMode::Disable,
                ssl_root_cert: None,
                pool_size: 2,
                max_overflow: 0,
                recycle: Duration::from_secs(3600),
                pool_timeout: Duration::from_secs(30),
                query_timeout: Duration::from_secs(30),
            };
            fill(PostgresStore::connect(&options).await.expect("the store"), past, records).await;
            // As the database does by itself within a minute.
            cluster.tables().await.change("ANALYZE audit_records").await;
        }
    }
}

async fn fill<S: Store>(store: S, past: &Past<'_>, records: u64) {
    let Past { secrets, age, step, batch, .. } = *past;
    let bytes = |hex: &str| hex::decode(hex).expect("hex");
    let master_key = Secret::new(bytes(&secrets.master_key).try_into().expect("32 bytes"));
    let salt = Secret::new(secrets.hkdf_salt.as_bytes().to_vec());
    let keks = Keks::derive(&master_key, &[], &salt).expect("keys");
    let keys = Keys::open(&store, &keks, &Clock::system()).await.expect("the audit keys");
    let begin = Clock::system().now() - age;
    let hands = ManualClock::new(begin);
    let time = DatabaseTime::new(Clock::Manual(hands.clone()));
    let opening = Opening { instance: "of-old".to_owned(), replica: ReplicaId::random() };
    let mut writer = ChainWriter::new(store.clone(), Arc::new(keys), opening, time);
    let mut written = 0;
    while written < records {
        let count = batch.min(records - written);
        let batch = (written..written + count).map(|number| record(number, begin)).collect();
        hands.advance(step);
        writer.append(batch).await.expect("appended");
        written += count;
    }
    writer.end().await.expect("ended");
    store.close().await;
}

fn record(number: u64, begin: Timestamp) -> Record {
    Record {
        at: begin,
        instance: "of-old".into(),
        request_id: format!("old-{number}"),
        tenant: None,
        identity: None,
        operation: if number.is_multiple_of(10) { "decrypt" } else { "encrypt" },
        context: Some("general".parse().expect("a name")),
        key_version: None,
        outcome: if number % 100 == 7 { Outcome::Failure("rate_limited") } else { Outcome::Success },
        items: 1,
        failed: 0,
        bytes: number,
        address: None,
        detail: None,
    }
}

/// Runs a command to its end, however long that takes; with the most memory that it had, in bytes.
pub(super) async fn run_measured(program: &Program) -> (Finished, u64) {
    let mut process = program.spawn();
    let mut peak = 0;
    let status = loop {
        peak = peak.max(peak_memory(process.id()));
        if let Some(status) = process.status() {
            break status;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    process.stdout().ended().await;
    process.stderr().ended().await;
    (Finished { status, stdout: process.stdout().text(), stderr: process.stderr().text() }, peak)
}

/// The most memory that a process has had so far, in bytes; 0 if it is not there.
pub(super) fn peak_memory(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib =
        peak.and_then(|peak| peak.trim().strip_suffix(" kB")).and_then(|kib| kib.trim().parse::<u64>().ok());
    kib.unwrap_or(0) << 10
}

/// Tells those who want to know: nextest shows it with `--no-capture`.
pub(super) fn tell(what: std::fmt::Arguments<'_>) {
    // Nobody need listen.
    let _ = writeln!(std::io::stderr().lock(), "{what}");
}
