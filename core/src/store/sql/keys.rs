//! Keys and their versions.

use super::row::Columns;
use super::{Mutation, Statement, asymmetric, contexts, revision};
use crate::clock::Timestamp;
use crate::contexts::{
    KNOWN_ELSEWHERE, Key, KeyState, KeyVersionRecord, KeyVersionStatus, Rotation, StoredVersion, WrappedKey,
};
use crate::crypto::{KekId, KeyId, KeyType, KeyVersion, Origin, Purpose};
use crate::id::TenantId;
use crate::name::Name;
use crate::store::{Change, Error, Loaded, MESSAGES_EXHAUSTED, StateChange};

macro_rules! version_columns {
    () => {
        "k.id AS version_key_id, k.purpose AS purpose, k.key_type AS key_type, k.exportable AS exportable, \
         v.version AS version, v.state AS state, v.origin AS origin, v.created_at AS version_created_at, \
         w.kek_id AS kek_id, w.bytes AS bytes, w.check_value AS check_value"
    };
}
pub(super) use version_columns;

/// Of versions `v`, with `w` for what is wrapped.
macro_rules! status_columns {
    () => {
        "v.version, v.state, v.origin, v.created_at AS version_created_at, v.state_changed_at, v.destroy_at, \
         v.messages_reserved, v.encrypts, v.decrypts, v.last_decrypt_at, w.kek_id"
    };
}

pub(super) use status_columns;

/// The versions of keys with everything that belongs to them.
macro_rules! versions {
    () => {
        "key_versions v \
         JOIN keys k ON k.tenant_id = v.tenant_id AND k.id = v.key_id \
         JOIN contexts c ON c.tenant_id = k.tenant_id AND c.id = k.context_id \
         LEFT JOIN wrapped_keys w ON w.tenant_id = v.tenant_id AND w.key_id = v.key_id AND w.version = v.version"
    };
}

pub(super) use versions;

/// The revision, and the enabled version of a context's key if there is one.
pub(in crate::store) fn enabled_version(tenant: TenantId, name: &Name) -> Statement {
    const SQL: &str = concat!(
        "SELECT r.value, ",
        contexts::columns!(),
        ", ",
        version_columns!(),
        " FROM revision r LEFT JOIN (",
        versions!(),
        ") ON c.tenant_id = $1 AND c.name = $2 AND c.deleted_at IS NULL AND k.id = c.key_id AND v.state = 1"
    );
    Statement::new(SQL, [tenant.into(), name.into()])
}

/// The revision, and a version of a key if it exists and is for `purpose`.
pub(in crate::store) fn key_version(
    tenant: TenantId,
    key: KeyId,
    version: KeyVersion,
    purpose: Purpose,
) -> Statement {
    const SQL: &str = concat!(
        "SELECT r.value, ",
        contexts::columns!(),
        ", ",
        version_columns!(),
        " FROM revision r LEFT JOIN (",
        versions!(),
        ") ON v.tenant_id = $1 AND v.key_id = $2 AND v.version = $3 AND k.purpose = $4"
    );
    Statement::new(SQL, [tenant.into(), key.into(), version.into(), purpose.id().into()])
}

/// A version of a key, whatever that is for.
pub(super) fn version(tenant: TenantId, key: KeyId, version: KeyVersion) -> Statement {
    const SQL: &str = concat!(
        "SELECT ",
        contexts::columns!(),
        ", ",
        version_columns!(),
        " FROM ",
        versions!(),
        " WHERE v.tenant_id = $1 AND v.key_id = $2 AND v.version = $3"
    );
    Statement::new(SQL, [tenant.into(), key.into(), version.into()])
}

