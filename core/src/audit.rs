//! The audit trail: what was done, by whom, to what, and how it ended.
//!
//! A reply rarely waits for it: records go through a bounded queue to one writer per process. Room in the queue is
//! taken before an operation begins, so an operation that could not be recorded is refused, and none is lost silently.
//!
//! What is written is a [chain](ChainKey) for each run of a process: every record is authenticated together with the one
//! before it. [Checkpoints](Checkpoint) say, signed, how far all chains were, and [cuts](Cut) what retention removed.

mod chain;
mod chain_writer;
mod checkpoint;
mod cut;
mod encoding;
mod format;
mod json;
mod keys;
mod queue;
mod record;
mod search;
mod signed;
mod sink;
mod stored;
mod time;
pub mod verify;
mod writer;

pub use chain::{After, Append, Appended, ChainKey, ChainRow, Ended, Head, Opening};
pub use chain_writer::ChainWriter;
pub use checkpoint::{ChainState, Checkpoint, CheckpointEntry, CheckpointError};
pub use cut::{Cut, CutEntry};
pub use format::Format;
pub use keys::{Keys, KeysError, KeysRow};
pub use queue::{Audit, AuditUnavailable, Permit};
pub use record::{Outcome, Record};
pub use search::{Filter, InvalidPosition, Order, OutcomeFilter, Page, Position};
pub use signed::Signature;
pub use stored::StoredRecord;
pub use time::DatabaseTime;
pub use writer::Writer;
