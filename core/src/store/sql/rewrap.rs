//! The change from one key-encryption key to another.

use uuid::Uuid;

use super::row::Columns;
use super::store::{ignore, only};
use super::{Database, Mutation, Statement, contexts, keys, replicas};
use crate::clock::Timestamp;
use crate::crypto::{KekId, KeyId};
use crate::id::TenantId;
use crate::store::{
    Change, Error, KekRecord, REPLICA_TIMEOUT, Rewrap, VersionId, WrappedKeys, WrappedVersion,
};

impl<D: Database> WrappedKeys for D {
    async fn activate_kek(&self, kek: &KekRecord, now: Timestamp) -> Result<bool, Error> {
        // Read before the change, so that it counts a replica as alive for rather too long than too short.
        let database_now = only(self.read(self::now(), replicas::parse_now).await)?;
        let activate = activate(kek, database_now - REPLICA_TIMEOUT, now);
        self.mutate(activate, ignore).await.map(|applied| applied.is_some())
    }

    async fn count_wrapped(&self) -> Result<Vec<(KekId, u64)>, Error> {
        self.read(count(), parse_count).await
    }

    async fn wrapped_under_others(
        &self,
        kek: KekId,
        after: Option<VersionId>,
        limit: u32,
    ) -> Result<Vec<WrappedVersion>, Error> {
        self.read(under_others(kek, after, limit), parse).await
    }

    async fn rewrap(&self, kek: KekId, rewraps: &[Rewrap]) -> Result<u64, Error> {
        let rows = self.upkeep(exchange(kek, rewraps), ignore).await?.len() as u64;
        rows.checked_sub(1).ok_or(Error::KekNotActive)
    }
}

/// The database's time, as `seen_at`.
pub(super) fn now() -> Statement {
    Statement::new("SELECT now() AS seen_at", [])
}

/// Makes `kek` the active one. Does not apply if it is already, if another check value is known of it, or if a process
/// that was seen after `alive_since` lacks it. Processes register in mutations too, so the check and the change are one.
pub(super) fn activate(kek: &KekRecord, alive_since: Timestamp, at: Timestamp) -> Mutation {
    let know = Statement::new(
        "INSERT INTO keks (kek_id, check_value, created_at) VALUES ($1, $2, $3) \
         ON CONFLICT (kek_id) DO NOTHING RETURNING kek_id",
        [kek.id.into(), kek.check_value.as_slice().into(), at.into()],
    );
    // Fingerprints have one width and stand between spaces, so that none can be found across two.
    let activate = Statement::new(
        "UPDATE deployment SET active_kek = $1 WHERE active_kek <> $1 \
         AND EXISTS (SELECT 1 FROM keks WHERE kek_id = $1 AND check_value = $2) \
         AND NOT EXISTS (SELECT 1 FROM replicas WHERE seen_at > $3 AND kek_ids NOT LIKE $4) RETURNING active_kek",
        [
            kek.id.into(),
            kek.check_value.as_slice().into(),
            alive_since.into(),
            format!("%{}%", kek.id).into(),
        ],
    );
    let statements = vec![know.optional(), activate];
    Mutation { name: "activate_kek", statements, changes: vec![Change::Deployment], at }
}

pub(super) fn count() -> Statement {
    const SQL: &str = "SELECT kek_id, count(*) AS keys FROM wrapped_keys GROUP BY kek_id ORDER BY kek_id";
    Statement::new(SQL, [])
}

pub(super) fn parse_count(row: &dyn Columns) -> Result<(KekId, u64), Error> {
    Ok((KekId(row.array("kek_id")?), row.integer("keys")?))
}

/// Versions that are wrapped under another key-encryption key than `kek`, behind `after`.
pub(super) fn under_others(kek: KekId, after: Option<VersionId>, limit: u32) -> Statement {
    const SQL: &str = concat!(
        "SELECT ",
        contexts::columns!(),
        ", ",
        keys::version_columns!(),
        " FROM wrapped_keys w \
         JOIN key_versions v ON v.tenant_id = w.tenant_id AND v.key_id = w.key_id AND v.version = w.version \
         JOIN keys k ON k.tenant_id = v.tenant_id AND k.id = v.key_id \
         JOIN contexts c ON c.tenant_id = k.tenant_id AND c.id = k.context_id \
         WHERE w.kek_id <> $1 AND (w.tenant_id, w.key_id, w.version) > ($2, $3, $4) \
         ORDER BY w.tenant_id, w.key_id, w.version LIMIT $5"
    );
    let (tenant, key, version) = match after {
        Some(VersionId { tenant, key, version }) => (tenant, key, version.get()),
        None => (TenantId(Uuid::nil()), KeyId([0; 16]), 0),
    };
    Statement::new(SQL, [kek.into(), tenant.into(), key.into(), version.into(), limit.into()])
}

pub(super) fn parse(row: &dyn Columns) -> Result<WrappedVersion, Error> {
    let id = VersionId {
        tenant: TenantId(row.uuid("tenant_id")?),
        key: KeyId(row.array("version_key_id")?),
        version: row.key_version("version")?,
    };
    Ok(WrappedVersion { id, stored: keys::parse_version(row) })
}

/// Exchanges wraps, of which each row is returned that still held the former one. One row more, the first, says that the
/// key-encryption key of the new wraps is still the active one, and makes whoever changes that wait.
pub(super) fn exchange(kek: KekId, rewraps: &[Rewrap]) -> Vec<Statement> {
    let still_active = Statement::new(
        "UPDATE deployment SET active_kek = $1 WHERE active_kek = $1 RETURNING active_kek AS kek_id",
        [kek.into()],
    );
    let exchanges = rewraps.iter().map(|Rewrap { id: VersionId { tenant, key, version }, from, to }| {
        Statement::new(
            "UPDATE wrapped_keys SET kek_id = $4, bytes = $5 \
             WHERE tenant_id = $1 AND key_id = $2 AND version = $3 AND kek_id = $6 AND bytes = $7 \
             AND EXISTS (SELECT 1 FROM deployment WHERE active_kek = $4) RETURNING kek_id",
            [
                (*tenant).into(),
                (*key).into(),
                (*version).into(),
                to.kek_id.into(),
                to.bytes.as_slice().into(),
                from.kek_id.into(),
                from.bytes.as_slice().into(),
            ],
        )
    });
    std::iter::once(still_active).chain(exchanges).collect()
}
