use uuid::Uuid;

use super::{Beginning, Finding, Place, Tampering};
use crate::audit::{ChainRow, Ended, Head, StoredRecord};
use crate::id::ChainId;

/// The operation of the record by which one chain says that another one crashed.
const CRASHED: &str = "audit.crashed";

/// What a record says of the end of another chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crash {
    /// The chain that crashed.
    pub chain: ChainId,
    /// Its last record.
    pub head: Head,
    /// Where that is said.
    pub said: (ChainId, u64),
}

impl Crash {
    /// What `record` says, if it says so.
    pub(super) fn of(record: &StoredRecord) -> Option<Self> {
        if record.operation != CRASHED {
            return None;
        }
        let detail = record.detail.as_deref()?;
        let mut words = detail.split(|char: char| !char.is_ascii_alphanumeric() && char != '-');
        let mut after = |name: &str| words.find(|word| *word == name).and_then(|_| words.next());
        let chain = ChainId(Uuid::try_parse(after("chain")?).ok()?);
        let seq = after("seq")?.parse().ok()?;
        let mut mac = [0; 32];
        hex::decode_to_slice(after("mac")?, &mut mac).ok()?;
        Some(Self { chain, head: Head { seq, mac }, said: (record.chain, record.seq) })
    }
}

/// Whether the chain ended where that record says. `row` is the chain's as it is now.
pub(super) fn compare(crash: &Crash, row: Option<&ChainRow>, beginning: Beginning) -> Option<Finding> {
    let Crash { chain, head, said: (by, seq) } = *crash;
    let Some(row) = row else {
        // If it is not gone by retention, the checkpoints or its own records have said so.
        return None;
    };
    if row.head == head && row.ended == Some(Ended::Crashed) || beginning.seq > head.seq {
        return None;
    }
    let (place, tampering) = if row.head.seq < head.seq {
        (Place::Record(chain, row.head.seq + 1), Tampering::Truncated)
    } else if row.head.seq > head.seq {
        (Place::Record(chain, head.seq + 1), Tampering::Inserted)
    } else {
        (Place::Chain(chain), Tampering::Edited)
    };
    let evidence = format!("chain {by}, record {seq}, says that it crashed after record {}", head.seq);
    Some(Finding { place, tampering, evidence })
}
