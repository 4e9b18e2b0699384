//! What is done to one chain.

#![expect(clippy::cast_possible_truncation, reason = "these chains are short")]

use proptest::prelude::*;

use super::*;
use crate::audit::Ended;
use crate::clock::Timestamp;

const ENDS: [Option<Ended>; 3] = [None, Some(Ended::Clean), Some(Ended::Crashed)];

#[test]
fn a_chain_that_nobody_touched_is_whole_however_it_ended() {
    for (ended, end) in ENDS.into_iter().zip([End::Open, End::Clean, End::Crashed]) {
        for records in [2, 3, 2500] {
            let trail = Trail::new(records, ended);
            for claim in [None, Some(trail.claim(records / 2, None)), Some(trail.claim(records - 1, ended))] {
                let report = trail.walk(Beginning::GENESIS, claim);
                assert_eq!(report.finding, None);
                assert_eq!((report.records, report.last_seq, report.end), (records, Some(records - 1), end));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_removed_record_is_missing(length in 3..80_u64, at in any::<prop::sample::Index>(), renumbered: bool) {
        let at = at.index(length as usize - 2);
        let mut trail = Trail::new(length, None);
        trail.records.remove(at);
        // Of the last one alone nobody can say that another stood before it.
        let last = at as u64 + 2 == length;
        if renumbered {
            trail.renumber(at);
            trail.end_at(length - 2);
        }
        let what = if renumbered && last { Tampering::Edited } else { Tampering::Missing };
        prop_assert_eq!(found(&trail), Some((at as u64, what)));
    }

    #[test]
    fn several_removed_records_are_missing_from_the_first(
        length in 20..80_u64, at in 0..10_usize, count in 1..9_usize, renumbered: bool,
    ) {
        let mut trail = Trail::new(length, None);
        trail.records.drain(at..at + count);
        if renumbered {
            trail.renumber(at);
            let last = trail.records.len() as u64 - 1;
            trail.end_at(last);
        }
        prop_assert_eq!(found(&trail), Some((at as u64, Tampering::Missing)));
    }

    #[test]
    fn an_edited_record_is_named(length in 2..80_u64, at in any::<prop::sample::Index>(), field in 0..9_usize) {
        let at = at.index(length as usize);
        let mut trail = Trail::new(length, None);
        let record = &mut trail.records[at];
        match field {
            0 => record.bytes += 1,
            1 => record.operation = "decrypt-it".into(),
            2 => record.detail = Some(String::new()),
            3 => record.recorded_at = Timestamp::from_secs(1),
            4 => record.request_id.push('x'),
            5 => record.tenant = Some(crate::id::TenantId::SYSTEM),
            6 => record.outcome = "failed".into(),
            7 => record.address = Some("::1".to_owned()),
            _ => record.mac[0] ^= 1,
        }
        if at as u64 + 1 == length && field == 8 {
            trail.end_at(length - 1);
        }
        prop_assert_eq!(found(&trail), Some((at as u64, Tampering::Edited)));
    }

    #[test]
    fn exchanged_records_are_reordered(length in 4..80_u64, a in any::<prop::sample::Index>(), b in any::<prop::sample::Index>()) {
        let (a, b) = (a.index(length as usize), b.index(length as usize));
        prop_assume!(a < b);
        let mut trail = Trail::new(length, None);
        trail.records.swap(a, b);
        trail.renumber(0);
        trail.end_at(length - 1);
        prop_assert_eq!(found(&trail), Some((a as u64, Tampering::Reordered)));
    }

    #[test]
    fn a_moved_record_is_reordered(length in 4..80_u64, from in any::<prop::sample::Index>(), to in any::<prop::sample::Index>()) {
        let (from, to) = (from.index(length as usize), to.index(length as usize));
        prop_assume!(from != to);
        let mut trail = Trail::new(length, None);
        let record = trail.records.remove(from);
        trail.records.insert(to, record);
        trail.renumber(0);
        trail.end_at(length - 1);
        prop_assert_eq!(found(&trail), Some((from.min(to) as u64, Tampering::Reordered)));
    }

    #[test]
    fn an_inserted_record_is_named(length in 3..80_u64, at in any::<prop::sample::Index>(), renumbered: bool) {
        // Behind it stands the record whose number it took.
        let at = at.index(length as usize);
        let mut trail = Trail::new(length, None);
        let mut forged = trail.record(at as u64, "admin.identities.issue-token");
        forged.recorded_at = Timestamp::from_secs(1 + at as u64);
        trail.records.insert(at, forged);
        if renumbered {
            trail.renumber(at);
            trail.end_at(length);
        }
        prop_assert_eq!(found(&trail), Some((at as u64, Tampering::Inserted)));
    }

    #[test]
    fn a_cut_tail_is_named_if_the_row_or_a_checkpoint_knows_it(
        length in 3..80_u64, kept in any::<prop::sample::Index>(), end in 0..3_usize, adjusted: bool,
    ) {
        let kept = 1 + kept.index(length as usize - 1) as u64;
        let mut trail = Trail::new(length, ENDS[end]);
        let claim = trail.claim(length - 1, ENDS[end]);
        trail.records.truncate(kept as usize);
        if adjusted {
            trail.end_at(kept - 1);
        }
        let expected = Some((kept, Tampering::Truncated));
        prop_assert_eq!(found_with(&trail, Beginning::GENESIS, Some(claim)), expected);
        // A clean end that is not there shows by itself.
        if !adjusted || ENDS[end] == Some(Ended::Clean) {
            prop_assert_eq!(found(&trail), expected);
        }
    }

    #[test]
    fn what_was_written_anew_with_the_right_key_differs_from_a_checkpoint(length in 3..40_u64, at in any::<prop::sample::Index>()) {
        let at = at.index(length as usize);
        let mut trail = Trail::new(length, None);
        let claim = trail.claim(length - 1, None);
        trail.records[at].bytes += 1;
        trail.chain(at);
        trail.end_at(length - 1);
        prop_assert_eq!(found(&trail), None);
        prop_assert_eq!(found_with(&trail, Beginning::GENESIS, Some(claim)), Some((length - 1, Tampering::Edited)));
    }

    #[test]
    fn a_head_may_be_gone_only_as_far_as_a_cut_says(length in 4..80_u64, cut in any::<prop::sample::Index>(), further in 1..3_u64) {
        let cut = cut.index(length as usize - 3) as u64;
        let mut trail = Trail::new(length, Some(Ended::Clean));
        let beginning = Beginning::after(trail.head(cut));
        trail.row().first_seq = cut + 1;
        trail.records.drain(..=cut as usize);
        let report = trail.walk(beginning, None);
        prop_assert_eq!((report.finding, report.records), (None, length - cut - 1));
        // The row says so, and nobody signed it.
        prop_assert_eq!(found(&trail), Some((0, Tampering::Missing)));
        trail.records.drain(..further as usize);
        trail.row().first_seq += further;
        prop_assert_eq!(found_with(&trail, beginning, None).map(|(seq, _)| seq), Some(cut + 1));
    }
}

#[test]
fn a_chain_that_is_cut_as_a_whole_may_be_gone_with_its_row() {
    let mut trail = Trail::new(9, Some(Ended::Crashed));
    let (beginning, claim) = (Beginning::after(trail.head(8)), trail.claim(8, Some(Ended::Crashed)));
    trail.records.clear();
    trail.row().first_seq = 9;
    assert_eq!(found_with(&trail, beginning, Some(claim)), None);
    trail.row = None;
    assert_eq!(found_with(&trail, beginning, Some(claim)), None);
    assert_eq!(found_with(&trail, Beginning::GENESIS, Some(claim)), Some((0, Tampering::Truncated)));
}

#[test]
fn a_row_that_is_not_of_its_records_is_named() {
    let changes: [fn(&mut Trail); 4] = [
        |trail| trail.row = None,
        |trail| trail.row().head.mac[9] ^= 1,
        |trail| trail.row().first_seq = 2,
        |trail| trail.row().ended = None,
    ];
    for change in changes {
        let mut trail = Trail::new(5, Some(Ended::Clean));
        change(&mut trail);
        let finding = trail.walk(Beginning::GENESIS, None).finding.unwrap();
        assert_eq!(finding.place, Place::Chain(chain_id()), "{finding}");
    }
}

#[test]
fn records_behind_the_end_are_inserted() {
    let mut trail = Trail::new(5, None);
    trail.end_at(2);
    assert_eq!(found(&trail), Some((3, Tampering::Inserted)));

    let mut trail = Trail::new(5, Some(Ended::Clean));
    trail.records.push(trail.record(5, "encrypt"));
    trail.chain(5);
    trail.end_at(5);
    assert_eq!(found(&trail), Some((5, Tampering::Inserted)), "after a clean end");

    let mut trail = Trail::new(6, None);
    let claim = trail.claim(3, Some(Ended::Crashed));
    assert_eq!(found_with(&trail, Beginning::GENESIS, Some(claim)), Some((4, Tampering::Inserted)));
    trail.row().ended = Some(Ended::Crashed);
    assert_eq!(found(&trail), None);
}

/// A process that was paused and taken for dead goes on with a chain of its own, so neither has anything to hide.
#[test]
fn a_chain_that_others_ended_is_whole_and_crashed() {
    let trail = Trail::new(4, Some(Ended::Crashed));
    let report = trail.walk(Beginning::GENESIS, Some(trail.claim(3, Some(Ended::Crashed))));
    assert_eq!((report.end, report.finding), (End::Crashed, None));
}

#[test]
fn beyond_the_window_the_first_place_is_named_all_the_same() {
    let mut trail = Trail::new(5000, None);
    trail.records.swap(10, 4900);
    trail.renumber(0);
    assert_eq!(found(&trail).map(|(seq, _)| seq), Some(10));
}
