use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use tokio::sync::{Semaphore, watch};

use super::upkeep::Intervals;
use super::*;
use crate::auth::{ContextGrant, Identity, Narrowing, Role, Tokens};
use crate::clock::{Clock, ManualClock, Timestamp};
use crate::config::{Config, Migrate, Secrets};
use crate::contexts::KeyState;
use crate::crypto::KeyVersion;
use crate::data_dir::DataDir;
use crate::id::TenantId;
use crate::keyring::Keks;
use crate::name::Name;
use crate::store::sqlite::SqliteStore;
use crate::store::{ContextUpdate, StateChange};

struct Fixture {
    app: App<SqliteStore>,
    /// Another replica, so to speak.
    second: App<SqliteStore>,
    tenant: TenantId,
    token: String,
    hands: ManualClock,
    _background: [Background<SqliteStore>; 2],
    _directory: tempfile::TempDir,
}

/// An application on a store of its own, whose clock the test holds, and the token of a service.
async fn fixture() -> Fixture {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let config = Config::from_vars([("DATA_DIR", data.to_str().unwrap())]).unwrap();
    let data_dir = DataDir::of_store(&config.database).unwrap().unwrap();
    let secrets = Secrets::resolve(&config, Some(&data_dir)).unwrap().secrets;
    let hands = ManualClock::new(Timestamp::from_secs(1_793_534_400));
    let clock = Clock::Manual(hands.clone());
    let store = SqliteStore::open(data_dir.database_file()).await.unwrap();
    let keks = Keks::derive(&secrets.master_key, &[], &secrets.hkdf_salt).unwrap();
    let deployment = set_up(&store, &keks, Migrate::Auto, &clock).await.unwrap();
    let new = Identity::new(deployment.tenant.id, "app".parse().unwrap(), Role::Service, clock.now());
    let identity = Identity { contexts: ContextGrant::All, ..new };
    store.create_identity(&identity).await.unwrap();
    let tokens = Tokens::new(&secrets.jwt_key, &[], clock.clone());
    let issued = tokens.issue(&identity, Duration::from_secs(600), &Narrowing::default(), None).unwrap();
    let again = Keks::derive(&secrets.master_key, &[], &secrets.hkdf_salt).unwrap();
    let second = App::new(&config, &secrets, again, &deployment, store.clone(), clock.clone()).await.unwrap();
    let (app, background) = App::new(&config, &secrets, keks, &deployment, store, clock).await.unwrap();
    let token = issued.token.expose().clone();
    Fixture {
        app,
        second: second.0,
        tenant: deployment.tenant.id,
        token,
        hands,
        _background: [background, second.1],
        _directory: directory,
    }
}

impl Fixture {
    async fn send(&self, method: Method, path: &str, body: Value) -> (u16, Value) {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("authorization", format!("Bearer {}", self.token))
            .extension(Origin::from("192.0.2.1".parse::<std::net::IpAddr>().unwrap()))
            .body(Bytes::from(body.to_string()))
            .unwrap();
        let response = self.app.handle(request).await;
        let status = response.status().as_u16();
        (status, serde_json::from_slice(response.body()).unwrap())
    }

    async fn encrypt(&self) -> (u16, Value) {
        let body = json!({ "context": "general", "plaintext": "aGVsbG8=" });
        self.send(Method::POST, "/api/v1/crypto/encrypt", body).await
    }
}

#[tokio::test]
async fn whole_requests_need_no_socket() {
    let fixture = fixture().await;
    let (status, sealed) = fixture.encrypt().await;
    assert_eq!(status, 200, "{sealed}");
    let body = json!({ "ciphertext": sealed["ciphertext"] });
    let (status, opened) = fixture.send(Method::POST, "/v1/crypto/decrypt", body).await;
    assert_eq!((status, &opened["plaintext"]), (200, &json!("aGVsbG8=")));
    assert_eq!(fixture.send(Method::GET, "/health/ready", Value::Null).await.0, 200);
    assert_eq!(fixture.send(Method::GET, "/nowhere", Value::Null).await.0, 404);
}

#[tokio::test]
async fn a_front_without_streams_says_so() {
    let fixture = fixture().await;
    for path in ["/api/v1/crypto/encrypt/stream?context=general", "/v1/crypto/decrypt/stream"] {
        let (status, problem) = fixture.send(Method::POST, path, Value::Null).await;
        assert_eq!((status, &problem["code"]), (501, &json!("streaming_unavailable")));
    }
}

