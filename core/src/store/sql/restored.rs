//! What a database needs that came from a backup, and what is written down for that time.

use super::keys;
use super::row::Columns;
use super::{Mutation, Statement};
use crate::clock::Timestamp;
use crate::contexts::{Destruction, KNOWN_ELSEWHERE, StoredVersion};
use crate::crypto::{Algorithm, AlgorithmSet, KeyId};
use crate::id::TenantId;
use crate::store::{Change, Error, MESSAGES_EXHAUSTED, Outlook};

/// Farther than any revision that the lost database can have had.
const REVISIONS_LOST: u64 = 1 << 40;

/// Algorithms whose messages are counted, as stored.
fn counted() -> u8 {
    let counted = Algorithm::ALL.into_iter().filter(|algorithm| algorithm.counts_messages());
    counted.fold(AlgorithmSet::default(), AlgorithmSet::with).bits()
}

/// In one transaction, so that it is done or not; whenever the rest is done, nothing stale is acted on from here on.
/// Returns the new revision as `value`.
pub(super) fn invalidate(now: Timestamp) -> Mutation {
    let statements = vec![
        // The epoch of the lost database is not known; no identity had as many changes as there were seconds.
        Statement::new(
            "UPDATE identities SET epoch = CASE WHEN epoch + 1 > $1 THEN epoch + 1 ELSE $1 END, \
             tokens_not_before = $2 RETURNING id",
            [now.as_secs().into(), now.into()],
        )
        .optional(),
        // Nobody knows what was encrypted since the backup: as if everything, so that no more is before a rotation.
        Statement::new(
            "UPDATE key_versions SET messages_reserved = $1 WHERE state = 1 AND EXISTS (SELECT 1 FROM contexts c \
             WHERE c.tenant_id = key_versions.tenant_id AND c.key_id = key_versions.key_id \
             AND (c.allowed_algorithms & $2) <> 0) RETURNING version",
            [MESSAGES_EXHAUSTED.into(), counted().into()],
        )
        .optional(),
        // The others may come to encrypt with such an algorithm, and may have done so before: rotated at their first
        // message.
        Statement::new(
            "UPDATE key_versions SET messages_reserved = $1 WHERE state = 1 AND messages_reserved < $1 \
             AND (origin = 2 OR EXISTS (SELECT 1 FROM keys k WHERE k.tenant_id = key_versions.tenant_id \
             AND k.id = key_versions.key_id AND k.exportable)) RETURNING version",
            [(keys::worn_elsewhere(KNOWN_ELSEWHERE) - 1).into()],
        )
        .optional(),
        Statement::new(
            "UPDATE key_versions SET messages_reserved = $1 WHERE state = 1 AND messages_reserved < $1 RETURNING version",
            [(KNOWN_ELSEWHERE - 1).into()],
        )
        .optional(),
        // Those of the time of the backup; one that runs says so again.
        Statement::new("DELETE FROM replicas RETURNING id", []).optional(),
        Statement::new("UPDATE revision SET value = value + $1 RETURNING value", [REVISIONS_LOST.into()]),
    ];
    Mutation { name: "invalidate", statements, changes: Vec::new(), at: now }
}

pub(super) fn outlook() -> Statement {
    const SQL: &str = "SELECT (SELECT count(*) FROM identities) AS identities, \
         (SELECT count(*) FROM contexts WHERE (allowed_algorithms & $1) <> 0) AS counted_contexts";
    Statement::new(SQL, [counted().into()])
}

pub(super) fn parse_outlook(row: &dyn Columns) -> Result<Outlook, Error> {
    Ok(Outlook { identities: row.integer("identities")?, counted_contexts: row.integer("counted_contexts")? })
}

/// Destroys a version again, unless it is another one with the same number or still encrypts for its context.
pub(super) fn destroy_again(key: &StoredVersion, destroyed_at: Timestamp, now: Timestamp) -> Mutation {
    let (tenant, id, version) = (key.context.tenant, key.key.id, key.version.version);
    let delete =
        "DELETE FROM wrapped_keys WHERE tenant_id = $1 AND key_id = $2 AND version = $3 RETURNING version";
    let statements = vec![
        Statement::new(delete, [tenant.into(), id.into(), version.into()]).optional(),
        Statement::new(
            "UPDATE key_versions SET state = 5, state_changed_at = $4, destroy_at = NULL \
             WHERE tenant_id = $1 AND key_id = $2 AND version = $3 AND state <> 5 AND created_at <= $5 \
             AND NOT (state = 1 AND EXISTS (SELECT 1 FROM contexts c WHERE c.tenant_id = $1 AND c.key_id = $2)) \
             RETURNING version",
            [tenant.into(), id.into(), version.into(), now.into(), destroyed_at.into()],
        ),
    ];
    let changes = vec![Change::Context(tenant, key.context.id)];
    Mutation { name: "destroy_again", statements, changes, at: now }
}

/// Versions that were destroyed, in order of their keys.
pub(super) fn destroyed(after: Option<&Destruction>, limit: u32) -> Statement {
    const SQL: &str = "SELECT tenant_id, key_id, version, state_changed_at FROM key_versions \
         WHERE state = 5 AND (tenant_id, key_id, version) > ($1, $2, $3) ORDER BY tenant_id, key_id, version LIMIT $4";
    let (tenant, key, version) = match after {
        Some(last) => (last.tenant_id, last.key_id, last.version.get()),
        None => (TenantId(uuid::Uuid::nil()), KeyId([0; 16]), 0),
    };
    Statement::new(SQL, [tenant.into(), key.into(), version.into(), limit.into()])
}

pub(super) fn parse_destroyed(row: &dyn Columns) -> Result<Destruction, Error> {
    Ok(Destruction {
        tenant_id: TenantId(row.uuid("tenant_id")?),
        key_id: KeyId(row.array("key_id")?),
        version: row.key_version("version")?,
        destroyed_at: row.time("state_changed_at")?,
    })
}

/// The version that was destroyed, if it exists.
pub(super) fn recorded(destruction: &Destruction) -> Statement {
    keys::version(destruction.tenant_id, destruction.key_id, destruction.version)
}
