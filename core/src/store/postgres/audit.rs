use std::time::SystemTime;

use tokio_postgres::types::{ToSql, Type};
use uuid::Uuid;

use super::lane::Lane;
use super::row::system_time;
use crate::audit::{After, Append, Ended, StoredRecord};
use crate::store::Error;
use crate::store::sql::audit::columns;

/// One statement, so one transaction in one exchange, for any number of records. The first one moves the chain's row; if
/// that does not apply, there is nothing to join the records to. Returns a row if it does.
macro_rules! append {
    ($chain:literal) => {
        concat!(
            "WITH chain AS (",
            $chain,
            " RETURNING id), records AS (INSERT INTO audit_records (",
            columns!(),
            ") SELECT chain.id, record.* FROM chain, \
             unnest($7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23) AS record) \
             SELECT id FROM chain"
        )
    };
}

/// A day gets its partition once.
const ATTEMPTS: usize = 3;

const BEGIN: &str = append!(
    "INSERT INTO audit_chains (id, last_seq, last_mac, ended, instance, replica_id, started_at, appended_at, ended_at) \
     VALUES ($1, $2, $3, $4, $5, $6, now(), now(), CASE WHEN $4 IS NULL THEN NULL ELSE now() END) \
     ON CONFLICT (id) DO NOTHING"
);
const CONTINUE: &str = append!(
    "UPDATE audit_chains SET last_seq = $2, last_mac = $3, ended = $4, appended_at = now(), \
     ended_at = CASE WHEN $4 IS NULL THEN NULL ELSE now() END \
     WHERE id = $1 AND ended IS NULL AND last_seq = $5 AND last_mac = $6"
);

/// Whether the chain was as expected; else nothing is written.
pub(super) async fn append(lane: &Lane, append: &Append) -> Result<bool, Error> {
    let Some(head) = append.head() else { return Ok(true) };
    let (seq, mac) = (integer(head.seq), head.mac.as_slice());
    let ended = append.ends.then(|| Ended::Clean.name());
    let last;
    let (sql, expected): (_, [(&(dyn ToSql + Sync), Type); 2]) = match &append.after {
        After::Nothing(opening) => {
            (BEGIN, [(&opening.instance, Type::TEXT), (&opening.replica.0, Type::UUID)])
        }
        After::Head(head) => {
            last = (integer(head.seq), head.mac.as_slice());
            (CONTINUE, [(&last.0, Type::INT8), (&last.1, Type::BYTEA)])
        }
    };
    let records = &append.records;
    let seqs = column(records, |record| integer(record.seq));
    let recorded: Vec<SystemTime> = column(records, |record| system_time(record.recorded_at));
    let times: Vec<SystemTime> = column(records, |record| system_time(record.at));
    let instances = column(records, |record| &*record.instance);
    let request_ids = column(records, |record| record.request_id.as_str());
    let tenants: Vec<Option<Uuid>> = column(records, |record| record.tenant.map(|tenant| tenant.0));
    let identities: Vec<Option<Uuid>> = column(records, |record| record.identity.map(|identity| identity.0));
    let operations = column(records, |record| record.operation.as_ref());
    let contexts = column(records, |record| record.context.as_deref());
    let versions = column(records, |record| record.key_version.map(integer));
    let outcomes = column(records, |record| record.outcome.as_ref());
    let items = column(records, |record| integer(record.items));
    let failed = column(records, |record| integer(record.failed));
    let bytes = column(records, |record| integer(record.bytes));
    let addresses = column(records, |record| record.address.as_deref());
    let details = column(records, |record| record.detail.as_deref());
    let macs = column(records, |record| record.mac.as_slice());
    let chain: [(&(dyn ToSql + Sync), Type); 4] =
        [(&append.chain.0, Type::UUID), (&seq, Type::INT8), (&mac, Type::BYTEA), (&ended, Type::TEXT)];
    let columns: [(&(dyn ToSql + Sync), Type); 17] = [
        (&seqs, Type::INT8_ARRAY),
        (&recorded, Type::TIMESTAMPTZ_ARRAY),
        (&times, Type::TIMESTAMPTZ_ARRAY),
        (&instances, Type::TEXT_ARRAY),
        (&request_ids, Type::TEXT_ARRAY),
        (&tenants, Type::UUID_ARRAY),
        (&identities, Type::UUID_ARRAY),
        (&operations, Type::TEXT_ARRAY),
        (&contexts, Type::TEXT_ARRAY),
        (&versions, Type::INT8_ARRAY),
        (&outcomes, Type::TEXT_ARRAY),
        (&items, Type::INT8_ARRAY),
        (&failed, Type::INT8_ARRAY),
        (&bytes, Type::INT8_ARRAY),
        (&addresses, Type::TEXT_ARRAY),
        (&details, Type::TEXT_ARRAY),
        (&macs, Type::BYTEA_ARRAY),
    ];
    let values: Vec<_> = chain.into_iter().chain(expected).chain(columns).collect();
    for _ in 1..ATTEMPTS {
        match lane.query_typed(sql, &values).await {
            Err(failure) if failure.found_another_partition() => {}
            result => return Ok(!result?.is_empty()),
        }
    }
    Ok(!lane.query_typed(sql, &values).await?.is_empty())
}

fn column<'a, T>(records: &'a [StoredRecord], of: impl Fn(&'a StoredRecord) -> T) -> Vec<T> {
    records.iter().map(of).collect()
}

/// What was made to fit when the record was made.
fn integer(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
