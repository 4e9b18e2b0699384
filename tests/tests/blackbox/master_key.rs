//! The change of the master key, while clients encrypt, decrypt, rotate and create without a pause.

mod interrupted;
mod load;
mod lost;
mod refused;
mod walk;

use cryptoserve_tests::{Cluster, ClusterBuilder, Finished, Program, Secrets, StoreKind};

/// The environment variables of the master key.
const KEY: &str = "CRYPTOSERVE_MASTER_KEY";
const PREVIOUS: &str = "CRYPTOSERVE_MASTER_KEY_PREVIOUS";

/// A cluster whose machine may be as slow as it likes: what is counted are failures.
fn patient(store: StoreKind) -> ClusterBuilder {
    let builder = Cluster::builder().store(store);
    builder.env("DB_QUERY_TIMEOUT", "30s").env("DB_POOL_TIMEOUT", "30s")
}

/// Another master key.
fn fresh() -> String {
    Secrets::generate().master_key
}

/// `program` with `first`, and with `others` if there are any.
fn with_keys(program: Program, first: &str, others: &str) -> Program {
    let program = program.env(KEY, first);
    if others.is_empty() { program.without_env(PREVIOUS) } else { program.env(PREVIOUS, others) }
}

/// A master key in the listing of `cryptoserve rewrap-keys`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Listed {
    fingerprint: String,
    active: bool,
    wrapped: u64,
}

async fn list(program: &Program) -> Vec<Listed> {
    let done = program.clone().arg("rewrap-keys").run().await;
    assert!(done.status.success(), "{}", done.stderr);
    let rows = done.stdout.lines().skip(1).take_while(|line| !line.is_empty());
    let rows = rows.map(|line| line.split_whitespace().collect::<Vec<_>>());
    rows.map(|row| Listed {
        fingerprint: row[0].to_owned(),
        active: row[1] == "yes",
        wrapped: row[3].parse().expect("a number"),
    })
    .collect()
}

/// The fingerprint of the first key that `program` knows and that is not the active one.
async fn other_fingerprint(program: &Program) -> String {
    let listed = list(program).await;
    listed.into_iter().find(|key| !key.active).expect("another key").fingerprint
}

async fn rewrap(program: &Program, to: &str) -> Finished {
    program.clone().arg("rewrap-keys").arg("--to").arg(to).run().await
}

/// The number in the line `… keys were rewrapped`; 0 without it.
fn rewrapped(done: &Finished) -> u64 {
    let line = done.stdout.lines().find_map(|line| line.strip_suffix(" keys were rewrapped."));
    line.map_or(0, |number| number.parse().expect("a number"))
}
