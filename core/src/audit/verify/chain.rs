use std::collections::VecDeque;

use super::{Beginning, Claim, Crash, Finding, Place, Tampering};
use crate::audit::{ChainKey, ChainRow, Ended, StoredRecord};
use crate::id::ChainId;

/// Records that are looked at together to say what happened to one of them.
const WINDOW: usize = 1000;
/// The operation of the record that ends a chain cleanly.
const END: &str = "audit.end";

/// One chain, record by record.
pub struct ChainWalk<'a> {
    chain: ChainId,
    key: &'a ChainKey,
    claim: Option<Claim>,
    beginning: Beginning,
    /// The number of the next record, and the code of the one before.
    next: u64,
    previous: [u8; 32],
    /// Whether the record before is the clean end.
    ended: bool,
    window: VecDeque<StoredRecord>,
    /// The number of the first record behind the chain's end, if there is one.
    beyond: Option<u64>,
    crashes: Vec<Crash>,
    finding: Option<Finding>,
}

/// What there is to say of one chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainReport {
    /// Which.
    pub chain: ChainId,
    /// Whose it is, if it has a row.
    pub instance: Option<String>,
    /// Records that are as they were written.
    pub records: u64,
    /// The number of the last of them.
    pub last_seq: Option<u64>,
    /// How it ended, by its row.
    pub end: End,
    /// What it says of the ends of others.
    pub crashes: Vec<Crash>,
    /// The first that is not as it was written.
    pub finding: Option<Finding>,
}

/// How a chain ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Its process said goodbye.
    Clean,
    /// Its process was gone, and another said so.
    Crashed,
    /// It goes on.
    Open,
    /// Nobody knows: its row is gone.
    Unknown,
}

impl End {
    /// One word for people and programs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Clean => "clean",
            Self::Crashed => "crashed",
            Self::Open => "open",
            Self::Unknown => "unknown",
        }
    }
}

impl<'a> ChainWalk<'a> {
    /// From `beginning`, with `key`, and what the last checkpoint that knows the chain says of it.
    pub fn new(chain: ChainId, key: &'a ChainKey, beginning: Beginning, claim: Option<Claim>) -> Self {
        let Beginning { seq: next, previous } = beginning;
        let mut walk = Self {
            chain,
            key,
            claim,
            beginning,
            next,
            previous,
            ended: false,
            window: VecDeque::new(),
            beyond: None,
            crashes: Vec::new(),
            finding: None,
        };
        walk.compare_with_claim();
        walk
    }

    /// Looks at the next record that is there, in the order of their numbers. Behind the first that is wrong it looks at
    /// none.
    pub fn push(&mut self, record: StoredRecord) {
        if self.finding.is_some() {
            return;
        }
        self.window.push_back(record);
        if self.window.len() > WINDOW {
            self.step();
        }
    }

    /// There is a record of that number, which retention removed.
    pub fn push_removed(&mut self, seq: u64) {
        let evidence = "retention removed the record of that number, and a cut says so".to_owned();
        self.found(Place::Record(self.chain, seq), Tampering::Inserted, evidence);
    }

    /// There is a record of that number, behind the chain's end.
    pub fn push_beyond(&mut self, seq: u64) {
        self.beyond = self.beyond.or(Some(seq));
    }

    /// Whether something is wrong already.
    pub fn has_finding(&self) -> bool {
        self.finding.is_some()
    }

    /// All records were looked at, up to the end that the chain's row says.
    pub fn finish(mut self, row: Option<&ChainRow>) -> ChainReport {
        while self.finding.is_none() && !self.window.is_empty() {
            self.step();
        }
        let records = self.next - self.beginning.seq;
        if self.finding.is_none() {
            self.finding = self.compare_end(row);
        }
        ChainReport {
            chain: self.chain,
            instance: row.map(|row| row.instance.clone()),
            records,
            last_seq: self.next.checked_sub(1),
            end: match row.map(|row| row.ended) {
                Some(Some(Ended::Clean)) => End::Clean,
                Some(Some(Ended::Crashed)) => End::Crashed,
                Some(None) => End::Open,
                None => End::Unknown,
            },
            crashes: self.crashes,
            finding: self.finding,
        }
    }

    fn step(&mut self) {
        let Some(record) = self.window.pop_front() else { return };
        if let Some((seq, tampering, evidence)) = self.judge(&record) {
            self.found(Place::Record(self.chain, seq), tampering, evidence);
            return;
        }
        self.next += 1;
        self.previous = record.mac;
        self.ended = record.operation == END;
        self.crashes.extend(Crash::of(&record));
        self.compare_with_claim();
    }

    /// What is wrong with a record, and at which number.
    fn judge(&self, record: &StoredRecord) -> Option<(u64, Tampering, String)> {
        if record.seq > self.next {
            return Some((self.next, Tampering::Missing, removed(record.seq - self.next)));
        }
        if record.seq < self.next {
            let evidence = "it is not the record of that number, which is there too".to_owned();
            return Some((record.seq, Tampering::Inserted, evidence));
        }
        if self.ended {
            let evidence = "the chain had ended before it".to_owned();
            return Some((record.seq, Tampering::Inserted, evidence));
        }
        if self.is_genuine(record, record.seq, &self.previous) {
            return None;
        }
        let (tampering, evidence) = self.explain(record);
        Some((self.next, tampering, evidence))
    }

