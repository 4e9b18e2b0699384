use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::sink::{Lost, Sink};
use super::{ChainWriter, Record, Writer};
use crate::clock::{Clock, Monotonic};
use crate::config::{self, AuditMode};
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
    clock: Clock,
    status: Arc<Status>,
}

/// Room for one record.
pub struct Permit {
    queue: Option<mpsc::UnboundedSender<Entry>>,
    room: Option<OwnedSemaphorePermit>,
    strict: bool,
    clock: Clock,
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
    pub(super) queued_at: Monotonic,
}

/// What the writer says of itself.
#[derive(Debug, Default)]
pub(super) struct Status {
    /// When the oldest record of the batch that is being written came, in microseconds of the monotonic clock and one
    /// more; 0 when there is none.
    oldest: AtomicU64,
    lost: Lost,
}

impl Status {
    pub(super) fn set_oldest(&self, queued_at: Option<Monotonic>) {
        let oldest = queued_at.map_or(0, |queued_at| queued_at.as_micros() + 1);
        self.oldest.store(oldest, Ordering::Release);
    }
}

impl Audit {
    /// A queue of at most `queue_bytes`, and the writer that empties it into chains; none with [`AuditMode::Off`].
    /// A sink that cannot be started is said and does without.
    pub fn new<S: Store>(
        config: &config::Audit,
        clock: Clock,
        chain: ChainWriter<S>,
    ) -> (Self, Option<Writer<S>>) {
        let mode = config.mode;
        let queue_bytes = usize::try_from(config.queue_bytes).unwrap_or(usize::MAX);
        let capacity = (queue_bytes / RECORD_BYTES).max(1);
        let room = Arc::new(Semaphore::new(capacity));
        let strict = mode == AuditMode::Strict;
        let status = Arc::new(Status::default());
        let (queue, writer) = if mode == AuditMode::Off {
            (None, None)
        } else {
            let sink = config.sink.as_ref().map(|to| Sink::start(to, status.lost.clone()));
            let sink = sink.transpose().unwrap_or_else(|error| {
                tracing::error!(%error, "AUDIT_SINK cannot be started; records are in the database alone");
                None
            });
            let (sender, receiver) = mpsc::unbounded_channel();
            (Some(sender), Some(Writer::new(chain, receiver, status.clone(), sink)))
        };
        (Self { queue, room, capacity, strict, clock, status }, writer)
    }

    /// Takes room for one record, before the operation that it will describe.
    ///
    /// # Errors
    ///
    /// [`AuditUnavailable`] when the queue is full or its writer has ended.
    pub fn reserve(&self) -> Result<Permit, AuditUnavailable> {
        let Some(queue) = &self.queue else {
            return Ok(Permit { queue: None, room: None, strict: false, clock: self.clock.clone() });
        };
        if queue.is_closed() {
            return Err(AuditUnavailable);
        }
        let room = self.room.clone().try_acquire_owned().map_err(|_| AuditUnavailable)?;
        let clock = self.clock.clone();
        Ok(Permit { queue: Some(queue.clone()), room: Some(room), strict: self.strict, clock })
    }

    /// Records that wait to be written, and how many may.
    pub fn depth(&self) -> (usize, usize) {
        (self.capacity - self.room.available_permits(), self.capacity)
    }

    /// How long the oldest record has waited that is being written; zero if none is.
    pub fn lag(&self) -> Duration {
        match self.status.oldest.load(Ordering::Acquire).checked_sub(1) {
            Some(oldest) => self.clock.monotonic().since(Monotonic::from_micros(oldest)),
            None => Duration::ZERO,
        }
    }

    /// Records that `AUDIT_SINK` did not take; the database has them.
    pub fn lost_by_sink(&self) -> u64 {
        self.status.lost.count()
    }

    /// Whether records are kept at all.
    pub fn is_on(&self) -> bool {
        self.queue.is_some()
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
        match self.send(record, strict)? {
            Some(durable) => durable.await.map_err(|_| AuditUnavailable),
            None => Ok(()),
        }
    }

    /// Hands over the record and returns once it is durable, whatever the mode; at once with [`AuditMode::Off`].
    ///
    /// # Errors
    ///
    /// [`AuditUnavailable`] when the writer ended before it was durable.
    pub async fn record_durably(self, record: Record) -> Result<(), AuditUnavailable> {
        match self.send(record, true)? {
            Some(durable) => durable.await.map_err(|_| AuditUnavailable),
            None => Ok(()),
        }
    }

    /// Hands over the record and waits for nothing; for what ends where nobody can wait.
    pub fn record_later(self, record: Record) {
        if self.send(record, false).is_err() {
            tracing::error!("an audit record could not be written: the writer has ended");
        }
    }

    fn send(self, record: Record, wait: bool) -> Result<Option<oneshot::Receiver<()>>, AuditUnavailable> {
        let (Some(queue), Some(room)) = (self.queue, self.room) else { return Ok(None) };
        let (sender, receiver) = if wait { Some(oneshot::channel()).unzip() } else { (None, None) };
        let queued_at = self.clock.monotonic();
        queue.send(Entry { record, durable: sender, room, queued_at }).map_err(|_| AuditUnavailable)?;
        Ok(receiver)
    }
}
