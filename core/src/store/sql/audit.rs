use super::Statement;
use crate::audit::Record;

/// Appends one record. SQLite's way; PostgreSQL appends many with one statement.
pub(crate) fn append(record: &Record) -> Statement {
    const SQL: &str = "INSERT INTO audit (at, instance, request_id, tenant_id, identity_id, operation, context, \
         key_version, outcome, items, failed, bytes, address, detail) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)";
    Statement::new(
        SQL,
        [
            record.at.into(),
            record.instance.as_ref().into(),
            record.request_id.as_str().into(),
            record.tenant.map(|tenant| tenant.0).into(),
            record.identity.map(|identity| identity.0).into(),
            record.operation.into(),
            record.context.as_ref().map(ToString::to_string).into(),
            record.key_version.into(),
            record.outcome.code().into(),
            record.items.into(),
            record.failed.into(),
            record.bytes.into(),
            record.address.map(|address| address.to_string()).into(),
            record.detail.clone().into(),
        ],
    )
}
