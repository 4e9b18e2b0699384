use std::sync::Arc;

use super::chain::{After, Append, Appended, ChainKey, Head, Opening};
use super::{DatabaseTime, Keys, KeysError, Outcome, Record, StoredRecord};
use crate::clock::{Clock, Timestamp};
use crate::id::{ChainId, ReplicaId};
use crate::keyring::Keks;
use crate::store::{Error, Store};

/// Writes one chain after the other: another one only when somebody has ended the one before, as is done with that of a
/// process that was paused for so long that it was taken for dead.
///
/// Records get their place when they are handed over, and keep it however often they must be written, so that none is
/// written twice when an answer of the store was lost.
pub struct ChainWriter<S> {
    store: S,
    keys: Arc<Keys>,
    opening: Opening,
    time: DatabaseTime,
    chain: Option<Chain>,
    /// What has its place and is not known to be durable.
    pending: Option<Append>,
}

struct Chain {
    id: ChainId,
    key: ChainKey,
    /// `None` until it has begun.
    head: Option<Head>,
    /// Of the last record.
    recorded_at: Timestamp,
}

/// Writes of a command, of which each may find the store busy.
const ATTEMPTS: usize = 3;

impl<S: Store> ChainWriter<S> {
    /// A writer that has not begun a chain.
    pub fn new(store: S, keys: Arc<Keys>, opening: Opening, time: DatabaseTime) -> Self {
        Self { store, keys, opening, time, chain: None, pending: None }
    }

    /// A writer for a command, which is no replica and writes a chain of its own.
    ///
    /// # Errors
    ///
    /// When there are no audit keys to be had.
    pub async fn for_command(
        store: &S,
        keks: &Keks,
        instance: &str,
        clock: &Clock,
    ) -> Result<Self, KeysError> {
        let keys = Keys::open(store, keks, clock).await?;
        let time = DatabaseTime::new(clock.clone());
        let begun = time.begin();
        time.measured(begun, store.database_time().await?);
        let opening = Opening { instance: instance.to_owned(), replica: ReplicaId::random() };
        Ok(Self::new(store.clone(), Arc::new(keys), opening, time))
    }

    /// Appends durably, with the begin of the chain if it has none; for commands, which give up in the end.
    ///
    /// # Errors
    ///
    /// The store's last error; then the records may or may not be there.
    pub async fn append(&mut self, records: Vec<Record>) -> Result<(), Error> {
        self.place(records, false);
        self.write_a_few_times().await
    }

    /// Ends the chain, if it has begun.
    ///
    /// # Errors
    ///
    /// The store's last error; then the chain counts as crashed after a while.
    pub async fn end(&mut self) -> Result<(), Error> {
        if self.chain.is_none() {
            return Ok(());
        }
        self.place(Vec::new(), true);
        self.write_a_few_times().await
    }

    async fn write_a_few_times(&mut self) -> Result<(), Error> {
        for _ in 1..ATTEMPTS {
            match self.write().await {
                Err(Error::Unavailable(_)) => {}
                result => return result.map(drop),
            }
        }
        self.write().await.map(drop)
    }

    /// Gives records their places, the begin and the end of the chain included. Nothing may be pending.
    pub(super) fn place(&mut self, records: Vec<Record>, ends: bool) {
        let records = records.into_iter().map(|record| {
            let at = self.time.correct(record.at);
            StoredRecord::new(Record { at, ..record })
        });
        let mut records: Vec<_> = records.collect();
        if ends {
            records.push(self.own("audit.end", String::new()));
        }
        self.place_stored(records, ends);
    }

    fn place_stored(&mut self, mut records: Vec<StoredRecord>, ends: bool) {
        if self.chain.is_none() {
            let id = ChainId::random();
            let key = self.keys.chain_key(id).expect("HKDF gives 32 bytes of any key");
            let release = env!("CARGO_PKG_VERSION");
            records.insert(
                0,
                self.own("audit.begin", format!("release {release}, replica {}", self.opening.replica)),
            );
            self.chain = Some(Chain { id, key, head: None, recorded_at: Timestamp::from_micros(0) });
        }
        let now = self.time.now();
        let chain = self.chain.as_mut().expect("it was begun above");
        let after = match chain.head {
            Some(head) => After::Head(head),
            None => After::Nothing(self.opening.clone()),
        };
        for record in &mut records {
            let recorded_at = now.max(chain.recorded_at).max(record.at);
            record.place(chain.id, chain.head.map_or(0, |head| head.seq + 1), recorded_at);
            let previous = chain.head.map_or([0; 32], |head| head.mac);
            record.mac = chain.key.mac(&previous, record);
            chain.head = Some(Head { seq: record.seq, mac: record.mac });
            chain.recorded_at = record.recorded_at;
        }
        self.pending = Some(Append { chain: chain.id, after, records, ends });
    }

    /// Writes what is pending, and returns it. After an error it is pending still.
    pub(super) async fn write(&mut self) -> Result<Vec<StoredRecord>, Error> {
        loop {
            let Some(append) = &self.pending else { return Ok(Vec::new()) };
            match self.store.append_audit(append).await? {
                Appended::Written => {
                    if append.ends {
                        self.chain = None;
                    }
                    return Ok(self.pending.take().map_or_else(Vec::new, |append| append.records));
                }
                Appended::Refused => self.begin_again(),
            }
        }
    }

    /// Gives what is pending places in a new chain.
    fn begin_again(&mut self) {
        let Some(append) = self.pending.take() else { return };
        tracing::warn!(
            chain = %append.chain,
            records = append.records.len(),
            "somebody ended this process's audit chain, as if it had died; going on with a new one"
        );
        let began = matches!(append.after, After::Nothing(_));
        let records = append.records.into_iter().skip(usize::from(began)).collect();
        self.chain = None;
        self.place_stored(records, append.ends);
    }

    /// A record about the chain itself.
    fn own(&self, operation: &'static str, detail: String) -> StoredRecord {
        let record = Record {
            at: self.time.now(),
            instance: self.opening.instance.as_str().into(),
            request_id: String::new(),
            tenant: None,
            identity: None,
            operation,
            context: None,
            key_version: None,
            outcome: Outcome::Success,
            items: 1,
            failed: 0,
            bytes: 0,
            address: None,
            detail: Some(detail).filter(|detail| !detail.is_empty()),
        };
        StoredRecord::new(record)
    }
}
