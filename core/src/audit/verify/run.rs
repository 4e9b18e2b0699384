use std::collections::{HashMap, HashSet};

use super::{
    Anchors, Beginning, ChainReport, ChainWalk, CheckpointWalk, Claims, Crash, CutWalk, End, Finding, Place,
    Tampering, crash,
};
use crate::audit::{ChainRow, Keys, KeysError};
use crate::clock::Timestamp;
use crate::id::ChainId;
use crate::store::Store;

/// Records, chains, checkpoints or cuts that are read at once.
const PAGE: u32 = 1000;
/// Later than any record: the end of the year 9999.
const LAST_TIME: Timestamp = Timestamp::from_secs(253_402_300_800);

/// What is verified, and against what.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Checkpoints that are known from elsewhere.
    pub anchors: Anchors,
    /// Records that the last checkpoint before this time covers are taken as they were then.
    pub since: Option<Timestamp>,
}

/// What is told while it goes on.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// Something is not as it was written. What is wrong in a chain comes with [`Event::Chain`].
    Finding(&'a Finding),
    /// A chain was looked at.
    Chain(&'a ChainReport),
    /// So many records were looked at.
    Records(u64),
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Chains that ended cleanly.
    pub clean: u64,
    /// Chains whose process went silent.
    pub crashed: u64,
    /// Chains that go on.
    pub open: u64,
    /// Records that are as they were written.
    pub records: u64,
    /// Checkpoints that were looked at.
    pub checkpoints: u64,
    /// Statements of what retention removed that were looked at.
    pub cuts: u64,
    /// What is not as it was written: places, each the first of its chain.
    pub findings: u64,
    /// The last checkpoint and its hash, as an anchor for the next time.
    pub last_checkpoint: Option<(u64, [u8; 32])>,
}

/// Verifies the whole trail of a store, and tells what it finds as it goes. Changes nothing. Records that are appended
/// meanwhile are left for the next time.
///
/// # Errors
///
/// [`KeysError`] when the store cannot be read.
pub async fn run<S: Store>(
    store: &S,
    keys: &Keys,
    options: Options,
    mut tell: impl FnMut(Event<'_>),
) -> Result<Summary, KeysError> {
    let mut run = Run {
        store,
        keys,
        cuts: CutWalk::new(keys),
        claims: Claims::default(),
        seen: HashSet::new(),
        crashes: HashMap::new(),
        summary: Summary::default(),
        tell: &mut tell,
    };
    // In this order: what checkpoints and cuts say is about what was there before them.
    run.checkpoints(options).await?;
    run.cuts().await?;
    run.chains().await?;
    run.strays().await?;
    run.gone();
    run.crashes().await?;
    Ok(run.summary)
}

struct Run<'a, S> {
    store: &'a S,
    keys: &'a Keys,
    cuts: CutWalk<'a>,
    /// Of chains that were not walked yet.
    claims: Claims,
    seen: HashSet<ChainId>,
    /// What chains say of the ends of others.
    crashes: HashMap<ChainId, Crash>,
    summary: Summary,
    tell: &'a mut dyn FnMut(Event<'_>),
}

