use crate::clock::Timestamp;
use crate::contexts::{NewContext, RotationPolicy, StoredVersion, new_context};
use crate::crypto::{Algorithm, AlgorithmSet, Error, Kek};
use crate::id::TenantId;

const DEFAULTS: [(&str, &str); 9] = [
    ("general", "Anything without a context of its own"),
    ("user-pii", "Names, addresses and other personal data"),
    ("payment-data", "Card and account numbers"),
    ("health-data", "Medical records"),
    ("session-tokens", "Session state and tokens"),
    ("api-secrets", "Credentials of other services"),
    ("business-documents", "Contracts, reports and files"),
    ("internal-logs", "Log fields that must not be read by everyone"),
    ("backup-data", "Backups and exports"),
];

/// The contexts that a new tenant starts with, each with the first version of its key.
///
/// # Errors
///
/// When no random bytes can be had or wrapping fails.
pub fn default_contexts(tenant: TenantId, kek: &Kek, now: Timestamp) -> Result<Vec<StoredVersion>, Error> {
    DEFAULTS
        .into_iter()
        .map(|(name, description)| {
            let new = NewContext {
                tenant,
                name: name.parse().expect("the default names are valid"),
                description: description.to_owned(),
                algorithm: Algorithm::default(),
                allowed_algorithms: AlgorithmSet::default(),
                exportable: false,
                rotation: RotationPolicy::default(),
            };
            new_context(new, kek, now)
        })
        .collect()
}
