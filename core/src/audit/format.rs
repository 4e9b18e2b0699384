//! Records as text: JSON and CSV, with the same fields in the same order.

use std::io;

use super::StoredRecord;

/// How an export is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One JSON object per line.
    Ndjson,
    /// Comma-separated values (RFC 4180) below a line of names; what a record does not have is empty.
    Csv,
}

/// The names of the fields, in the order in which a record has them.
const FIELDS: [&str; 18] = [
    "recorded_at",
    "at",
    "instance",
    "request_id",
    "tenant_id",
    "identity_id",
    "operation",
    "context",
    "key_version",
    "outcome",
    "items",
    "failed",
    "bytes",
    "address",
    "detail",
    "chain_id",
    "seq",
    "mac",
];

impl Format {
    /// Every format.
    pub const ALL: [Self; 2] = [Self::Ndjson, Self::Csv];

    /// As it is asked for.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ndjson => "ndjson",
            Self::Csv => "csv",
        }
    }

    /// What stands before the first record.
    pub fn head(self) -> Vec<u8> {
        match self {
            Self::Ndjson => Vec::new(),
            Self::Csv => (FIELDS.join(",") + "\r\n").into_bytes(),
        }
    }

    /// The lines of some records.
    ///
    /// # Errors
    ///
    /// None that a record could cause.
    pub fn lines(self, records: &[StoredRecord]) -> io::Result<Vec<u8>> {
        let mut out = Vec::with_capacity(records.len() * 512);
        match self {
            Self::Ndjson => {
                for record in records {
                    serde_json::to_writer(&mut out, record)?;
                    out.push(b'\n');
                }
            }
            Self::Csv => {
                let mut writer = csv::WriterBuilder::new()
                    .has_headers(false)
                    .terminator(csv::Terminator::CRLF)
                    .from_writer(&mut out);
                for record in records {
                    writer.serialize(record).map_err(io::Error::other)?;
                }
                writer.flush()?;
            }
        }
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{Outcome, Record};
    use crate::clock::Timestamp;

    fn record(detail: Option<&str>) -> StoredRecord {
        StoredRecord::new(Record {
            at: Timestamp::from_micros(1_793_534_400_123_456),
            instance: "a".into(),
            request_id: String::new(),
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
            detail: detail.map(str::to_owned),
        })
    }

    fn text(format: Format, details: &[Option<&str>]) -> String {
        let records: Vec<_> = details.iter().map(|detail| record(*detail)).collect();
        String::from_utf8([format.head(), format.lines(&records).unwrap()].concat()).unwrap()
    }

    #[test]
    fn both_formats_have_the_same_fields_in_the_same_order() {
        let json = text(Format::Ndjson, &[None]);
        let (fields, _value) = json.rsplit_once("\":").unwrap();
        let names: Vec<_> = fields.split("\":").map(|part| part.rsplit_once('"').unwrap().1).collect();
        assert_eq!(names, FIELDS);
        let csv = text(Format::Csv, &[None]);
        assert_eq!(csv.lines().next(), Some(FIELDS.join(",").as_str()));
        let values =
            "2026-11-01T12:00:00.123456Z,2026-11-01T12:00:00.123456Z,a,,,,encrypt,,,success,1,0,5,,,";
        assert!(csv.lines().nth(1).is_some_and(|line| line.starts_with(values)), "{csv}");
    }

    #[test]
    fn a_record_stays_one_record_whatever_stands_in_it() {
        let details = [Some("a,b"), Some("say \"c\""), Some("two\r\nlines"), Some("=1+1"), Some(""), None];
        assert_eq!(text(Format::Ndjson, &details).lines().count(), details.len());
        let csv = text(Format::Csv, &details);
        let mut reader = csv::Reader::from_reader(csv.as_bytes());
        let column = FIELDS.iter().position(|name| *name == "detail").unwrap();
        let read: Vec<_> = reader.records().map(|record| record.unwrap()[column].to_owned()).collect();
        assert_eq!(read, details.map(Option::unwrap_or_default));
    }
}
