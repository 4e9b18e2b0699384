//! What retention removes.

use super::{checkpoints, records};
use crate::audit::{Cut, CutEntry, Head, Keys, StoredRecord};
use crate::clock::Timestamp;
use crate::store::Error;
use crate::store::sql::{Columns, Statement, damaged};

/// More than there are cuts.
const ALL: u32 = i32::MAX as u32;

/// The last record that a chain would lose.
pub(crate) struct Removable {
    record: StoredRecord,
    /// The code of the one before, if that is there.
    previous: Option<[u8; 32]>,
}

/// Of at most `chains` chains the last record that was recorded before `before`, and is at most `records` behind the
/// first one left. What was recorded before any time is the head of a chain.
pub(crate) fn removable(before: Timestamp, records: u64, chains: u32) -> Statement {
    const SQL: &str = "SELECT r.*, (SELECT p.mac FROM audit_records p WHERE p.chain_id = r.chain_id AND p.seq = r.seq - 1 \
         ORDER BY p.recorded_at LIMIT 1) AS previous FROM audit_chains c \
         JOIN audit_records r ON r.chain_id = c.id AND r.recorded_at < $1 AND r.seq = (SELECT max(x.seq) \
         FROM audit_records x WHERE x.chain_id = c.id AND x.recorded_at < $1 AND x.seq < c.first_seq + $2) \
         WHERE c.first_seq <= c.last_seq ORDER BY r.chain_id LIMIT $3";
    Statement::new(SQL, [before.into(), records.into(), chains.into()])
}

pub(crate) fn parse_removable(row: &dyn Columns) -> Result<Removable, Error> {
    let previous = row.optional_bytes("previous")?;
    let previous = previous.map(|mac| mac.try_into().map_err(|_| damaged("mac"))).transpose()?;
    Ok(Removable { record: records::parse(row)?, previous })
}

/// Whether the record before one of them may have been removed by an earlier cut.
pub(crate) fn need_stored(removable: &[Removable]) -> bool {
    removable.iter().any(|last| last.previous.is_none() && last.record.seq > 0)
}

/// All cuts.
pub(crate) fn stored() -> Statement {
    checkpoints::cuts(0, ALL)
}

pub(crate) fn parse_stored(row: &dyn Columns) -> Result<Cut, Error> {
    checkpoints::parse_cut(row)
}

/// What may be signed: records whose code is that of their content, time and place after the one before, which is there,
/// or was removed by one of `stored`. Whatever else somebody wrote into the table is left out, and said in the log.
pub(crate) fn genuine(
    removable: Vec<Removable>,
    stored: &[Cut],
    keys: &Keys,
) -> Result<Vec<CutEntry>, Error> {
    let mut entries: Vec<CutEntry> = Vec::new();
    for Removable { record, previous } in removable {
        let StoredRecord { chain, seq, mac, .. } = record;
        // A number may be there twice, of which one is genuine.
        if entries.last().is_some_and(|entry| entry.chain == chain) {
            continue;
        }
        let cut = || {
            let before =
                |entry: &CutEntry| entry.chain == chain && entry.last.seq.checked_add(1) == Some(seq);
            let mut cuts = stored.iter().rev().filter(|cut| cut.verify(keys).is_ok());
            cuts.find_map(|cut| cut.entries()?.into_iter().find(before)).map(|entry| entry.last.mac)
        };
        let previous = if seq == 0 { Some([0; 32]) } else { previous.or_else(cut) };
        let key = keys.chain_key(chain).map_err(|error| Error::Invalid(error.into()))?;
        if previous.is_some_and(|previous| key.mac(&previous, &record) == mac) {
            entries.push(CutEntry { chain, last: Head { seq, mac } });
        } else {
            tracing::error!(%chain, seq, "an old audit record is not as it was written; its removal is not signed");
        }
    }
    Ok(entries)
}

/// The number of the next cut, and the time.
pub(crate) fn next() -> Statement {
    Statement::new("SELECT coalesce(max(number), 0) + 1 AS number, now() AS at FROM audit_cuts", [])
}

pub(crate) fn parse_next(row: &dyn Columns) -> Result<(u64, Timestamp), Error> {
    Ok((row.integer("number")?, row.time("at")?))
}

/// Stores a cut, and moves the beginning of its chains.
pub(crate) fn add(cut: &Cut, entries: &[CutEntry]) -> Vec<Statement> {
    let insert = Statement::new(
        "INSERT INTO audit_cuts (number, at, cut_before, entries, key_id, signature) VALUES ($1, $2, $3, $4, $5, $6)",
        [
            cut.number.into(),
            cut.at.into(),
            cut.before.into(),
            cut.entries.as_slice().into(),
            cut.signature.key.into(),
            cut.signature.bytes.as_slice().into(),
        ],
    );
    let chains = entries.iter().map(|CutEntry { chain, last }| {
        Statement::new(
            "UPDATE audit_chains SET first_seq = $2 WHERE id = $1",
            [(*chain).into(), (last.seq + 1).into()],
        )
    });
    std::iter::once(insert).chain(chains).collect()
}

/// Removes the head of one chain.
pub(crate) fn remove(entry: &CutEntry) -> Statement {
    Statement::new(
        "DELETE FROM audit_records WHERE chain_id = $1 AND seq <= $2",
        [entry.chain.into(), entry.last.seq.into()],
    )
}
