use std::time::Duration;

use futures_util::future::join_all;

use super::fixture::{Fixture, later, name};
use super::identities::identity;
use crate::auth::{FAMILY_TTL, Identity, Narrowing, RefreshFamily, RefreshToken, Role};
use crate::clock::Timestamp;
use crate::id::{FamilyId, TenantId};
use crate::store::{Change, Opening, RefreshTokens, Store, StoredRefreshToken};

const HASH: [u8; 32] = [1; 32];
const NEXT: [u8; 32] = [2; 32];
const SALT: [u8; 32] = [3; 32];

async fn app<S: Store>(store: &S, tenant: TenantId) -> Identity {
    let app = identity(tenant, "app");
    store.create_identity(&app).await.expect("created");
    app
}

fn family(identity: &Identity, at: Timestamp) -> RefreshFamily {
    RefreshFamily::new(identity, Narrowing::default(), "for a test".to_owned(), at)
}

fn hash(tenant: TenantId) -> [u8; 32] {
    RefreshToken::generate(tenant).expect("random").hash()
}

async fn found<S: Store>(store: &S, tenant: TenantId, hash: [u8; 32]) -> StoredRefreshToken {
    store.refresh_token(tenant, hash).await.expect("read").expect("there")
}

pub(super) async fn a_refresh_token_is_found_with_all_that_decides_its_worth(fixture: &impl Fixture) {
    let (store, tenant) = fixture.ready().await;
    let other = fixture.add_tenant().await;
    let app = app(&store, tenant).await;
    let narrowing = Narrowing { scopes: "encrypt decrypt".parse().ok(), contexts: "general".parse().ok() };
    let narrowed =
        RefreshFamily { rotates: true, ..RefreshFamily::new(&app, narrowing, "é".to_owned(), later(2)) };
    let plain = family(&app, later(3));
    let seen = store.revision().await.expect("read");
    assert_eq!(store.open_family(&narrowed, HASH).await.expect("asked"), Opening::Done);
    assert_eq!(store.open_family(&plain, NEXT).await.expect("asked"), Opening::Done);
    // No replica has anything to forget.
    assert_eq!(store.revision().await.expect("read"), seen);
    for (hash, family) in [(HASH, &narrowed), (NEXT, &plain)] {
        let token = found(&store, tenant, hash).await;
        assert_eq!((token.hash, token.replaced, &token.family), (hash, None, family));
        assert_eq!((token.identity, token.tenant_enabled), (app.clone(), true));
        assert!(token.now > later(0), "the database's own time");
    }
    assert!(store.refresh_token(other, HASH).await.expect("read").is_none());
    assert!(store.refresh_token(tenant, SALT).await.expect("read").is_none());
    assert_eq!(store.families(tenant, app.id, later(4)).await.expect("listed"), [narrowed, plain]);
    assert_eq!(store.families(other, app.id, later(4)).await.expect("listed"), []);
    // The same token twice is refused, and not a second family left without one.
    store.open_family(&family(&app, later(4)), HASH).await.expect_err("taken");
    assert_eq!(store.families(tenant, app.id, later(4)).await.expect("listed").len(), 2);
}

pub(super) async fn of_twelve_that_rotate_one_token_one_does(fixture: &impl Fixture) {
    let (store, tenant) = fixture.ready().await;
    let app = app(&store, tenant).await;
    assert_eq!(store.open_family(&family(&app, later(1)), HASH).await.expect("asked"), Opening::Done);
    let token = found(&store, tenant, HASH).await;
    let (token, store) = (&token, &store);
    let rotate =
        async |n: u8| store.rotate_refresh_token(token, [n; 32], [n; 32]).await.expect("asked").then_some(n);
    let won: Vec<u8> = join_all((10..22).map(rotate)).await.into_iter().flatten().collect();
    let [winner] = won[..] else { panic!("{won:?}") };
    let replaced = found(store, tenant, HASH).await;
    assert_eq!(replaced.replaced, Some((token.now, [winner; 32])));
    // Rotation is use.
    assert_eq!(replaced.family.used_at, token.now);
    assert_eq!(found(store, tenant, [winner; 32]).await.replaced, None);
    assert_eq!(fixture.count("SELECT count(*) FROM refresh_tokens").await, 2);
}