/// The versions of a key, newest first, older than `before`.
pub(in crate::store) fn list(
    tenant: TenantId,
    key: KeyId,
    before: Option<KeyVersion>,
    limit: u32,
) -> Statement {
    const SQL: &str = concat!(
        "SELECT ",
        status_columns!(),
        " FROM key_versions v \
         LEFT JOIN wrapped_keys w ON w.tenant_id = v.tenant_id AND w.key_id = v.key_id AND w.version = v.version \
         WHERE v.tenant_id = $1 AND v.key_id = $2 AND v.version < $3 ORDER BY v.version DESC LIMIT $4"
    );
    let before = before.map_or(u64::from(u32::MAX) + 1, |version| version.get().into());
    Statement::new(SQL, [tenant.into(), key.into(), before.into(), limit.into()])
}

/// The status of one version of a key.
fn status(tenant: TenantId, key: KeyId, version: KeyVersion) -> Statement {
    const SQL: &str = concat!(
        "SELECT ",
        status_columns!(),
        " FROM key_versions v \
         LEFT JOIN wrapped_keys w ON w.tenant_id = v.tenant_id AND w.key_id = v.key_id AND w.version = v.version \
         WHERE v.tenant_id = $1 AND v.key_id = $2 AND v.version = $3"
    );
    Statement::new(SQL, [tenant.into(), key.into(), version.into()])
}

/// When a key is worn that is or was elsewhere, if others are at `worn`: it begins at [`KNOWN_ELSEWHERE`], so half as much
/// later, but not after it can encrypt no more.
pub(super) fn worn_elsewhere(worn: u64) -> u64 {
    (worn + worn / 2).min(MESSAGES_EXHAUSTED)
}

/// Enabled versions of contexts that are due for rotation: by time, or because `worn` messages are reserved, at least
/// 2^31, which the index holds; for keys that are or were elsewhere, [`worn_elsewhere`].
///
/// Two queries, as no index serves a condition on the columns of two tables.
pub(super) fn rotations_due(now: Timestamp, worn: u64, limit: u32) -> Statement {
    const SQL: &str = concat!(
        "SELECT ",
        contexts::columns!(),
        ", ",
        version_columns!(),
        " FROM ",
        versions!(),
        " WHERE k.id = c.key_id AND v.state = 1 AND c.deleted_at IS NULL AND c.rotate_at <= $1 \
         UNION ALL SELECT ",
        contexts::columns!(),
        ", ",
        version_columns!(),
        " FROM ",
        versions!(),
        " WHERE k.id = c.key_id AND v.state = 1 AND c.deleted_at IS NULL \
         AND v.messages_reserved >= 2147483648 \
         AND v.messages_reserved >= CASE WHEN v.origin = 2 OR k.exportable THEN $3 ELSE $2 END \
         AND (c.rotate_at IS NULL OR c.rotate_at > $1) LIMIT $4"
    );
    Statement::new(SQL, [now.into(), worn.into(), worn_elsewhere(worn).into(), limit.into()])
}

