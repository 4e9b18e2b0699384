use std::time::Duration;

use http::Method;
use serde_json::{Value, json};

use super::*;
use crate::auth::{ContextGrant, Identity, Narrowing, Role, Tokens};
use crate::clock::{Clock, ManualClock, Timestamp};
use crate::config::{Config, Migrate, Secrets};
use crate::data_dir::DataDir;
use crate::id::IdentityId;
use crate::keyring::Keks;
use crate::store::sqlite::SqliteStore;

struct Fixture {
    app: App<SqliteStore>,
    token: String,
    hands: ManualClock,
    _background: Background<SqliteStore>,
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
    let now = clock.now();
    let identity = Identity {
        id: IdentityId::random(),
        tenant: deployment.tenant.id,
        name: "app".parse().unwrap(),
        role: Role::Service,
        scopes: Role::Service.scopes(),
        contexts: ContextGrant::All,
        epoch: 0,
        enabled: true,
        created_at: now,
        updated_at: now,
    };
    store.create_identity(&identity).await.unwrap();
    let tokens = Tokens::new(&secrets.jwt_key, &[], clock.clone());
    let issued = tokens.issue(&identity, Duration::from_secs(600), &Narrowing::default()).unwrap();
    let (app, background) = App::new(&config, &secrets, keks, &deployment, store, clock).await.unwrap();
    let token = issued.token.expose().clone();
    Fixture { app, token, hands, _background: background, _directory: directory }
}

impl Fixture {
    async fn send(&self, method: Method, path: &str, body: Value) -> (u16, Value) {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("authorization", format!("Bearer {}", self.token))
            .extension(Origin { peer: "192.0.2.1".parse().unwrap() })
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
