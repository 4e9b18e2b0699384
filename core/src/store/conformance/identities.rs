use futures_util::future::join_all;

use super::fixture::{Fixture, later, name};
use crate::auth::{ContextGrant, Identity, IdentityStatus, Narrowing, RefreshFamily, Role, ScopeSet};
use crate::id::{FamilyId, IdentityId, TenantId};
use crate::limits::IdentityPolicies;
use crate::store::{Change, Error, Opening, RefreshTokens, Revocation, Store};

pub(super) fn identity(tenant: TenantId, text: &str) -> Identity {
    let contexts = ContextGrant::Named([name("general"), name("user-pii")].into());
    Identity { contexts, ..Identity::new(tenant, name(text), Role::Service, later(1)) }
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
        rotate_refresh_tokens: true,
        subject: Some("auth0|5f7c".to_owned()),
        tokens_not_before: Some(later(1)),
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

pub(super) async fn identity_names_and_ids_are_unique_within_a_tenant(fixture: &impl Fixture) {
    let (store, tenant) = fixture.ready().await;
    let other = fixture.add_tenant().await;
    let (app, job) = (identity(tenant, "app"), identity(tenant, "job"));
    for identity in [&app, &job, &identity(other, "app")] {
        store.create_identity(identity).await.expect("created");
    }
    assert!(matches!(store.create_identity(&identity(tenant, "app")).await, Err(Error::Exists)));
    // Ids are random, or hashes that say who it is: then two who are the same may come at once.
    for same in [job.clone(), Identity { name: name("other"), ..job.clone() }] {
        assert!(matches!(store.create_identity(&same).await, Err(Error::Exists)));
    }
    let renamed = Identity { name: name("app"), ..job };
    assert!(matches!(store.update_identity(&renamed, false, later(2)).await, Err(Error::Exists)));
    assert_eq!(store.identity_by_name(tenant, &name("app")).await.expect("read"), Some(app));
}

pub(super) async fn a_certificate_is_of_one_identity_in_the_deployment(fixture: &impl Fixture) {
    let (store, tenant) = fixture.ready().await;
    let other = fixture.add_tenant().await;
    let with = |tenant, text: &str, certificate: &str| Identity {
        certificate: Some(certificate.parse().expect("a name")),
        ..identity(tenant, text)
    };
    let owner = async |certificate: &str| {
        let name = certificate.parse().expect("a name");
        store.identity_by_certificate(&name).await.expect("read").value
    };
    let (app, job) = (with(tenant, "app", "CN=app"), identity(tenant, "job"));
    for identity in [&app, &job, &identity(other, "app")] {
        store.create_identity(identity).await.expect("created");
    }
    assert_eq!(owner("CN=app").await, Some((tenant, app.id)));
    assert_eq!(owner("CN=job").await, None);
    for taken in [with(tenant, "new", "CN=app"), with(other, "new", "CN=app")] {
        assert!(matches!(store.create_identity(&taken).await, Err(Error::Exists)));
    }
    let wish = Identity { certificate: app.certificate.clone(), ..job.clone() };
    assert!(matches!(store.update_identity(&wish, false, later(2)).await, Err(Error::Exists)));
    // One gives it up, another takes it.
    let without = Identity { certificate: None, ..app };
    let updated = store.update_identity(&without, false, later(2)).await.expect("updated");
    assert_eq!(updated.expect("nobody else did").certificate, None);
    let updated = store.update_identity(&wish, false, later(3)).await.expect("updated");
    assert_eq!(updated.expect("nobody else did").certificate, wish.certificate);
    assert_eq!(owner("CN=app").await, Some((tenant, job.id)));
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

pub(super) async fn what_decides_whether_tokens_count_is_read_at_once(fixture: &impl Fixture) {
    let (store, tenant) = fixture.ready().await;
    let app = identity(tenant, "app");
    store.create_identity(&app).await.expect("created");
    let status = async |now| store.identity_status(tenant, app.id, now).await.expect("read").value;
    let expected = IdentityStatus {
        identity: app.clone(),
        tenant_name: "default".parse().expect("a name"),
        tenant_enabled: true,
        revoked: [].into(),
        limits: IdentityPolicies::default(),
    };
    assert_eq!(status(later(2)).await, Some(expected.clone()));
    let seen = store.revision().await.expect("read");
    for (token, until) in [("a", 10), ("b", 20), ("b", 30)] {
        let revoked = store.revoke_token(tenant, app.id, token, later(until), later(2)).await.expect("asked");
        assert_eq!(revoked, Revocation::Done);
    }
    let changes = store.changes_since(seen).await.expect("read").changes.expect("complete");
    assert_eq!(changes, [Change::Identity(tenant, app.id); 3]);
    let revoked = |ids: &[&str]| IdentityStatus {
        revoked: ids.iter().map(|&id| id.to_owned()).collect(),
        ..expected.clone()
    };
    // A replica whose clock is an hour slow still takes the token for one that has not expired.
    let hour = 3600;
    store.prune_revoked_tokens(later(hour + 9)).await.expect("pruned");
    assert_eq!(status(later(hour + 9)).await, Some(revoked(&["a", "b"])));
    assert_eq!(status(later(hour + 10)).await, Some(revoked(&["b"])));
    store.prune_revoked_tokens(later(hour + 10)).await.expect("pruned");
    assert_eq!(status(later(9)).await, Some(revoked(&["b"])));

    let other = fixture.add_tenant().await;
    let revoked = store.revoke_token(other, app.id, "a", later(10), later(2)).await.expect("asked");
    assert_eq!(revoked, Revocation::NoIdentity);
    assert!(store.identity_status(other, app.id, later(2)).await.expect("read").value.is_none());
    assert!(store.delete_identity(tenant, app.id, later(3)).await.expect("deleted"));
    assert_eq!(status(later(9)).await, None);
    assert_eq!(fixture.count("SELECT count(*) FROM revoked_tokens").await, 0);
}

pub(super) async fn of_one_identity_a_thousand_tokens_are_revoked_one_by_one(fixture: &impl Fixture) {
    let (store, tenant) = fixture.ready().await;
    let (app, other) = (identity(tenant, "app"), identity(tenant, "other"));
    let outside = Identity { subject: Some("sub".to_owned()), ..identity(tenant, "outside") };
    for identity in [&app, &other, &outside] {
        store.create_identity(identity).await.expect("created");
    }
    let revoke = async |identity: &Identity, token: &str, now| {
        store.revoke_token(tenant, identity.id, token, later(10), now).await.expect("asked")
    };
    let family = RefreshFamily::new(&app, Narrowing::default(), String::new(), later(2));
    assert_eq!(store.open_family(&family, [1; 32]).await.expect("asked"), Opening::Done);
    for identity in [&app, &outside] {
        assert_eq!(revoke(identity, "first", later(2)).await, Revocation::Done);
    }
    let many = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 998) \
         INSERT INTO revoked_tokens (tenant_id, identity_id, token_id, expires_at) \
         SELECT t.tenant_id, t.identity_id, CAST(x AS text), t.expires_at FROM revoked_tokens t CROSS JOIN n";
    fixture.tamper("revoked_tokens", many).await.expect("almost as many as may be");
    let (app_ref, revoke_ref) = (&app, &revoke);
    let at_once = async |n: u8| revoke_ref(app_ref, &format!("last {n}"), later(2)).await;
    let done = join_all((0..4).map(at_once)).await;
    assert_eq!(done.iter().filter(|one| **one == Revocation::Done).count(), 1);
    assert_eq!(revoke(&app, "another", later(2)).await, Revocation::TooMany);
    assert_eq!(revoke(&app, "first", later(2)).await, Revocation::Done, "it is among them");
    assert_eq!(revoke(&other, "another", later(2)).await, Revocation::Done);
    // What has expired makes room, upkeep or not.
    assert_eq!(revoke(&app, "another", later(3610)).await, Revocation::Done);
    assert_eq!(revoke(&outside, "another", later(2)).await, Revocation::Done);
    // A family can be revoked all the same, and no more begin.
    let next = RefreshFamily { id: FamilyId::random(), ..family.clone() };
    assert_eq!(store.open_family(&next, [2; 32]).await.expect("asked"), Opening::TooManyRevoked);
    assert!(store.revoke_family(tenant, app.id, family.id, later(10), later(2)).await.expect("asked"));

    // All tokens are refused by their epoch; those of a provider have none.
    let rows = async |identity: &Identity| {
        let id = fixture.uuid(identity.id.0);
        fixture.count(&format!("SELECT count(*) FROM revoked_tokens WHERE identity_id = {id}")).await
    };
    assert_eq!((rows(&app).await, rows(&other).await, rows(&outside).await), (1002, 1, 1000));
    assert!(store.update_identity(&app, false, later(3)).await.expect("asked").is_some());
    assert_eq!(rows(&app).await, 1002);
    for identity in [&app, &outside] {
        let identity = store.identity(tenant, identity.id).await.expect("read").value.expect("there");
        assert!(store.update_identity(&identity, true, later(4)).await.expect("asked").is_some());
    }
    assert_eq!((rows(&app).await, rows(&other).await, rows(&outside).await), (0, 1, 1000));
    store.revoke_tokens_of_tenant(tenant, later(5)).await.expect("revoked");
    assert_eq!((rows(&other).await, rows(&outside).await), (0, 1000));
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
