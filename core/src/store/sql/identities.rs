use std::time::Duration;

use super::row::{Columns, damaged};
use super::{Mutation, Statement, limits, revision};
use crate::auth::{CLOCK_MARGIN, CertificateName, Identity, IdentityStatus};
use crate::clock::Timestamp;
use crate::id::{ContextId, IdentityId, TenantId};
use crate::limits::IdentityPolicies;
use crate::name::Name;
use crate::store::{Change, Error, Loaded};

macro_rules! columns {
    () => {
        "tenant_id, id, name, role, scopes, contexts, epoch, enabled, rotate_refresh_tokens, subject, \
         tokens_not_before, certificate, created_at, updated_at"
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

/// The revision, and what decides whether tokens of the identity count and how much it may do, if there is one: a row for
/// each context in which it has limits.
pub(super) fn status(tenant: TenantId, id: IdentityId, now: Timestamp) -> Statement {
    const SQL: &str = concat!(
        "SELECT r.value, i.*, t.name AS tenant_name, t.enabled AS tenant_enabled, t.limits AS tenant_limits, \
         p.context_id AS limits_context, p.limits AS context_limits, \
         (SELECT string_agg(x.token_id, ' ') FROM revoked_tokens x \
         WHERE x.tenant_id = $1 AND x.identity_id = $2 AND x.expires_at > $3) AS revoked \
         FROM revision r LEFT JOIN (SELECT ",
        columns!(),
        ", limits, limits_generation FROM identities WHERE tenant_id = $1 AND id = $2) i ON 1 = 1 \
         LEFT JOIN tenants t ON t.id = i.tenant_id \
         LEFT JOIN identity_context_limits p ON p.tenant_id = i.tenant_id AND p.identity_id = i.id"
    );
    Statement::new(SQL, [tenant.into(), id.into(), (now - CLOCK_MARGIN).into()])
}

pub(super) fn by_name(tenant: TenantId, name: &Name) -> Statement {
    const SQL: &str = concat!("SELECT ", columns!(), " FROM identities WHERE tenant_id = $1 AND name = $2");
    Statement::new(SQL, [tenant.into(), name.into()])
}

/// The revision, and whose certificate that is, if it is anybody's.
pub(super) fn by_certificate(name: &CertificateName) -> Statement {
    const SQL: &str =
        "SELECT r.value, tenant_id, id FROM revision r LEFT JOIN identities ON certificate = $1";
    Statement::new(SQL, [name.as_str().into()])
}

pub(super) fn parse_loaded_id(row: &dyn Columns) -> Result<Loaded<(TenantId, IdentityId)>, Error> {
    revision::parse_loaded(row, "id", |row| {
        Ok((TenantId(row.uuid("tenant_id")?), IdentityId(row.uuid("id")?)))
    })
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
    mutation("create_identity", identity.tenant, identity.id, insert(identity), identity.created_at)
}

pub(super) fn insert(identity: &Identity) -> Statement {
    const SQL: &str = concat!(
        "INSERT INTO identities (",
        columns!(),
        ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) RETURNING id"
    );
    Statement::new(
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
            identity.rotate_refresh_tokens.into(),
            identity.subject.clone().into(),
            identity.tokens_not_before.into(),
            identity.certificate.as_ref().map(ToString::to_string).into(),
            identity.created_at.into(),
            identity.updated_at.into(),
        ],
    )
}

/// Returns the identity as changed.
pub(super) fn update(identity: &Identity, raise_epoch: bool, now: Timestamp) -> Mutation {
    const SQL: &str = concat!(
        "UPDATE identities SET name = $4, role = $5, scopes = $6, contexts = $7, enabled = $8, \
         epoch = epoch + $9, updated_at = $10, rotate_refresh_tokens = $12, certificate = $13, \
         tokens_not_before = CASE WHEN $9 = 0 THEN tokens_not_before ELSE $10 END \
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
            identity.rotate_refresh_tokens.into(),
            identity.certificate.as_ref().map(ToString::to_string).into(),
        ],
    );
    let mut mutation = mutation("update_identity", identity.tenant, identity.id, change, now);
    if raise_epoch {
        // Our own tokens of the old epoch are refused for that. A provider's may be dated into the future.
        let forget = Statement::new(
            "DELETE FROM revoked_tokens WHERE tenant_id = $1 AND identity_id = $2 AND EXISTS (SELECT 1 FROM identities i \
             WHERE i.tenant_id = $1 AND i.id = $2 AND i.subject IS NULL) RETURNING token_id",
            [identity.tenant.into(), identity.id.into()],
        );
        mutation.statements.insert(0, forget.optional());
    }
    mutation
}

