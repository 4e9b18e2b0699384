//! Checkpoints, anchors and cuts.

use super::*;
use crate::audit::{ChainState, Checkpoint, CheckpointEntry, Cut, CutEntry, Ended, Head, Keys};
use crate::clock::Timestamp;
use crate::id::ChainId;

fn head(seq: u64) -> Head {
    Head { seq, mac: [u8::try_from(seq).unwrap(); 32] }
}

fn other() -> ChainId {
    ChainId::from_bytes([6; 16])
}

/// Checkpoints 1, 2 and so on, a minute apart, each with what it says of two chains.
fn checkpoints(keys: &Keys, count: u64) -> Vec<Checkpoint> {
    let mut all: Vec<Checkpoint> = Vec::new();
    for number in 1..=count {
        let previous = all.last().map_or([0; 32], Checkpoint::hash);
        let mut entries = vec![CheckpointEntry { chain: chain_id(), head: head(number * 10), state: None }];
        if number <= 2 {
            let state = (number == 2).then_some(Ended::Clean);
            entries.push(CheckpointEntry { chain: other(), head: head(number), state });
        }
        let at = Timestamp::from_secs(number * 60);
        all.push(Checkpoint::sign(keys, number, at, previous, &entries).unwrap());
    }
    all
}

fn walk(keys: &Keys, checkpoints: &[Checkpoint], anchors: Anchors) -> (Vec<(Place, Tampering)>, Claims) {
    let mut walk = CheckpointWalk::new(keys, anchors, Some(Timestamp::from_secs(150)));
    let mut findings: Vec<_> = checkpoints.iter().flat_map(|checkpoint| walk.push(checkpoint)).collect();
    let (claims, finding) = walk.finish();
    findings.extend(finding);
    (findings.into_iter().map(|finding| (finding.place, finding.tampering)).collect(), claims)
}

fn anchor(checkpoint: &Checkpoint) -> Anchors {
    format!("{}:{}", checkpoint.number, hex::encode(checkpoint.hash())).parse().unwrap()
}

fn claim(checkpoint: u64, seq: u64, state: ChainState) -> Option<Claim> {
    Some(Claim { checkpoint, head: head(seq), state })
}

#[test]
fn the_last_word_of_the_checkpoints_counts() {
    let keys = Keys::for_tests();
    let all = checkpoints(&keys, 5);
    let (findings, claims) = walk(&keys, &all, anchor(&all[3]));
    assert_eq!(findings, []);
    assert_eq!(claims.last.get(&chain_id()).copied(), claim(5, 50, None));
    assert_eq!(claims.last.get(&other()).copied(), claim(2, 2, Some(Ended::Clean)));
    assert_eq!(claims.before.get(&chain_id()).copied(), claim(2, 20, None), "of those before a time");
}

#[test]
fn a_checkpoint_that_is_gone_or_changed_is_named() {
    use Tampering::{Edited, Missing};
    let keys = Keys::for_tests();
    let all = checkpoints(&keys, 6);
    let without = |numbers: std::ops::RangeInclusive<u64>| {
        let rest: Vec<_> =
            all.iter().filter(|checkpoint| !numbers.contains(&checkpoint.number)).cloned().collect();
        walk(&keys, &rest, Anchors::default()).0
    };
    assert_eq!(without(1..=1), [(Place::Checkpoint(1), Missing)]);
    assert_eq!(without(3..=4), [(Place::Checkpoint(3), Missing)]);
    let changed = |change: fn(&mut Checkpoint)| {
        let mut all = all.clone();
        change(&mut all[2]);
        walk(&keys, &all, Anchors::default()).0
    };
    let changes: [fn(&mut Checkpoint); 5] = [
        |checkpoint| checkpoint.at = Timestamp::from_secs(1),
        |checkpoint| checkpoint.previous[0] ^= 1,
        |checkpoint| checkpoint.entries[20] ^= 1,
        |checkpoint| checkpoint.signature.bytes[0] ^= 1,
        |checkpoint| checkpoint.signature.key.0[0] ^= 1,
    ];
    for change in changes {
        assert_eq!(changed(change), [(Place::Checkpoint(3), Edited)]);
    }
}

