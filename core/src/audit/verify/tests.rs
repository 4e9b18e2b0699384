mod chains;
mod signed;
mod trail;

use super::*;
use trail::{Trail, chain_id};

/// What a verification finds in a chain.
fn found(trail: &Trail) -> Option<(u64, Tampering)> {
    found_with(trail, Beginning::GENESIS, None)
}

fn found_with(trail: &Trail, beginning: Beginning, claim: Option<Claim>) -> Option<(u64, Tampering)> {
    let finding = trail.walk(beginning, claim).finding?;
    match finding.place {
        Place::Record(chain, seq) if chain == chain_id() => Some((seq, finding.tampering)),
        place => panic!("{place:?}: {finding}"),
    }
}
