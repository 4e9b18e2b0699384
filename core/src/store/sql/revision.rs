use uuid::Uuid;

use super::row::{Columns, Parse};
use super::{Mutation, Statement, Value};
use crate::id::{ContextId, IdentityId, TenantId};
use crate::store::{Change, Changes, Error, Loaded, Position, Revision};

/// How many of the last revisions keep their row in `changes`: hours of busy administration.
const KEPT: u64 = 10_000;

const CONTEXT: u8 = 1;
const IDENTITY: u8 = 2;
const DEPLOYMENT: u8 = 3;
const TENANT: u8 = 4;

pub(super) fn read() -> Statement {
    Statement::new("SELECT value FROM revision", [])
}

pub(super) fn read_position() -> Statement {
    Statement::new("SELECT value, pg_postmaster_start_time() AS server_started_at FROM revision", [])
}

pub(super) fn parse_position(row: &dyn Columns) -> Result<Position, Error> {
    Ok(Position { revision: parse(row)?, server_started_at: row.time("server_started_at")? })
}

pub(crate) fn parse(row: &dyn Columns) -> Result<Revision, Error> {
    row.integer("value").map(Revision)
}

/// What was read together with the revision; `marker` is a UUID that is null if there is nothing.
pub(super) fn parse_loaded<T>(
    row: &dyn Columns,
    marker: &'static str,
    parse_value: Parse<T>,
) -> Result<Loaded<T>, Error> {
    let value = row.optional_uuid(marker)?.map(|_| parse_value(row)).transpose()?;
    Ok(Loaded { revision: parse(row)?, value })
}

/// The first statement of every mutation: holds the row until the end, and returns the last of the new revisions.
pub(crate) fn raise(mutation: &Mutation) -> Statement {
    let count = mutation.changes.len() as u64;
    Statement::new("UPDATE revision SET value = value + $1 RETURNING value", [count.into()])
}

/// The last statements of every mutation: what the revisions up to `last` changed. They return nothing.
pub(crate) fn record(mutation: &Mutation, last: Revision) -> Vec<Statement> {
    let revisions = (0..=last.0).rev().zip(mutation.changes.iter().rev());
    let mut statements: Vec<_> = revisions
        .map(|(revision, change)| {
            let (kind, tenant, subject) = match *change {
                Change::Context(tenant, id) => (CONTEXT, tenant, id.0),
                Change::Identity(tenant, id) => (IDENTITY, tenant, id.0),
                Change::Tenant(tenant) => (TENANT, tenant, tenant.0),
                Change::Deployment => (DEPLOYMENT, TenantId(Uuid::nil()), Uuid::nil()),
            };
            Statement::new(
                "INSERT INTO changes (revision, kind, tenant_id, subject, at) VALUES ($1, $2, $3, $4, $5)",
                [revision.into(), kind.into(), tenant.into(), Value::Uuid(Some(subject)), mutation.at.into()],
            )
        })
        .collect();
    let prune =
        Statement::new("DELETE FROM changes WHERE revision <= $1", [last.0.saturating_sub(KEPT).into()]);
    statements.push(prune);
    statements
}

/// The revision, and the changes after `seen` if they can be complete, in one statement so that both are of one moment.
pub(super) fn since(seen: Revision) -> Statement {
    const SQL: &str = "SELECT r.value, c.revision, c.kind, c.tenant_id, c.subject \
         FROM revision r LEFT JOIN changes c ON c.revision > $1 AND r.value - $1 <= $2 \
         ORDER BY c.revision";
    Statement::new(SQL, [seen.0.into(), KEPT.into()])
}

/// One row of [`since`]: the revision, and one change unless there is none.
pub(super) struct Noted {
    revision: Revision,
    change: Option<Subject>,
}

/// What changed, or that something did which only a newer release knows.
enum Subject {
    Known(Change),
    Unknown,
}

pub(super) fn parse_since(row: &dyn Columns) -> Result<Noted, Error> {
    let revision = parse(row)?;
    if row.optional_integer("revision")?.is_none() {
        return Ok(Noted { revision, change: None });
    }
    let tenant = TenantId(row.uuid("tenant_id")?);
    let subject: Uuid = row.uuid("subject")?;
    let change = match row.integer("kind")? {
        CONTEXT => Subject::Known(Change::Context(tenant, ContextId(subject))),
        IDENTITY => Subject::Known(Change::Identity(tenant, IdentityId(subject))),
        TENANT => Subject::Known(Change::Tenant(tenant)),
        DEPLOYMENT => Subject::Known(Change::Deployment),
        _ => Subject::Unknown,
    };
    Ok(Noted { revision, change: Some(change) })
}

/// All rows of [`since`] together.
pub(super) fn collect(seen: Revision, rows: Vec<Noted>) -> Option<Changes> {
    let revision = rows.first()?.revision;
    let changes: Option<Vec<Change>> = rows
        .into_iter()
        .filter_map(|row| row.change)
        .map(|subject| match subject {
            Subject::Known(change) => Some(change),
            Subject::Unknown => None,
        })
        .collect();
    // Each revision has one row, so nothing is missing if there are as many rows as revisions.
    let complete = revision.0.checked_sub(seen.0);
    let changes = changes.filter(|changes| complete == Some(changes.len() as u64));
    Some(Changes { revision, changes })
}
