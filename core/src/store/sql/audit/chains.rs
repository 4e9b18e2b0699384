use crate::audit::{ChainRow, CheckpointEntry, Ended, Head};
use crate::clock::Timestamp;
use crate::id::{ChainId, ReplicaId};
use crate::store::sql::{Columns, Statement, damaged};
use crate::store::{Error, REPLICA_TIMEOUT};

macro_rules! columns {
    () => {
        "id, instance, replica_id, started_at, appended_at, first_seq, last_seq, last_mac, ended, ended_at"
    };
}

pub(super) fn by_id(id: ChainId) -> Statement {
    Statement::new(concat!("SELECT ", columns!(), " FROM audit_chains WHERE id = $1"), [id.into()])
}

pub(super) fn list(after: Option<(Timestamp, ChainId)>, limit: u32) -> Statement {
    const FIRST: &str = concat!("SELECT ", columns!(), " FROM audit_chains ORDER BY started_at, id LIMIT $1");
    const NEXT: &str = concat!(
        "SELECT ",
        columns!(),
        " FROM audit_chains WHERE (started_at, id) > ($1, $2) ORDER BY started_at, id LIMIT $3"
    );
    match after {
        None => Statement::new(FIRST, [limit.into()]),
        Some((started_at, id)) => Statement::new(NEXT, [started_at.into(), id.into(), limit.into()]),
    }
}

pub(super) fn unfinished() -> Statement {
    const SQL: &str =
        "SELECT id, last_seq, last_mac, ended FROM audit_chains WHERE final_checkpoint IS NULL ORDER BY id";
    Statement::new(SQL, [])
}

/// Ends chains that were last appended to `before`, and whose process is silent, or was never there.
pub(super) fn end_crashed(now: Timestamp, before: Timestamp) -> Statement {
    const SQL: &str = concat!(
        "UPDATE audit_chains SET ended = 'crashed', ended_at = $1 WHERE final_checkpoint IS NULL AND ended IS NULL \
         AND appended_at < $2 AND NOT EXISTS (SELECT 1 FROM replicas r WHERE r.id = audit_chains.replica_id \
         AND r.seen_at > $3) RETURNING ",
        columns!()
    );
    Statement::new(SQL, [now.into(), before.into(), (now - REPLICA_TIMEOUT).into()])
}

pub(super) fn unrecorded_crashes(before: Timestamp) -> Statement {
    const SQL: &str = concat!(
        "SELECT ",
        columns!(),
        " FROM audit_chains WHERE ended = 'crashed' AND NOT crash_recorded AND ended_at < $1 ORDER BY id"
    );
    Statement::new(SQL, [before.into()])
}

pub(super) fn set_crash_recorded(id: ChainId) -> Statement {
    Statement::new("UPDATE audit_chains SET crash_recorded = $2 WHERE id = $1", [id.into(), true.into()])
}

pub(super) fn parse(row: &dyn Columns) -> Result<ChainRow, Error> {
    Ok(ChainRow {
        id: ChainId(row.uuid("id")?),
        instance: row.text("instance")?,
        replica: ReplicaId(row.uuid("replica_id")?),
        started_at: row.time("started_at")?,
        appended_at: row.time("appended_at")?,
        first_seq: row.integer("first_seq")?,
        head: head(row)?,
        ended: ended(row)?,
        ended_at: row.optional_time("ended_at")?,
    })
}

pub(super) fn parse_entry(row: &dyn Columns) -> Result<CheckpointEntry, Error> {
    Ok(CheckpointEntry { chain: ChainId(row.uuid("id")?), head: head(row)?, state: ended(row)? })
}

fn head(row: &dyn Columns) -> Result<Head, Error> {
    Ok(Head { seq: row.integer("last_seq")?, mac: row.array("last_mac")? })
}

fn ended(row: &dyn Columns) -> Result<Option<Ended>, Error> {
    let ended = row.optional_text("ended")?;
    ended.map(|name| Ended::from_name(&name).ok_or_else(|| damaged("ended"))).transpose()
}
