use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::{Registry, Unit};

use crate::api::{ROUTES, Route};

/// What was done with keys: each item of a batch is one.
pub(crate) struct Operations {
    counts: Family<Labels, Counter>,
    plaintext: Family<[(&'static str, &'static str); 1], Counter>,
    /// By operation: found once, and then without a lock. `None` for what is no cryptography.
    of_operation: Vec<Option<OfOperation>>,
}

struct OfOperation {
    name: &'static str,
    successes: Counter,
    plaintext: Counter,
}

/// Only what this program knows: an outcome is `success`, an error's code, or [`ITEM_FAILED`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    operation: &'static str,
    outcome: &'static str,
}

/// How something that one was asked for went.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Done {
    pub(crate) items: u32,
    pub(crate) failed: u32,
    /// Of plaintext.
    pub(crate) bytes: u64,
    /// The error's code, if all of it failed.
    pub(crate) error: Option<&'static str>,
}

/// The outcome of an item of a batch that as a whole succeeded.
const ITEM_FAILED: &str = "item_failed";
const SUCCESS: &str = "success";

impl Operations {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let counts = Family::<Labels, Counter>::default();
        let plaintext = Family::<[(&'static str, &'static str); 1], Counter>::default();
        let help = "Cryptographic operations, each item of a batch for itself";
        registry.register("crypto_operations", help, counts.clone());
        let help = "Plaintext that was encrypted or decrypted";
        registry.register_with_unit("crypto_plaintext", help, Unit::Bytes, plaintext.clone());
        let operations = ROUTES.iter().map(|route| route.operation as usize + 1).max().unwrap_or(0);
        let mut of_operation: Vec<Option<OfOperation>> = (0..operations).map(|_| None).collect();
        for route in ROUTES.iter().filter(|route| is_cryptography(route)) {
            let name = route.operation.name();
            let successes = counts.get_or_create_owned(&Labels { operation: name, outcome: SUCCESS });
            let plaintext = plaintext.get_or_create_owned(&[("operation", name)]);
            of_operation[route.operation as usize] = Some(OfOperation { name, successes, plaintext });
        }
        Self { counts, plaintext, of_operation }
    }

    /// Counts what a request of `route` did.
    pub(crate) fn record(&self, route: &Route, done: Done) {
        let Some(of_operation) = &self.of_operation[route.operation as usize] else { return };
        if let Some(outcome) = done.error {
            self.count(of_operation.name, outcome, done.items);
            return;
        }
        of_operation.successes.inc_by(done.items.saturating_sub(done.failed).into());
        of_operation.plaintext.inc_by(done.bytes);
        if done.failed > 0 {
            self.count(of_operation.name, ITEM_FAILED, done.failed);
        }
    }

    /// Counts a stream, which ends long after its request was answered.
    pub(crate) fn record_stream(&self, operation: &'static str, outcome: &'static str, bytes: u64) {
        self.count(operation, outcome, 1);
        self.plaintext.get_or_create(&[("operation", operation)]).inc_by(bytes);
    }

    fn count(&self, operation: &'static str, outcome: &'static str, items: u32) {
        self.counts.get_or_create(&Labels { operation, outcome }).inc_by(items.max(1).into());
    }
}

fn is_cryptography(route: &Route) -> bool {
    route.path.starts_with("/api/v1/crypto/") || route.operation.name() == "sign" || {
        let names = ["verify", "signatures.keys.generate"];
        names.contains(&route.operation.name())
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text;

    use super::*;

    fn route(path: &str) -> &'static Route {
        ROUTES.iter().find(|route| route.path == path).unwrap()
    }

    #[test]
    fn items_count_by_what_came_of_them_and_only_cryptography_counts() {
        let mut registry = Registry::default();
        let operations = Operations::new(&mut registry);
        let good = Done { items: 1, failed: 0, bytes: 10, error: None };
        operations.record(route("/api/v1/crypto/encrypt"), good);
        operations.record(route("/api/v1/crypto/encrypt"), Done { error: Some("rate_limited"), ..good });
        operations.record(route("/api/v1/crypto/batch/decrypt"), Done { items: 7, failed: 2, ..good });
        operations.record(route("/api/v1/signatures/sign"), good);
        operations.record(route("/api/v1/contexts"), good);
        operations.record_stream("stream.encrypt", "client_gone", 5);
        let mut shown = String::new();
        text::encode(&mut shown, &registry).unwrap();
        for (series, value) in [
            (r#"crypto_operations_total{operation="encrypt",outcome="success"}"#, 1),
            (r#"crypto_operations_total{operation="encrypt",outcome="rate_limited"}"#, 1),
            (r#"crypto_operations_total{operation="batch.decrypt",outcome="success"}"#, 5),
            (r#"crypto_operations_total{operation="batch.decrypt",outcome="item_failed"}"#, 2),
            (r#"crypto_operations_total{operation="sign",outcome="success"}"#, 1),
            (r#"crypto_operations_total{operation="stream.encrypt",outcome="client_gone"}"#, 1),
            (r#"crypto_plaintext_bytes_total{operation="encrypt"}"#, 10),
            (r#"crypto_plaintext_bytes_total{operation="stream.encrypt"}"#, 5),
        ] {
            let line = format!("{series} {value}");
            assert!(shown.lines().any(|shown| shown == line), "{line} in\n{shown}");
        }
        assert!(!shown.contains("contexts.list"), "{shown}");
    }
}
