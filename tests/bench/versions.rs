//! Decryption with the first and with the last of many versions of one key.

use std::fmt;
use std::time::Instant;

use base64_simd::STANDARD;
use cryptoserve_tests::{Client, Replica};
use serde_json::{Value, json};

use crate::load::CONTEXT;
use crate::summary::Summary;

/// Requests whose median is one measurement.
const REQUESTS: usize = 2_000;
/// Rotations, each of which makes every version cold.
const COLD: usize = 100;

/// Microseconds per request; prints as a table.
#[derive(Debug)]
pub(crate) struct Versions {
    versions: u32,
    warm: [Vec<f64>; 2],
    cold: [Vec<f64>; 2],
}

/// Rotates until there are `versions`, and decrypts with the first and the last in turns, `runs` times; then with each
/// right after a rotation, when both have to be loaded.
///
/// # Panics
///
/// If any request fails.
pub(crate) async fn measure(
    versions: u32,
    runs: u32,
    service: &Replica,
    admin: &str,
    token: &str,
) -> Versions {
    let (admin, app) = (service.client().with_token(admin), service.client().with_token(token));
    let first = sealed(&app).await;
    for _ in 1..versions.max(2) {
        rotate(&admin).await;
    }
    let both = [first, sealed(&app).await];
    let (mut warm, mut cold) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
    for _ in 0..runs.max(1) {
        for (request, medians) in both.iter().zip(&mut warm) {
            let mut times = Vec::with_capacity(REQUESTS);
            for _ in 0..REQUESTS {
                times.push(decrypt(&app, request).await);
            }
            medians.push(Summary::of(times).median);
        }
    }
    for n in 0..2 * COLD {
        rotate(&admin).await;
        cold[n % 2].push(decrypt(&app, &both[n % 2]).await);
    }
    Versions { versions, warm, cold }
}

async fn rotate(admin: &Client) {
    admin.post_json(&format!("/api/admin/contexts/{CONTEXT}/rotate-key"), &json!({})).await.expect(200);
}

/// A request to decrypt a message under the newest version.
async fn sealed(app: &Client) -> Value {
    let request = json!({ "plaintext": STANDARD.encode_to_string([7; 1024]), "context": CONTEXT });
    let reply = app.post_json("/api/v1/crypto/encrypt", &request).await.expect(200);
    json!({ "ciphertext": reply.text("ciphertext") })
}

/// Microseconds.
async fn decrypt(app: &Client, request: &Value) -> f64 {
    let start = Instant::now();
    app.post_json("/api/v1/crypto/decrypt", request).await.expect(200);
    start.elapsed().as_secs_f64() * 1e6
}

impl fmt::Display for Versions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { versions, warm, cold } = self;
        writeln!(
            f,
            "decrypt of 1024 bytes with the first and with the last of {versions} versions of one key, one connection; \
             warm: {} × {REQUESTS} each in turns; cold: the first use after each of {} rotations\nmedian (least–most)\n",
            warm[0].len(),
            2 * COLD
        )?;
        writeln!(f, "| | warm, µs | cold, µs |\n| --- | --- | --- |")?;
        let of = |samples: &[Vec<f64>; 2], n: usize| Summary::of(samples[n].iter().copied());
        for (n, name) in ["first version", "last version"].into_iter().enumerate() {
            writeln!(f, "| {name} | {:.0} | {:.0} |", of(warm, n), of(cold, n))?;
        }
        let ratio = |samples| of(samples, 0).median / of(samples, 1).median;
        writeln!(f, "| ratio of medians | {:.2} | {:.2} |", ratio(warm), ratio(cold))
    }
}
