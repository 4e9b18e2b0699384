//! From process start to the first served request, on a database that exists.

use std::fmt;
use std::time::{Duration, Instant};

use cryptoserve_tests::{Client, Program, Replica};

use crate::load::EncryptLoad;
use crate::summary::Summary;

/// Pause between two attempts: the resolution of the result.
const PERIOD: Duration = Duration::from_micros(500);

/// Longest wait for a start.
const LIMIT: Duration = Duration::from_secs(30);

/// Milliseconds per start; prints as a table.
#[derive(Debug)]
pub(crate) struct Starts {
    to_live: Vec<f64>,
    to_encrypt: Vec<f64>,
}

/// Starts `program` `count` times, each after the last has ended.
///
/// # Panics
///
/// If a start does not serve.
pub(crate) async fn measure(count: u32, program: &Program, token: &str) -> Starts {
    let load = EncryptLoad::new(1024, token);
    let mut starts = Starts { to_live: Vec::new(), to_encrypt: Vec::new() };
    for _ in 0..count.max(1) {
        let start = Instant::now();
        let replica = Replica::launch(program).await;
        let client = replica.client();
        starts.to_live.push(first_success(start, async || live(&client).await).await);
        starts.to_encrypt.push(first_success(start, async || encrypt(&client, &replica, &load).await).await);
    }
    starts
}

/// Milliseconds from `start` until `attempt` is answered with 200.
async fn first_success(start: Instant, mut attempt: impl AsyncFnMut() -> bool) -> f64 {
    while !attempt().await {
        assert!(start.elapsed() < LIMIT, "not serving within {LIMIT:?}");
        tokio::time::sleep(PERIOD).await;
    }
    start.elapsed().as_secs_f64() * 1e3
}

async fn live(client: &Client) -> bool {
    client.try_get("/health/live").await.is_ok_and(|reply| reply.status == 200)
}

async fn encrypt(client: &Client, replica: &Replica, load: &EncryptLoad) -> bool {
    let mut request = load.request(replica.address());
    let uri = format!("http://{}{}", replica.address(), request.uri());
    *request.uri_mut() = uri.parse().expect("an address and a path");
    client.try_send(request).await.is_ok_and(|reply| reply.status == 200)
}

impl fmt::Display for Starts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.to_live.len();
        writeln!(
            f,
            "from process start on an existing embedded database, {count} starts, median (least–most) ms\n"
        )?;
        writeln!(f, "| to the first 200 of /health/live | to the first encrypt |\n| --- | --- |")?;
        let [live, encrypt] =
            [&self.to_live, &self.to_encrypt].map(|times| Summary::of(times.iter().copied()));
        writeln!(f, "| {live:.1} | {encrypt:.1} |")
    }
}
