//! Keys for something else than encryption, of one version each.

use super::row::Columns;
use super::{Mutation, Statement, contexts, keys};
use crate::clock::Timestamp;
use crate::contexts::{KeySummary, StoredVersion};
use crate::crypto::{KeyId, KeyVersion, Purpose};
use crate::id::TenantId;
use crate::store::{Change, Error};

/// Does not apply if the key is wrapped under another key-encryption key than the active one.
pub(super) fn create(new: &StoredVersion, destroy_at: Option<Timestamp>) -> Mutation {
    let StoredVersion { context, key, version, .. } = new;
    let mut statements = keys::insert_key(new);
    statements.extend(destroy_at.map(|destroy_at| {
        Statement::new(
            "UPDATE key_versions SET destroy_at = $4 \
             WHERE tenant_id = $1 AND key_id = $2 AND version = $3 RETURNING version",
            [context.tenant.into(), key.id.into(), version.version.into(), destroy_at.into()],
        )
    }));
    let changes = vec![Change::Context(context.tenant, context.id)];
    Mutation { name: "create_key", statements, changes, at: version.created_at }
}

/// Keys by their id, after `after`.
pub(super) fn list(tenant: TenantId, purpose: Purpose, after: Option<KeyId>, limit: u32) -> Statement {
    const SQL: &str = concat!(
        "SELECT ",
        contexts::columns!(),
        ", k.id AS version_key_id, k.purpose AS purpose, k.key_type AS key_type, k.exportable AS exportable, ",
        keys::status_columns!(),
        " FROM ",
        keys::versions!(),
        " WHERE k.tenant_id = $1 AND k.purpose = $2 AND k.id > $3 AND c.deleted_at IS NULL ORDER BY k.id LIMIT $4"
    );
    let after = after.map_or(Vec::new(), |after| after.0.to_vec());
    Statement::new(SQL, [tenant.into(), purpose.id().into(), after.as_slice().into(), limit.into()])
}

pub(super) fn parse(row: &dyn Columns) -> Result<KeySummary, Error> {
    Ok(KeySummary {
        context: contexts::parse(row)?,
        key: keys::parse_key(row)?,
        status: keys::parse_status(row)?,
    })
}

/// Destroys a transport key that is still usable; else returns no row.
pub(super) fn spend(tenant: TenantId, key: KeyId, now: Timestamp) -> Vec<Statement> {
    let version = KeyVersion::FIRST;
    vec![
        Statement::new(
            "UPDATE key_versions SET state = 5, state_changed_at = $4, destroy_at = NULL \
             WHERE tenant_id = $1 AND key_id = $2 AND version = $3 AND state = 4 AND destroy_at > $4 RETURNING version",
            [tenant.into(), key.into(), version.into(), now.into()],
        ),
        Statement::new(
            "DELETE FROM wrapped_keys WHERE tenant_id = $1 AND key_id = $2 AND version = $3 RETURNING version",
            [tenant.into(), key.into(), version.into()],
        ),
    ]
}
