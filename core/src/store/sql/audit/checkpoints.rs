//! Signed statements: checkpoints and cuts.

use crate::audit::{Checkpoint, CheckpointEntry, Cut, Signature};
use crate::crypto::KeyId;
use crate::store::Error;
use crate::store::sql::{Columns, Statement};

macro_rules! columns {
    () => {
        "number, at, previous, entries, key_id, signature"
    };
}

pub(super) fn list(after: u64, limit: u32) -> Statement {
    const SQL: &str =
        concat!("SELECT ", columns!(), " FROM audit_checkpoints WHERE number > $1 ORDER BY number LIMIT $2");
    Statement::new(SQL, [after.into(), limit.into()])
}

pub(super) fn last() -> Statement {
    const SQL: &str = concat!("SELECT ", columns!(), " FROM audit_checkpoints ORDER BY number DESC LIMIT 1");
    Statement::new(SQL, [])
}

/// Returns one row if the checkpoint was stored, and none if there is one of that number.
pub(super) fn add(checkpoint: &Checkpoint, entries: &[CheckpointEntry]) -> Vec<Statement> {
    let insert = Statement::new(
        "INSERT INTO audit_checkpoints (number, at, previous, entries, key_id, signature) \
         VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (number) DO NOTHING RETURNING number",
        [
            checkpoint.number.into(),
            checkpoint.at.into(),
            checkpoint.previous.as_slice().into(),
            checkpoint.entries.as_slice().into(),
            checkpoint.signature.key.into(),
            checkpoint.signature.bytes.as_slice().into(),
        ],
    );
    let ended = entries.iter().filter(|entry| entry.state.is_some()).map(|entry| {
        Statement::new(
            "UPDATE audit_chains SET final_checkpoint = $2 WHERE id = $1 AND final_checkpoint IS NULL \
             AND EXISTS (SELECT 1 FROM audit_checkpoints WHERE number = $2 AND signature = $3)",
            [entry.chain.into(), checkpoint.number.into(), checkpoint.signature.bytes.as_slice().into()],
        )
    });
    std::iter::once(insert).chain(ended).collect()
}

pub(super) fn parse(row: &dyn Columns) -> Result<Checkpoint, Error> {
    Ok(Checkpoint {
        number: row.integer("number")?,
        at: row.time("at")?,
        previous: row.array("previous")?,
        entries: row.bytes("entries")?,
        signature: signature(row)?,
    })
}

pub(super) fn cuts(after: u64, limit: u32) -> Statement {
    const SQL: &str = "SELECT number, at, cut_before, entries, key_id, signature FROM audit_cuts \
         WHERE number > $1 ORDER BY number LIMIT $2";
    Statement::new(SQL, [after.into(), limit.into()])
}

pub(super) fn parse_cut(row: &dyn Columns) -> Result<Cut, Error> {
    Ok(Cut {
        number: row.integer("number")?,
        at: row.time("at")?,
        before: row.time("cut_before")?,
        entries: row.bytes("entries")?,
        signature: signature(row)?,
    })
}

fn signature(row: &dyn Columns) -> Result<Signature, Error> {
    Ok(Signature { key: KeyId(row.array("key_id")?), bytes: row.array("signature")? })
}
