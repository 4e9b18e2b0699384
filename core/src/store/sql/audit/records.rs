use uuid::Uuid;

use crate::audit::{After, Append, Ended, StoredRecord};
use crate::clock::Timestamp;
use crate::id::{ChainId, IdentityId, TenantId};
use crate::store::Error;
use crate::store::sql::{Columns, Statement};

/// In the order of the table.
macro_rules! columns {
    () => {
        "chain_id, seq, recorded_at, at, instance, request_id, tenant_id, identity_id, operation, context, key_version, \
         outcome, items, failed, bytes, address, detail, mac"
    };
}

pub(crate) use columns;

/// The statement that moves the chain's row, which returns a row if it applies, and then those that append the records,
/// one each. SQLite's way; PostgreSQL does all of it with one statement.
pub(crate) fn append(append: &Append) -> Option<(Statement, Vec<Statement>)> {
    let head = append.head()?;
    let ended = append.ends.then(|| Ended::Clean.name().to_owned());
    let chain = match &append.after {
        After::Nothing(opening) => Statement::new(
            "INSERT INTO audit_chains (id, instance, replica_id, started_at, appended_at, last_seq, last_mac, ended, ended_at) \
             VALUES ($1, $2, $3, now(), now(), $4, $5, $6, CASE WHEN $6 IS NULL THEN NULL ELSE now() END) \
             ON CONFLICT (id) DO NOTHING RETURNING id",
            [
                append.chain.into(),
                opening.instance.as_str().into(),
                opening.replica.into(),
                head.seq.into(),
                head.mac.as_slice().into(),
                ended.into(),
            ],
        ),
        After::Head(last) => Statement::new(
            "UPDATE audit_chains SET last_seq = $2, last_mac = $3, appended_at = now(), ended = $4, \
             ended_at = CASE WHEN $4 IS NULL THEN NULL ELSE now() END \
             WHERE id = $1 AND ended IS NULL AND last_seq = $5 AND last_mac = $6 RETURNING id",
            [
                append.chain.into(),
                head.seq.into(),
                head.mac.as_slice().into(),
                ended.into(),
                last.seq.into(),
                last.mac.as_slice().into(),
            ],
        ),
    };
    Some((chain, append.records.iter().map(insert).collect()))
}

fn insert(record: &StoredRecord) -> Statement {
    const SQL: &str = concat!(
        "INSERT INTO audit_records (",
        columns!(),
        ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)"
    );
    Statement::new(
        SQL,
        [
            record.chain.into(),
            record.seq.into(),
            record.recorded_at.into(),
            record.at.into(),
            record.instance.as_ref().into(),
            record.request_id.as_str().into(),
            record.tenant.map(|tenant| tenant.0).into(),
            record.identity.map(|identity| identity.0).into(),
            record.operation.as_ref().into(),
            record.context.clone().into(),
            record.key_version.into(),
            record.outcome.as_ref().into(),
            record.items.into(),
            record.failed.into(),
            record.bytes.into(),
            record.address.clone().into(),
            record.detail.clone().into(),
            record.mac.as_slice().into(),
        ],
    )
}

/// Records of a chain in order, behind `after`.
pub(super) fn of_chain(chain: ChainId, after: Option<(u64, Timestamp)>, limit: u32) -> Statement {
    const FIRST: &str = concat!(
        "SELECT ",
        columns!(),
        " FROM audit_records WHERE chain_id = $1 ORDER BY seq, recorded_at LIMIT $2"
    );
    const NEXT: &str = concat!(
        "SELECT ",
        columns!(),
        " FROM audit_records WHERE chain_id = $1 AND (seq, recorded_at) > ($2, $3) ORDER BY seq, recorded_at LIMIT $4"
    );
    match after {
        None => Statement::new(FIRST, [chain.into(), limit.into()]),
        Some((seq, recorded_at)) => {
            Statement::new(NEXT, [chain.into(), seq.into(), recorded_at.into(), limit.into()])
        }
    }
}

pub(in crate::store::sql) fn parse(row: &dyn Columns) -> Result<StoredRecord, Error> {
    let optional_uuid = |column| -> Result<Option<Uuid>, Error> { row.optional_uuid(column) };
    let optional_integer = |column| -> Result<Option<u64>, Error> {
        row.optional_integer(column)?.map(|_| row.integer(column)).transpose()
    };
    Ok(StoredRecord {
        chain: ChainId(row.uuid("chain_id")?),
        seq: row.integer("seq")?,
        recorded_at: row.time("recorded_at")?,
        at: row.time("at")?,
        instance: row.text("instance")?.into(),
        request_id: row.text("request_id")?,
        tenant: optional_uuid("tenant_id")?.map(TenantId),
        identity: optional_uuid("identity_id")?.map(IdentityId),
        operation: row.text("operation")?.into(),
        context: row.optional_text("context")?,
        key_version: optional_integer("key_version")?,
        outcome: row.text("outcome")?.into(),
        items: row.integer("items")?,
        failed: row.integer("failed")?,
        bytes: row.integer("bytes")?,
        address: row.optional_text("address")?,
        detail: row.optional_text("detail")?,
        mac: row.array("mac")?,
    })
}
