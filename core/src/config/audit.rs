//! How the audit trail is written: `AUDIT_MODE`, `AUDIT_QUEUE_BYTES`.

use bytesize::ByteSize;
use serde::Deserialize;

use super::environment::Environment;
use super::setting::{Setting, words};

/// `AUDIT_MODE`.
pub const DEFAULT_AUDIT_MODE: AuditMode = AuditMode::Batched;
/// `AUDIT_QUEUE_BYTES`.
pub const DEFAULT_AUDIT_QUEUE_BYTES: u64 = 16 << 20;

pub(super) const VARIABLES: &[&str] = &["AUDIT_MODE", "AUDIT_QUEUE_BYTES"];

/// The audit trail.
#[derive(Clone, Debug)]
pub struct Audit {
    /// When a reply may leave.
    pub mode: AuditMode,
    /// Records waiting to be written, in bytes; a request that finds no room is answered 503.
    pub queue_bytes: u64,
}

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
}

impl Audit {
    pub(super) fn read(env: &mut Environment) -> Self {
        let vars: Variables = env.read(VARIABLES);
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
        }
    }
}
