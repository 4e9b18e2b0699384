use super::fixture::{Fixture, NOW, context, kek, later, name, new};
use crate::clock::Timestamp;
use crate::contexts::{Destruction, KeyState, NewContext, StoredVersion, new_context, next_version};
use crate::crypto::{Algorithm, AlgorithmSet, ContextKey, KeyVersion};
use crate::id::TenantId;
use crate::store::{MESSAGES_EXHAUSTED, Outlook, Replica, Revision, StateChange, Store};

/// When replicas rotate a key.
const WORN: u64 = 1 << 31;

/// Which messages are reserved for the enabled version of a key.
async fn reserved(store: &impl Store, key: &StoredVersion) -> u64 {
    let versions = store.key_versions(key.context.tenant, key.key.id, None, 1).await.expect("listed");
    versions[0].messages_reserved
}

/// A context that allows `algorithm` beside the default.
async fn counted(store: &impl Store, tenant: TenantId, text: &str) -> StoredVersion {
    let allowed_algorithms = AlgorithmSet::default().with(Algorithm::ChaCha20Poly1305);
    create(store, NewContext { allowed_algorithms, ..new(tenant, text) }).await
}

async fn create(store: &impl Store, new: NewContext) -> StoredVersion {
    let made = new_context(new, &kek(), later(1)).expect("made");
    store.create_context(&made).await.expect("created");
    made
}

/// Its next version, with a key that was brought.
async fn import(store: &impl Store, made: &StoredVersion) -> StoredVersion {
    let key = ContextKey::generate().expect("made");
    let rotation = next_version(made, Some(&key), &kek(), later(2)).expect("made");
    assert!(store.rotate(&rotation).await.expect("asked"));
    rotation.next
}

fn destruction(key: &StoredVersion, version: u32, at: Timestamp) -> Destruction {
    Destruction {
        tenant_id: key.context.tenant,
        key_id: key.key.id,
        version: version.try_into().expect("not zero"),
        destroyed_at: at,
    }
}

pub(super) async fn what_is_stale_becomes_worthless_at_once(fixture: &impl Fixture) {
    let (store, tenant) = fixture.ready().await;
    for (text, epoch) in [("one", 0), ("two", u32::MAX - 1)] {
        let identity = super::identities::identity(tenant, text);
        store.create_identity(&crate::auth::Identity { epoch, ..identity }).await.expect("created");
    }
    let short = counted(&store, tenant, "short").await;
    let deleted = counted(&store, tenant, "deleted").await;
    store.set_context_deleted(tenant, &deleted.context.name, true, later(2)).await.expect("deleted");
    let plain = context(tenant, "plain");
    store.create_context(&plain).await.expect("created");
    let replica = Replica {
        id: crate::id::ReplicaId::random(),
        instance: "of-the-past".into(),
        release: "0".into(),
        kek_ids: Vec::new(),
    };
    store.register(&replica, NOW).await.expect("registered");
    let before = store.revision().await.expect("read");
    assert_eq!(store.outlook().await.expect("read"), Outlook { identities: 2, counted_contexts: 2 });

    let revision = store.invalidate(later(60)).await.expect("done");
    assert_eq!(revision, Revision(before.0 + (1 << 40)));
    assert_eq!(store.revision().await.expect("read"), revision);
    let changes = store.changes_since(before).await.expect("read");
    assert_eq!(changes.changes, None, "whoever saw an earlier revision drops everything");
    let epoch =
        async |text| store.identity_by_name(tenant, &name(text)).await.expect("read").expect("there").epoch;
    assert_eq!(u64::from(epoch("one").await), later(60).as_secs());
    assert_eq!(epoch("two").await, u32::MAX);
    assert!(store.replicas().await.expect("read").is_empty());

    for (key, count) in
        [(&short, MESSAGES_EXHAUSTED), (&deleted, MESSAGES_EXHAUSTED), (&plain, (1 << 31) - 1)]
    {
        assert_eq!(reserved(&store, key).await, count, "{}", key.context.name);
    }
    let (id, first) = (short.key.id, KeyVersion::FIRST);
    let more = store.reserve_messages(tenant, id, first, 1, MESSAGES_EXHAUSTED).await;
    assert_eq!(more.expect("asked"), None, "nothing more is encrypted under a stale count");
    let due = store.rotations_due(Timestamp::from_micros(0), MESSAGES_EXHAUSTED, 10).await.expect("read");
    let due: Vec<_> = due.iter().map(|due| due.context.name.as_str()).collect();
    assert_eq!(due, ["short"], "a deleted one encrypts nothing, and is due when it is restored");
    store.changes_since(revision).await.expect("read").changes.expect("complete from here on");
}

