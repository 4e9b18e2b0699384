use std::time::Duration;

use super::row::Columns;
use super::{Mutation, Statement};
use crate::clock::Timestamp;
use crate::contexts::{Context, Key, KeyState, KeyVersionRecord, StoredVersion, WrappedKey};
use crate::crypto::{Algorithm, AlgorithmSet, KekId, KeyId, KeyType, KeyVersion, Origin, Purpose};
use crate::id::{ContextId, TenantId};
use crate::name::Name;
use crate::store::{Change, ContextUpdate, Error};

macro_rules! context_columns {
    () => {
        "c.tenant_id, c.id AS context_id, c.name, c.description, c.algorithm, c.allowed_algorithms, c.key_id, \
         c.created_at, c.updated_at, c.deleted_at"
    };
}

macro_rules! version_columns {
    () => {
        "k.id AS version_key_id, k.purpose, k.key_type, k.origin, k.exportable, \
         v.version, v.state, v.created_at AS version_created_at, w.kek_id, w.bytes, w.check_value"
    };
}

pub(super) fn enabled_version(tenant: TenantId, name: &Name) -> Statement {
    const SQL: &str = concat!(
        "SELECT ",
        context_columns!(),
        ", ",
        version_columns!(),
        " FROM contexts c \
         JOIN keys k ON k.tenant_id = c.tenant_id AND k.id = c.key_id \
         JOIN key_versions v ON v.tenant_id = k.tenant_id AND v.key_id = k.id AND v.state = 1 \
         LEFT JOIN wrapped_keys w ON w.tenant_id = v.tenant_id AND w.key_id = v.key_id AND w.version = v.version \
         WHERE c.tenant_id = $1 AND c.name = $2 AND c.deleted_at IS NULL"
    );
    Statement::new(SQL, [tenant.into(), name.into()])
}

pub(super) fn key_version(tenant: TenantId, key: KeyId, version: KeyVersion) -> Statement {
    const SQL: &str = concat!(
        "SELECT ",
        context_columns!(),
        ", ",
        version_columns!(),
        " FROM key_versions v \
         JOIN keys k ON k.tenant_id = v.tenant_id AND k.id = v.key_id \
         JOIN contexts c ON c.tenant_id = k.tenant_id AND c.id = k.context_id \
         LEFT JOIN wrapped_keys w ON w.tenant_id = v.tenant_id AND w.key_id = v.key_id AND w.version = v.version \
         WHERE v.tenant_id = $1 AND v.key_id = $2 AND v.version = $3"
    );
    Statement::new(SQL, [tenant.into(), key.into(), version.into()])
}

/// Returns the new sum as `messages_reserved`, or no row. Needs `count <= limit`.
pub(super) fn reserve(
    tenant: TenantId,
    key: KeyId,
    version: KeyVersion,
    count: u64,
    limit: u64,
) -> Statement {
    const SQL: &str = "UPDATE key_versions SET messages_reserved = messages_reserved + $4 \
         WHERE tenant_id = $1 AND key_id = $2 AND version = $3 AND messages_reserved <= $5 - $4 \
         RETURNING messages_reserved";
    Statement::new(SQL, [tenant.into(), key.into(), version.into(), count.into(), limit.into()])
}

pub(super) fn by_name(tenant: TenantId, name: &Name) -> Statement {
    const SQL: &str =
        concat!("SELECT ", context_columns!(), " FROM contexts c WHERE c.tenant_id = $1 AND c.name = $2");
    Statement::new(SQL, [tenant.into(), name.into()])
}

fn by_id(tenant: TenantId, id: ContextId) -> Statement {
    const SQL: &str =
        concat!("SELECT ", context_columns!(), " FROM contexts c WHERE c.tenant_id = $1 AND c.id = $2");
    Statement::new(SQL, [tenant.into(), id.into()])
}

