//! The days of the audit trail: a partition for each, made ahead, and dropped as a whole.
//!
//! Every change of them is one transaction that waits for no lock longer than [`LOCK_TIMEOUT`], as appends wait behind it.

use std::time::Duration;

use deadpool_postgres::Transaction;
use tokio::time::{Instant, timeout};
use tokio_postgres::types::Type;

use super::error::Failure;
use super::lane::{Lane, step};
use crate::audit::{Cut, Keys};
use crate::clock::Timestamp;
use crate::store::sql::audit::cuts;
use crate::store::sql::damaged;
use crate::store::{Error, sql::Statement};

/// One process at a time; the others leave it to that.
const LOCK: i64 = 0x6373_6175_6469_7401;
const LOCK_TIMEOUT: &str = "SET LOCAL lock_timeout = '1s'";
/// For a whole transaction.
const LIMIT: Duration = Duration::from_secs(60);
const PREFIX: &str = "audit_records_";
const DAY: u64 = 24 * 60 * 60;
/// More than a chain has records, and than there are chains.
const ALL: u64 = 1 << 62;
const ALL_CHAINS: u32 = i32::MAX as u32;

/// A day in UTC.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Day(u64);

impl Day {
    fn of(time: Timestamp) -> Self {
        Self(time.as_secs() / DAY)
    }

    fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// `2026-11-24`
    fn date(self) -> String {
        Timestamp::from_secs(self.0 * DAY).to_string().chars().take_while(|c| *c != 'T').collect()
    }

    fn partition(self) -> String {
        format!("{PREFIX}{}", self.date().replace('-', ""))
    }

    fn of_partition(name: &str) -> Option<Self> {
        let date = name.strip_prefix(PREFIX).filter(|date| date.len() == 8 && date.is_ascii())?;
        let text = format!("{}-{}-{}T00:00:00Z", &date[..4], &date[4..6], &date[6..]);
        text.parse().ok().map(Self::of)
    }
}

/// Makes the partitions of `days` days that are not there.
pub(super) async fn prepare(lane: &Lane, from: Timestamp, days: u32) -> Result<(), Error> {
    let there = lane.query(&list()).await?;
    let there: Vec<String> = there.iter().filter_map(|row| row.try_get("name").ok()).collect();
    let first = Day::of(from).0;
    let days = (first..first + u64::from(days)).map(Day);
    let missing: Vec<_> = days.filter(|day| !there.contains(&day.partition())).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let mut client = lane.client().await?;
    let started = Instant::now();
    let made = async {
        let transaction = client.transaction().await?;
        if lock(&transaction).await? {
            let sql: String = missing.into_iter().map(make).collect();
            transaction.batch_execute(&sql).await?;
        }
        Ok(transaction.commit().await?)
    };
    let result = timeout(LIMIT, made).await.unwrap_or(Err(Failure::QueryTimeout));
    Ok(lane.settle(client, started, result)?)
}

/// What was recorded that day and has no partition yet moves to it.
fn make(day: Day) -> String {
    let (name, from, to) = (day.partition(), day.date(), day.next().date());
    format!(
        "LOCK TABLE audit_records_default IN ACCESS EXCLUSIVE MODE; \
         CREATE TABLE IF NOT EXISTS {name} (LIKE audit_records INCLUDING ALL); \
         WITH moved AS (DELETE FROM audit_records_default \
         WHERE recorded_at >= '{from} 00:00:00+00' AND recorded_at < '{to} 00:00:00+00' RETURNING *) \
         INSERT INTO {name} SELECT * FROM moved; \
         ALTER TABLE audit_records ATTACH PARTITION {name} \
         FOR VALUES FROM ('{from} 00:00:00+00') TO ('{to} 00:00:00+00'); "
    )
}