pub(super) async fn a_destruction_is_repeated_and_nothing_else(fixture: &impl Fixture) {
    let (store, tenant) = fixture.ready().await;
    let key = counted(&store, tenant, "old").await;
    let find = async |destruction: &Destruction| store.recorded_version(destruction).await.expect("read");
    let first = destruction(&key, 1, later(50));
    assert_eq!(find(&destruction(&key, 2, later(50))).await, None);
    assert_eq!(find(&Destruction { tenant_id: TenantId::random(), ..first }).await, None);
    let stored = find(&first).await.expect("there");
    let again = store.destroy_again(&stored, later(50), later(60)).await.expect("asked");
    assert!(!again, "it is the enabled version");

    let rotation = next_version(&stored, None, &kek(), later(40)).expect("made");
    assert!(store.rotate(&rotation).await.expect("asked"));
    let before = store.revision().await.expect("read");
    assert!(store.destroy_again(&stored, later(50), later(60)).await.expect("asked"));
    assert_eq!(store.revision().await.expect("read").0, before.0 + 1);
    let stored = find(&first).await.expect("there");
    assert_eq!((stored.version.state, &stored.wrapped), (KeyState::Destroyed, &None));
    assert!(!store.destroy_again(&stored, later(50), later(60)).await.expect("asked"), "it is done");

    // One with the same number that was made after the destruction is another one, whatever its state.
    let second = find(&destruction(&key, 2, later(50))).await.expect("there");
    let rotation = next_version(&second, None, &kek(), later(41)).expect("made");
    assert!(store.rotate(&rotation).await.expect("asked"));
    assert!(!store.destroy_again(&second, later(39), later(60)).await.expect("asked"));
    let change = StateChange { from: KeyState::DecryptOnly, to: KeyState::Disabled, destroy_at: None };
    store.set_key_state(&second, &change, later(42)).await.expect("asked").expect("disabled");
    assert!(store.destroy_again(&second, later(40), later(60)).await.expect("asked"));
}

pub(super) async fn destroyed_versions_are_listed_page_by_page(fixture: &impl Fixture) {
    let (store, tenant) = fixture.ready().await;
    assert!(store.destroyed(None, 10).await.expect("read").is_empty());
    let mut expected = Vec::new();
    for text in ["one", "two"] {
        let mut current = counted(&store, tenant, text).await;
        for _ in 0..3 {
            let rotation = next_version(&current, None, &kek(), later(40)).expect("made");
            assert!(store.rotate(&rotation).await.expect("asked"));
            assert!(store.destroy_again(&current, later(50), later(60)).await.expect("asked"));
            expected.push(destruction(&current, current.version.version.get(), later(60)));
            current = rotation.next;
        }
    }
    expected.sort_by_key(|found| (found.key_id, found.version));
    let (mut listed, mut after) = (Vec::new(), None);
    loop {
        let page = store.destroyed(after.as_ref(), 2).await.expect("read");
        let Some(last) = page.last() else { break };
        after = Some(*last);
        listed.extend(page);
    }
    assert_eq!(listed, expected);
}

/// As it was when the backup was made, or has become since, a key that others have may have encrypted more.
pub(super) async fn keys_that_others_have_are_worn_by_a_restore_too(fixture: &impl Fixture) {
    let (store, tenant) = fixture.ready().await;
    let counted = AlgorithmSet::default().with(Algorithm::Aes256Gcm);
    let mut plain = Vec::new();
    for (text, exportable, brought) in
        [("exportable", true, false), ("imported", false, true), ("both", true, true)]
    {
        for (suffix, allowed_algorithms) in [("counted", counted), ("plain", AlgorithmSet::default())] {
            let new = new(tenant, &format!("{text}-{suffix}"));
            let made = create(&store, NewContext { exportable, allowed_algorithms, ..new }).await;
            let made = if brought { import(&store, &made).await } else { made };
            if suffix == "plain" {
                plain.push(made);
            }
        }
    }
    store.invalidate(later(60)).await.expect("done");

    let due = async |worn| store.rotations_due(Timestamp::from_micros(0), worn, 10).await.expect("read");
    let names = |mut due: Vec<StoredVersion>| {
        due.sort_by(|one, other| one.context.name.as_str().cmp(other.context.name.as_str()));
        due.into_iter().map(|due| due.context.name.to_string()).collect::<Vec<_>>()
    };
    let expected = ["both-counted", "exportable-counted", "imported-counted"];
    assert_eq!(names(due(MESSAGES_EXHAUSTED).await), expected);
    assert_eq!(names(due(WORN).await), expected);
    // The others are due at their first message, if they come to encrypt with an algorithm that counts.
    for key in &plain {
        let (id, version) = (key.key.id, key.version.version);
        let reserved = store.reserve_messages(tenant, id, version, 1, MESSAGES_EXHAUSTED).await;
        reserved.expect("asked").expect("enough is left");
    }
    assert_eq!(due(WORN).await.len(), 6);
}
