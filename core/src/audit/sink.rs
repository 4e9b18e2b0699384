//! Copies of records beside the database, for those who collect them elsewhere.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use super::StoredRecord;
use crate::config::AuditSink;

/// Batches that wait for a slow sink. Further ones are lost to it, and counted: it never holds up the service.
const WAITING_BATCHES: usize = 64;
const FILE_MODE: u32 = 0o600;

/// Writes records that are durable in the database, one JSON object per line, on a thread of its own.
pub(super) struct Sink {
    queue: Option<SyncSender<Vec<StoredRecord>>>,
    thread: Option<JoinHandle<()>>,
    lost: Lost,
}

/// Counts records that a sink lost, and says so when that begins.
#[derive(Clone, Debug, Default)]
pub(super) struct Lost(Arc<AtomicU64>);

impl Lost {
    pub(super) fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn add(&self, records: usize) {
        self.0.fetch_add(records as u64, Ordering::Relaxed);
    }
}

impl Sink {
    pub(super) fn start(to: &AuditSink, lost: Lost) -> io::Result<Self> {
        let (queue, batches) = sync_channel::<Vec<StoredRecord>>(WAITING_BATCHES);
        let mut target = Target::new(to);
        let counted = lost.clone();
        let write = move || {
            let mut failing = false;
            for batch in batches {
                match target.write(&lines(&batch)) {
                    Ok(()) if failing => {
                        failing = false;
                        tracing::info!("AUDIT_SINK takes records again");
                    }
                    Ok(()) => {}
                    Err(error) => {
                        counted.add(batch.len());
                        if !failing {
                            failing = true;
                            tracing::error!(%error, "AUDIT_SINK cannot be written; records are in the database alone");
                        }
                    }
                }
            }
        };
        let thread = std::thread::Builder::new().name("audit-sink".to_owned()).spawn(write)?;
        Ok(Self { queue: Some(queue), thread: Some(thread), lost })
    }

    pub(super) fn send(&self, batch: Vec<StoredRecord>) {
        let Some(queue) = &self.queue else { return };
        if let Err(TrySendError::Full(batch) | TrySendError::Disconnected(batch)) = queue.try_send(batch) {
            if self.lost.count() == 0 {
                tracing::error!("AUDIT_SINK is too slow; records are in the database alone");
            }
            self.lost.add(batch.len());
        }
    }

    /// Waits until all that was sent is written.
    pub(super) fn finish(mut self) {
        drop(self.queue.take());
        if let Some(thread) = self.thread.take() {
            // It has said what it could of its panic.
            let _ = thread.join();
        }
    }
}

fn lines(batch: &[StoredRecord]) -> Vec<u8> {
    let mut lines = Vec::with_capacity(512 * batch.len());
    for record in batch {
        // Into memory, and of types that JSON has, this cannot fail.
        if serde_json::to_writer(&mut lines, record).is_ok() {
            lines.push(b'\n');
        }
    }
    lines
}

enum Target {
    Stdout,
    File { path: PathBuf, open: Option<File> },
}

impl Target {
    fn new(to: &AuditSink) -> Self {
        match to {
            AuditSink::Stdout => Self::Stdout,
            AuditSink::File(path) => Self::File { path: path.clone(), open: None },
        }
    }

    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        match self {
            Self::Stdout => {
                let mut stdout = io::stdout().lock();
                stdout.write_all(lines)?;
                stdout.flush()
            }
            Self::File { path, open } => {
                // Looked at each time: whoever rotates the file need not tell.
                let mut file = match open.take().filter(|file| is_at(file, path)) {
                    Some(file) => file,
                    None => OpenOptions::new().create(true).append(true).mode(FILE_MODE).open(path)?,
                };
                file.write_all(lines)?;
                *open = Some(file);
                Ok(())
            }
        }
    }
}

fn is_at(file: &File, path: &Path) -> bool {
    let place = |metadata: std::fs::Metadata| (metadata.dev(), metadata.ino());
    let (opened, there) = (file.metadata().map(place), std::fs::metadata(path).map(place));
    matches!((opened, there), (Ok(opened), Ok(there)) if opened == there)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{Outcome, Record};
    use crate::clock::Timestamp;

    fn record(request_id: &str) -> StoredRecord {
        StoredRecord::new(Record {
            at: Timestamp::from_micros(1_793_534_400_123_456),
            instance: "a".into(),
            request_id: request_id.to_owned(),
            tenant: None,
            identity: None,
            operation: "encrypt",
            context: None,
            key_version: None,
            outcome: Outcome::Success,
            items: 1,
            failed: 0,
            bytes: 5,
            address: None,
            detail: None,
        })
    }

    #[test]
    fn a_record_is_one_line_with_the_columns_in_order() {
        let expected = "{\"recorded_at\":\"2026-11-01T12:00:00.123456Z\",\"at\":\"2026-11-01T12:00:00.123456Z\",\
            \"instance\":\"a\",\"request_id\":\"r\\n\",\"tenant_id\":null,\"identity_id\":null,\
            \"operation\":\"encrypt\",\"context\":null,\"key_version\":null,\"outcome\":\"success\",\"items\":1,\
            \"failed\":0,\"bytes\":5,\"address\":null,\"detail\":null,\
            \"chain_id\":\"00000000-0000-0000-0000-000000000000\",\"seq\":0,\"mac\":\""
            .to_owned()
            + &"0".repeat(64)
            + "\"}\n";
        assert_eq!(String::from_utf8(lines(&[record("r\n")])).unwrap(), expected);
    }

    #[test]
    fn a_file_is_written_where_its_path_is_and_what_cannot_be_written_is_counted() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("deep").join("audit.ndjson");
        let lost = Lost::default();
        let to = AuditSink::File(path.clone());
        let sink = Sink::start(&to, lost.clone()).unwrap();
        sink.send(vec![record("1"), record("2")]);
        sink.finish();
        assert_eq!(lost.count(), 2, "there is no such directory");

        std::fs::create_dir(directory.path().join("deep")).unwrap();
        let mut target = Target::new(&to);
        target.write(&lines(&[record("1")])).unwrap();
        let moved = directory.path().join("audit.1");
        std::fs::rename(&path, &moved).unwrap();
        target.write(&lines(&[record("2")])).unwrap();
        target.write(&lines(&[record("3")])).unwrap();
        let count = |path| std::fs::read_to_string(path).unwrap().lines().count();
        assert_eq!((count(&moved), count(&path)), (1, 2));
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
    }
}
