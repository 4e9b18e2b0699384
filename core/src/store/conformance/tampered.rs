//! What somebody does who can write to the database, and has no key.

use std::time::Duration;

use super::audit::{keys, record, writer, writer_at};
use super::fixture::{Fixture, NOW};
use crate::audit::verify::{self, Event, Place, Tampering};
use crate::audit::{Checkpoint, Keys};
use crate::clock::{Clock, ManualClock, Timestamp};
use crate::id::ReplicaId;
use crate::store::{AuditTrail, Store};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// What a verification finds; `None` if it cannot read what is there.
async fn found(store: &impl Store, keys: &Keys) -> Option<Vec<(Place, Tampering)>> {
    let mut findings = Vec::new();
    let tell = |event: Event<'_>| {
        let finding = match event {
            Event::Finding(finding) => Some(finding),
            Event::Chain(report) => report.finding.as_ref(),
            Event::Records(_) => None,
        };
        findings.extend(finding.map(|finding| (finding.place, finding.tampering)));
    };
    verify::run(store, keys, verify::Options::default(), tell).await.ok()?;
    Some(findings)
}

/// Stores the records of a number once more, with other values of these columns.
fn copy(chain: &str, seq: u64, recorded_at: &str, of: u64) -> String {
    format!(
        "INSERT INTO audit_records SELECT {chain}, {seq}, {recorded_at}, at, instance, request_id, tenant_id, \
         identity_id, operation, context, key_version, outcome, items, failed, bytes, address, detail, mac \
         FROM audit_records WHERE seq = {of}"
    )
}

pub(super) async fn no_record_hides_where_verification_does_not_look(fixture: &impl Fixture) {
    let (store, _) = fixture.ready().await;
    let keys = keys(&store).await;
    // It begins at a whole second.
    let begin = Timestamp::from_secs(NOW.as_secs());
    let clock = Clock::Manual(ManualClock::new(begin));
    let mut writer = writer_at(&store, ReplicaId::random(), clock).await;
    writer.append(vec![record("one")]).await.expect("appended");
    writer.end().await.expect("ended");
    assert_eq!(found(&store, &keys).await, Some(vec![]));
    let chain = store.audit_chains(None, 1).await.expect("read")[0].id;

    let nil = fixture.uuid(uuid::Uuid::nil());
    fixture.tamper("audit_records", &copy(&nil, 0, "recorded_at", 0)).await.expect("inserted");
    let findings = found(&store, &keys).await.expect("read");
    assert_eq!(findings.len(), 1, "a chain that is all zeroes: {findings:?}");
    let away = format!("DELETE FROM audit_records WHERE chain_id = {nil}");
    fixture.tamper("audit_records", &away).await.expect("removed");

    let age = fixture.seconds(u32::try_from(begin.as_secs()).expect("before 2106"));
    let epoch = format!("recorded_at - {age}");
    fixture.tamper("audit_records", &copy("chain_id", 0, &epoch, 0)).await.expect("inserted");
    assert_eq!(
        found(&store, &keys).await,
        Some(vec![(Place::Record(chain, 0), Tampering::Inserted)]),
        "at the epoch"
    );
    let away =
        format!("DELETE FROM audit_records WHERE seq = 0 AND recorded_at < at - {}", fixture.seconds(9));
    fixture.tamper("audit_records", &away).await.expect("removed");
    assert_eq!(found(&store, &keys).await, Some(vec![]));

    // A row from before 1970 may be unreadable, which is no good answer either.
    let long_ago =
        format!("UPDATE audit_chains SET started_at = started_at - {}", fixture.seconds(4_000_000_000));
    fixture.tamper("audit_chains", &long_ago).await.expect("changed");
    fixture
        .tamper("audit_records", "UPDATE audit_records SET items = 9 WHERE seq = 1")
        .await
        .expect("changed");
    let findings = found(&store, &keys).await;
    assert!(findings.as_ref().is_none_or(|findings| findings.len() == 1), "{findings:?}");
}