    fn is_genuine(&self, record: &StoredRecord, seq: u64, previous: &[u8; 32]) -> bool {
        // Codes are no secret from whoever sees them beside the records, so time tells nothing.
        self.key.mac(previous, &StoredRecord { seq, ..record.clone() }) == record.mac
    }

    /// What was done to a record whose code is not that of what stands here, by what follows it.
    fn explain(&self, record: &StoredRecord) -> (Tampering, String) {
        let place = self.next;
        // It follows one of those behind it: that has kept its number, or it has the next because this one was moved here,
        // or it was moved there from here.
        let belongs = self.window.iter().find_map(|before| {
            let numbers = [before.seq.saturating_add(1), before.seq, place.saturating_add(1)];
            numbers.into_iter().find(|&seq| seq != place && self.is_genuine(record, seq, &before.mac))
        });
        if let Some(seq) = belongs {
            return (Tampering::Reordered, format!("the record that stands here is number {seq}"));
        }
        if self.window.iter().any(|other| self.is_genuine(other, place, &self.previous)) {
            let evidence = "it was never written by this service; the record of this number stands behind it";
            return (Tampering::Inserted, evidence.to_owned());
        }
        // The one behind it follows it with another number: those between were removed, and the rest renumbered.
        if let Some(after) = self.window.front() {
            let shift = (1..=WINDOW as u64).find(|shift| {
                after.seq.checked_add(*shift).is_some_and(|seq| self.is_genuine(after, seq, &record.mac))
            });
            if let Some(shift) = shift {
                return (Tampering::Missing, format!("{}, and the rest renumbered", removed(shift)));
            }
        }
        (Tampering::Edited, "its code is not that of its content after the record before it".to_owned())
    }

    /// Whether the chain has the code that a checkpoint says it has here.
    fn compare_with_claim(&mut self) {
        let Some(claim) = self.claim else { return };
        if claim.head.seq.checked_add(1) == Some(self.next) && claim.head.mac != self.previous {
            let evidence = format!(
                "checkpoint {} signed another code of it: it, or a record before it, was written anew",
                claim.checkpoint
            );
            self.found(Place::Record(self.chain, claim.head.seq), Tampering::Edited, evidence);
        }
    }

    /// Whether the chain ends where it says, and where the checkpoints say.
    fn compare_end(&self, row: Option<&ChainRow>) -> Option<Finding> {
        let here = Place::Record(self.chain, self.next);
        let finding = |place, tampering, evidence: String| Some(Finding { place, tampering, evidence });
        if let Some(claim) = self.claim {
            if claim.head.seq >= self.next {
                let evidence = format!("checkpoint {} saw record {}", claim.checkpoint, claim.head.seq);
                return finding(here, Tampering::Truncated, evidence);
            }
            if claim.state.is_some() && claim.head.seq + 1 < self.next {
                let (place, number) = (Place::Record(self.chain, claim.head.seq + 1), claim.checkpoint);
                let evidence = format!("checkpoint {number} saw the end of the chain before it");
                return finding(place, Tampering::Inserted, evidence);
            }
        }
        let Some(row) = row else {
            // What retention removed as a whole has no row either.
            let gone = self.next == self.beginning.seq;
            return if gone && self.beginning != Beginning::GENESIS {
                None
            } else {
                finding(Place::Chain(self.chain), Tampering::Missing, "its row was removed".to_owned())
            };
        };
        if row.head.seq >= self.next {
            let evidence = format!("its chain ends with record {}", row.head.seq);
            return finding(here, Tampering::Truncated, evidence);
        }
        let beyond = (row.head.seq + 1 < self.next).then_some(row.head.seq + 1).or(self.beyond);
        if let Some(seq) = beyond {
            let evidence = "its chain ends before it, so this service did not append it".to_owned();
            return finding(Place::Record(self.chain, seq), Tampering::Inserted, evidence);
        }
        if row.head.mac != self.previous {
            let evidence = "its row has another code than its last record".to_owned();
            return finding(Place::Chain(self.chain), Tampering::Edited, evidence);
        }
        if row.first_seq > self.beginning.seq {
            let evidence =
                format!("its row says that it begins with record {}, and no cut does", row.first_seq);
            return finding(Place::Chain(self.chain), Tampering::Edited, evidence);
        }
        let any = self.next > self.beginning.seq;
        if any && row.ended == Some(Ended::Clean) && !self.ended {
            let evidence = "its chain has ended, and the record of its end is not there".to_owned();
            return finding(here, Tampering::Truncated, evidence);
        }
        if any && row.ended != Some(Ended::Clean) && self.ended {
            let evidence = "its last record is a clean end, and its row says otherwise".to_owned();
            return finding(Place::Chain(self.chain), Tampering::Edited, evidence);
        }
        None
    }

    fn found(&mut self, place: Place, tampering: Tampering, evidence: String) {
        self.finding = Some(Finding { place, tampering, evidence });
        self.window.clear();
    }
}

fn removed(count: u64) -> String {
    if count == 1 {
        "it was removed".to_owned()
    } else {
        format!("it was removed, and the {} after it", count - 1)
    }
}
