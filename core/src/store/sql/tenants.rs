use super::row::Columns;
use super::{Mutation, Statement, contexts, identities, limits};
use crate::clock::Timestamp;
use crate::id::TenantId;
use crate::name::Name;
use crate::store::{Change, Error, NewTenant, Tenant, TenantRecord, TenantUpdate};

macro_rules! columns {
    () => {
        "id, name, description, enabled, limits, created_at, updated_at"
    };
}

pub(super) fn by_name(name: &Name) -> Statement {
    Statement::new(concat!("SELECT ", columns!(), " FROM tenants WHERE name = $1"), [name.into()])
}

pub(super) fn list(after: Option<&Name>, limit: u32) -> Statement {
    const SQL: &str =
        concat!("SELECT ", columns!(), " FROM tenants WHERE name > $1 AND id <> $3 ORDER BY name LIMIT $2");
    Statement::new(SQL, [after.map_or("", Name::as_str).into(), limit.into(), TenantId::SYSTEM.into()])
}

pub(super) fn create(new: &NewTenant) -> Mutation {
    let mut statements = vec![Statement::new(
        "INSERT INTO tenants (id, name, description, created_at) VALUES ($1, $2, $3, $4) RETURNING id",
        [new.tenant.id.into(), (&new.tenant.name).into(), new.description.as_str().into(), new.at.into()],
    )];
    statements.extend(new.contexts.iter().flat_map(contexts::inserts));
    statements.push(identities::insert(&new.admin));
    Mutation { name: "create_tenant", statements, changes: vec![Change::Tenant(new.tenant.id)], at: new.at }
}

/// Returns the tenant as changed.
pub(super) fn update(tenant: TenantId, update: &TenantUpdate, now: Timestamp) -> Mutation {
    const SQL: &str = concat!(
        "UPDATE tenants SET description = coalesce($2, description), enabled = coalesce($3, enabled), updated_at = $4 \
         WHERE id = $1 RETURNING ",
        columns!()
    );
    let values = [tenant.into(), update.description.clone().into(), update.enabled.into(), now.into()];
    let statements = vec![Statement::new(SQL, values)];
    Mutation { name: "update_tenant", statements, changes: vec![Change::Tenant(tenant)], at: now }
}

pub(super) fn revoke_tokens(tenant: TenantId, now: Timestamp) -> Mutation {
    let raise = Statement::new(
        "UPDATE identities SET epoch = epoch + 1, tokens_not_before = $2 WHERE tenant_id = $1 RETURNING id",
        [tenant.into(), now.into()],
    );
    // As when one identity's are revoked.
    let forget = Statement::new(
        "DELETE FROM revoked_tokens WHERE tenant_id = $1 AND identity_id IN (SELECT id FROM identities \
         WHERE tenant_id = $1 AND subject IS NULL) RETURNING token_id",
        [tenant.into()],
    );
    // The last statement always finds a row, also of a tenant without identities.
    let statements =
        vec![raise.optional(), forget.optional(), Statement::new("SELECT value FROM revision", [])];
    Mutation { name: "revoke_tokens_of_tenant", statements, changes: vec![Change::Tenant(tenant)], at: now }
}

pub(super) fn parse(row: &dyn Columns) -> Result<TenantRecord, Error> {
    let created_at = row.time("created_at")?;
    Ok(TenantRecord {
        tenant: Tenant { id: TenantId(row.uuid("id")?), name: row.name("name")? },
        description: row.text("description")?,
        enabled: row.boolean("enabled")?,
        limits: limits::policy(row, "limits")?,
        created_at,
        updated_at: row.optional_time("updated_at")?.unwrap_or(created_at),
    })
}
