use super::fixture::{Fixture, context, later, name};
use super::identities::identity;
use crate::auth::{Identity, Role};
use crate::id::TenantId;
use crate::store::{Change, Error, NewTenant, Store, Tenant, TenantRecord, TenantUpdate};

fn new_tenant(text: &str) -> NewTenant {
    let tenant = Tenant { id: TenantId::random(), name: name(text) };
    let admin = Identity::new(tenant.id, name("admin"), Role::Admin, later(1));
    let contexts = ["general", "user-pii"].map(|text| context(tenant.id, text)).into();
    NewTenant { tenant, description: "what for".to_owned(), contexts, admin, at: later(1) }
}

pub(super) async fn tenants_are_made_with_all_that_they_need_or_not_at_all(fixture: &impl Fixture) {
    let (store, default) = fixture.ready().await;
    let new = new_tenant("acme");
    let seen = store.revision().await.expect("read");
    store.create_tenant(&new).await.expect("created");
    let changes = store.changes_since(seen).await.expect("read").changes;
    assert_eq!(changes, Some(vec![Change::Tenant(new.tenant.id)]));
    let record = TenantRecord {
        tenant: new.tenant.clone(),
        description: new.description.clone(),
        enabled: true,
        limits: None,
        created_at: later(1),
        updated_at: later(1),
    };
    assert_eq!(store.tenant(&name("acme")).await.expect("read"), Some(record));
    assert_eq!(
        store.identities(new.tenant.id, None, 10).await.expect("read"),
        std::slice::from_ref(&new.admin)
    );
    assert_eq!(store.contexts(new.tenant.id, false, None, 10).await.expect("read").len(), 2);

    let again = NewTenant { description: String::new(), ..new_tenant("acme") };
    assert!(matches!(store.create_tenant(&again).await, Err(Error::Exists)));
    assert!(store.identities(again.tenant.id, None, 10).await.expect("read").is_empty());
    let names = async |after: Option<&str>, limit| {
        let page = store.tenants(after.map(name).as_ref(), limit).await.expect("listed");
        page.into_iter().map(|record| record.tenant.name.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(names(None, 10).await, ["acme", "default"]);
    assert_eq!(names(Some("acme"), 1).await, ["default"]);
    assert_eq!(store.tenant(&name("none")).await.expect("read"), None);
    assert_ne!(default, new.tenant.id);
}

pub(super) async fn a_disabled_tenant_shows_at_its_identities(fixture: &impl Fixture) {
    let (store, default) = fixture.ready().await;
    let new = new_tenant("acme");
    store.create_tenant(&new).await.expect("created");
    let app = identity(default, "app");
    store.create_identity(&app).await.expect("created");
    let enabled = async |identity: &Identity| {
        let status = store.identity_status(identity.tenant, identity.id, later(3)).await;
        status.expect("read").value.expect("there").tenant_enabled
    };
    let disable = TenantUpdate { enabled: Some(false), ..TenantUpdate::default() };
    let updated = store.update_tenant(new.tenant.id, &disable, later(2)).await.expect("updated");
    let updated = updated.expect("there");
    assert_eq!(
        (updated.enabled, updated.description.as_str(), updated.updated_at),
        (false, "what for", later(2))
    );
    assert!(!enabled(&new.admin).await && enabled(&app).await);
    let describe = TenantUpdate { description: Some("other".to_owned()), enabled: Some(true) };
    store.update_tenant(new.tenant.id, &describe, later(3)).await.expect("updated");
    assert!(enabled(&new.admin).await);
    assert_eq!(store.update_tenant(TenantId::random(), &disable, later(3)).await.expect("asked"), None);
}

pub(super) async fn the_tokens_of_one_tenant_are_revoked(fixture: &impl Fixture) {
    let (store, default) = fixture.ready().await;
    let new = new_tenant("acme");
    store.create_tenant(&new).await.expect("created");
    let app = identity(default, "app");
    store.create_identity(&app).await.expect("created");
    store.revoke_tokens_of_tenant(new.tenant.id, later(2)).await.expect("revoked");
    let [admin] = &store.identities(new.tenant.id, None, 10).await.expect("read")[..] else { panic!("one") };
    assert_eq!((admin.epoch, admin.tokens_not_before), (1, Some(later(2))));
    assert_eq!(store.identities(default, None, 10).await.expect("read"), [app]);
    let empty = fixture.add_tenant().await;
    store.revoke_tokens_of_tenant(empty, later(2)).await.expect("nothing to revoke");
}
