//! The audit trail: its keys, chains, records, checkpoints and cuts.

mod chains;
mod checkpoints;
pub(crate) mod cuts;
mod keys;
mod records;

use std::sync::Arc;
use std::time::Duration;

use super::store::{first, ignore, only};
use super::{Database, replicas, rewrap};
use crate::audit::{
    Append, Appended, ChainRow, Checkpoint, CheckpointEntry, Cut, Keys, KeysRow, StoredRecord,
};
use crate::clock::Timestamp;
use crate::contexts::StoredVersion;
use crate::id::ChainId;
use crate::store::{AuditTrail, Error};

pub(super) use records::parse as parse_record;
pub(crate) use records::{append, columns};

impl<D: Database> AuditTrail for D {
    async fn audit_keys(&self) -> Result<Vec<StoredVersion>, Error> {
        self.read(keys::read(), super::keys::parse_version).await
    }

    async fn create_audit_keys(&self, new: &KeysRow) -> Result<bool, Error> {
        self.mutate(keys::create(new), ignore).await.map(|applied| applied.is_some())
    }

    async fn append_audit(&self, append: &Append) -> Result<Appended, Error> {
        let Some(head) = append.head() else { return Ok(Appended::Written) };
        if Database::append_audit(self, append).await? {
            return Ok(Appended::Written);
        }
        // Either an earlier attempt wrote it, or the chain is not what it was.
        let row = self.audit_chain(append.chain).await?;
        Ok(if row.is_some_and(|row| row.head == head) { Appended::Written } else { Appended::Refused })
    }

    async fn audit_chains(
        &self,
        after: Option<(Timestamp, ChainId)>,
        limit: u32,
    ) -> Result<Vec<ChainRow>, Error> {
        self.read(chains::list(after, limit), chains::parse).await
    }

    async fn audit_chain(&self, id: ChainId) -> Result<Option<ChainRow>, Error> {
        first(self.read(chains::by_id(id), chains::parse).await)
    }

    async fn audit_records(
        &self,
        chain: ChainId,
        after: Option<(u64, Timestamp)>,
        limit: u32,
    ) -> Result<Vec<StoredRecord>, Error> {
        self.read(records::of_chain(chain, after, limit), records::parse).await
    }

    async fn audit_checkpoints(&self, after: u64, limit: u32) -> Result<Vec<Checkpoint>, Error> {
        self.read(checkpoints::list(after, limit), checkpoints::parse).await
    }

    async fn audit_cuts(&self, after: u64, limit: u32) -> Result<Vec<Cut>, Error> {
        self.read(checkpoints::cuts(after, limit), checkpoints::parse_cut).await
    }

    async fn last_audit_checkpoint(&self) -> Result<Option<Checkpoint>, Error> {
        first(self.read(checkpoints::last(), checkpoints::parse).await)
    }

    async fn database_time(&self) -> Result<Timestamp, Error> {
        only(self.read(rewrap::now(), replicas::parse_now).await)
    }

    async fn unfinished_audit_chains(&self) -> Result<Vec<CheckpointEntry>, Error> {
        self.read(chains::unfinished(), chains::parse_entry).await
    }

    async fn add_audit_checkpoint(
        &self,
        checkpoint: &Checkpoint,
        entries: &[CheckpointEntry],
    ) -> Result<bool, Error> {
        let rows = self.upkeep(checkpoints::add(checkpoint, entries), ignore).await?;
        Ok(!rows.is_empty())
    }

    async fn end_crashed_audit_chains(&self, silence: Duration) -> Result<Vec<ChainRow>, Error> {
        let now = self.database_time().await?;
        self.upkeep(vec![chains::end_crashed(now, now - silence)], chains::parse).await
    }

    async fn unrecorded_audit_crashes(&self, ago: Duration) -> Result<Vec<ChainRow>, Error> {
        let now = self.database_time().await?;
        self.read(chains::unrecorded_crashes(now - ago), chains::parse).await
    }

    async fn prepare_audit_days(&self, from: Timestamp, days: u32) -> Result<(), Error> {
        Database::prepare_audit_days(self, from, days).await
    }

    async fn cut_audit(&self, before: Timestamp, keys: &Arc<Keys>) -> Result<Option<Cut>, Error> {
        Database::cut_audit(self, before, keys).await
    }

    async fn set_audit_crash_recorded(&self, id: ChainId) -> Result<(), Error> {
        self.upkeep(vec![chains::set_crash_recorded(id)], ignore).await.map(drop)
    }
}