/// Versions whose waiting period is over.
pub(super) fn destructions_due(now: Timestamp, limit: u32) -> Statement {
    const SQL: &str = concat!(
        "SELECT ",
        contexts::columns!(),
        ", ",
        version_columns!(),
        " FROM ",
        versions!(),
        " WHERE v.state = 4 AND v.destroy_at <= $1 AND v.destroy_at <= now() ORDER BY v.destroy_at LIMIT $2"
    );
    Statement::new(SQL, [now.into(), limit.into()])
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

/// Raises what is reserved of a version that may decrypt.
pub(super) fn mark_exported(key: &StoredVersion) -> Statement {
    const SQL: &str = "UPDATE key_versions \
         SET messages_reserved = CASE WHEN messages_reserved < $4 THEN $4 ELSE messages_reserved END \
         WHERE tenant_id = $1 AND key_id = $2 AND version = $3 AND state IN (1, 2) RETURNING version";
    let (tenant, id, version) = (key.context.tenant, key.key.id, key.version.version);
    Statement::new(SQL, [tenant.into(), id.into(), version.into(), KNOWN_ELSEWHERE.into()])
}

/// Stores a key of a context, and a version of it.
pub(super) fn insert_key(new: &StoredVersion) -> Vec<Statement> {
    let StoredVersion { context, key, version, .. } = new;
    let mut statements = vec![Statement::new(
        "INSERT INTO keys (tenant_id, id, context_id, purpose, key_type, origin, exportable, created_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8) RETURNING id",
        [
            context.tenant.into(),
            key.id.into(),
            context.id.into(),
            key.purpose.id().into(),
            key.key_type.id().into(),
            version.origin.id().into(),
            key.exportable.into(),
            version.created_at.into(),
        ],
    )];
    statements.extend(insert_version(new, 0));
    statements
}

/// Stores a version of a key that exists. Does not apply if its bytes are wrapped under another key-encryption key
/// than the active one: a rewrap that has passed by would miss them.
fn insert_version(new: &StoredVersion, messages_reserved: u64) -> Vec<Statement> {
    let StoredVersion { context, key, version, wrapped } = new;
    let mut statements = vec![Statement::new(
        "INSERT INTO key_versions (tenant_id, key_id, version, state, origin, messages_reserved, created_at, \
         state_changed_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $7) RETURNING version",
        [
            context.tenant.into(),
            key.id.into(),
            version.version.into(),
            version.state.id().into(),
            version.origin.id().into(),
            messages_reserved.into(),
            version.created_at.into(),
        ],
    )];
    statements.extend(wrapped.as_ref().map(|wrapped| {
        Statement::new(
            "INSERT INTO wrapped_keys (tenant_id, key_id, version, kek_id, bytes, check_value) \
             SELECT $1, $2, $3, $4, $5, $6 FROM deployment WHERE active_kek = $4 RETURNING version",
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

/// Does not apply if `previous` is no longer enabled, or the transport key no longer usable.
pub(super) fn rotate(rotation: &Rotation) -> Mutation {
    let Rotation { previous, next, messages_reserved, transport_key } = rotation;
    let (context, at) = (&next.context, next.version.created_at);
    let mut statements =
        transport_key.map_or_else(Vec::new, |key| asymmetric::spend(context.tenant, key, at));
    statements.push(Statement::new(
        "UPDATE key_versions SET state = 2, state_changed_at = $4 \
         WHERE tenant_id = $1 AND key_id = $2 AND version = $3 AND state = 1 RETURNING version",
        [context.tenant.into(), next.key.id.into(), (*previous).into(), at.into()],
    ));
    let keep_last = context.rotation.keep_last;
    if let Some(oldest) = next.version.version.get().checked_sub(keep_last).filter(|_| keep_last > 0) {
        let disable = Statement::new(
            "UPDATE key_versions SET state = 3, state_changed_at = $4 \
             WHERE tenant_id = $1 AND key_id = $2 AND version <= $3 AND state = 2 RETURNING version",
            [context.tenant.into(), next.key.id.into(), oldest.into(), at.into()],
        );
        statements.push(disable.optional());
    }
    // What `rotate_at` was computed from may have changed since it was read; and if `keep_last` did, versions were
    // disabled above that should not have been.
    statements.push(Statement::new(
        "UPDATE contexts SET rotate_at = CASE WHEN rotation_days = $4 THEN $3 ELSE rotate_at END \
         WHERE tenant_id = $1 AND id = $2 AND keep_last = $5 RETURNING id",
        [
            context.tenant.into(),
            context.id.into(),
            context.rotate_at.into(),
            context.rotation.days.into(),
            keep_last.into(),
        ],
    ));
    statements.extend(insert_version(next, *messages_reserved));
    let changes = vec![Change::Context(context.tenant, context.id)];
    Mutation { name: "rotate", statements, changes, at }
}

/// Returns the version as changed.
pub(super) fn set_state(key: &StoredVersion, change: &StateChange, at: Timestamp) -> Mutation {
    let (tenant, id, version) = (key.context.tenant, key.key.id, key.version.version);
    let statement = Statement::new(
        "UPDATE key_versions SET state = $4, destroy_at = $5, state_changed_at = $6 \
         WHERE tenant_id = $1 AND key_id = $2 AND version = $3 AND state = $7 RETURNING version",
        [
            tenant.into(),
            id.into(),
            version.into(),
            change.to.id().into(),
            change.destroy_at.into(),
            at.into(),
            change.from.id().into(),
        ],
    );
    let statements = vec![statement, status(tenant, id, version)];
    let changes = vec![Change::Context(tenant, key.context.id)];
    Mutation { name: "set_key_state", statements, changes, at }
}

/// Destroys a version that is still due.
pub(super) fn destroy(key: &StoredVersion, now: Timestamp) -> Mutation {
    let (tenant, id, version) = (key.context.tenant, key.key.id, key.version.version);
    let statements = vec![
        Statement::new(
            "DELETE FROM wrapped_keys WHERE tenant_id = $1 AND key_id = $2 AND version = $3 RETURNING version",
            [tenant.into(), id.into(), version.into()],
        )
        .optional(),
        // If this does not apply, the above is undone. The clock of one replica is not enough for what cannot be undone.
        Statement::new(
            "UPDATE key_versions SET state = 5, state_changed_at = $4, destroy_at = NULL \
             WHERE tenant_id = $1 AND key_id = $2 AND version = $3 AND state = 4 AND destroy_at <= $4 \
             AND destroy_at <= now() RETURNING version",
            [tenant.into(), id.into(), version.into(), now.into()],
        ),
    ];
    let changes = vec![Change::Context(tenant, key.context.id)];
    Mutation { name: "destroy", statements, changes, at: now }
}

/// One row if the tenant has a key of that check value.
pub(super) fn with_check_value(tenant: TenantId, check_value: [u8; 16]) -> Statement {
    const SQL: &str = "SELECT version FROM wrapped_keys WHERE tenant_id = $1 AND check_value = $2 LIMIT 1";
    Statement::new(SQL, [tenant.into(), check_value.as_slice().into()])
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
        context: contexts::parse(row)?,
        key: parse_key(row)?,
        version: parse_record(row)?,
        wrapped,
    })
}

pub(super) fn parse_key(row: &dyn Columns) -> Result<Key, Error> {
    Ok(Key {
        id: KeyId(row.array("version_key_id")?),
        purpose: row.number("purpose", Purpose::from_id)?,
        key_type: row.number("key_type", KeyType::from_id)?,
        exportable: row.boolean("exportable")?,
    })
}

pub(super) fn parse_loaded(row: &dyn Columns) -> Result<Loaded<StoredVersion>, Error> {
    revision::parse_loaded(row, "context_id", parse_version)
}

pub(super) fn parse_status(row: &dyn Columns) -> Result<KeyVersionStatus, Error> {
    Ok(KeyVersionStatus {
        record: parse_record(row)?,
        state_changed_at: row.time("state_changed_at")?,
        destroy_at: row.optional_time("destroy_at")?,
        messages_reserved: row.integer("messages_reserved")?,
        encrypts: row.integer("encrypts")?,
        decrypts: row.integer("decrypts")?,
        last_decrypt_at: row.optional_time("last_decrypt_at")?,
        kek_id: row.optional_bytes("kek_id")?.map(|_| row.array("kek_id").map(KekId)).transpose()?,
    })
}

pub(super) fn parse_reserved(row: &dyn Columns) -> Result<u64, Error> {
    row.integer("messages_reserved")
}

fn parse_record(row: &dyn Columns) -> Result<KeyVersionRecord, Error> {
    Ok(KeyVersionRecord {
        version: row.key_version("version")?,
        state: row.number("state", KeyState::from_id)?,
        origin: row.number("origin", Origin::from_id)?,
        created_at: row.time("version_created_at")?,
    })
}