/// Whoever has the signing key can sign another history, but not the one that was there.
#[test]
fn another_history_does_not_follow_and_does_not_match_an_anchor() {
    let keys = Keys::for_tests();
    let all = checkpoints(&keys, 4);
    let mut forged = all.clone();
    let entry = |chain, state| CheckpointEntry { chain, head: head(1), state };
    let entries = [entry(chain_id(), None), entry(other(), Some(Ended::Clean))];
    forged[1] = Checkpoint::sign(&keys, 2, forged[1].at, all[0].hash(), &entries).unwrap();
    let (findings, _) = walk(&keys, &forged, anchor(&all[1]));
    assert_eq!(
        findings,
        [(Place::Checkpoint(2), Tampering::Edited), (Place::Checkpoint(3), Tampering::Edited)]
    );
}

#[test]
fn a_rollback_is_found_by_an_anchor_alone() {
    let keys = Keys::for_tests();
    let all = checkpoints(&keys, 5);
    let before = &all[..3];
    assert_eq!(walk(&keys, before, Anchors::default()).0, []);
    assert_eq!(walk(&keys, before, anchor(&all[4])).0, [(Place::Checkpoint(5), Tampering::Truncated)]);
    // It went on from there, and has as many again.
    let mut anew = before.to_vec();
    for number in 4..=5 {
        let previous = anew.last().unwrap().hash();
        let entries = [CheckpointEntry { chain: chain_id(), head: head(30), state: None }];
        anew.push(Checkpoint::sign(&keys, number, Timestamp::from_secs(9999), previous, &entries).unwrap());
    }
    assert_eq!(walk(&keys, &anew, anchor(&all[4])).0, [(Place::Checkpoint(5), Tampering::Edited)]);
}

/// Whoever writes to a chain's row can hide it from those who sign.
#[test]
fn an_open_chain_that_the_next_checkpoint_leaves_out_is_named() {
    let keys = Keys::for_tests();
    let mut all = checkpoints(&keys, 2);
    for number in 3..=4 {
        let previous = all[number - 2].hash();
        let number = number as u64;
        all.push(Checkpoint::sign(&keys, number, Timestamp::from_secs(number * 60), previous, &[]).unwrap());
    }
    let expected = (Place::Chain(chain_id()), Tampering::Edited);
    assert_eq!(walk(&keys, &all, Anchors::default()).0, [expected], "once, and not the one that had ended");
}

#[test]
fn only_signed_cuts_say_where_chains_begin() {
    let keys = Keys::for_tests();
    let cut = |number, seq| {
        let entries = [CutEntry { chain: chain_id(), last: head(seq) }];
        Cut::sign(&keys, number, Timestamp::from_secs(9), Timestamp::from_secs(8), &entries).unwrap()
    };
    let mut walk = CutWalk::new(&keys);
    assert_eq!(walk.beginning(chain_id()), Beginning::GENESIS);
    assert_eq!(walk.push(&cut(1, 4)), None);
    assert_eq!(walk.push(&cut(2, 7)), None);
    let forgeries: [fn(&mut Cut); 3] =
        [|cut| cut.entries[23] = 9, |cut| cut.number = 4, |cut| cut.signature.bytes = [0; 64]];
    for forge in forgeries {
        let mut forged = cut(3, 8);
        forge(&mut forged);
        let finding = walk.push(&forged).unwrap();
        assert_eq!((finding.place, finding.tampering), (Place::Cut(forged.number), Tampering::Edited));
    }
    assert_eq!(walk.beginning(chain_id()), Beginning::after(head(7)));
    assert_eq!(walk.beginning(other()), Beginning::GENESIS);
}
