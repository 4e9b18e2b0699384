use std::sync::Arc;

use super::row::Columns;
use super::store::{first, ignore};
use super::{Database, Mutation, Statement, contexts};
use crate::clock::Timestamp;
use crate::contexts::Context;
use crate::id::{ContextId, IdentityId, TenantId};
use crate::limits::{DefaultPolicies, DimensionKind, Policy};
use crate::store::{Change, Error, Policies, PolicySubject, StoredPolicy};

impl<D: Database> Policies for D {
    async fn set_policy(
        &self,
        subject: PolicySubject,
        policy: Option<&Policy>,
        now: Timestamp,
    ) -> Result<bool, Error> {
        self.mutate(set(subject, policy, now), ignore).await.map(|applied| applied.is_some())
    }

    async fn reset_limits(
        &self,
        tenant: TenantId,
        identity: IdentityId,
        now: Timestamp,
    ) -> Result<bool, Error> {
        let raise = Statement::new(
            "UPDATE identities SET limits_generation = limits_generation + 1 WHERE tenant_id = $1 AND id = $2 \
             RETURNING id",
            [tenant.into(), identity.into()],
        );
        let changes = vec![Change::Identity(tenant, identity)];
        let mutation = Mutation { name: "reset_limits", statements: vec![raise], changes, at: now };
        self.mutate(mutation, ignore).await.map(|applied| applied.is_some())
    }

    async fn policies(&self, tenant: TenantId, after: &str, limit: u32) -> Result<Vec<StoredPolicy>, Error> {
        self.read(list(tenant, after, limit), parse_stored).await
    }

    async fn context_by_id(&self, tenant: TenantId, id: ContextId) -> Result<Option<Context>, Error> {
        let found = first(self.read(contexts::by_id(tenant, id), contexts::parse).await)?;
        Ok(found.filter(|context| context.deleted_at.is_none()))
    }
}

fn set(subject: PolicySubject, policy: Option<&Policy>, at: Timestamp) -> Mutation {
    let text = policy.map(ToString::to_string);
    let (statements, change) = match subject {
        PolicySubject::Context(tenant, id) => {
            let sql = "UPDATE contexts SET limits = $3 WHERE tenant_id = $1 AND id = $2 AND deleted_at IS NULL \
                       RETURNING id";
            let set = Statement::new(sql, [tenant.into(), id.into(), text.into()]);
            (vec![set], Change::Context(tenant, id))
        }
        PolicySubject::Identity(tenant, id) => {
            let sql = "UPDATE identities SET limits = $3 WHERE tenant_id = $1 AND id = $2 RETURNING id";
            let set = Statement::new(sql, [tenant.into(), id.into(), text.into()]);
            (vec![set], Change::Identity(tenant, id))
        }
        PolicySubject::Tenant(tenant) => {
            let sql = "UPDATE tenants SET limits = $2 WHERE id = $1 RETURNING id";
            (vec![Statement::new(sql, [tenant.into(), text.into()])], Change::Tenant(tenant))
        }
        PolicySubject::IdentityContext(tenant, identity, context) => {
            let ids = [tenant.into(), identity.into(), context.into()];
            let forget = Statement::new(
                "DELETE FROM identity_context_limits WHERE tenant_id = $1 AND identity_id = $2 AND context_id = $3 \
                 RETURNING context_id",
                ids.clone(),
            );
            let last = match text {
                Some(text) => {
                    let [tenant, identity, context] = ids;
                    Statement::new(
                        "INSERT INTO identity_context_limits (tenant_id, identity_id, context_id, limits) \
                         SELECT i.tenant_id, i.id, c.id, $4 FROM identities i JOIN contexts c ON c.tenant_id = i.tenant_id \
                         WHERE i.tenant_id = $1 AND i.id = $2 AND c.id = $3 AND c.deleted_at IS NULL \
                         RETURNING context_id",
                        [tenant, identity, context, text.into()],
                    )
                }
                None => Statement::new(
                    "SELECT i.id FROM identities i JOIN contexts c ON c.tenant_id = i.tenant_id \
                     WHERE i.tenant_id = $1 AND i.id = $2 AND c.id = $3 AND c.deleted_at IS NULL",
                    ids,
                ),
            };
            (vec![forget.optional(), last], Change::Identity(tenant, identity))
        }
        PolicySubject::Default(kind) => {
            let forget = Statement::new(
                "DELETE FROM default_limits WHERE dimension = $1 RETURNING dimension",
                [kind.name().into()],
            );
            let last = match text {
                Some(text) => Statement::new(
                    "INSERT INTO default_limits (dimension, limits) VALUES ($1, $2) RETURNING dimension",
                    [kind.name().into(), text.into()],
                ),
                // It always finds a row.
                None => Statement::new("SELECT value FROM revision", []),
            };
            (vec![forget.optional(), last], Change::Deployment)
        }
    };
    Mutation { name: "set_policy", statements, changes: vec![change], at }
}

