//! The audit trail as administrators and operators read it.

pub(super) mod export;

use serde::{Deserialize, Serialize};

use super::extract::{invalid, page_size};
use super::{Call, Error, Reply, extract, reply};
use crate::audit::{Filter, Order, Page, Position, StoredRecord};
use crate::auth::Role;
use crate::clock::Timestamp;
use crate::limits::Cost;
use crate::name::Name;
use crate::store::Store;

/// Slices of records that one request looks at.
const SLICES: u32 = 20;
/// Of a query in the audit trail, in characters.
const MAX_DETAIL: usize = 300;

/// A page of records, the newest first.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct AuditPage {
    #[schema(value_type = Vec<AuditRecord>)]
    records: Vec<StoredRecord>,
    /// The value of `cursor` for the next page; absent on the last. A page before it may be short, or even empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// One operation: what, when, by whom, and how it ended.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "only its schema is used")]
pub(crate) struct AuditRecord {
    /// When it was written.
    #[schema(format = DateTime)]
    recorded_at: String,
    /// When the operation ended.
    #[schema(format = DateTime)]
    at: String,
    /// The `INSTANCE_ID` of the process that did it.
    instance: String,
    /// Empty for what no request caused.
    request_id: String,
    tenant_id: Option<String>,
    identity_id: Option<String>,
    operation: String,
    context: Option<String>,
    key_version: Option<u32>,
    /// `success`, or the `code` of the problem.
    outcome: String,
    /// 1 unless it is a batch.
    items: u64,
    /// Of the items.
    failed: u64,
    /// Of plaintext.
    bytes: u64,
    address: Option<String>,
    /// What was changed, and the like.
    detail: Option<String>,
    /// Of the run of the process.
    chain_id: String,
    /// Its place in the chain, from 0.
    seq: u64,
    /// By which it is chained to the record before it; in hexadecimal.
    mac: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct AuditQuery {
    from: Option<String>,
    to: Option<String>,
    operation: Option<String>,
    outcome: Option<String>,
    identity_id: Option<String>,
    context: Option<String>,
    key_version: Option<u32>,
    request_id: Option<String>,
    instance: Option<String>,
    tenant: Option<Name>,
    /// Of a list.
    limit: Option<u32>,
    cursor: Option<String>,
    /// Of an export.
    format: Option<String>,
}

/// Lists records of the audit trail: of the caller's tenant; to operators, of all, and those of no tenant.
///
/// What a filter passes over takes time too, so that there may be a `next` behind a page that is not full.
#[utoipa::path(
    get,
    path = "/api/admin/audit",
    tag = "Audit",
    params(
        ("from" = Option<String>, Query, description = "Recorded at this time (RFC 3339) or later"),
        ("to" = Option<String>, Query, description = "Recorded before this time"),
        ("operation" = Option<String>, Query, description = "By its name, for example `encrypt`"),
        ("outcome" = Option<String>, Query, description = "`success`, `failure`, or a `code`"),
        ("identity_id" = Option<String>, Query),
        ("context" = Option<String>, Query),
        ("key_version" = Option<u32>, Query),
        ("request_id" = Option<String>, Query),
        ("instance" = Option<String>, Query),
        ("tenant" = Option<String>, Query, description = "By its name; for operators"),
        ("limit" = Option<u32>, Query, description = "1 to 1000, default 100"),
        ("cursor" = Option<String>, Query, description = "`next` of the page before"),
    ),
    responses((status = 200, body = AuditPage), (status = "default", response = super::openapi::AnyProblem)),
)]
pub(super) async fn list<S: Store>(call: &mut Call<'_, S>) -> Result<Reply, Error> {
    call.charge(None, Cost::ONE).await?;
    let query: AuditQuery = extract::query(call.query)?;
    if query.format.is_some() {
        return Err(Error::InvalidRequest("`format` is for GET /api/admin/audit/export".to_owned()));
    }
    let limit = page_size(query.limit)?;
    let cursor: Option<Position> = query.cursor.as_deref().map(|text| parse("cursor", text)).transpose()?;
    let filter = filter(call, query).await?;
    let Page { records, next } =
        filter.page(&call.app.store, Order::NewestFirst, cursor, limit, SLICES).await?;
    Ok(reply(&AuditPage { records, next: next.map(|position| position.to_string()) }))
}

/// What is asked for, within what the caller may see.
async fn filter<S: Store>(call: &mut Call<'_, S>, query: AuditQuery) -> Result<Filter, Error> {
    if !call.query.is_empty() {
        call.facts.detail = Some(call.query.chars().take(MAX_DETAIL).collect());
    }
    let tenant = match (call.principal().role(), &query.tenant) {
        (Role::Operator, None) => None,
        (Role::Operator, Some(name)) => {
            let record = call.app.store.tenant(name).await?.ok_or(Error::TenantNotFound)?;
            Some(record.tenant.id)
        }
        (_, None) => Some(call.tenant()),
        (_, Some(_)) => {
            return Err(Error::RoleForbidden(
                "only an operator sees tenants other than its own; leave out `tenant`",
            ));
        }
    };
    let texts = [
        ("operation", &query.operation),
        ("context", &query.context),
        ("outcome", &query.outcome),
        ("request_id", &query.request_id),
        ("instance", &query.instance),
    ];
    // No database keeps it in text.
    if let Some((field, _)) =
        texts.iter().find(|(_, text)| text.as_ref().is_some_and(|text| text.contains('\0')))
    {
        return Err(invalid(field, "must not hold a NUL"));
    }
    let time = |field, text: Option<String>| text.map(|text| parse::<Timestamp>(field, &text)).transpose();
    Ok(Filter {
        tenant,
        from: time("from", query.from)?,
        to: time("to", query.to)?,
        operation: query.operation,
        outcome: query.outcome.map(|outcome| parse("outcome", &outcome)).transpose()?,
        identity: query.identity_id.map(|id| parse("identity_id", &id)).transpose()?,
        context: query.context,
        key_version: query.key_version,
        request_id: query.request_id,
        instance: query.instance,
    })
}

fn parse<T: std::str::FromStr<Err: std::fmt::Display>>(field: &str, text: &str) -> Result<T, Error> {
    text.parse().map_err(|error| invalid(field, error))
}
