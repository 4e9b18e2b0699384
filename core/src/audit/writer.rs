use std::time::Duration;

use tokio::sync::mpsc;

use super::Record;
use super::queue::Entry;
use crate::store::Store;
use crate::telemetry::causes;

/// Most records in one transaction.
const BATCH: usize = 1000;
const FIRST_RETRY: Duration = Duration::from_millis(100);
const LAST_RETRY: Duration = Duration::from_secs(5);

/// Empties the queue into the store: whatever waits goes into one transaction.
pub struct Writer<S> {
    store: S,
    queue: mpsc::UnboundedReceiver<Entry>,
}

impl<S: Store> Writer<S> {
    pub(super) fn new(store: S, queue: mpsc::UnboundedReceiver<Entry>) -> Self {
        Self { store, queue }
    }

    /// Writes until every [`super::Audit`] and [`super::Permit`] is gone and the queue is empty. A batch that cannot be
    /// written is tried again until it can.
    pub async fn run(mut self) {
        let mut batch = Vec::with_capacity(BATCH);
        while self.queue.recv_many(&mut batch, BATCH).await > 0 {
            let (records, waiting): (Vec<_>, Vec<_>) =
                batch.drain(..).map(|Entry { record, durable, room }| (record, (durable, room))).unzip();
            self.write(&records).await;
            for (durable, _room) in waiting {
                if let Some(durable) = durable {
                    // The one who waited may have gone.
                    let _ = durable.send(());
                }
            }
        }
    }

    async fn write(&self, records: &[Record]) {
        let mut retry = FIRST_RETRY;
        while let Err(error) = self.store.append_audit(records).await {
            let error = causes(&error);
            tracing::error!(%error, records = records.len(), "the audit trail cannot be written; trying again");
            tokio::time::sleep(retry).await;
            retry = (retry * 2).min(LAST_RETRY);
        }
        if retry > FIRST_RETRY {
            tracing::info!(records = records.len(), "the audit trail is written again");
        }
    }
}
