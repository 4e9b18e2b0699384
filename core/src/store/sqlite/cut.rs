use std::sync::Arc;

use rusqlite::{Connection, TransactionBehavior};

use super::error::Failure;
use super::{execute, rows};
use crate::audit::{Cut, Keys};
use crate::clock::Timestamp;
use crate::store::Error;
use crate::store::sql::audit::cuts;

/// What one transaction removes at most, as nobody else writes meanwhile: so many records of so many chains.
const RECORDS: u64 = 2000;
const CHAINS: u32 = 10;

/// Removes the oldest records, and says so.
pub(super) fn cut(
    connection: &mut Connection,
    before: Timestamp,
    keys: &Arc<Keys>,
) -> Result<Option<Cut>, Failure> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let removable = rows(&transaction, &cuts::removable(before, RECORDS, CHAINS), cuts::parse_removable)?;
    let stored = if cuts::need_stored(&removable) {
        rows(&transaction, &cuts::stored(), cuts::parse_stored)?
    } else {
        Vec::new()
    };
    let entries = cuts::genuine(removable, &stored, keys)?;
    let next = rows(&transaction, &cuts::next(), cuts::parse_next)?.pop();
    let (Some((number, at)), false) = (next, entries.is_empty()) else { return Ok(None) };
    let cut = Cut::sign(keys, number, at, before, &entries).map_err(|error| Error::Invalid(error.into()))?;
    for statement in cuts::add(&cut, &entries) {
        execute(&transaction, &statement)?;
    }
    for entry in &entries {
        execute(&transaction, &cuts::remove(entry))?;
    }
    transaction.commit()?;
    Ok(Some(cut))
}
