use super::Statement;
use crate::clock::Timestamp;
use crate::store::Usage;

/// Adds to what is known of the use of a version.
pub(super) fn record(usage: &Usage, now: Timestamp) -> Statement {
    const SQL: &str = "UPDATE key_versions SET encrypts = encrypts + $4, decrypts = decrypts + $5, \
         last_decrypt_at = coalesce($6, last_decrypt_at) WHERE tenant_id = $1 AND key_id = $2 AND version = $3";
    let last_decrypt_at = (usage.decrypts > 0).then_some(now);
    Statement::new(
        SQL,
        [
            usage.tenant.into(),
            usage.key.into(),
            usage.version.into(),
            usage.encrypts.into(),
            usage.decrypts.into(),
            last_decrypt_at.into(),
        ],
    )
}
