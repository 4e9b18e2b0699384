use std::time::Duration;

use super::row::Columns;
use super::{Mutation, Statement, keys, limits};
use crate::clock::Timestamp;
use crate::contexts::{Context, RotationPolicy, StoredVersion};
use crate::crypto::{Algorithm, AlgorithmSet, KeyId};
use crate::id::{ContextId, TenantId};
use crate::name::Name;
use crate::store::{Change, ContextUpdate, Error};

/// Of contexts `c`. Each has a name given, as SQLite makes up others within joins.
macro_rules! columns {
    () => {
        "c.tenant_id AS tenant_id, c.id AS context_id, c.name AS name, c.description AS description, \
         c.algorithm AS algorithm, c.allowed_algorithms AS allowed_algorithms, c.key_id AS key_id, \
         (SELECT x.exportable FROM keys x WHERE x.tenant_id = c.tenant_id AND x.id = c.key_id) AS context_exportable, \
         c.rotation_days AS rotation_days, c.rotate_at AS rotate_at, c.keep_last AS keep_last, \
         c.limits AS context_limits, \
         c.created_at AS created_at, c.updated_at AS updated_at, c.deleted_at AS deleted_at"
    };
}
pub(super) use columns;

pub(super) fn by_name(tenant: TenantId, name: &Name) -> Statement {
    const SQL: &str =
        concat!("SELECT ", columns!(), " FROM contexts c WHERE c.tenant_id = $1 AND c.name = $2");
    Statement::new(SQL, [tenant.into(), name.into()])
}

pub(super) fn by_id(tenant: TenantId, id: ContextId) -> Statement {
    const SQL: &str = concat!("SELECT ", columns!(), " FROM contexts c WHERE c.tenant_id = $1 AND c.id = $2");
    Statement::new(SQL, [tenant.into(), id.into()])
}

pub(super) fn list(tenant: TenantId, deleted: bool, after: Option<&Name>, limit: u32) -> Statement {
    const SQL: &str = concat!(
        "SELECT ",
        columns!(),
        " FROM contexts c WHERE c.tenant_id = $1 AND (c.deleted_at IS NOT NULL) = $2 AND c.name > $3 \
         ORDER BY c.name LIMIT $4"
    );
    let after = after.map_or("", Name::as_str);
    Statement::new(SQL, [tenant.into(), deleted.into(), after.into(), limit.into()])
}

pub(super) fn create(new: &StoredVersion) -> Mutation {
    Mutation {
        name: "create_context",
        statements: inserts(new),
        changes: vec![Change::Context(new.context.tenant, new.context.id)],
        at: new.context.created_at,
    }
}

/// Stores a context, its key, and a version of it.
pub(super) fn inserts(new: &StoredVersion) -> Vec<Statement> {
    let context = &new.context;
    let mut statements = vec![Statement::new(
        "INSERT INTO contexts (tenant_id, id, name, description, algorithm, allowed_algorithms, key_id, rotation_days, \
         rotate_at, keep_last, created_at, updated_at, deleted_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) RETURNING id",
        [
            context.tenant.into(),
            context.id.into(),
            (&context.name).into(),
            context.description.as_str().into(),
            context.algorithm.id().into(),
            context.allowed_algorithms.bits().into(),
            context.key_id.into(),
            context.rotation.days.into(),
            context.rotate_at.into(),
            context.rotation.keep_last.into(),
            context.created_at.into(),
            context.updated_at.into(),
            context.deleted_at.into(),
        ],
    )];
    statements.extend(keys::insert_key(new));
    statements
}

/// Returns the context as changed.
pub(super) fn update(tenant: TenantId, id: ContextId, update: &ContextUpdate, now: Timestamp) -> Mutation {
    let now = update.read_at.map_or(now, |read_at| now.max(read_at + Duration::from_micros(1)));
    let change = Statement::new(
        "UPDATE contexts SET description = coalesce($3, description), algorithm = coalesce($4, algorithm), \
         allowed_algorithms = coalesce($5, allowed_algorithms), updated_at = $6, \
         rotation_days = coalesce($8, rotation_days), keep_last = coalesce($9, keep_last), \
         rotate_at = CASE WHEN coalesce($8, rotation_days) = rotation_days THEN rotate_at ELSE $10 END \
         WHERE tenant_id = $1 AND id = $2 AND deleted_at IS NULL AND updated_at = coalesce($7, updated_at) \
         RETURNING id",
        [
            tenant.into(),
            id.into(),
            update.description.clone().into(),
            update.algorithms.map(|(algorithm, _)| algorithm.id()).into(),
            update.algorithms.map(|(_, allowed)| allowed.bits()).into(),
            now.into(),
            update.read_at.into(),
            update.rotation_days.into(),
            update.keep_last.into(),
            update
                .rotation_days
                .and_then(|days| RotationPolicy { days, keep_last: 0 }.next_after(now))
                .into(),
        ],
    );
    changed("update_context", tenant, id, change, now)
}

/// Returns the context as changed.
pub(super) fn set_deleted(tenant: TenantId, id: ContextId, deleted: bool, now: Timestamp) -> Mutation {
    let change = Statement::new(
        "UPDATE contexts SET deleted_at = $3, updated_at = $4 \
         WHERE tenant_id = $1 AND id = $2 AND (deleted_at IS NULL) = $5 RETURNING id",
        [tenant.into(), id.into(), deleted.then_some(now).into(), now.into(), deleted.into()],
    );
    changed("set_context_deleted", tenant, id, change, now)
}

fn changed(
    name: &'static str,
    tenant: TenantId,
    id: ContextId,
    change: Statement,
    at: Timestamp,
) -> Mutation {
    let statements = vec![change, by_id(tenant, id)];
    Mutation { name, statements, changes: vec![Change::Context(tenant, id)], at }
}

pub(super) fn parse(row: &dyn Columns) -> Result<Context, Error> {
    Ok(Context {
        id: ContextId(row.uuid("context_id")?),
        tenant: TenantId(row.uuid("tenant_id")?),
        name: row.name("name")?,
        description: row.text("description")?,
        algorithm: row.number("algorithm", Algorithm::from_id)?,
        allowed_algorithms: row.number("allowed_algorithms", AlgorithmSet::from_bits)?,
        key_id: KeyId(row.array("key_id")?),
        exportable: row.boolean("context_exportable")?,
        rotation: RotationPolicy {
            days: row.integer("rotation_days")?,
            keep_last: row.integer("keep_last")?,
        },
        limits: limits::policy(row, "context_limits")?,
        rotate_at: row.optional_time("rotate_at")?,
        created_at: row.time("created_at")?,
        updated_at: row.time("updated_at")?,
        deleted_at: row.optional_time("deleted_at")?,
    })
}
