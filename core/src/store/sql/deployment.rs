use super::row::Columns;
use super::{Mutation, Statement, contexts};
use crate::crypto::KekId;
use crate::id::TenantId;
use crate::limits::DefaultPolicies;
use crate::store::{Bootstrap, Change, Deployment, Error, KekRecord, Tenant};

/// One row for each key-encryption key that is active or in use, each with the deployment; none before the set-up.
pub(super) fn read() -> Statement {
    // There is one deployment, which no planner can know: without the limit PostgreSQL expects millions of rows and spends
    // a third of a second on compiling the query.
    const SQL: &str = "SELECT d.tenant_id, d.name, d.active_kek, k.kek_id, k.check_value \
         FROM (SELECT d.tenant_id, t.name, d.active_kek \
             FROM deployment d JOIN tenants t ON t.id = d.tenant_id LIMIT 1) d \
         JOIN keks k ON k.kek_id = d.active_kek OR EXISTS (SELECT 1 FROM wrapped_keys w WHERE w.kek_id = k.kek_id) \
         ORDER BY k.created_at, k.kek_id";
    Statement::new(SQL, [])
}

/// One row of [`read`].
pub(super) fn parse(row: &dyn Columns) -> Result<(Tenant, KekId, KekRecord), Error> {
    let tenant = Tenant { id: TenantId(row.uuid("tenant_id")?), name: row.name("name")? };
    let kek = KekRecord { id: KekId(row.array("kek_id")?), check_value: row.array("check_value")? };
    Ok((tenant, KekId(row.array("active_kek")?), kek))
}

/// All rows of [`read`] together.
pub(super) fn collect(
    rows: Vec<(Tenant, KekId, KekRecord)>,
    default_limits: DefaultPolicies,
) -> Option<Deployment> {
    let (tenant, active_kek, _) = rows.first()?.clone();
    let keks = rows.into_iter().map(|(_, _, kek)| kek).collect();
    Some(Deployment { tenant, active_kek, keks, default_limits })
}

/// Sets up the deployment; does not apply if another process was faster.
pub(super) fn bootstrap(first: &Bootstrap) -> Mutation {
    let Bootstrap { tenant, kek, contexts: defaults, at } = first;
    let mut statements = vec![
        // The revision is raised before this runs, so whoever else sets up has committed or is waiting.
        Statement::new("SELECT value FROM revision WHERE NOT EXISTS (SELECT 1 FROM deployment)", []),
        Statement::new(
            "INSERT INTO keks (kek_id, check_value, created_at) VALUES ($1, $2, $3) RETURNING kek_id",
            [kek.id.into(), kek.check_value.as_slice().into(), (*at).into()],
        ),
        Statement::new(
            "INSERT INTO tenants (id, name, created_at) VALUES ($1, $2, $3) RETURNING id",
            [tenant.id.into(), (&tenant.name).into(), (*at).into()],
        ),
        Statement::new(
            "INSERT INTO deployment (tenant_id, active_kek, created_at) VALUES ($1, $2, $3) RETURNING tenant_id",
            [tenant.id.into(), kek.id.into(), (*at).into()],
        ),
    ];
    statements.extend(defaults.iter().flat_map(contexts::inserts));
    let changes = defaults.iter().map(|new| Change::Context(new.context.tenant, new.context.id)).collect();
    Mutation { name: "bootstrap", statements, changes, at: *at }
}
