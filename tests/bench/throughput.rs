//! Encrypt throughput of the service against the bare server, in turns.

use std::env;
use std::fmt;
use std::time::Duration;

use base64_simd::STANDARD;
use cryptoserve_tests::{Program, Replica};
use serde_json::json;

use crate::load::{CONTEXT, EncryptLoad, Outcome};
use crate::summary::Summary;

/// What to measure.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) runs: u32,
    pub(crate) duration: Duration,
    pub(crate) connections: usize,
    pub(crate) plaintext_bytes: usize,
}

/// The measurements of both sides; prints as a table.
#[derive(Debug)]
pub(crate) struct Comparison {
    title: String,
    service: Vec<Sample>,
    baseline: Vec<Sample>,
}

#[derive(Debug)]
struct Sample {
    outcome: Outcome,
    /// Processor time of the server, in microseconds per request.
    cpu_micros: f64,
}

/// Measures both, A B A B, so that a machine that slows down in the middle slows both.
///
/// # Panics
///
/// If any request fails, or the service does not decrypt what it encrypted.
pub(crate) async fn measure(plan: &Plan, service: &Replica, token: &str) -> Comparison {
    let this = env::current_exe().expect("the path of this program");
    let baseline = Replica::start(&Program::at(&this).arg("baseline")).await;
    check_round_trip(service, token).await;

    let load = EncryptLoad::new(plan.plaintext_bytes, token);
    let warm_up = plan.duration.min(Duration::from_secs(1));
    for server in [service, &baseline] {
        sample(&load, server, plan.connections, warm_up).await;
    }
    let (mut of_service, mut of_baseline) = (Vec::new(), Vec::new());
    for _ in 0..plan.runs.max(1) {
        of_service.push(sample(&load, service, plan.connections, plan.duration).await);
        of_baseline.push(sample(&load, &baseline, plan.connections, plan.duration).await);
    }
    let title = format!(
        "encrypt of {} bytes over {} connections, {} × {:?} each in turns; embedded store, batched audit, no limits reached, \
         successful requests not logged; load generator on the same cores",
        plan.plaintext_bytes, plan.connections, plan.runs, plan.duration
    );
    Comparison { title, service: of_service, baseline: of_baseline }
}

async fn sample(load: &EncryptLoad, server: &Replica, connections: usize, duration: Duration) -> Sample {
    let before = server.process().cpu_time();
    let outcome = load.run(server.address(), connections, duration).await;
    let outcome =
        outcome.unwrap_or_else(|error| panic!("a request failed, so there is nothing to compare: {error}"));
    let spent = server.process().cpu_time().saturating_sub(before);
    let cpu_micros = spent.as_secs_f64() * 1e6 / outcome.requests() as f64;
    Sample { outcome, cpu_micros }
}

/// Fast and wrong is not fast: one value goes there and back before anything is timed.
async fn check_round_trip(service: &Replica, token: &str) {
    let client = service.client().with_token(token);
    let plaintext = STANDARD.encode_to_string("there and back");
    let request = json!({"plaintext": plaintext, "context": CONTEXT});
    let sealed = client.post_json("/api/v1/crypto/encrypt", &request).await.expect(200).text("ciphertext");
    let request = json!({"ciphertext": sealed, "context": CONTEXT});
    let opened = client.post_json("/api/v1/crypto/decrypt", &request).await.expect(200).text("plaintext");
    assert_eq!(opened, plaintext);
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\nmedian (least–most) of the runs\n", self.title)?;
        writeln!(
            f,
            "| | requests/s | p50 ms | p99 ms | server CPU µs/request |\n| --- | --- | --- | --- | --- |"
        )?;
        row(f, "CryptoServe", &self.service)?;
        row(f, "bare hyper", &self.baseline)?;
        let rates = rates(&self.service).median / rates(&self.baseline).median;
        let cpu = cpu_micros(&self.service).median / cpu_micros(&self.baseline).median;
        writeln!(f, "| ratio of medians | {rates:.2} | | | {cpu:.2} |")
    }
}

fn row(f: &mut fmt::Formatter<'_>, name: &str, samples: &[Sample]) -> fmt::Result {
    let p50 = Summary::of(samples.iter().map(|sample| sample.outcome.percentile(50)));
    let p99 = Summary::of(samples.iter().map(|sample| sample.outcome.percentile(99)));
    writeln!(f, "| {name} | {:.0} | {p50:.2} | {p99:.2} | {:.1} |", rates(samples), cpu_micros(samples))
}

fn rates(samples: &[Sample]) -> Summary {
    Summary::of(samples.iter().map(|sample| sample.outcome.rate()))
}

fn cpu_micros(samples: &[Sample]) -> Summary {
    Summary::of(samples.iter().map(|sample| sample.cpu_micros))
}
