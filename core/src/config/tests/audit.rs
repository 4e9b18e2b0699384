use std::path::Path;

use super::{bad, good};
use crate::config::{AuditMode, AuditSink};

/// Variables of which no value is bad.
pub(super) const TAKE_ANY_TEXT: [&str; 5] =
    ["DATA_DIR", "AUDIT_SINK_FILE", "TLS_CERT_FILE", "TLS_CLIENT_CA_FILE", "TLS_KEY_FILE"];

#[test]
fn the_copy_lies_in_the_data_directory_unless_it_is_told_where() {
    let audit = good(&[]).audit;
    assert_eq!((audit.retention_days, audit.sink), (None, None));
    let file = |path: &str| Some(AuditSink::File(Path::new(path).into()));
    let dir = ("DATA_DIR", "/srv/cs");
    assert_eq!(good(&[dir, ("AUDIT_SINK", "file")]).audit.sink, file("/srv/cs/audit.ndjson"));
    let elsewhere = ("AUDIT_SINK_FILE", "/var/log/audit.ndjson");
    assert_eq!(good(&[dir, ("AUDIT_SINK", "File"), elsewhere]).audit.sink, file("/var/log/audit.ndjson"));
    let stdout = good(&[("AUDIT_SINK", "stdout"), elsewhere]);
    assert_eq!(stdout.audit.sink, Some(AuditSink::Stdout));
    assert_eq!(stdout.warnings, ["AUDIT_SINK_FILE has no effect unless AUDIT_SINK is file"]);
}

#[test]
fn how_records_are_written_can_be_set() {
    let audit = good(&[("AUDIT_MODE", "STRICT"), ("AUDIT_QUEUE_BYTES", "64KiB")]).audit;
    assert_eq!((audit.mode, audit.queue_bytes), (AuditMode::Strict, 65_536));
}

#[test]
fn retention_is_a_number_of_days() {
    assert_eq!(good(&[("AUDIT_RETENTION_DAYS", "365")]).audit.retention_days, Some(365));
    assert_eq!(bad(&[("AUDIT_RETENTION_DAYS", "0")]), ["AUDIT_RETENTION_DAYS"]);
}