#[tokio::test]
async fn the_clock_decides_what_is_expired_and_what_has_refilled() {
    let fixture = fixture().await;
    // The default burst per identity is 20, and a token comes back every 600 ms.
    for _ in 0..20 {
        assert_eq!(fixture.encrypt().await.0, 200);
    }
    assert_eq!(fixture.encrypt().await.0, 429);
    fixture.hands.advance(Duration::from_millis(599));
    assert_eq!(fixture.encrypt().await.0, 429);
    fixture.hands.advance(Duration::from_millis(1));
    assert_eq!(fixture.encrypt().await.0, 200);

    fixture.hands.advance(Duration::from_secs(170));
    assert_eq!(fixture.encrypt().await.0, 200, "just within the staleness bound");
    fixture.hands.advance(Duration::from_secs(20));
    let (status, problem) = fixture.encrypt().await;
    assert_eq!((status, &problem["code"]), (503, &json!("store_unavailable")), "nobody polls in this test");
    fixture.hands.advance(Duration::from_secs(500));
    assert_eq!(fixture.encrypt().await.0, 401, "expired");
}

#[tokio::test]
async fn draining_is_not_ready() {
    let fixture = fixture().await;
    fixture.app.drain();
    let (status, body) = fixture.send(Method::GET, "/health/ready", Value::Null).await;
    assert_eq!((status, body), (503, json!({ "status": "unready", "reason": "draining" })));
    assert_eq!(fixture.send(Method::GET, "/health/live", Value::Null).await.0, 200);
    assert_eq!(fixture.encrypt().await.0, 200);
}

impl Fixture {
    /// The versions of the key of `general` and their states, newest first.
    async fn versions(&self) -> Vec<(u32, KeyState)> {
        let store = &self.app.shared.store;
        let context = store.context(self.tenant, &"general".parse().unwrap()).await.unwrap().unwrap();
        let listed = store.key_versions(self.tenant, context.key_id, None, 10).await.unwrap();
        listed.iter().map(|status| (status.record.version.get(), status.record.state)).collect()
    }
}

#[tokio::test]
async fn a_key_is_rotated_once_when_its_time_has_come() {
    let fixture = fixture().await;
    let (one, other) = (&fixture.app.shared, &fixture.second.shared);
    let both = async || {
        let (one, other) = tokio::join!(one.rotate_due(), other.rotate_due());
        one.and(other).unwrap();
    };
    let now = one.clock.now();
    let update = ContextUpdate { rotation_days: Some(1), ..ContextUpdate::default() };
    let general = "general".parse().unwrap();
    one.store.update_context(fixture.tenant, &general, &update, now).await.unwrap().unwrap();
    both().await;
    assert_eq!(fixture.versions().await, [(1, KeyState::Enabled)], "not before its time");
    for expected in [2, 3] {
        fixture.hands.advance(Duration::from_secs(24 * 60 * 60));
        both().await;
        assert_eq!(fixture.versions().await[0], (expected, KeyState::Enabled), "once a day");
    }
    let key_id = one.store.context(fixture.tenant, &general).await.unwrap().unwrap().key_id;
    let enabled = KeyVersion::try_from(3).unwrap();
    let worn = one.store.reserve_messages(fixture.tenant, key_id, enabled, 1 << 31, 1 << 32).await.unwrap();
    assert!(worn.is_some());
    both().await;
    assert_eq!(fixture.versions().await[0], (4, KeyState::Enabled), "and when it has encrypted enough");
}

/// Not only at the start.
#[tokio::test]
async fn upkeep_is_done_again_and_again() {
    let fixture = fixture().await;
    let replica = &fixture.app.shared;
    let general = "general".parse().unwrap();
    let long_ago = replica.clock.now() - Duration::from_secs(10 * 24 * 60 * 60);
    let soon = Duration::from_millis(2);
    let intervals = Intervals { usage: soon, due: soon, trail: soon };
    let (stopping, stopped) = watch::channel(());
    let uses = async {
        for round in 1..=3 {
            assert_eq!(fixture.encrypt().await.0, 200);
            // Another period, so that it begins anew, and that long ago.
            let days = u32::try_from(round).unwrap();
            let update = ContextUpdate { rotation_days: Some(days), ..ContextUpdate::default() };
            let changed = replica.store.update_context(fixture.tenant, &general, &update, long_ago).await;
            let key_id = changed.unwrap().unwrap().key_id;
            loop {
                let versions = replica.store.key_versions(fixture.tenant, key_id, None, 10);
                let versions = versions.await.unwrap();
                let encrypts: u64 = versions.iter().map(|version| version.encrypts).sum();
                if versions.len() == round + 1 && encrypts == round as u64 {
                    break;
                }
                tokio::time::sleep(soon).await;
            }
            replica.keyring.poll().await.unwrap();
        }
        drop(stopping);
    };
    let both = async { tokio::join!(replica.upkeep(intervals, stopped), uses) };
    tokio::time::timeout(Duration::from_secs(30), both).await.expect("rotated and written down each time");
}

