use super::fixture::{Fixture, NOW, name};
use crate::audit::{Outcome, Record};
use crate::crypto::KeyVersion;
use crate::id::{IdentityId, TenantId};
use crate::store::Store;

fn record(request_id: &str) -> Record {
    Record {
        at: NOW,
        instance: "replica-1".into(),
        request_id: request_id.into(),
        tenant: None,
        identity: None,
        operation: "encrypt",
        context: None,
        key_version: None,
        outcome: Outcome::Failure("unauthenticated"),
        items: 1,
        failed: 1,
        bytes: 0,
        address: None,
        detail: None,
    }
}

pub(super) async fn records_are_appended_in_order(fixture: &impl Fixture) {
    let (store, _) = fixture.ready().await;
    let (tenant, identity) = (TenantId::random(), IdentityId::random());
    let full = Record {
        tenant: Some(tenant),
        identity: Some(identity),
        context: Some(name("general")),
        key_version: Some(KeyVersion::FIRST),
        outcome: Outcome::Success,
        items: u32::MAX,
        failed: 0,
        bytes: 1 << 40,
        address: Some("2001:db8::1".parse().expect("an address")),
        detail: Some("it's {\"odd\", \\ but} fine".into()),
        ..record("full")
    };
    store.append_audit(&[]).await.expect("nothing to do");
    assert_eq!(fixture.count("SELECT count(*) FROM audit").await, 0);
    let batch: Vec<_> = (0..1000).map(|i| record(&i.to_string())).chain([full]).collect();
    store.append_audit(&batch).await.expect("appended");
    store.append_audit(&[record("later")]).await.expect("appended");
    assert_eq!(fixture.count("SELECT count(*) FROM audit").await, 1002);
    let full = format!(
        "SELECT count(*) FROM audit WHERE request_id = 'full' AND instance = 'replica-1' AND tenant_id = {} \
         AND identity_id = {} AND operation = 'encrypt' AND context = 'general' AND key_version = 1 \
         AND outcome = 'success' AND items = 4294967295 AND failed = 0 AND bytes = 1099511627776 \
         AND address = '2001:db8::1' AND detail = 'it''s {{\"odd\", \\ but}} fine'",
        fixture.uuid(tenant.0),
        fixture.uuid(identity.0),
    );
    assert_eq!(fixture.count(&full).await, 1);
    let empty = "SELECT count(*) FROM audit WHERE tenant_id IS NULL AND identity_id IS NULL AND context IS NULL \
                 AND key_version IS NULL AND address IS NULL AND detail IS NULL AND outcome = 'unauthenticated'";
    assert_eq!(fixture.count(empty).await, 1001);
    let out_of_order = "SELECT count(*) FROM audit a JOIN audit b ON b.id > a.id \
                        WHERE a.id < 1000 AND b.id <= 1000 AND CAST(a.request_id AS integer) > CAST(b.request_id AS integer)";
    assert_eq!(fixture.count(out_of_order).await, 0);
    assert_eq!(fixture.count("SELECT count(*) FROM audit WHERE request_id = 'later' AND id = 1002").await, 1);
}

/// A record that the database refuses would take its whole batch with it.
pub(super) async fn odd_text_costs_no_record(fixture: &impl Fixture) {
    let (store, _) = fixture.ready().await;
    let odd = Record { detail: Some("a\0b".into()), instance: "\0".into(), ..record("odd\0") };
    store.append_audit(&[record("plain"), odd]).await.expect("appended");
    assert_eq!(fixture.count("SELECT count(*) FROM audit").await, 2);
}
