use crate::audit::KeysRow;
use crate::crypto::Purpose;
use crate::id::TenantId;
use crate::store::sql::{Mutation, Statement, contexts, keys};

/// No name, so nobody can have or ask for a tenant that is called so.
const SYSTEM_TENANT: &str = "(system)";

/// The versions of both keys.
pub(super) fn read() -> Statement {
    const SQL: &str = concat!(
        "SELECT ",
        contexts::columns!(),
        ", ",
        keys::version_columns!(),
        " FROM ",
        keys::versions!(),
        " WHERE k.tenant_id = $1 AND k.purpose = $2 ORDER BY k.created_at, k.id"
    );
    Statement::new(SQL, [TenantId::SYSTEM.into(), Purpose::AuditChain.id().into()])
}

/// Does not apply if the tenant is there: the revision is raised before this runs, so whoever else makes the keys has
/// committed or is waiting.
pub(super) fn create(new: &KeysRow) -> Mutation {
    let at = new.audit_key.version.created_at;
    let mut statements = vec![
        Statement::new(
            "SELECT value FROM revision WHERE NOT EXISTS (SELECT 1 FROM tenants WHERE id = $1)",
            [TenantId::SYSTEM.into()],
        ),
        Statement::new(
            "INSERT INTO tenants (id, name, created_at) VALUES ($1, $2, $3) RETURNING id",
            [TenantId::SYSTEM.into(), SYSTEM_TENANT.into(), at.into()],
        ),
    ];
    statements.extend(contexts::inserts(&new.audit_key));
    statements.extend(keys::insert_key(&new.signing_key));
    Mutation { name: "create_audit_keys", statements, changes: Vec::new(), at }
}
