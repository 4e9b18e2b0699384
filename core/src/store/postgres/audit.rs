use std::time::SystemTime;

use tokio_postgres::types::{ToSql, Type};
use uuid::Uuid;

use super::lane::Lane;
use super::row::system_time;
use crate::audit::Record;
use crate::store::Error;

/// One statement, so one transaction, for any number of records; rows are numbered in the order of the records.
const APPEND: &str = "INSERT INTO audit (at, instance, request_id, tenant_id, identity_id, operation, context, \
     key_version, outcome, items, failed, bytes, address, detail) \
     SELECT at, instance, request_id, tenant_id, identity_id, operation, context, \
     key_version, outcome, items, failed, bytes, address, detail \
     FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) WITH ORDINALITY \
     AS record (at, instance, request_id, tenant_id, identity_id, operation, context, \
     key_version, outcome, items, failed, bytes, address, detail, place) \
     ORDER BY place";

pub(super) async fn append(lane: &Lane, records: &[Record]) -> Result<(), Error> {
    let times: Vec<SystemTime> = column(records, |record| system_time(record.at));
    let instances = column(records, |record| text(&record.instance));
    let request_ids = column(records, |record| text(&record.request_id));
    let tenants: Vec<Option<Uuid>> = column(records, |record| record.tenant.map(|tenant| tenant.0));
    let identities: Vec<Option<Uuid>> = column(records, |record| record.identity.map(|identity| identity.0));
    let operations = column(records, |record| record.operation);
    let contexts = column(records, |record| record.context.as_ref().map(|context| context.as_str()));
    let versions = column(records, |record| record.key_version.map(|version| i64::from(version.get())));
    let outcomes = column(records, |record| record.outcome.code());
    let items = column(records, |record| i64::from(record.items));
    let failed = column(records, |record| i64::from(record.failed));
    let bytes = column(records, |record| i64::try_from(record.bytes).unwrap_or(i64::MAX));
    let addresses = column(records, |record| record.address.map(|address| address.to_string()));
    let details = column(records, |record| record.detail.as_deref().map(text));
    let values: [(&(dyn ToSql + Sync), Type); 14] = [
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
    ];
    lane.query_typed(APPEND, &values).await?;
    Ok(())
}

fn column<'a, T>(records: &'a [Record], of: impl Fn(&'a Record) -> T) -> Vec<T> {
    records.iter().map(of).collect()
}

/// PostgreSQL refuses a NUL in text, and one bad record must not cost the others of its batch.
fn text(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}
