//! Whether the audit trail is what was written: nothing removed, moved, changed, added or cut off.
//!
//! Each record's code covers the record and the code before it, under a key of its chain, so a chain is walked from its
//! beginning. Where chains end is what checkpoints say, which are signed and name each other; where they
//! begin, once their heads are older than what is kept, is what cuts say, which are signed too. What was removed
//! together with every checkpoint that knew of it is found by an [anchor](Anchors): a checkpoint's hash that was kept
//! elsewhere.
//!
//! All but [`run`] is pure. Memory is bounded by pages of records, and by one claim for each chain.

mod anchors;
mod chain;
mod checkpoints;
mod crash;
mod cuts;
mod finding;
mod run;
#[cfg(test)]
mod tests;

pub use anchors::{Anchors, InvalidAnchor};
pub use chain::{ChainReport, ChainWalk, End};
pub use checkpoints::{CheckpointWalk, Claim, Claims};
pub use crash::Crash;
pub use cuts::{Beginning, CutWalk};
pub use finding::{Finding, Place, Tampering};
pub use run::{Event, Options, Summary, run};
