use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::queue::{Entry, Status};
use super::sink::Sink;
use super::{ChainWriter, Record};
use crate::store::Store;
use crate::telemetry::causes;

/// Most records in one transaction.
const BATCH: usize = 1000;
const FIRST_RETRY: Duration = Duration::from_millis(100);
const LAST_RETRY: Duration = Duration::from_secs(5);
/// Longest wait at the end for a sink that nobody reads; the database has its records.
const SINK_TIMEOUT: Duration = Duration::from_secs(1);

/// Empties the queue into the store: whatever waits goes into one transaction.
pub struct Writer<S> {
    chain: ChainWriter<S>,
    queue: mpsc::UnboundedReceiver<Entry>,
    status: Arc<Status>,
    sink: Option<Sink>,
}

impl<S: Store> Writer<S> {
    pub(super) fn new(
        chain: ChainWriter<S>,
        queue: mpsc::UnboundedReceiver<Entry>,
        status: Arc<Status>,
        sink: Option<Sink>,
    ) -> Self {
        Self { chain, queue, status, sink }
    }

    /// Begins a chain, writes until every [`super::Audit`] and [`super::Permit`] is gone and the queue is empty, and ends
    /// the chain. A batch that cannot be written is tried again until it can.
    pub async fn run(mut self) {
        self.write(Vec::new(), false).await;
        let mut batch = Vec::with_capacity(BATCH);
        while self.queue.recv_many(&mut batch, BATCH).await > 0 {
            self.status.set_oldest(batch.first().map(|entry| entry.queued_at));
            let (records, waiting): (Vec<_>, Vec<_>) =
                batch.drain(..).map(|Entry { record, durable, room, .. }| (record, (durable, room))).unzip();
            self.write(records, false).await;
            self.status.set_oldest(None);
            for (durable, _room) in waiting {
                if let Some(durable) = durable {
                    // The one who waited may have gone.
                    let _ = durable.send(());
                }
            }
        }
        self.write(Vec::new(), true).await;
        if let Some(sink) = self.sink.take()
            && !matches!(timeout(SINK_TIMEOUT, spawn_blocking(|| sink.finish())).await, Ok(Ok(())))
        {
            tracing::error!("AUDIT_SINK was not written to its end");
        }
    }

    async fn write(&mut self, records: Vec<Record>, ends: bool) {
        let count = records.len();
        self.chain.place(records, ends);
        let mut retry = FIRST_RETRY;
        loop {
            match self.chain.write().await {
                Ok(written) => {
                    if let Some(sink) = &self.sink {
                        sink.send(written);
                    }
                    break;
                }
                Err(error) => {
                    let error = causes(&error);
                    tracing::error!(%error, records = count, "the audit trail cannot be written; trying again");
                    tokio::time::sleep(retry).await;
                    retry = (retry * 2).min(LAST_RETRY);
                }
            }
        }
        if retry > FIRST_RETRY {
            tracing::info!(records = count, "the audit trail is written again");
        }
    }
}
