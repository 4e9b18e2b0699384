//! How soon the health paths answer: at rest, under full load, and while the database and Redis hang.

use std::fmt;
use std::time::{Duration, Instant};

use cryptoserve_tests::{Client, Cluster, PostgresServer, TokenRequest};

use crate::load::EncryptLoad;
use crate::summary::Summary;

/// What is measured, and how often; the last is worked out at most once a second, and asked for more rarely.
const PATHS: [(&str, usize, Duration); 3] = [
    ("/health/live", 20, Duration::ZERO),
    ("/health/ready", 20, Duration::ZERO),
    ("/health/deep", 1, Duration::from_millis(1050)),
];

/// Milliseconds by path, in each state of affairs; prints as a table.
#[derive(Debug)]
pub(crate) struct Health(Vec<(&'static str, [Vec<f64>; 3])>);

/// Asks each path in turns, `rounds` times, in three states of affairs.
///
/// # Panics
///
/// If a service is missing, or a path does not answer.
pub(crate) async fn measure(rounds: u32, connections: usize) -> Health {
    let postgres = PostgresServer::start().await;
    // With an audit trail, a database that hangs ends the load as soon as the queue is full.
    let builder =
        Cluster::builder().database_url(postgres.url()).env("AUDIT_MODE", "off").env("LOG_SAMPLE", "0");
    let cluster = builder.redis().through_proxy().start(1).await;
    let service = &cluster.replicas()[0];
    let token = cluster.token(&TokenRequest::identity("bench").contexts([crate::load::CONTEXT])).await;
    let client = service.client();
    let mut measured = vec![("at rest", sample(&client, rounds).await)];

    let address = service.address();
    let load = tokio::spawn(async move {
        let load = EncryptLoad::new(1024, &token);
        // Its few failures, when the services go, are not what is measured.
        loop {
            let _ = load.run(address, connections, Duration::from_secs(3600)).await;
        }
    });
    measured.push(("under full load", sample(&client, rounds).await));
    postgres.freeze();
    cluster.redis_proxy().hang().await;
    measured.push(("the same, database and Redis hanging", sample(&client, rounds).await));
    load.abort();
    postgres.thaw();
    Health(measured)
}

async fn sample(client: &Client, rounds: u32) -> [Vec<f64>; 3] {
    let mut times = [Vec::new(), Vec::new(), Vec::new()];
    for _ in 0..rounds.max(1) {
        for ((path, count, pause), times) in PATHS.into_iter().zip(&mut times) {
            for _ in 0..count {
                tokio::time::sleep(pause).await;
                let asked = Instant::now();
                client.get(path).await;
                times.push(asked.elapsed().as_secs_f64() * 1e3);
            }
        }
    }
    times
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "health paths, over PostgreSQL and Redis; median (least–most) ms\n")?;
        writeln!(f, "| | {} | {} | {} |\n| --- | --- | --- | --- |", PATHS[0].0, PATHS[1].0, PATHS[2].0)?;
        for (state, times) in &self.0 {
            let [live, ready, deep] = times.each_ref().map(|times| Summary::of(times.iter().copied()));
            writeln!(f, "| {state} | {live:.1} | {ready:.1} | {deep:.0} |")?;
        }
        Ok(())
    }
}
