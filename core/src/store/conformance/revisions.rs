use futures_util::future::join_all;

use super::fixture::{Fixture, context, later, name};
use super::identities::identity;
use crate::store::{Change, Changes, ContextUpdate, Revision, Store};

pub(super) async fn every_change_raises_the_revision_by_one(fixture: &impl Fixture) {
    let (store, tenant) = fixture.ready().await;
    let start = store.revision().await.expect("read");
    let (new, app) = (context(tenant, "new"), identity(tenant, "app"));
    let of_context = Change::Context(tenant, new.context.id);
    let of_identity = Change::Identity(tenant, app.id);

    store.create_context(&new).await.expect("created");
    let update = ContextUpdate {
        description: Some("other".into()),
        algorithms: None,
        rotation_days: None,
        keep_last: None,
        read_at: None,
    };
    store.update_context(tenant, &name("new"), &update, later(2)).await.expect("asked").expect("updated");
    store.create_identity(&app).await.expect("created");
    store.set_context_deleted(tenant, &name("new"), true, later(3)).await.expect("asked").expect("deleted");
    store.update_identity(&app, true, later(4)).await.expect("asked").expect("updated");
    store.set_context_deleted(tenant, &name("new"), false, later(5)).await.expect("asked").expect("restored");
    assert!(store.delete_identity(tenant, app.id, later(6)).await.expect("deleted"));

    let all = [of_context, of_context, of_identity, of_context, of_identity, of_context, of_identity];
    assert_eq!(store.revision().await.expect("read"), Revision(start.0 + 7));
    for seen in 0..=7 {
        let changes = store.changes_since(Revision(start.0 + seen)).await.expect("read");
        let missing = all.iter().skip(usize::try_from(seen).expect("small")).copied().collect();
        assert_eq!(changes, Changes { revision: Revision(start.0 + 7), changes: Some(missing) });
    }
}

pub(super) async fn what_fails_raises_nothing(fixture: &impl Fixture) {
    let (store, tenant) = fixture.ready().await;
    let before = store.changes_since(Revision(0)).await.expect("read");
    store.create_context(&context(tenant, "general")).await.expect_err("taken");
    let update = ContextUpdate::default();
    assert!(store.update_context(tenant, &name("none"), &update, later(2)).await.expect("asked").is_none());
    assert!(
        store.set_context_deleted(tenant, &name("general"), false, later(2)).await.expect("asked").is_none()
    );
    let unknown = identity(tenant, "unknown");
    assert!(store.update_identity(&unknown, true, later(2)).await.expect("asked").is_none());
    assert!(!store.delete_identity(tenant, unknown.id, later(2)).await.expect("asked"));
    assert_eq!(store.changes_since(Revision(0)).await.expect("read"), before);
}

pub(super) async fn incomplete_lists_are_not_given(fixture: &impl Fixture) {
    let (store, _) = fixture.ready().await;
    let everything = async |seen| {
        let changes = store.changes_since(Revision(seen)).await.expect("read");
        assert_eq!(changes.revision, Revision(9));
        changes.changes.is_none()
    };
    for (seen, expected) in [(0, false), (9, false), (10, true), (u64::MAX, true)] {
        assert_eq!(everything(seen).await, expected, "seen {seen}");
    }
    fixture
        .tamper("changes", "UPDATE changes SET kind = 77 WHERE revision = 7")
        .await
        .expect("a later release");
    for (seen, expected) in [(6, true), (7, false)] {
        assert_eq!(everything(seen).await, expected, "kind unknown, seen {seen}");
    }
    fixture.tamper("changes", "DELETE FROM changes WHERE revision = 8").await.expect("a gap");
    for (seen, expected) in [(7, true), (8, false), (9, false)] {
        assert_eq!(everything(seen).await, expected, "gap, seen {seen}");
    }
}

pub(super) async fn old_changes_are_pruned(fixture: &impl Fixture) {
    let (store, tenant) = fixture.ready().await;
    fixture.tamper("revision", "UPDATE revision SET value = 10004").await.expect("much happened");
    store.create_context(&context(tenant, "new")).await.expect("created");
    let last = Revision(10_005);
    assert_eq!(fixture.count("SELECT min(revision) FROM changes").await, 6);
    let changes = store.changes_since(Revision(10_004)).await.expect("read");
    assert_eq!((changes.revision, changes.changes.map(|changes| changes.len())), (last, Some(1)));
    for seen in [0, 4, 5, 6, 10_003] {
        let changes = store.changes_since(Revision(seen)).await.expect("read");
        assert_eq!(changes, Changes { revision: last, changes: None }, "seen {seen}");
    }
}

pub(super) async fn no_change_is_missed_while_many_are_made(fixture: &impl Fixture) {
    let (store, tenant) = fixture.ready().await;
    let second = fixture.open().await;
    let mut seen = store.revision().await.expect("read");
    let mut found = Vec::new();
    let new: Vec<_> = (0..24).map(|i| context(tenant, &format!("new-{i}"))).collect();
    let mut expected: Vec<_> = new.iter().map(|new| Change::Context(tenant, new.context.id)).collect();
    let tasks = new.into_iter().enumerate().map(|(i, new)| {
        let store = if i % 2 == 0 { store.clone() } else { second.clone() };
        tokio::spawn(async move { store.create_context(&new).await })
    });
    let tasks: Vec<_> = tasks.collect();
    while found.len() < expected.len() {
        let changes = second.changes_since(seen).await.expect("read");
        assert!(changes.revision >= seen);
        seen = changes.revision;
        found.extend(changes.changes.expect("complete"));
    }
    for result in join_all(tasks).await {
        result.expect("ran").expect("created");
    }
    let key = |change: &Change| match *change {
        Change::Context(_, id) => id,
        Change::Identity(..) | Change::Tenant(_) | Change::Deployment => {
            unreachable!("only contexts were made")
        }
    };
    found.sort_by_key(key);
    expected.sort_by_key(key);
    assert_eq!(found, expected);
}
