use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::{Record, Writer};
use crate::config::AuditMode;
use crate::store::Store;

/// Bytes of the queue's bound that one record counts for: more than any record is long.
pub(super) const RECORD_BYTES: usize = 1024;

/// The way to the audit trail.
#[derive(Clone)]
pub struct Audit {
    queue: Option<mpsc::UnboundedSender<Entry>>,
    room: Arc<Semaphore>,
    capacity: usize,
    strict: bool,
}

/// Room for one record.
pub struct Permit {
    queue: Option<mpsc::UnboundedSender<Entry>>,
    room: Option<OwnedSemaphorePermit>,
    strict: bool,
}

/// The audit trail takes no records now, so nothing that must be recorded can be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the audit trail cannot be written")]
pub struct AuditUnavailable;

pub(super) struct Entry {
    pub(super) record: Record,
    /// Told when the record is durable.
    pub(super) durable: Option<oneshot::Sender<()>>,
    /// Freed with the entry.
    pub(super) room: OwnedSemaphorePermit,
}

impl Audit {
    /// A queue of at most `queue_bytes`, and the writer that empties it; none with [`AuditMode::Off`].
    pub fn new<S: Store>(mode: AuditMode, queue_bytes: usize, store: S) -> (Self, Option<Writer<S>>) {
        let capacity = (queue_bytes / RECORD_BYTES).max(1);
        let room = Arc::new(Semaphore::new(capacity));
        let strict = mode == AuditMode::Strict;
        if mode == AuditMode::Off {
            return (Self { queue: None, room, capacity, strict }, None);
        }
        let (sender, receiver) = mpsc::unbounded_channel();
        (Self { queue: Some(sender), room, capacity, strict }, Some(Writer::new(store, receiver)))
    }

    /// Takes room for one record, before the operation that it will describe.
    ///
    /// # Errors
    ///
    /// [`AuditUnavailable`] when the queue is full or its writer has ended.
    pub fn reserve(&self) -> Result<Permit, AuditUnavailable> {
        let Some(queue) = &self.queue else {
            return Ok(Permit { queue: None, room: None, strict: false });
        };
        if queue.is_closed() {
            return Err(AuditUnavailable);
        }
        let room = self.room.clone().try_acquire_owned().map_err(|_| AuditUnavailable)?;
        Ok(Permit { queue: Some(queue.clone()), room: Some(room), strict: self.strict })
    }

    /// Records that wait to be written, and how many may.
    pub fn depth(&self) -> (usize, usize) {
        (self.capacity - self.room.available_permits(), self.capacity)
    }
}

impl Permit {
    /// Hands over the record; with [`AuditMode::Strict`] returns only once it is durable.
    ///
    /// # Errors
    ///
    /// [`AuditUnavailable`] when the writer ended before it was durable.
    pub async fn record(self, record: Record) -> Result<(), AuditUnavailable> {
        let strict = self.strict;
        match self.send(record)? {
            Some(durable) if strict => durable.await.map_err(|_| AuditUnavailable),
            _ => Ok(()),
        }
    }

    /// Hands over the record and waits for nothing; for what ends where nobody can wait.
    pub fn record_later(self, record: Record) {
        if self.send(record).is_err() {
            tracing::error!("an audit record could not be written: the writer has ended");
        }
    }

    fn send(self, record: Record) -> Result<Option<oneshot::Receiver<()>>, AuditUnavailable> {
        let (Some(queue), Some(room)) = (self.queue, self.room) else { return Ok(None) };
        let (sender, receiver) = oneshot::channel();
        let durable = self.strict.then_some(sender);
        queue.send(Entry { record, durable, room }).map_err(|_| AuditUnavailable)?;
        Ok(Some(receiver))
    }
}