pub(super) async fn an_identity_has_twenty_families_that_live(fixture: &impl Fixture) {
    let (store, tenant) = fixture.ready().await;
    let app = app(&store, tenant).await;
    let (app, store) = (&app, &store);
    let open = async |at: Timestamp| store.open_family(&family(app, at), hash(tenant)).await.expect("asked");
    let opened = join_all((0..25).map(|_| open(later(1)))).await;
    assert_eq!(opened.iter().filter(|opened| **opened == Opening::Done).count(), 20);
    assert_eq!(open(later(2)).await, Opening::TooManyFamilies);
    // Others do not count.
    let other = Identity { name: name("other"), ..identity(tenant, "other") };
    store.create_identity(&other).await.expect("created");
    assert_eq!(
        store.open_family(&family(&other, later(2)), hash(tenant)).await.expect("asked"),
        Opening::Done
    );

    // What is dead makes room, and is gone.
    let families = store.families(tenant, app.id, later(2)).await.expect("listed");
    store.touch_family(tenant, families[0].id, later(100)).await.expect("touched");
    let late = later(50) + FAMILY_TTL;
    assert_eq!(store.families(tenant, app.id, late).await.expect("listed").len(), 1);
    assert_eq!(open(late).await, Opening::Done);
    assert_eq!(store.families(tenant, app.id, late).await.expect("listed").len(), 2);
    let raised = store.update_identity(app, true, later(3)).await.expect("asked").expect("updated");
    assert_eq!(open(later(3)).await, Opening::IdentityChanged);
    assert_eq!(store.families(tenant, app.id, later(3)).await.expect("listed"), []);
    assert_eq!(
        store.open_family(&family(&raised, later(3)), hash(tenant)).await.expect("asked"),
        Opening::Done
    );
    assert_eq!(fixture.count("SELECT count(*) FROM refresh_families").await, 2);

    for unfit in
        [Identity { enabled: false, ..raised.clone() }, Identity { role: Role::Admin, ..raised.clone() }]
    {
        let unfit = Identity { name: name(unfit.role.name()), id: crate::id::IdentityId::random(), ..unfit };
        store.create_identity(&unfit).await.expect("created");
        let refused = store.open_family(&family(&unfit, later(4)), hash(tenant)).await.expect("asked");
        assert_eq!(refused, Opening::IdentityChanged);
        assert!(store.delete_identity(tenant, unfit.id, later(4)).await.expect("deleted"));
    }
    store.prune_families(late + Duration::from_secs(100)).await.expect("pruned");
    assert_eq!(fixture.count("SELECT count(*) FROM refresh_families").await, 0);
    assert_eq!(fixture.count("SELECT count(*) FROM refresh_tokens").await, 0);
}

pub(super) async fn a_family_ends_together_with_what_it_made(fixture: &impl Fixture) {
    let (store, tenant) = fixture.ready().await;
    let app = app(&store, tenant).await;
    let (first, second) = (family(&app, later(1)), family(&app, later(1)));
    assert_eq!(store.open_family(&first, HASH).await.expect("asked"), Opening::Done);
    assert_eq!(store.open_family(&second, NEXT).await.expect("asked"), Opening::Done);
    let token = found(&store, tenant, HASH).await;
    let stranger = Identity { name: name("stranger"), ..identity(tenant, "stranger") };
    store.create_identity(&stranger).await.expect("created");

    let seen = store.revision().await.expect("read");
    let end = async |identity: &Identity, family: FamilyId| {
        store.revoke_family(tenant, identity.id, family, later(100), later(2)).await.expect("asked")
    };
    assert!(!end(&stranger, first.id).await && !end(&app, FamilyId::random()).await);
    assert_eq!(store.revision().await.expect("read"), seen);
    assert!(end(&app, first.id).await);
    assert!(!end(&app, first.id).await);
    let changes = store.changes_since(seen).await.expect("read").changes;
    assert_eq!(changes, Some(vec![Change::Identity(tenant, app.id)]));
    let status = store.identity_status(tenant, app.id, later(3)).await.expect("read").value.expect("there");
    assert_eq!(status.revoked, [first.id.to_string()].into());
    assert!(store.refresh_token(tenant, HASH).await.expect("read").is_none());
    // A rotation that was under way brings nothing back.
    assert!(!store.rotate_refresh_token(&token, [9; 32], SALT).await.expect("asked"));
    assert!(store.refresh_token(tenant, [9; 32]).await.expect("read").is_none());

    found(&store, tenant, NEXT).await;
    assert!(store.delete_identity(tenant, app.id, later(4)).await.expect("deleted"));
    assert!(store.refresh_token(tenant, NEXT).await.expect("read").is_none());
    assert_eq!(fixture.count("SELECT count(*) FROM refresh_tokens").await, 0);
}

pub(super) async fn nobody_buries_a_replaced_token_under_successors(fixture: &impl Fixture) {
    let (store, tenant) = fixture.ready().await;
    let app = app(&store, tenant).await;
    let opened = family(&app, later(1));
    assert_eq!(store.open_family(&opened, HASH).await.expect("asked"), Opening::Done);
    let token = found(&store, tenant, HASH).await;
    assert!(store.rotate_refresh_token(&token, NEXT, SALT).await.expect("rotated"));
    // As many as are remembered, replaced just now.
    let many = format!(
        "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 4999) \
         INSERT INTO refresh_tokens (tenant_id, hash, family_id, replaced_at, successor_salt, created_at) \
         SELECT t.tenant_id, {}, t.family_id, t.replaced_at, t.successor_salt, t.created_at \
         FROM refresh_tokens t CROSS JOIN n WHERE t.replaced_at IS NOT NULL",
        fixture.random_bytes(),
    );
    fixture.tamper("refresh_tokens", &many).await.expect("as many as are kept");
    let last = found(&store, tenant, NEXT).await;
    assert!(!store.rotate_refresh_token(&last, [4; 32], SALT).await.expect("asked"));
    assert_eq!(found(&store, tenant, NEXT).await.replaced, None, "it stays good");
    assert!(found(&store, tenant, HASH).await.replaced.is_some(), "and the first is still known");
    // Ninety days later they are forgotten, and it goes on.
    let later = StoredRefreshToken { now: last.now + FAMILY_TTL, ..last };
    assert!(store.rotate_refresh_token(&later, [4; 32], SALT).await.expect("asked"));
    assert_eq!(fixture.count("SELECT count(*) FROM refresh_tokens").await, 2);
}
