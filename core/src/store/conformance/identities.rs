use super::fixture::{Fixture, later, name};
use crate::auth::{ContextGrant, Identity, Role, ScopeSet};
use crate::id::{IdentityId, TenantId};
use crate::store::{Error, Store};

pub(super) fn identity(tenant: TenantId, text: &str) -> Identity {
    Identity {
        id: IdentityId::random(),
        tenant,
        name: name(text),
        role: Role::Service,
        scopes: Role::Service.scopes(),
        contexts: ContextGrant::Named([name("general"), name("user-pii")].into()),
        epoch: 0,
        enabled: true,
        created_at: later(1),
        updated_at: later(1),
    }
}

pub(super) async fn identities_are_stored(fixture: &impl Fixture) {
    let (store, tenant) = fixture.ready().await;
    let app = identity(tenant, "app");
    let admin = Identity {
        role: Role::Admin,
        scopes: ScopeSet::NONE,
        contexts: ContextGrant::All,
        epoch: u32::MAX,
        enabled: false,
        ..identity(tenant, "admin")
    };
    let nothing = Identity { contexts: ContextGrant::Named([].into()), ..identity(tenant, "nothing") };
    for identity in [app, admin, nothing] {
        store.create_identity(&identity).await.expect("created");
        assert_eq!(
            store.identity(identity.tenant, identity.id).await.expect("read").value.as_ref(),
            Some(&identity)
        );
        assert_eq!(store.identity_by_name(tenant, &identity.name).await.expect("read"), Some(identity));
    }
    assert_eq!(store.identity(tenant, IdentityId::random()).await.expect("read").value, None);
    assert_eq!(store.identity_by_name(tenant, &name("none")).await.expect("read"), None);
}

pub(super) async fn identity_names_are_unique_within_a_tenant(fixture: &impl Fixture) {
    let (store, tenant) = fixture.ready().await;
    let other = fixture.add_tenant().await;
    let (app, job) = (identity(tenant, "app"), identity(tenant, "job"));
    for identity in [&app, &job, &identity(other, "app")] {
        store.create_identity(identity).await.expect("created");
    }
    assert!(matches!(store.create_identity(&identity(tenant, "app")).await, Err(Error::Exists)));
    let renamed = Identity { name: name("app"), ..job };
    assert!(matches!(store.update_identity(&renamed, false, later(2)).await, Err(Error::Exists)));
    assert_eq!(store.identity_by_name(tenant, &name("app")).await.expect("read"), Some(app));
}

pub(super) async fn updates_of_an_older_epoch_do_nothing(fixture: &impl Fixture) {
    let (store, tenant) = fixture.ready().await;
    let app = identity(tenant, "app");
    store.create_identity(&app).await.expect("created");
    let wish = Identity {
        name: name("renamed"),
        role: Role::Admin,
        scopes: Role::Admin.scopes(),
        contexts: ContextGrant::All,
        enabled: false,
        ..app.clone()
    };
    let updated = store.update_identity(&wish, false, later(2)).await.expect("updated");
    assert_eq!(updated, Some(Identity { updated_at: later(2), ..wish.clone() }));

    // Whoever read it before that change would undo it unawares.
    let stale = Identity { enabled: true, ..app.clone() };
    assert_eq!(store.update_identity(&stale, false, later(3)).await.expect("asked"), None);
    let wish = updated.expect("updated");

    // Two administrators read epoch 0 and both revoke: the second is told that it was too late.
    let (first, second) = tokio::join!(
        store.update_identity(&wish, true, later(3)),
        store.update_identity(&wish, true, later(3))
    );
    let results = [first.expect("asked"), second.expect("asked")];
    assert_eq!(results.iter().flatten().map(|identity| identity.epoch).collect::<Vec<_>>(), [1]);
    assert_eq!(store.update_identity(&wish, false, later(4)).await.expect("asked"), None);
    assert_eq!(
        store.identity(app.tenant, app.id).await.expect("read").value.map(|identity| identity.epoch),
        Some(1)
    );
}

pub(super) async fn other_tenants_cannot_change_an_identity(fixture: &impl Fixture) {
    let (store, tenant) = fixture.ready().await;
    let other = fixture.add_tenant().await;
    let app = identity(tenant, "app");
    store.create_identity(&app).await.expect("created");
    assert_eq!(store.identity_by_name(other, &app.name).await.expect("read"), None);
    assert_eq!(store.identities(other, None, 10).await.expect("read"), []);
    let taken = Identity { tenant: other, enabled: false, ..app.clone() };
    assert_eq!(store.update_identity(&taken, true, later(2)).await.expect("asked"), None);
    assert!(!store.delete_identity(other, app.id, later(2)).await.expect("asked"));
    assert_eq!(store.identity(app.tenant, app.id).await.expect("read").value, Some(app));
}

pub(super) async fn deleted_identities_are_gone(fixture: &impl Fixture) {
    let (store, tenant) = fixture.ready().await;
    let app = identity(tenant, "app");
    store.create_identity(&app).await.expect("created");
    assert!(store.delete_identity(tenant, app.id, later(2)).await.expect("deleted"));
    assert!(!store.delete_identity(tenant, app.id, later(2)).await.expect("asked"));
    assert_eq!(store.identity(app.tenant, app.id).await.expect("read").value, None);
    assert_eq!(store.update_identity(&app, false, later(3)).await.expect("asked"), None);
    store.create_identity(&identity(tenant, "app")).await.expect("the name is free again");
}

pub(super) async fn identities_are_listed_by_name(fixture: &impl Fixture) {
    let (store, tenant) = fixture.ready().await;
    for text in ["b", "a_b", "a.b", "ab", "a-b"] {
        store.create_identity(&identity(tenant, text)).await.expect("created");
    }
    let names = async |after: Option<&str>, limit| {
        let page = store.identities(tenant, after.map(name).as_ref(), limit).await.expect("listed");
        page.into_iter().map(|identity| identity.name.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(names(None, 100).await, ["a-b", "a.b", "a_b", "ab", "b"]);
    assert_eq!(names(Some("a.b"), 2).await, ["a_b", "ab"]);
    assert_eq!(names(Some("b"), 2).await, [""; 0]);
}
