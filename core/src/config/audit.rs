//! How the audit trail is written, copied and cut: `AUDIT_MODE`, `AUDIT_QUEUE_BYTES`, `AUDIT_RETENTION_DAYS`,
//! `AUDIT_SINK`, `AUDIT_SINK_FILE`.

use std::path::{Path, PathBuf};

use bytesize::ByteSize;
use serde::Deserialize;

use super::environment::Environment;
use super::setting::{Setting, words};

/// `AUDIT_MODE`.
pub const DEFAULT_AUDIT_MODE: AuditMode = AuditMode::Batched;
/// `AUDIT_QUEUE_BYTES`.
pub const DEFAULT_AUDIT_QUEUE_BYTES: u64 = 16 << 20;

/// `AUDIT_SINK_FILE`, in `DATA_DIR`.
pub const DEFAULT_AUDIT_SINK_FILE: &str = "audit.ndjson";

pub(super) const VARIABLES: &[&str] =
    &["AUDIT_MODE", "AUDIT_QUEUE_BYTES", "AUDIT_RETENTION_DAYS", "AUDIT_SINK", "AUDIT_SINK_FILE"];

/// The audit trail.
#[derive(Clone, Debug)]
pub struct Audit {
    /// When a reply may leave.
    pub mode: AuditMode,
    /// Records waiting to be written, in bytes; a request that finds no room is answered 503.
    pub queue_bytes: u64,
    /// How many whole days are kept; `None` is for ever.
    pub retention_days: Option<u32>,
    /// Where a copy of each record goes; `None` is nowhere.
    pub sink: Option<AuditSink>,
}

/// Where copies of records go, one JSON object per line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuditSink {
    /// Standard output.
    Stdout,
    /// A file, which grows.
    File(PathBuf),
}

#[derive(Clone, Copy)]
enum SinkKind {
    Stdout,
    File,
}

words!(SinkKind, "must be stdout or file", "stdout" => Self::Stdout, "file" => Self::File);

/// When a reply may leave, as to its audit record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuditMode {
    /// Once the record is durable.
    Strict,
    /// Once the record is in the bounded queue, which is written in groups.
    Batched,
    /// There are no records.
    Off,
}

words!(AuditMode, "must be strict, batched or off",
    "strict" => Self::Strict, "batched" => Self::Batched, "off" => Self::Off);

#[derive(Default, Deserialize)]
#[serde(default)]
struct Variables {
    audit_mode: Setting<AuditMode>,
    audit_queue_bytes: Setting<ByteSize>,
    audit_retention_days: Setting<u32>,
    audit_sink: Setting<SinkKind>,
    audit_sink_file: Setting<PathBuf>,
}

impl Audit {
    pub(super) fn read(env: &mut Environment, data_dir: &Path) -> Self {
        let vars: Variables = env.read(VARIABLES);
        let retention_days =
            match env.within("AUDIT_RETENTION_DAYS", vars.audit_retention_days, 0, 1..=36_500) {
                0 => None,
                days => Some(days),
            };
        let file = env.optional("AUDIT_SINK_FILE", vars.audit_sink_file);
        let sink = env.optional("AUDIT_SINK", vars.audit_sink).map(|kind| match kind {
            SinkKind::Stdout => AuditSink::Stdout,
            SinkKind::File => {
                AuditSink::File(file.clone().unwrap_or_else(|| data_dir.join(DEFAULT_AUDIT_SINK_FILE)))
            }
        });
        if file.is_some() && !matches!(sink, Some(AuditSink::File(_))) {
            env.warn("AUDIT_SINK_FILE has no effect unless AUDIT_SINK is file");
        }
        Self {
            mode: env.value("AUDIT_MODE", vars.audit_mode, DEFAULT_AUDIT_MODE),
            queue_bytes: env
                .within(
                    "AUDIT_QUEUE_BYTES",
                    vars.audit_queue_bytes,
                    ByteSize::b(DEFAULT_AUDIT_QUEUE_BYTES),
                    ByteSize::kib(64)..=ByteSize::gib(16),
                )
                .as_u64(),
            retention_days,
            sink,
        }
    }
}
