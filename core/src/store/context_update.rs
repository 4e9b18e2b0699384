use crate::clock::Timestamp;
use crate::crypto::{Algorithm, AlgorithmSet};

/// Changes of a context; what is `None` stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContextUpdate {
    /// For people.
    pub description: Option<String>,
    /// What encryption uses, together with what callers may choose, which contains it.
    pub algorithms: Option<(Algorithm, AlgorithmSet)>,
    /// [`RotationPolicy::days`](crate::contexts::RotationPolicy), counted from now.
    pub rotation_days: Option<u32>,
    /// [`RotationPolicy::keep_last`](crate::contexts::RotationPolicy).
    pub keep_last: Option<u32>,
    /// If set, nothing is changed unless the context's `updated_at` is still this.
    pub read_at: Option<Timestamp>,
}