impl<S: Store> Run<'_, S> {
    async fn checkpoints(&mut self, options: Options) -> Result<(), KeysError> {
        let mut walk = CheckpointWalk::new(self.keys, options.anchors, options.since);
        loop {
            let page = self.store.audit_checkpoints(walk.next() - 1, PAGE).await?;
            for checkpoint in &page {
                for finding in walk.push(checkpoint) {
                    self.found(&finding);
                }
            }
            self.summary.checkpoints += page.len() as u64;
            if page.len() < PAGE as usize {
                break;
            }
        }
        let (claims, finding) = walk.finish();
        self.summary.last_checkpoint = claims.checkpoint;
        self.claims = claims;
        if let Some(finding) = finding {
            self.found(&finding);
        }
        Ok(())
    }

    /// Reads the cuts that are new.
    async fn cuts(&mut self) -> Result<(), KeysError> {
        loop {
            let page = self.store.audit_cuts(self.cuts.next() - 1, PAGE).await?;
            for cut in &page {
                if let Some(finding) = self.cuts.push(cut) {
                    self.found(&finding);
                }
            }
            self.summary.cuts += page.len() as u64;
            if page.len() < PAGE as usize {
                return Ok(());
            }
        }
    }

    async fn chains(&mut self) -> Result<(), KeysError> {
        let mut after = None;
        loop {
            let page = self.store.audit_chains(after, PAGE).await?;
            after = page.last().map(|row| (row.started_at, row.id));
            let full = page.len() == PAGE as usize;
            for row in page {
                self.chain(row.id, Some(row)).await?;
            }
            if !full {
                return Ok(());
            }
        }
    }

    /// Chains of which there are records, and no row, or one that was not read in its place.
    async fn strays(&mut self) -> Result<(), KeysError> {
        let mut after = None;
        while let Some(chain) = self.store.next_audit_chain(after).await? {
            if !self.seen.contains(&chain) {
                let row = self.store.audit_chain(chain).await?;
                self.chain(chain, row).await?;
            }
            after = Some(chain);
        }
        Ok(())
    }

    /// Chains that checkpoints know, and of which nothing is left.
    fn gone(&mut self) {
        let claims = std::mem::take(&mut self.claims.last);
        let mut gone: Vec<_> = claims
            .into_iter()
            .filter(|(chain, claim)| self.cuts.beginning(*chain).seq <= claim.head.seq)
            .collect();
        gone.sort_unstable_by_key(|(chain, _)| *chain);
        for (chain, claim) in gone {
            self.found(&Finding {
                place: Place::Record(chain, self.cuts.beginning(chain).seq),
                tampering: Tampering::Truncated,
                evidence: format!(
                    "the whole chain is gone; checkpoint {} saw record {}",
                    claim.checkpoint, claim.head.seq
                ),
            });
        }
    }

    /// Compares the ends of chains with what others say of them.
    async fn crashes(&mut self) -> Result<(), KeysError> {
        for (chain, crash) in std::mem::take(&mut self.crashes) {
            let row = self.store.audit_chain(chain).await?;
            if let Some(finding) = crash::compare(&crash, row.as_ref(), self.cuts.beginning(chain)) {
                self.found(&finding);
            }
        }
        Ok(())
    }

    async fn chain(&mut self, chain: ChainId, row: Option<ChainRow>) -> Result<(), KeysError> {
        let mut beginning = self.beginning(chain);
        let mut report = self.walk(chain, row, beginning).await?;
        while report.finding.is_some() {
            // Retention may have removed what was to be read.
            self.cuts().await?;
            if self.beginning(chain) == beginning {
                break;
            }
            beginning = self.beginning(chain);
            let row = self.store.audit_chain(chain).await?;
            report = self.walk(chain, row, beginning).await?;
        }
        self.seen.insert(chain);
        self.claims.last.remove(&chain);
        self.claims.before.remove(&chain);
        match report.end {
            End::Clean => self.summary.clean += 1,
            End::Crashed => self.summary.crashed += 1,
            End::Open => self.summary.open += 1,
            End::Unknown => {}
        }
        self.summary.records += report.records;
        self.summary.findings += u64::from(report.finding.is_some());
        self.crashes.extend(report.crashes.iter().map(|crash| (crash.chain, crash.clone())));
        (self.tell)(Event::Chain(&report));
        Ok(())
    }

    fn beginning(&self, chain: ChainId) -> Beginning {
        let cut = self.cuts.beginning(chain);
        let known = self.claims.before.get(&chain).map(|claim| Beginning::after(claim.head));
        known.filter(|known| known.seq > cut.seq).unwrap_or(cut)
    }

    async fn walk(
        &mut self,
        chain: ChainId,
        row: Option<ChainRow>,
        beginning: Beginning,
    ) -> Result<ChainReport, KeysError> {
        let key = self.keys.chain_key(chain)?;
        let mut walk = ChainWalk::new(chain, &key, beginning, self.claims.last.get(&chain).copied());
        // Also with a later beginning: what a cut says is gone must be.
        let cut = self.cuts.beginning(chain);
        if cut != Beginning::GENESIS
            && let Some(first) = self.store.audit_records(chain, None, 1).await?.first()
            && first.seq < cut.seq
        {
            walk.push_removed(first.seq);
        }
        let end = row.as_ref().map_or(u64::MAX, |row| row.head.seq);
        // Behind all that could have the number before.
        let mut after = beginning.seq.checked_sub(1).map(|seq| (seq, LAST_TIME));
        let mut beyond = None;
        while !walk.has_finding() && beyond.is_none() {
            let page = self.store.audit_records(chain, after, PAGE).await?;
            (self.tell)(Event::Records(page.len() as u64));
            after = page.last().map(|last| (last.seq, last.recorded_at)).or(after);
            let full = page.len() == PAGE as usize;
            for record in page {
                if record.seq > end {
                    beyond = Some(record.seq);
                    break;
                }
                walk.push(record);
            }
            if !full {
                break;
            }
        }
        // Appended since the row was read, unless the row still does not know of it.
        if let Some(seq) = beyond
            && self.store.audit_chain(chain).await?.is_none_or(|row| row.head.seq < seq)
        {
            walk.push_beyond(seq);
        }
        Ok(walk.finish(row.as_ref()))
    }

    fn found(&mut self, finding: &Finding) {
        self.summary.findings += 1;
        (self.tell)(Event::Finding(finding));
    }
}