/// Drops the days before `before`, and says so; `None` if there is nothing to drop, or another process is at it.
pub(super) async fn cut(lane: &Lane, before: Timestamp, keys: &Keys) -> Result<Option<Cut>, Error> {
    let mut client = lane.client().await?;
    let started = Instant::now();
    let removed = async {
        let transaction = client.transaction().await?;
        let cut = remove(&transaction, before, keys).await?;
        transaction.commit().await?;
        Ok(cut)
    };
    let result = timeout(LIMIT, removed).await.unwrap_or(Err(Failure::QueryTimeout));
    Ok(lane.settle(client, started, result)?)
}

async fn remove(
    transaction: &Transaction<'_>,
    before: Timestamp,
    keys: &Keys,
) -> Result<Option<Cut>, Failure> {
    if !lock(transaction).await? {
        return Ok(None);
    }
    let names = step(transaction, &list(), LIMIT).await?;
    let names = names.iter().filter_map(|row| row.try_get::<_, String>("name").ok());
    let old: Vec<_> =
        names.filter(|name| Day::of_partition(name).is_some_and(|day| day < Day::of(before))).collect();
    // What is signed is what is removed: nobody adds to it meanwhile.
    let locked: String = old.iter().map(|name| format!("{name}, ")).collect();
    transaction
        .batch_execute(&format!("LOCK TABLE {locked}audit_records_default IN ACCESS EXCLUSIVE MODE"))
        .await?;
    let removable = step(transaction, &cuts::removable(before, ALL, ALL_CHAINS), LIMIT).await?;
    let removable = removable.iter().map(|row| cuts::parse_removable(row)).collect::<Result<Vec<_>, _>>()?;
    let stored = if cuts::need_stored(&removable) {
        step(transaction, &cuts::stored(), LIMIT).await?
    } else {
        Vec::new()
    };
    let stored = stored.iter().map(|row| cuts::parse_stored(row)).collect::<Result<Vec<_>, _>>()?;
    let entries = cuts::genuine(removable, &stored, keys)?;
    let cut = if entries.is_empty() {
        None
    } else {
        let next = step(transaction, &cuts::next(), LIMIT).await?.pop();
        let (number, at) = cuts::parse_next(&next.ok_or_else(|| damaged("number"))?)?;
        let cut =
            Cut::sign(keys, number, at, before, &entries).map_err(|error| Error::Invalid(error.into()))?;
        for statement in cuts::add(&cut, &entries) {
            step(transaction, &statement, LIMIT).await?;
        }
        Some(cut)
    };
    if !old.is_empty() {
        transaction.batch_execute(&format!("DROP TABLE {}", old.join(", "))).await?;
    }
    let rest = Statement::new("DELETE FROM audit_records_default WHERE recorded_at < $1", [before.into()]);
    step(transaction, &rest, LIMIT).await?;
    Ok(cut)
}

async fn lock(transaction: &Transaction<'_>) -> Result<bool, Failure> {
    const SQL: &str = "SELECT pg_try_advisory_xact_lock($1)";
    let rows = transaction.query_typed(SQL, &[(&LOCK, Type::INT8)]).await?;
    transaction.batch_execute(LOCK_TIMEOUT).await?;
    Ok(rows.first().and_then(|row| row.try_get(0).ok()).unwrap_or(false))
}

fn list() -> Statement {
    const SQL: &str = "SELECT c.relname::text AS name FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid \
         WHERE i.inhparent = 'audit_records'::regclass ORDER BY c.relname";
    Statement::new(SQL, [])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_is_called_by_its_day() {
        let day = Day::of(Timestamp::from_micros(1_793_534_400_123_456));
        assert_eq!((day.date().as_str(), day.next().date().as_str()), ("2026-11-01", "2026-11-02"));
        assert_eq!(day.partition(), "audit_records_20261101");
        assert!(Day::of_partition("audit_records_20261101") == Some(day));
        for other in
            ["audit_records_default", "audit_records_20261301", "audit_records_2026110", "audit_chains"]
        {
            assert!(Day::of_partition(other).is_none(), "{other}");
        }
    }
}
