use std::io::{self, BufRead};

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::crypto::{KeyId, KeyVersion};
use crate::id::TenantId;

/// That the bytes of a key version are gone: what is written down outside of the database, so that a backup that
/// brings them back does not keep them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Destruction {
    /// Whose key it was.
    pub tenant_id: TenantId,
    /// The key.
    pub key_id: KeyId,
    /// Its version.
    pub version: KeyVersion,
    /// When. A version that was made later is another one with the same number.
    pub destroyed_at: Timestamp,
}

/// What a list of destructions holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DestructionList {
    /// In the order of the list.
    pub destructions: Vec<Destruction>,
    /// Numbers, from 1, of lines that are no JSON objects, as the last one before a crash may be.
    pub unreadable: Vec<u64>,
}

/// Why a list of destructions cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DestructionListError {
    /// The system.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A line that speaks of a destruction, but not so that it could be done again.
    #[error("line {line} has `destroyed_at` and no valid {field}")]
    Invalid {
        /// Counted from 1.
        line: u64,
        /// The first that is wrong.
        field: &'static str,
    },
    /// There are lines, and none is JSON: this is another file.
    #[error("no line is a JSON object")]
    NoJson,
}

/// The fields of a line; those of a log line's other events are left out.
#[derive(Deserialize)]
struct Fields {
    tenant_id: Option<serde_json::Value>,
    key_id: Option<serde_json::Value>,
    version: Option<serde_json::Value>,
    destroyed_at: Option<serde_json::Value>,
}

impl Destruction {
    /// One JSON object and a line break.
    pub fn line(&self) -> String {
        let json = serde_json::to_string(self).expect("texts and a number are JSON");
        json + "\n"
    }
}

impl DestructionList {
    /// Reads one JSON object per line: lines of [`Destruction::line`], or of the log, of which only those with a
    /// `destroyed_at` count.
    ///
    /// # Errors
    ///
    /// [`DestructionListError`]; a line that cannot be understood is none unless it names a destruction.
    pub fn read(list: impl BufRead) -> Result<Self, DestructionListError> {
        let mut read = Self::default();
        let mut objects = 0_u64;
        for (number, line) in (1..).zip(list.split(b'\n')) {
            let line = line?;
            if line.trim_ascii().is_empty() {
                continue;
            }
            let Ok(fields) = serde_json::from_slice::<Fields>(&line) else {
                read.unreadable.push(number);
                continue;
            };
            objects += 1;
            let parsed =
                fields.destruction().map_err(|field| DestructionListError::Invalid { line: number, field });
            read.destructions.extend(parsed?);
        }
        match (objects, read.unreadable.is_empty()) {
            (0, false) => Err(DestructionListError::NoJson),
            _ => Ok(read),
        }
    }
}

impl Fields {
    /// `None` if it is about something else; the error is the name of a field.
    fn destruction(self) -> Result<Option<Destruction>, &'static str> {
        let Some(destroyed_at) = self.destroyed_at else { return Ok(None) };
        let text = |value: Option<serde_json::Value>| match value {
            Some(serde_json::Value::String(text)) => Some(text),
            _ => None,
        };
        let version = self.version.and_then(|version| u32::try_from(version.as_u64()?).ok());
        Ok(Some(Destruction {
            tenant_id: text(self.tenant_id).and_then(|id| id.parse().ok()).ok_or("tenant_id")?,
            key_id: text(self.key_id).and_then(|id| id.parse().ok()).ok_or("key_id")?,
            version: version.and_then(|version| version.try_into().ok()).ok_or("version")?,
            destroyed_at: text(Some(destroyed_at)).and_then(|at| at.parse().ok()).ok_or("destroyed_at")?,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = r#"{"tenant_id":"00000000-0000-4000-8000-000000000001","key_id":"00112233-4455-6677-8899-aabbccddeeff","version":7,"destroyed_at":"2026-11-01T12:00:00.000Z"}"#;

    fn read(text: &str) -> Result<DestructionList, String> {
        DestructionList::read(text.as_bytes()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_line_is_read_as_it_was_written() {
        let list = read(LINE).expect("a list");
        let [destruction] = list.destructions[..] else { panic!("{list:?}") };
        assert_eq!(destruction.version.get(), 7);
        assert_eq!(destruction.destroyed_at, Timestamp::from_secs(1_793_534_400));
        assert_eq!(destruction.line(), format!("{LINE}\n"));
        assert!(list.unreadable.is_empty());
    }

    #[test]
    fn log_lines_of_other_events_and_cut_lines_are_passed_over() {
        let log = LINE.replacen('{', r#"{"timestamp":"x","level":"warn","message":"m","context":"c","#, 1);
        let other = r#"{"message":"listening","version":"0.1.0","address":"127.0.0.1:1"}"#;
        let text = format!("{other}\n\n{{\"tenant_i\n{log}\r\n{LINE}\n{}", &LINE[..80]);
        let list = read(&text).expect("a list");
        assert_eq!(list.destructions.len(), 2);
        assert_eq!(list.destructions[0], list.destructions[1]);
        assert_eq!(list.unreadable, [3, 6]);
        assert_eq!(read("").expect("nothing"), DestructionList::default());
    }

    #[test]
    fn what_names_a_destruction_must_be_whole() {
        for (from, to, field) in [
            ("\"tenant_id\":\"0", "\"tenant_id\":\"x", "tenant_id"),
            ("\"tenant_id\"", "\"tenant\"", "tenant_id"),
            ("\"key_id\":\"0", "\"key_id\":\"", "key_id"),
            (":7,", ":0,", "version"),
            (":7,", ":4294967296,", "version"),
            (":7,", ":-1,", "version"),
            (":7,", ":\"7\",", "version"),
            ("2026-11", "2026-13", "destroyed_at"),
            ("\"2026-11-01T12:00:00.000Z\"", "1", "destroyed_at"),
        ] {
            assert!(LINE.contains(from));
            let error = read(&format!("\n{}", LINE.replace(from, to))).expect_err(field);
            assert_eq!(error, format!("line 2 has `destroyed_at` and no valid {field}"));
        }
    }

    #[test]
    fn another_file_is_no_list() {
        for text in ["\u{0}\u{1}\n\u{2}", "[1]", "7\n8", "hello"] {
            assert_eq!(read(text).expect_err("no list"), "no line is a JSON object", "{text:?}");
        }
        assert!(read("[1]\n{}").is_ok());
    }
}
