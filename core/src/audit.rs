//! The audit trail: what was done, by whom, to what, and how it ended.
//!
//! A reply rarely waits for it: records go through a bounded queue to one writer per process. Room in the queue is
//! taken before an operation begins, so an operation that could not be recorded is refused, and none is lost silently.

mod queue;
mod record;
mod writer;

pub use queue::{Audit, AuditUnavailable, Permit};
pub use record::{Outcome, Record};
pub use writer::Writer;
