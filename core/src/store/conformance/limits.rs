use std::sync::Arc;

use super::fixture::{Fixture, context, later, name};
use super::identities::identity;
use crate::config::RateLimit;
use crate::id::{ContextId, IdentityId, TenantId};
use crate::limits::{DimensionKind, IdentityPolicies, Policy};
use crate::store::{Change, Error, Policies, PolicySubject, Store};

fn policy(requests_per_minute: u32) -> Policy {
    RateLimit { requests_per_minute, burst: 1 }.into()
}

/// A context and an identity, by their ids.
async fn subjects(store: &impl Store, tenant: TenantId) -> (ContextId, IdentityId) {
    let (new, app) = (context(tenant, "new"), identity(tenant, "app"));
    store.create_context(&new).await.expect("created");
    store.create_identity(&app).await.expect("created");
    (new.context.id, app.id)
}

async fn limits(store: &impl Store, tenant: TenantId, id: IdentityId) -> IdentityPolicies {
    store.identity_status(tenant, id, later(2)).await.expect("read").value.expect("there").limits
}

pub(super) async fn policies_are_read_with_what_they_are_about(fixture: &impl Fixture) {
    let (store, tenant) = fixture.ready().await;
    let (context, app) = subjects(&store, tenant).await;
    let other = store.context(tenant, &name("general")).await.expect("read").expect("there").id;
    assert_eq!(limits(&store, tenant, app).await, IdentityPolicies::default());
    let seen = store.revision().await.expect("read");
    let stored = [
        (PolicySubject::Context(tenant, context), Change::Context(tenant, context)),
        (PolicySubject::Identity(tenant, app), Change::Identity(tenant, app)),
        (PolicySubject::IdentityContext(tenant, app, context), Change::Identity(tenant, app)),
        (PolicySubject::IdentityContext(tenant, app, other), Change::Identity(tenant, app)),
        (PolicySubject::Tenant(tenant), Change::Tenant(tenant)),
        (PolicySubject::Default(DimensionKind::Ip), Change::Deployment),
    ];
    for (rate, (subject, _)) in (10..).zip(stored) {
        // What is there is replaced.
        for policy in [policy(rate), policy(rate + 10)] {
            assert!(store.set_policy(subject, Some(&policy), later(2)).await.expect("stored"), "{subject:?}");
        }
    }
    let changes = store.changes_since(seen).await.expect("read").changes.expect("complete");
    assert_eq!(changes, stored.map(|(_, change)| [change; 2]).concat());

    let some = |rate| Some(Arc::new(policy(rate)));
    let read = store.context(tenant, &name("new")).await.expect("read").expect("there");
    assert_eq!(read.limits, some(20));
    let version = store.enabled_version(tenant, &name("new")).await.expect("read").value.expect("there");
    assert_eq!(version.context.limits, some(20));
    let expected = IdentityPolicies {
        own: some(21),
        tenant: some(24),
        in_contexts: [(context, Arc::new(policy(22))), (other, Arc::new(policy(23)))].into(),
        generation: 0,
    };
    assert_eq!(limits(&store, tenant, app).await, expected);
    let record = store.tenant(&name("default")).await.expect("read").expect("there");
    assert_eq!(record.limits, some(24));
    let deployment = store.deployment().await.expect("read").expect("set up");
    for kind in DimensionKind::ALL {
        let expected = some(25).filter(|_| kind == DimensionKind::Ip);
        assert_eq!(deployment.default_limits.get(kind), expected.as_ref(), "{kind:?}");
    }

    for (subject, _) in stored {
        for _ in 0..2 {
            assert!(store.set_policy(subject, None, later(3)).await.expect("forgotten"), "{subject:?}");
        }
    }
    assert_eq!(limits(&store, tenant, app).await, IdentityPolicies::default());
    assert_eq!(store.context(tenant, &name("new")).await.expect("read").expect("there").limits, None);
    assert_eq!(
        store.deployment().await.expect("read").expect("set up").default_limits.get(DimensionKind::Ip),
        None
    );
}

pub(super) async fn policies_are_about_somebody_who_is_there(fixture: &impl Fixture) {
    let (store, tenant) = fixture.ready().await;
    let other = fixture.add_tenant().await;
    let (context, app) = subjects(&store, tenant).await;
    let set = async |subject| store.set_policy(subject, Some(&policy(1)), later(2)).await.expect("asked");
    let before = store.revision().await.expect("read");
    for subject in [
        PolicySubject::Context(other, context),
        PolicySubject::Context(tenant, ContextId::random()),
        PolicySubject::Identity(other, app),
        PolicySubject::Identity(tenant, IdentityId::random()),
        PolicySubject::IdentityContext(other, app, context),
        PolicySubject::IdentityContext(tenant, IdentityId::random(), context),
        PolicySubject::IdentityContext(tenant, app, ContextId::random()),
        PolicySubject::Tenant(TenantId::random()),
    ] {
        assert!(!set(subject).await, "{subject:?}");
        assert!(!store.set_policy(subject, None, later(2)).await.expect("asked"), "{subject:?}");
    }
    assert!(!store.reset_limits(other, app, later(2)).await.expect("asked"));
    assert_eq!(store.revision().await.expect("read"), before, "nothing has changed");

    let pair = PolicySubject::IdentityContext(tenant, app, context);
    assert!(set(pair).await);
    store.set_context_deleted(tenant, &name("new"), true, later(3)).await.expect("asked").expect("deleted");
    assert!(!set(pair).await && !set(PolicySubject::Context(tenant, context)).await);
    assert!(store.delete_identity(tenant, app, later(3)).await.expect("deleted"));
    assert_eq!(fixture.count("SELECT count(*) FROM identity_context_limits").await, 0, "went with it");
}

