//! The audit trail as rows.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use super::Error;
use crate::audit::{
    Append, Appended, ChainRow, Checkpoint, CheckpointEntry, Cut, Keys, KeysRow, StoredRecord,
};
use crate::clock::Timestamp;
use crate::contexts::StoredVersion;
use crate::id::ChainId;

/// What a store does for the audit trail. None of it raises the revision.
pub trait AuditTrail {
    /// The rows of the audit keys; empty before they are made.
    fn audit_keys(&self) -> impl Future<Output = Result<Vec<StoredVersion>, Error>> + Send;

    /// Stores the audit keys, with the tenant and the context that they belong to; `false`, and nothing is changed, if
    /// there are some, or these are wrapped under another key-encryption key than the active one.
    fn create_audit_keys(&self, new: &KeysRow) -> impl Future<Output = Result<bool, Error>> + Send;

    /// Appends to a chain, all or nothing, durably. What was written by an earlier attempt is not written again.
    fn append_audit(&self, append: &Append) -> impl Future<Output = Result<Appended, Error>> + Send;

    /// Chains in the order in which they began, behind the one that began `after` and has that id; at most `limit`.
    fn audit_chains(
        &self,
        after: Option<(Timestamp, ChainId)>,
        limit: u32,
    ) -> impl Future<Output = Result<Vec<ChainRow>, Error>> + Send;

    /// One chain.
    fn audit_chain(&self, id: ChainId) -> impl Future<Output = Result<Option<ChainRow>, Error>> + Send;

    /// Records of a chain in order, by `seq` and then by `recorded_at`, which only in a damaged chain matters; behind the
    /// record `after` of which these are given; at most `limit`.
    fn audit_records(
        &self,
        chain: ChainId,
        after: Option<(u64, Timestamp)>,
        limit: u32,
    ) -> impl Future<Output = Result<Vec<StoredRecord>, Error>> + Send;

    /// Checkpoints by number, behind the number `after`; at most `limit`.
    fn audit_checkpoints(
        &self,
        after: u64,
        limit: u32,
    ) -> impl Future<Output = Result<Vec<Checkpoint>, Error>> + Send;

    /// Cuts by number, behind the number `after`; at most `limit`.
    fn audit_cuts(&self, after: u64, limit: u32) -> impl Future<Output = Result<Vec<Cut>, Error>> + Send;

    /// The last checkpoint.
    fn last_audit_checkpoint(&self) -> impl Future<Output = Result<Option<Checkpoint>, Error>> + Send;

    /// What time it is by the database's clock.
    fn database_time(&self) -> impl Future<Output = Result<Timestamp, Error>> + Send;

    /// Chains that are open, or whose end no checkpoint holds yet; by id.
    fn unfinished_audit_chains(&self) -> impl Future<Output = Result<Vec<CheckpointEntry>, Error>> + Send;

    /// Stores a checkpoint and notes it with the chains whose end it holds; `false`, and nothing is changed, if there is
    /// one of that number.
    fn add_audit_checkpoint(
        &self,
        checkpoint: &Checkpoint,
        entries: &[CheckpointEntry],
    ) -> impl Future<Output = Result<bool, Error>> + Send;

    /// Ends as crashed every chain that is open, was last appended to longer than `silence` ago, and whose process says no
    /// more that it is there. Returns those that this call ended.
    fn end_crashed_audit_chains(
        &self,
        silence: Duration,
    ) -> impl Future<Output = Result<Vec<ChainRow>, Error>> + Send;

    /// Chains that ended as crashed longer than `ago` ago, which no chain says yet.
    fn unrecorded_audit_crashes(
        &self,
        ago: Duration,
    ) -> impl Future<Output = Result<Vec<ChainRow>, Error>> + Send;

    /// Prepares the database for records of `days` days from `from` on. Of many processes that do so at once, one does.
    fn prepare_audit_days(
        &self,
        from: Timestamp,
        days: u32,
    ) -> impl Future<Output = Result<(), Error>> + Send;

    /// Removes records that were recorded before `before`, the beginning of a day in UTC, together with the signed
    /// statement that says so: all of them, or as many as one transaction should hold. `None` if there were none, or
    /// another process is at it.
    fn cut_audit(
        &self,
        before: Timestamp,
        keys: &Arc<Keys>,
    ) -> impl Future<Output = Result<Option<Cut>, Error>> + Send;

    /// Notes that a chain says that this one crashed.
    fn set_audit_crash_recorded(&self, id: ChainId) -> impl Future<Output = Result<(), Error>> + Send;
}
