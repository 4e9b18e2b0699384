//! What was acknowledged is there, whoever is killed.
//!
//! While administrators and services work, a random replica or PostgreSQL is killed at a random moment and started again,
//! 10 times, or 200 with `CRYPTOSERVE_TEST_FULL`. The seed is printed; `CRYPTOSERVE_TEST_SEED` repeats it, as far as
//! processes allow.

mod ledger;
mod random;
mod work;

use std::env;
use std::io::{self, Write as _};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use cryptoserve_core::audit::Ended;
use cryptoserve_tests::{Cluster, PostgresServer, StoreKind, TokenRequest, eventually};

use self::random::Random;
use self::work::{Work, Workers};
use crate::audit::chains::Trail;

/// Longest time between the moment when work goes on and a kill.
const LONGEST_WAIT: u64 = 250;

fn kills() -> u64 {
    if env::var_os("CRYPTOSERVE_TEST_FULL").is_some() { 200 } else { 10 }
}

fn seeded() -> Random {
    let given = env::var("CRYPTOSERVE_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or_else(random::seed);
    writeln!(io::stderr(), "CRYPTOSERVE_TEST_SEED={seed}").expect("standard error");
    Random::new(seed)
}

async fn begin(cluster: &Cluster, random: &mut Random) -> (Arc<Work>, Workers) {
    let admin = cluster.token(&TokenRequest::admin()).await;
    let app = cluster.token(&TokenRequest::identity("app")).await;
    let clients = |token: &str| cluster.addresses().into_iter().map(|at| work::client(at, token)).collect();
    let work = Work::new(clients(&admin), clients(&app));
    let workers = Workers::start(&work, random);
    (work, workers)
}

/// Waits until work goes on, and then for a moment that nobody chose.
async fn some_time(work: &Work, random: &mut Random) {
    let before = work.acknowledged.load(Ordering::Relaxed);
    eventually("work goes on", async || {
        (work.acknowledged.load(Ordering::Relaxed) >= before + 10).then_some(())
    })
    .await;
    tokio::time::sleep(Duration::from_millis(random.below(LONGEST_WAIT))).await;
}

async fn kill_replica(cluster: &mut Cluster, index: usize) {
    let replica = cluster.replica_mut(index);
    replica.process().kill();
    replica.ended().await;
    replica.start_again().await;
}

/// Kills leave every chain whole: each begins with its begin, and one that a kill broke off has no end.
fn check_chains(trail: &Trail) {
    assert!(trail.chains.len() > 2, "there were kills");
    for (chain, records) in &trail.chains {
        assert_eq!(&*records[0].operation, "audit.begin");
        let ends = records.iter().filter(|record| record.operation == "audit.end").count();
        assert_eq!(ends, usize::from(chain.ended == Some(Ended::Clean)), "{chain:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_replicas_and_postgresql_nothing_acknowledged_is_lost() {
    let mut random = seeded();
    let settings = [("fsync", "on"), ("full_page_writes", "on"), ("log_statement", "none")];
    let server = settings
        .into_iter()
        .fold(PostgresServer::builder(), |server, (name, value)| server.setting(name, value));
    let mut server = server.start().await;
    let mut cluster =
        Cluster::builder().database_url(server.url()).env("AUDIT_MODE", "strict").start(3).await;
    let (work, workers) = begin(&cluster, &mut random).await;
    for _ in 0..kills() {
        some_time(&work, &mut random).await;
        match random.below(4) {
            3 => {
                server.kill().await;
                server.start_again().await;
            }
            replica => kill_replica(&mut cluster, usize::try_from(replica).expect("small")).await,
        }
        work.check_some(&mut random).await;
    }
    some_time(&work, &mut random).await;
    workers.stop(&work).await;
    work.check_all(&mut random).await;
    let database = server.connect().await;
    work.check_audit(&cryptoserve_tests::Tables::Postgres(database)).await;
    check_chains(&Trail::at(server.url().as_str(), cluster.secrets()).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_the_embedded_store_nothing_acknowledged_is_lost() {
    let mut random = seeded();
    let mut cluster = Cluster::builder().env("AUDIT_MODE", "strict").start(1).await;
    let (work, workers) = begin(&cluster, &mut random).await;
    for _ in 0..kills() {
        some_time(&work, &mut random).await;
        kill_replica(&mut cluster, 0).await;
        work.check_some(&mut random).await;
    }
    some_time(&work, &mut random).await;
    workers.stop(&work).await;
    work.check_all(&mut random).await;
    work.check_audit(&cluster.tables().await).await;
    check_chains(&Trail::of(&cluster, StoreKind::Sqlite).await);
}
