use std::collections::{BTreeSet, HashMap};

use super::{Anchors, Finding, Place, Tampering};
use crate::audit::{ChainState, Checkpoint, CheckpointEntry, Head, Keys};
use crate::clock::Timestamp;
use crate::id::ChainId;

/// What a checkpoint says of a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The checkpoint.
    pub checkpoint: u64,
    /// The chain's last record then.
    pub head: Head,
    /// Whether the chain had ended, and how.
    pub state: ChainState,
}

/// What the checkpoints say of all chains.
#[derive(Debug, Default)]
pub struct Claims {
    /// The last that is said of each chain. Each of its codes covers all before it, so no other claim is needed.
    pub last: HashMap<ChainId, Claim>,
    /// The last that was said before the time from which on records are verified.
    pub before: HashMap<ChainId, Claim>,
    /// The last checkpoint and its hash.
    pub checkpoint: Option<(u64, [u8; 32])>,
}

/// All checkpoints, in the order of their numbers.
pub struct CheckpointWalk<'a> {
    keys: &'a Keys,
    anchors: Anchors,
    since: Option<Timestamp>,
    next: u64,
    /// What the next one must call the hash of the one before; `None` if that is not known.
    previous: Option<[u8; 32]>,
    /// The chains that were open in the one before; each stands in the next, too. None if that is not known.
    open: BTreeSet<ChainId>,
    claims: Claims,
}

impl<'a> CheckpointWalk<'a> {
    /// Signatures are to be of `keys`.
    pub fn new(keys: &'a Keys, anchors: Anchors, since: Option<Timestamp>) -> Self {
        let (previous, claims) = (Some([0; 32]), Claims::default());
        Self { keys, anchors, since, next: 1, previous, open: BTreeSet::new(), claims }
    }

    /// The number of the next one.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Looks at the next one that is there.
    pub fn push(&mut self, checkpoint: &Checkpoint) -> Vec<Finding> {
        let mut findings = Vec::new();
        let number = checkpoint.number;
        if number > self.next {
            let evidence = match number - self.next {
                1 => "it was removed".to_owned(),
                count => format!("it was removed, and the {} after it", count - 1),
            };
            findings.push(finding(self.next, Tampering::Missing, evidence));
            self.previous = None;
            self.open.clear();
        }
        self.next = number + 1;
        let hash = checkpoint.hash();
        findings.extend(self.anchors.compare(number, &hash));
        let Some(entries) = checkpoint.verify(self.keys).ok().and_then(|()| checkpoint.entries()) else {
            findings.push(finding(number, Tampering::Edited, "its signature is not ours".to_owned()));
            self.previous = None;
            self.open.clear();
            return findings;
        };
        if self.previous.is_some_and(|previous| previous != checkpoint.previous) {
            let evidence = format!("it was signed, but does not follow checkpoint {}", number - 1);
            findings.push(finding(number, Tampering::Edited, evidence));
        }
        self.previous = Some(hash);
        self.claims.checkpoint = Some((number, hash));
        findings.extend(self.left_out(number, &entries));
        self.claim(checkpoint, &entries);
        findings
    }

    /// What they say, and what anchors know of others.
    pub fn finish(self) -> (Claims, Option<Finding>) {
        (self.claims, self.anchors.rest())
    }

    /// Chains that the one before calls open, and this one does not know: their rows were hidden from those who sign.
    fn left_out(&mut self, number: u64, entries: &[CheckpointEntry]) -> Vec<Finding> {
        let known: BTreeSet<_> = entries.iter().map(|entry| entry.chain).collect();
        let open = entries.iter().filter(|entry| entry.state.is_none()).map(|entry| entry.chain).collect();
        let before = std::mem::replace(&mut self.open, open);
        let left_out = before.difference(&known).map(|chain| Finding {
            place: Place::Chain(*chain),
            tampering: Tampering::Edited,
            evidence: format!(
                "it was open in checkpoint {}, and checkpoint {number} does not know it: its row was changed or away",
                number - 1
            ),
        });
        left_out.collect()
    }

    fn claim(&mut self, checkpoint: &Checkpoint, entries: &[CheckpointEntry]) {
        let before = self.since.is_some_and(|since| checkpoint.at <= since);
        for &CheckpointEntry { chain, head, state } in entries {
            let claim = Claim { checkpoint: checkpoint.number, head, state };
            if before {
                self.claims.before.insert(chain, claim);
            }
            // One that says less than another before it says nothing: a chain never gets shorter.
            let known = self.claims.last.entry(chain).or_insert(claim);
            if claim.head.seq >= known.head.seq {
                *known = claim;
            }
        }
    }
}

fn finding(number: u64, tampering: Tampering, evidence: String) -> Finding {
    Finding { place: Place::Checkpoint(number), tampering, evidence }
}