/// `now`, or just after `previous` where the clock stood still or went back: each change has a time of its own.
fn later(previous: Timestamp, now: Timestamp) -> Timestamp {
    now.max(previous + Duration::from_micros(1))
}

/// Refuses a token, or a family of refresh tokens, of an identity that exists, if fewer than `most` others are refused.
pub(super) fn revoke_token(
    tenant: TenantId,
    id: IdentityId,
    token: &str,
    expires_at: Timestamp,
    now: Timestamp,
    most: u32,
) -> Mutation {
    let revoke = Statement::new(
        "INSERT INTO revoked_tokens (tenant_id, identity_id, token_id, expires_at) \
         SELECT tenant_id, id, $3, $4 FROM identities WHERE tenant_id = $1 AND id = $2 \
         AND (SELECT count(*) FROM revoked_tokens x WHERE x.tenant_id = $1 AND x.identity_id = $2 AND x.token_id <> $3 \
         AND x.expires_at > $5) < $6 \
         ON CONFLICT (tenant_id, identity_id, token_id) DO UPDATE SET expires_at = excluded.expires_at \
         RETURNING token_id",
        [tenant.into(), id.into(), token.into(), expires_at.into(), (now - CLOCK_MARGIN).into(), most.into()],
    );
    mutation("revoke_token", tenant, id, revoke, now)
}

/// Forgets tokens that have expired by any clock.
pub(super) fn prune_revoked_tokens(now: Timestamp) -> Statement {
    Statement::new("DELETE FROM revoked_tokens WHERE expires_at <= $1", [(now - CLOCK_MARGIN).into()])
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

pub(super) fn parse_loaded_status(row: &dyn Columns) -> Result<Loaded<IdentityStatus>, Error> {
    revision::parse_loaded(row, "id", parse_status)
}

fn parse_status(row: &dyn Columns) -> Result<IdentityStatus, Error> {
    let revoked = row.optional_text("revoked")?.unwrap_or_default();
    Ok(IdentityStatus {
        identity: parse(row)?,
        tenant_name: row.name("tenant_name")?,
        tenant_enabled: row.boolean("tenant_enabled")?,
        revoked: revoked.split(' ').filter(|id| !id.is_empty()).map(str::to_owned).collect(),
        limits: parse_limits(row)?,
    })
}

fn parse_limits(row: &dyn Columns) -> Result<IdentityPolicies, Error> {
    let context = row.optional_uuid("limits_context")?.map(ContextId);
    let in_context = limits::policy(row, "context_limits")?;
    let generation = row.integer::<u64>("limits_generation")? % (u64::from(u8::MAX) + 1);
    Ok(IdentityPolicies {
        own: limits::policy(row, "limits")?,
        tenant: limits::policy(row, "tenant_limits")?,
        in_contexts: context.zip(in_context).into_iter().collect(),
        generation: u8::try_from(generation).map_err(|_| damaged("limits_generation"))?,
    })
}

/// All rows of [`status`] together.
pub(super) fn collect_status(rows: Vec<Loaded<IdentityStatus>>) -> Option<Loaded<IdentityStatus>> {
    rows.into_iter().reduce(|mut first, next| {
        if let (Some(status), Some(next)) = (&mut first.value, next.value) {
            status.limits.in_contexts.extend(next.limits.in_contexts);
        }
        first
    })
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
        rotate_refresh_tokens: row.boolean("rotate_refresh_tokens")?,
        subject: row.optional_text("subject")?,
        tokens_not_before: row.optional_time("tokens_not_before")?,
        certificate: row.optional_parsed("certificate")?,
        created_at: row.time("created_at")?,
        updated_at: row.time("updated_at")?,
    })
}
