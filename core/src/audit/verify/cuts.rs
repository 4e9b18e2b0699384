use std::collections::HashMap;

use super::{Finding, Place, Tampering};
use crate::audit::{Cut, CutEntry, Head, Keys};
use crate::id::ChainId;

/// Where what is left of a chain begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Beginning {
    /// The number of its first record.
    pub seq: u64,
    /// The code of the record before; zeroes if there never was one.
    pub previous: [u8; 32],
}

impl Beginning {
    /// Of a chain of which nothing was removed.
    pub const GENESIS: Self = Self { seq: 0, previous: [0; 32] };

    /// Behind that record.
    pub const fn after(head: Head) -> Self {
        Self { seq: head.seq.saturating_add(1), previous: head.mac }
    }
}

/// All signed statements of what retention removed, in the order of their numbers.
pub struct CutWalk<'a> {
    keys: &'a Keys,
    beginnings: HashMap<ChainId, Beginning>,
    next: u64,
}

impl<'a> CutWalk<'a> {
    /// Signatures are to be of `keys`.
    pub fn new(keys: &'a Keys) -> Self {
        Self { keys, beginnings: HashMap::new(), next: 1 }
    }

    /// The number of the next one.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Looks at the next one that is there. One that is not signed is a finding and counts for nothing; one that is not
    /// there leaves heads missing.
    pub fn push(&mut self, cut: &Cut) -> Option<Finding> {
        self.next = cut.number + 1;
        let Some(entries) = cut.verify(self.keys).ok().and_then(|()| cut.entries()) else {
            return Some(Finding {
                place: Place::Cut(cut.number),
                tampering: Tampering::Edited,
                evidence: "its signature is not ours, so what it covers was not removed by retention"
                    .to_owned(),
            });
        };
        for CutEntry { chain, last } in entries {
            let beginning = Beginning::after(last);
            let known = self.beginnings.entry(chain).or_insert(beginning);
            if beginning.seq > known.seq {
                *known = beginning;
            }
        }
        None
    }

    /// Where what is left of a chain begins.
    pub fn beginning(&self, chain: ChainId) -> Beginning {
        self.beginnings.get(&chain).copied().unwrap_or(Beginning::GENESIS)
    }
}
