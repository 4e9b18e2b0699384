use crate::audit::verify::{Beginning, ChainReport, ChainWalk, Claim};
use crate::audit::{ChainKey, ChainRow, ChainState, Ended, Head, Keys, Outcome, Record, StoredRecord};
use crate::clock::Timestamp;
use crate::id::{ChainId, ReplicaId};

pub(super) fn chain_id() -> ChainId {
    ChainId::from_bytes([5; 16])
}

/// One chain as a store has it.
pub(super) struct Trail {
    pub(super) key: ChainKey,
    pub(super) row: Option<ChainRow>,
    pub(super) records: Vec<StoredRecord>,
}

impl Trail {
    /// A chain of so many records, the last of which is a clean end if it has `ended`.
    pub(super) fn new(records: u64, ended: Option<Ended>) -> Self {
        let key = Keys::for_tests().chain_key(chain_id()).unwrap();
        let mut trail = Self { key, row: None, records: Vec::new() };
        for seq in 0..records {
            let operation = match seq {
                0 => "audit.begin",
                seq if seq + 1 == records && ended == Some(Ended::Clean) => "audit.end",
                _ => "encrypt",
            };
            trail.records.push(trail.record(seq, operation));
        }
        trail.chain(0);
        trail.row = Some(ChainRow {
            id: chain_id(),
            instance: "one".to_owned(),
            replica: ReplicaId::random(),
            started_at: Timestamp::from_secs(1),
            appended_at: Timestamp::from_secs(1),
            first_seq: 0,
            head: trail.head(records - 1),
            ended,
            ended_at: None,
        });
        trail
    }

    /// A record that nobody has chained.
    pub(super) fn record(&self, seq: u64, operation: &'static str) -> StoredRecord {
        let mut record = StoredRecord::new(Record {
            at: Timestamp::from_secs(seq),
            instance: "one".into(),
            request_id: format!("request-{seq}"),
            tenant: None,
            identity: None,
            operation,
            context: None,
            key_version: None,
            outcome: Outcome::Success,
            items: 1,
            failed: 0,
            bytes: seq,
            address: None,
            detail: None,
        });
        record.place(chain_id(), seq, Timestamp::from_secs(1000 + seq));
        record
    }

    /// Chains the records from that number on, as whoever has the key can.
    pub(super) fn chain(&mut self, from: usize) {
        let mut previous = from.checked_sub(1).map_or([0; 32], |before| self.records[before].mac);
        for record in &mut self.records[from..] {
            record.mac = self.key.mac(&previous, record);
            previous = record.mac;
        }
    }

    pub(super) fn head(&self, seq: u64) -> Head {
        let record = self.records.iter().find(|record| record.seq == seq).unwrap();
        Head { seq, mac: record.mac }
    }

    pub(super) fn claim(&self, seq: u64, state: ChainState) -> Claim {
        Claim { checkpoint: 3, head: self.head(seq), state }
    }

    pub(super) fn row(&mut self) -> &mut ChainRow {
        self.row.as_mut().unwrap()
    }

    /// Lets the row say that the chain ends with that record.
    pub(super) fn end_at(&mut self, seq: u64) {
        self.row().head = self.head(seq);
    }

    /// Numbers the records anew from that place on.
    pub(super) fn renumber(&mut self, from: usize) {
        for (place, record) in self.records.iter_mut().enumerate().skip(from) {
            record.seq = place as u64;
        }
    }

    /// Verifies it as a store would give it: by number and time, up to the end that the row says.
    pub(super) fn walk(&self, beginning: Beginning, claim: Option<Claim>) -> ChainReport {
        let mut walk = ChainWalk::new(chain_id(), &self.key, beginning, claim);
        let mut records = self.records.clone();
        records.sort_by_key(|record| (record.seq, record.recorded_at));
        let end = self.row.as_ref().map_or(u64::MAX, |row| row.head.seq);
        for record in records.into_iter().filter(|record| record.seq >= beginning.seq) {
            if record.seq > end {
                walk.push_beyond(record.seq);
            } else {
                walk.push(record);
            }
        }
        walk.finish(self.row.as_ref())
    }
}