#[tokio::test]
async fn a_version_is_destroyed_when_its_waiting_period_is_over_and_not_before() {
    let fixture = fixture().await;
    let (one, other) = (&fixture.app.shared, &fixture.second.shared);
    let store = &one.store;
    let first =
        store.enabled_version(fixture.tenant, &"general".parse().unwrap()).await.unwrap().value.unwrap();
    let now = one.clock.now();
    let next = crate::contexts::next_version(&first, None, one.keyring.active_kek().unwrap(), now).unwrap();
    assert!(store.rotate(&next).await.unwrap());
    let week = Duration::from_secs(7 * 24 * 60 * 60);
    for (from, to, destroy_at) in [
        (KeyState::DecryptOnly, KeyState::Disabled, None),
        (KeyState::Disabled, KeyState::Scheduled, Some(now + week)),
    ] {
        let change = StateChange { from, to, destroy_at };
        assert!(store.set_key_state(&first, &change, now).await.unwrap().is_some());
    }
    fixture.hands.advance(week - Duration::from_micros(1));
    one.destroy_due().await.unwrap();
    assert_eq!(fixture.versions().await[1], (1, KeyState::Scheduled));
    fixture.hands.advance(Duration::from_micros(1));
    let (a, b) = tokio::join!(one.destroy_due(), other.destroy_due());
    a.and(b).unwrap();
    assert_eq!(fixture.versions().await[1], (1, KeyState::Destroyed));
}

/// What remains of the second in which every change holds everywhere is for the query.
#[tokio::test]
async fn a_change_holds_on_another_replica_after_one_pause_of_half_a_second_at_most() {
    let fixture = fixture().await;
    let (one, other) = (&fixture.app.shared, &fixture.second.shared);
    let general: Name = "general".parse().unwrap();
    let (begun, over) = (watch::Sender::new(0), Semaphore::new(0));
    let polling = other.poll(|pause| {
        assert!((375..=500).contains(&pause.as_millis()), "{pause:?}");
        begun.send_modify(|begun| *begun += 1);
        async { over.acquire().await.unwrap().forget() }
    });
    let changes = async {
        for round in 1..=100 {
            begun.subscribe().wait_for(|begun| *begun == round).await.unwrap();
            let deleted = round % 2 == 1;
            let change = one.store.set_context_deleted(fixture.tenant, &general, deleted, one.clock.now());
            change.await.unwrap().unwrap();
            let holds = async || {
                let found = other.keyring.encryption_key(fixture.tenant, &general).await.unwrap();
                found.is_none() == deleted
            };
            assert!(!holds().await, "round {round}: nobody has asked");
            over.add_permits(1);
            begun.subscribe().wait_for(|begun| *begun == round + 1).await.unwrap();
            assert!(holds().await, "round {round}");
        }
    };
    tokio::select! {
        () = polling => unreachable!("it polls for ever"),
        () = changes => {}
    }
}

#[tokio::test]
async fn refusals_are_one_record_a_second_and_leave_room_for_what_is_done() {
    let fixture = fixture().await;
    let replica = &fixture.app.shared;
    let tally = replica.limits.tally().expect("the audit trail is on");
    for _ in 0..20 {
        assert_eq!(fixture.encrypt().await.0, 200);
    }
    for _ in 0..5 {
        assert_eq!(fixture.encrypt().await.0, 429);
    }
    // Nothing empties the queue in this test.
    let waiting = || replica.audit.depth().0;
    let write = || replica.record_those(tally, Some(replica.clock.now()));
    assert_eq!((write(), waiting()), (true, 20), "there may be more in this second");
    fixture.hands.advance(Duration::from_secs(1));
    let room = replica.audit.depth().1;
    let busy: Vec<_> = (20..room / 4).map(|_| replica.audit.reserve().unwrap()).collect();
    assert!(!write(), "the rest of the queue is not for refusals");
    drop(busy);
    assert_eq!((write(), waiting()), (true, 21), "and they were kept");
    assert_eq!((write(), waiting()), (true, 21), "written once");
}