pub(super) fn list(tenant: TenantId, deleted: bool, after: Option<&Name>, limit: u32) -> Statement {
    const SQL: &str = concat!(
        "SELECT ",
        context_columns!(),
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
    let StoredVersion { context, key, version, wrapped } = new;
    let mut statements = vec![
        Statement::new(
            "INSERT INTO contexts (tenant_id, id, name, description, algorithm, allowed_algorithms, key_id, \
             created_at, updated_at, deleted_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) RETURNING id",
            [
                context.tenant.into(),
                context.id.into(),
                (&context.name).into(),
                context.description.as_str().into(),
                context.algorithm.id().into(),
                context.allowed_algorithms.bits().into(),
                context.key_id.into(),
                context.created_at.into(),
                context.updated_at.into(),
                context.deleted_at.into(),
            ],
        ),
        Statement::new(
            "INSERT INTO keys (tenant_id, id, context_id, purpose, key_type, origin, exportable, created_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8) RETURNING id",
            [
                context.tenant.into(),
                key.id.into(),
                context.id.into(),
                key.purpose.id().into(),
                key.key_type.id().into(),
                key.origin.id().into(),
                key.exportable.into(),
                version.created_at.into(),
            ],
        ),
        Statement::new(
            "INSERT INTO key_versions (tenant_id, key_id, version, state, created_at, state_changed_at) \
             VALUES ($1, $2, $3, $4, $5, $5) RETURNING version",
            [
                context.tenant.into(),
                key.id.into(),
                version.version.into(),
                version.state.id().into(),
                version.created_at.into(),
            ],
        ),
    ];
    statements.extend(wrapped.as_ref().map(|wrapped| {
        Statement::new(
            "INSERT INTO wrapped_keys (tenant_id, key_id, version, kek_id, bytes, check_value) \
             VALUES ($1, $2, $3, $4, $5, $6) RETURNING version",
            [
                context.tenant.into(),
                key.id.into(),
                version.version.into(),
                wrapped.kek_id.into(),
                wrapped.bytes.as_slice().into(),
                wrapped.check_value.as_slice().into(),
            ],
        )
    }));
    statements
}

/// Returns the context as changed.
pub(super) fn update(tenant: TenantId, id: ContextId, update: &ContextUpdate, now: Timestamp) -> Mutation {
    let change = Statement::new(
        "UPDATE contexts SET description = coalesce($3, description), algorithm = coalesce($4, algorithm), \
         allowed_algorithms = coalesce($5, allowed_algorithms), updated_at = $6 \
         WHERE tenant_id = $1 AND id = $2 AND deleted_at IS NULL AND updated_at = coalesce($7, updated_at) \
         RETURNING id",
        [
            tenant.into(),
            id.into(),
            update.description.clone().into(),
            update.algorithms.map(|(algorithm, _)| algorithm.id()).into(),
            update.algorithms.map(|(_, allowed)| allowed.bits()).into(),
            update.read_at.map_or(now, |read_at| now.max(read_at + Duration::from_micros(1))).into(),
            update.read_at.into(),
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
        created_at: row.time("created_at")?,
        updated_at: row.time("updated_at")?,
        deleted_at: row.optional_time("deleted_at")?,
    })
}

pub(super) fn parse_version(row: &dyn Columns) -> Result<StoredVersion, Error> {
    let wrapped = match row.optional_bytes("bytes")? {
        Some(bytes) => {
            let kek_id = KekId(row.array("kek_id")?);
            Some(WrappedKey { kek_id, bytes, check_value: row.array("check_value")? })
        }
        None => None,
    };
    Ok(StoredVersion {
        context: parse(row)?,
        key: Key {
            id: KeyId(row.array("version_key_id")?),
            purpose: row.number("purpose", Purpose::from_id)?,
            key_type: row.number("key_type", KeyType::from_id)?,
            origin: row.number("origin", Origin::from_id)?,
            exportable: row.boolean("exportable")?,
        },
        version: KeyVersionRecord {
            version: row.key_version("version")?,
            state: row.number("state", KeyState::from_id)?,
            created_at: row.time("version_created_at")?,
        },
        wrapped,
    })
}

pub(super) fn parse_reserved(row: &dyn Columns) -> Result<u64, Error> {
    row.integer("messages_reserved")
}
