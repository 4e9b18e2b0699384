use std::fmt;

use crate::id::ChainId;

/// Something that is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Where.
    pub place: Place,
    /// What was done.
    pub tampering: Tampering,
    /// How that shows, in words.
    pub evidence: String,
}

/// Where something is not as it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// At this number of this chain.
    Record(ChainId, u64),
    /// In the row that says where the chain begins and ends.
    Chain(ChainId),
    /// In this checkpoint.
    Checkpoint(u64),
    /// In this statement of what retention removed.
    Cut(u64),
}

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tampering {
    /// It is there and not as it was written.
    Edited,
    /// It is not there, though what came later is.
    Missing,
    /// Nobody of ours wrote it.
    Inserted,
    /// It stands where another belongs.
    Reordered,
    /// From here on all is gone.
    Truncated,
}

impl Tampering {
    /// One word for people and programs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Edited => "edited",
            Self::Missing => "missing",
            Self::Inserted => "inserted",
            Self::Reordered => "reordered",
            Self::Truncated => "truncated",
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Record(chain, seq) => write!(f, "chain {chain}, record {seq}"),
            Self::Chain(chain) => write!(f, "chain {chain}"),
            Self::Checkpoint(number) => write!(f, "checkpoint {number}"),
            Self::Cut(number) => write!(f, "cut {number}"),
        }
    }
}

impl fmt::Display for Finding {
    /// `chain …, record 7: edited: …`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.place, self.tampering.name(), self.evidence)
    }
}