pub(super) async fn what_was_cut_is_not_there_again(fixture: &impl Fixture) {
    let (store, _) = fixture.ready().await;
    let keys = keys(&store).await;
    let hands = ManualClock::new(NOW);
    let mut writer = writer_at(&store, ReplicaId::random(), Clock::Manual(hands.clone())).await;
    writer.append(vec![record("a"), record("b")]).await.expect("appended");
    hands.advance(DAY * 3);
    writer.append(vec![record("c"), record("d")]).await.expect("appended");
    let tomorrow = Timestamp::from_secs((NOW.as_secs() / DAY.as_secs() + 1) * DAY.as_secs());
    store.cut_audit(tomorrow, &keys).await.expect("cut").expect("there is something");
    assert_eq!(found(&store, &keys).await, Some(vec![]));
    let chain = store.audit_chains(None, 1).await.expect("read")[0].id;

    fixture.tamper("audit_records", &copy("chain_id", 0, "recorded_at", 4)).await.expect("inserted");
    assert_eq!(found(&store, &keys).await, Some(vec![(Place::Record(chain, 0), Tampering::Inserted)]));
}

pub(super) async fn only_what_is_as_it_was_written_is_cut(fixture: &impl Fixture) {
    let (store, _) = fixture.ready().await;
    let keys = keys(&store).await;
    let hands = ManualClock::new(NOW);
    let mut writer = writer_at(&store, ReplicaId::random(), Clock::Manual(hands.clone())).await;
    let midnight = |days: u64| Timestamp::from_secs((NOW.as_secs() / DAY.as_secs() + days) * DAY.as_secs());
    // One record a day, so that each follows one that was cut.
    writer.append(vec![]).await.expect("appended");
    for _ in 0..2 {
        hands.advance(DAY);
        writer.append(vec![record("one")]).await.expect("appended");
    }
    for days in 1..=2 {
        assert!(store.cut_audit(midnight(days), &keys).await.expect("cut").is_some());
    }
    hands.advance(DAY);
    writer.append(vec![record("new")]).await.expect("appended");
    assert_eq!(found(&store, &keys).await, Some(vec![]));

    // As if it were old enough to be removed.
    let age = format!(
        "UPDATE audit_records SET recorded_at = recorded_at - {} WHERE seq = 3",
        fixture.seconds(259_200)
    );
    fixture.tamper("audit_records", &age).await.expect("changed");
    assert_eq!(store.cut_audit(midnight(2), &keys).await.expect("told"), None);
    let findings = found(&store, &keys).await.expect("read");
    assert!(matches!(findings[..], [(Place::Record(_, 3), _)]), "{findings:?}");
}

pub(super) async fn a_checkpoint_or_a_row_that_was_changed_is_noticed_by_the_next(fixture: &impl Fixture) {
    let (store, _) = fixture.ready().await;
    let keys = keys(&store).await;
    let mut hidden = writer(&store, ReplicaId::random()).await;
    hidden.append(vec![record("one")]).await.expect("appended");
    Checkpoint::take(&store, &keys, DAY).await.expect("taken").expect("there is news");
    // So that none would be taken for a year.
    let ahead = format!("UPDATE audit_checkpoints SET at = at + {}", fixture.seconds(31_536_000));
    fixture.tamper("audit_checkpoints", &ahead).await.expect("changed");
    let next = Checkpoint::take(&store, &keys, DAY).await.expect("taken").expect("the last is not believed");
    assert_eq!(next.number, 2);
    assert_eq!(Checkpoint::take(&store, &keys, DAY).await.expect("asked"), None, "this one is");
    let edited = (Place::Checkpoint(1), Tampering::Edited);
    assert_eq!(found(&store, &keys).await, Some(vec![edited]));

    let chain = store.audit_chains(None, 1).await.expect("read")[0].id;
    fixture.tamper("audit_chains", "UPDATE audit_chains SET final_checkpoint = 2").await.expect("changed");
    let mut other = writer(&store, ReplicaId::random()).await;
    other.append(vec![record("two")]).await.expect("appended");
    Checkpoint::take(&store, &keys, Duration::ZERO).await.expect("taken").expect("there is news");
    let left_out = (Place::Chain(chain), Tampering::Edited);
    assert_eq!(found(&store, &keys).await, Some(vec![edited, left_out]));
}
