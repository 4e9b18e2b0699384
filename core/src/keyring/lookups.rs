use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

/// How often what was wanted of the store was in memory.
pub(super) struct Lookups {
    all: Family<Labels, Counter>,
    /// Of `all`, by [`Kind`]: hits and misses, found without a lock.
    counted: [[Counter; 2]; Kind::NAMES.len()],
}

/// What is looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Context,
    KeyVersion,
    SigningKey,
    Identity,
    Tenant,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    kind: &'static str,
    outcome: &'static str,
}

impl Kind {
    /// In the order of the variants.
    pub(super) const NAMES: [&str; 5] = ["context", "key_version", "signing_key", "identity", "tenant"];
}

impl Lookups {
    pub(super) fn new() -> Self {
        let all = Family::<Labels, Counter>::default();
        let counted = Kind::NAMES
            .map(|kind| ["hit", "miss"].map(|outcome| all.get_or_create_owned(&Labels { kind, outcome })));
        Self { all, counted }
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        let help = "Lookups in the view of the database: in memory (hit), or loaded for it (miss)";
        registry.register("keyring_lookups", help, self.all.clone());
    }

    /// Counts a lookup that found `entry`, or not.
    pub(super) fn count<T>(&self, kind: Kind, entry: Option<T>) -> Option<T> {
        self.counted[kind as usize][usize::from(entry.is_none())].inc();
        entry
    }
}
