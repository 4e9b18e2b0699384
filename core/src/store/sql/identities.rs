use std::time::Duration;

use super::row::Columns;
use super::{Mutation, Statement, revision};
use crate::auth::Identity;
use crate::clock::Timestamp;
use crate::id::{IdentityId, TenantId};
use crate::name::Name;
use crate::store::{Change, Error, Loaded};

macro_rules! columns {
    () => {
        "tenant_id, id, name, role, scopes, contexts, epoch, enabled, created_at, updated_at"
    };
}

/// The revision, and the identity if there is one.
pub(super) fn by_id(tenant: TenantId, id: IdentityId) -> Statement {
    const SQL: &str = concat!(
        "SELECT r.value, ",
        columns!(),
        " FROM revision r LEFT JOIN identities ON tenant_id = $1 AND id = $2"
    );
    Statement::new(SQL, [tenant.into(), id.into()])
}

pub(super) fn by_name(tenant: TenantId, name: &Name) -> Statement {
    const SQL: &str = concat!("SELECT ", columns!(), " FROM identities WHERE tenant_id = $1 AND name = $2");
    Statement::new(SQL, [tenant.into(), name.into()])
}

pub(super) fn list(tenant: TenantId, after: Option<&Name>, limit: u32) -> Statement {
    const SQL: &str = concat!(
        "SELECT ",
        columns!(),
        " FROM identities WHERE tenant_id = $1 AND name > $2 ORDER BY name LIMIT $3"
    );
    Statement::new(SQL, [tenant.into(), after.map_or("", Name::as_str).into(), limit.into()])
}

pub(super) fn create(identity: &Identity) -> Mutation {
    const SQL: &str = concat!(
        "INSERT INTO identities (",
        columns!(),
        ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) RETURNING id"
    );
    let insert = Statement::new(
        SQL,
        [
            identity.tenant.into(),
            identity.id.into(),
            (&identity.name).into(),
            identity.role.name().into(),
            identity.scopes.to_string().into(),
            identity.contexts.to_string().into(),
            identity.epoch.into(),
            identity.enabled.into(),
            identity.created_at.into(),
            identity.updated_at.into(),
        ],
    );
    mutation("create_identity", identity.tenant, identity.id, insert, identity.created_at)
}

/// Returns the identity as changed.
pub(super) fn update(identity: &Identity, raise_epoch: bool, now: Timestamp) -> Mutation {
    const SQL: &str = concat!(
        "UPDATE identities SET name = $4, role = $5, scopes = $6, contexts = $7, enabled = $8, \
         epoch = epoch + $9, updated_at = $10 \
         WHERE tenant_id = $1 AND id = $2 AND epoch = $3 AND updated_at = $11 RETURNING ",
        columns!()
    );
    let change = Statement::new(
        SQL,
        [
            identity.tenant.into(),
            identity.id.into(),
            identity.epoch.into(),
            (&identity.name).into(),
            identity.role.name().into(),
            identity.scopes.to_string().into(),
            identity.contexts.to_string().into(),
            identity.enabled.into(),
            u8::from(raise_epoch).into(),
            later(identity.updated_at, now).into(),
            identity.updated_at.into(),
        ],
    );
    mutation("update_identity", identity.tenant, identity.id, change, now)
}

/// `now`, or just after `previous` where the clock stood still or went back: each change has a time of its own.
fn later(previous: Timestamp, now: Timestamp) -> Timestamp {
    now.max(previous + Duration::from_micros(1))
}

pub(super) fn delete(tenant: TenantId, id: IdentityId, now: Timestamp) -> Mutation {
    const SQL: &str = "DELETE FROM identities WHERE tenant_id = $1 AND id = $2 RETURNING id";
    mutation("delete_identity", tenant, id, Statement::new(SQL, [tenant.into(), id.into()]), now)
}

fn mutation(
    name: &'static str,
    tenant: TenantId,
    id: IdentityId,
    statement: Statement,
    at: Timestamp,
) -> Mutation {
    Mutation { name, statements: vec![statement], changes: vec![Change::Identity(tenant, id)], at }
}

pub(super) fn parse_loaded(row: &dyn Columns) -> Result<Loaded<Identity>, Error> {
    revision::parse_loaded(row, "id", parse)
}

pub(super) fn parse(row: &dyn Columns) -> Result<Identity, Error> {
    Ok(Identity {
        id: IdentityId(row.uuid("id")?),
        tenant: TenantId(row.uuid("tenant_id")?),
        name: row.name("name")?,
        role: row.parsed("role")?,
        scopes: row.parsed("scopes")?,
        contexts: row.parsed("contexts")?,
        epoch: row.integer("epoch")?,
        enabled: row.boolean("enabled")?,
        created_at: row.time("created_at")?,
        updated_at: row.time("updated_at")?,
    })
}
