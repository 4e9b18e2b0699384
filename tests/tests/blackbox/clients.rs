//! The published Python clients, unmodified, as their users run them: scripts of `tests/clients` against replicas.

mod key_bundle;
mod library;
mod package;

use std::path::Path;

use cryptoserve_tests::{Cluster, ClusterBuilder, Program, StoreKind};

use crate::support::{self, builder, python_clients};

/// As many replicas as the store serves.
async fn replicas(store: StoreKind, builder: impl FnOnce(ClusterBuilder) -> ClusterBuilder) -> Cluster {
    builder(self::builder(store)).start(support::replicas(store)).await
}

/// Where each serves, as the scripts want it.
fn addresses(cluster: &Cluster) -> String {
    let addresses: Vec<_> = cluster.addresses().iter().map(ToString::to_string).collect();
    addresses.join(" ")
}

/// Python with the published clients in reach, on a machine whose home is `home`.
fn python(home: &Path) -> Program {
    Program::at(Path::new("/usr/bin/env"))
        .arg("python3")
        .env("PYTHONPATH", python_clients())
        .env("HOME", home.to_string_lossy())
        // Their directory is that of the sources.
        .env("PYTHONDONTWRITEBYTECODE", "1")
}

/// Runs one of `tests/clients` and returns what it prints.
async fn script(python: Program, name: &str) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients").join(name);
    // Its failures are assertions of its own, which say more than a status.
    let done = python.arg(script.to_string_lossy()).run().await;
    assert!(done.status.success(), "{name}: {}\n{}", done.stdout, done.stderr);
    done.stdout
}