pub(super) async fn a_reset_raises_the_generation(fixture: &impl Fixture) {
    let (store, tenant) = fixture.ready().await;
    let (_, app) = subjects(&store, tenant).await;
    let seen = store.revision().await.expect("read");
    assert!(store.reset_limits(tenant, app, later(2)).await.expect("reset"));
    let changes = store.changes_since(seen).await.expect("read").changes;
    assert_eq!(changes, Some(vec![Change::Identity(tenant, app)]));
    assert_eq!(limits(&store, tenant, app).await.generation, 1);
    let last = "UPDATE identities SET limits_generation = 255";
    fixture.tamper("identities", last).await.expect("reset often");
    assert_eq!(limits(&store, tenant, app).await.generation, 255);
    assert!(store.reset_limits(tenant, app, later(2)).await.expect("reset"));
    assert_eq!(limits(&store, tenant, app).await.generation, 0);
}

pub(super) async fn policies_are_listed_page_by_page(fixture: &impl Fixture) {
    let (store, tenant) = fixture.ready().await;
    let other = fixture.add_tenant().await;
    let (context, app) = subjects(&store, tenant).await;
    let (foreign, _) = subjects(&store, other).await;
    for subject in [
        PolicySubject::IdentityContext(tenant, app, context),
        PolicySubject::Identity(tenant, app),
        PolicySubject::Context(tenant, context),
        PolicySubject::Context(other, foreign),
        PolicySubject::Tenant(tenant),
    ] {
        assert!(store.set_policy(subject, Some(&policy(1)), later(2)).await.expect("stored"));
    }
    let page = async |after: &str, limit| store.policies(tenant, after, limit).await.expect("listed");
    let all = page("", 10).await;
    let places: Vec<_> = all.iter().map(|stored| stored.place.as_str()).collect();
    assert_eq!(places, ["context/new", "identity/app", "identity/app/context/new"]);
    for stored in &all {
        let of_identity = stored.place.starts_with("identity/");
        assert_eq!(stored.identity, of_identity.then(|| (app, name("app"))));
        assert_eq!(stored.context, (stored.place != "identity/app").then(|| (context, name("new"))));
        assert_eq!(stored.policy, policy(1));
    }
    assert_eq!(page("", 1).await, all[..1]);
    assert_eq!(page("context/new", 1).await, all[1..2]);
    assert_eq!(page("identity/app", 10).await, all[2..]);
    store.set_context_deleted(tenant, &name("new"), true, later(3)).await.expect("asked").expect("deleted");
    assert_eq!(page("", 10).await, all[1..2], "what is deleted has no limits to show");
}

/// What cannot be read limits nobody, so nobody goes on without it.
pub(super) async fn a_damaged_policy_is_an_error(fixture: &impl Fixture) {
    let (store, tenant) = fixture.ready().await;
    let (context, app) = subjects(&store, tenant).await;
    let pair = PolicySubject::IdentityContext(tenant, app, context);
    let of_all = PolicySubject::Default(DimensionKind::Context);
    let broken = r#"'{"requests_per_minute":0,"burst_size":1}'"#;
    for (table, subject) in [
        ("identities", PolicySubject::Identity(tenant, app)),
        ("tenants", PolicySubject::Tenant(tenant)),
        ("identity_context_limits", pair),
        ("contexts", PolicySubject::Context(tenant, context)),
        ("default_limits", of_all),
    ] {
        assert!(store.set_policy(subject, Some(&policy(1)), later(2)).await.expect("stored"));
        let damage = format!("UPDATE {table} SET limits = {broken} WHERE limits IS NOT NULL");
        fixture.tamper(table, &damage).await.expect("damaged");
        let error = match subject {
            PolicySubject::Context(..) => store.enabled_version(tenant, &name("new")).await.map(drop),
            PolicySubject::Default(_) => store.deployment().await.map(drop),
            _ => store.identity_status(tenant, app, later(2)).await.map(drop),
        };
        assert!(matches!(error, Err(Error::Invalid(_))), "{table}: {error:?}");
        // It can be replaced.
        assert!(store.set_policy(subject, None, later(2)).await.expect("stored"), "{table}");
        limits(&store, tenant, app).await;
    }
    let unknown = "INSERT INTO default_limits (dimension, limits) VALUES ('planet', '{}')";
    fixture.tamper("default_limits", unknown).await.expect("of a later release");
    store.deployment().await.expect("others hold").expect("set up");
}
