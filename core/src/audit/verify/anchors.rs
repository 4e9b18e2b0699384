use std::collections::BTreeSet;
use std::io::{self, BufRead};
use std::str::FromStr;

use serde::Deserialize;

use super::{Finding, Place, Tampering};

/// The message of the log line that tells a checkpoint's hash.
const MESSAGE: &str = "audit checkpoint";

/// Hashes of checkpoints that were kept outside of the database.
///
/// Of one number there may be several: when a database was rolled back, the checkpoints that follow have numbers that
/// others had before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Anchors(BTreeSet<(u64, [u8; 32])>);

/// The text is not `NUMBER:HASH`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an anchor is NUMBER:HASH, the hash as 64 hexadecimal characters")]
pub struct InvalidAnchor;

/// What of a log line matters.
#[derive(Deserialize)]
struct Line {
    message: String,
    number: u64,
    hash: String,
}

impl Anchors {
    /// The anchors in `reader`: one `NUMBER:HASH` per line, or log lines `audit checkpoint`. Other lines are passed over.
    ///
    /// # Errors
    ///
    /// If it cannot be read.
    pub fn read(reader: impl BufRead) -> io::Result<Self> {
        let mut anchors = Self::default();
        for line in reader.split(b'\n') {
            let line = line?;
            let line = String::from_utf8_lossy(&line);
            let line = line.trim();
            let logged = || {
                let line: Line = serde_json::from_str(line).ok()?;
                (line.message == MESSAGE).then(|| parse(line.number, &line.hash)).flatten()
            };
            anchors.0.extend(split(line).or_else(logged));
        }
        Ok(anchors)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes those of `other` too.
    pub fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// Compares those of a number with the checkpoint that has it now, and forgets them.
    pub(super) fn compare(&mut self, number: u64, hash: &[u8; 32]) -> Option<Finding> {
        let mut differs = false;
        while let Some(&anchor) = self.0.range((number, [0; 32])..=(number, [u8::MAX; 32])).next() {
            self.0.remove(&anchor);
            differs |= anchor.1 != *hash;
        }
        differs.then(|| Finding {
            place: Place::Checkpoint(number),
            tampering: Tampering::Edited,
            evidence:
                "an anchor has another hash of it: the trail was rolled back or written anew from before here"
                    .to_owned(),
        })
    }

    /// Those of checkpoints that are not there: the first, and how many numbers.
    pub(super) fn rest(&self) -> Option<Finding> {
        let &(first, _) = self.0.first()?;
        Some(Finding {
            place: Place::Checkpoint(first),
            tampering: Tampering::Truncated,
            evidence: format!(
                "{} knows it, and it is not there: the trail was rolled back or cut off before here",
                if self.0.len() == 1 {
                    "an anchor".to_owned()
                } else {
                    format!("the first of {} anchors", self.0.len())
                },
            ),
        })
    }
}

impl FromStr for Anchors {
    type Err = InvalidAnchor;

    /// Reads one `NUMBER:HASH`.
    fn from_str(text: &str) -> Result<Self, InvalidAnchor> {
        split(text).map(|anchor| Self([anchor].into())).ok_or(InvalidAnchor)
    }
}

fn split(text: &str) -> Option<(u64, [u8; 32])> {
    let (number, hash) = text.split_once(':')?;
    parse(number.trim().parse().ok()?, hash.trim())
}

fn parse(number: u64, hash: &str) -> Option<(u64, [u8; 32])> {
    let mut bytes = [0; 32];
    hex::decode_to_slice(hash, &mut bytes).ok()?;
    Some((number, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anchors_are_read_from_logs_and_lists() {
        let (a, b) = ("aa".repeat(32), "bb".repeat(32));
        let text = format!(
            "{{\"level\":\"info\",\"message\":\"audit checkpoint\",\"number\":7,\"hash\":\"{a}\",\"signature\":\"00\"}}\n\
             {{\"message\":\"listening\",\"number\":8,\"hash\":\"{b}\"}}\n\
             \u{1b}[2m not json\n\
             9: {b}\r\n\n10:abc\n"
        );
        let anchors = Anchors::read(text.as_bytes()).unwrap();
        assert_eq!(anchors, Anchors([(7, [0xaa; 32]), (9, [0xbb; 32])].into()));
        assert_eq!(format!("7:{a}").parse(), Ok(Anchors([(7, [0xaa; 32])].into())));
        for bad in ["", "7", "x:00", "7:00", &format!("-1:{a}"), &format!("7:{a}0")] {
            assert_eq!(bad.parse::<Anchors>(), Err(InvalidAnchor), "{bad}");
        }
    }

    #[test]
    fn every_anchor_of_a_number_counts() {
        let mut anchors = Anchors([(1, [1; 32]), (1, [2; 32]), (2, [3; 32]), (9, [4; 32])].into());
        assert_eq!(anchors.compare(1, &[1; 32]).unwrap().place, Place::Checkpoint(1));
        assert_eq!(anchors.compare(2, &[3; 32]), None);
        assert_eq!(anchors.compare(3, &[3; 32]), None);
        let rest = anchors.rest().unwrap();
        assert_eq!((rest.place, rest.tampering), (Place::Checkpoint(9), Tampering::Truncated));
    }
}