/// The places of an identity's policies follow each other; `/` is in no name.
fn list(tenant: TenantId, after: &str, limit: u32) -> Statement {
    const SQL: &str = "SELECT p.place, p.identity_id, p.identity_name, p.context_id, p.context_name, p.limits FROM ( \
         SELECT 'context/' || c.name AS place, NULL AS identity_id, NULL AS identity_name, c.id AS context_id, \
         c.name AS context_name, \
         c.limits AS limits FROM contexts c \
         WHERE c.tenant_id = $1 AND c.limits IS NOT NULL AND c.deleted_at IS NULL \
         UNION ALL SELECT 'identity/' || i.name, i.id, i.name, NULL, NULL, i.limits FROM identities i \
         WHERE i.tenant_id = $1 AND i.limits IS NOT NULL \
         UNION ALL SELECT 'identity/' || i.name || '/context/' || c.name, i.id, i.name, c.id, c.name, x.limits \
         FROM identity_context_limits x JOIN identities i ON i.tenant_id = x.tenant_id AND i.id = x.identity_id \
         JOIN contexts c ON c.tenant_id = x.tenant_id AND c.id = x.context_id \
         WHERE x.tenant_id = $1 AND c.deleted_at IS NULL) p WHERE p.place > $2 ORDER BY p.place LIMIT $3";
    Statement::new(SQL, [tenant.into(), after.into(), limit.into()])
}

fn parse_stored(row: &dyn Columns) -> Result<StoredPolicy, Error> {
    let identity = match row.optional_uuid("identity_id")? {
        Some(id) => Some((IdentityId(id), row.name("identity_name")?)),
        None => None,
    };
    let context = match row.optional_uuid("context_id")? {
        Some(id) => Some((ContextId(id), row.name("context_name")?)),
        None => None,
    };
    Ok(StoredPolicy { place: row.text("place")?, identity, context, policy: row.parsed("limits")? })
}

/// A column that holds a policy, or nothing.
pub(super) fn policy(row: &dyn Columns, column: &'static str) -> Result<Option<Arc<Policy>>, Error> {
    Ok(row.optional_parsed::<Policy>(column)?.map(Arc::new))
}

/// What holds for all who have nothing of their own.
pub(super) fn defaults() -> Statement {
    Statement::new("SELECT dimension, limits FROM default_limits", [])
}

/// One row of [`defaults`]; `None` if only a newer release knows of what.
pub(super) fn parse_default(row: &dyn Columns) -> Result<Option<(DimensionKind, Arc<Policy>)>, Error> {
    let Some(kind) = DimensionKind::named(&row.text("dimension")?) else { return Ok(None) };
    Ok(Some((kind, Arc::new(row.parsed("limits")?))))
}

/// All rows of [`defaults`] together.
pub(super) fn collect_defaults(rows: Vec<Option<(DimensionKind, Arc<Policy>)>>) -> DefaultPolicies {
    let mut defaults = DefaultPolicies::default();
    for (kind, policy) in rows.into_iter().flatten() {
        defaults.set(kind, Some(policy));
    }
    defaults
}
