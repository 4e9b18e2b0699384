use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair};
use jsonwebtoken::EncodingKey;
use jsonwebtoken::jwk::Jwk;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::jwks::KEYS_MAX_AGE;
use super::*;
use crate::clock::{ManualClock, Timestamp};

const ISSUER: &str = "https://id.example";
const AUDIENCE: &str = "api";
const NOW: u64 = 1_793_534_400;

/// A key that signs.
struct Signer {
    kid: &'static str,
    algorithm: Algorithm,
    key: EncodingKey,
}

impl Signer {
    fn ed(kid: &'static str) -> Self {
        let der = Ed25519KeyPair::generate().unwrap().to_pkcs8v1().unwrap();
        Self { kid, algorithm: Algorithm::EdDSA, key: EncodingKey::from_ed_der(der.as_ref()) }
    }

    fn ec(kid: &'static str) -> Self {
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let key = EncodingKey::from_ec_der(key.to_pkcs8v1().unwrap().as_ref());
        Self { kid, algorithm: Algorithm::ES256, key }
    }

    fn jwk(&self) -> Value {
        let mut jwk = Jwk::from_encoding_key(&self.key, self.algorithm).unwrap();
        jwk.common.key_id = Some(self.kid.to_owned());
        serde_json::to_value(jwk).unwrap()
    }

    fn header(&self) -> Header {
        Header { kid: Some(self.kid.to_owned()), ..Header::new(self.algorithm) }
    }

    fn token(&self) -> String {
        self.sign(&self.header(), &claims())
    }

    fn sign(&self, header: &Header, claims: &Value) -> String {
        jsonwebtoken::encode(header, claims, &self.key).unwrap()
    }
}

fn claims() -> Value {
    json!({ "iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "iat": NOW, "exp": NOW + 7200 })
}

fn keys(signers: &[&Signer]) -> Vec<u8> {
    let keys: Vec<_> = signers.iter().map(|signer| signer.jwk()).collect();
    reply("200 OK", json!({ "keys": keys }).to_string().as_bytes())
}

fn reply(status: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status}\r\nLocation: /elsewhere\r\nContent-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// A provider, its endpoint, and the hands of its clock.
struct Fixture {
    provider: Arc<Provider>,
    hands: ManualClock,
    reply: Arc<Mutex<Vec<u8>>>,
    asked: Arc<AtomicUsize>,
    tasks: [JoinHandle<()>; 2],
}

impl Fixture {
    async fn new(first: Vec<u8>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let jwks_url = format!("http://{}/keys", listener.local_addr().unwrap()).parse().unwrap();
        let hands = ManualClock::new(Timestamp::from_secs(NOW));
        let config = IdentityProvider { issuer: ISSUER.to_owned(), audience: AUDIENCE.to_owned(), jwks_url };
        let provider = Arc::new(Provider::new(&config, Clock::Manual(hands.clone())));
        let (reply, asked) = (Arc::new(Mutex::new(first)), Arc::new(AtomicUsize::new(0)));
        let serving = tokio::spawn(serve(listener, reply.clone(), asked.clone()));
        let refreshing = {
            let provider = provider.clone();
            tokio::spawn(async move { provider.refresh_keys().await })
        };
        Self { provider, hands, reply, asked, tasks: [serving, refreshing] }
    }

    fn answer(&self, reply: Vec<u8>) {
        *self.reply.lock().unwrap() = reply;
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }

    async fn verify(&self, token: &str) -> Result<(), ProviderError> {
        self.provider.verify(token).await.map(drop)
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// Answers each connection with the reply of that moment; an empty one hangs it up.
async fn serve(listener: TcpListener, reply: Arc<Mutex<Vec<u8>>>, asked: Arc<AtomicUsize>) {
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        asked.fetch_add(1, Ordering::Relaxed);
        let mut buffer = [0; 1024];
        let _ = stream.read(&mut buffer).await;
        let reply = reply.lock().unwrap().clone();
        let _ = stream.write_all(&reply).await;
        let _ = stream.shutdown().await;
    }
}

const INVALID: Result<(), ProviderError> = Err(ProviderError::Token(TokenError::Invalid));
const UNAVAILABLE: Result<(), ProviderError> = Err(ProviderError::Unavailable);
/// Longer than between two fetches because of unknown keys.
const LATER: Duration = Duration::from_secs(11);

#[tokio::test]
async fn new_keys_work_at_once_and_removed_ones_stop_for_known_tokens_too() {
    let (old, new) = (Signer::ed("old"), Signer::ec("new"));
    let fixture = Fixture::new(keys(&[&old])).await;
    assert_eq!(fixture.verify(&old.token()).await, Ok(()));
    assert!(Provider::is_addressed(&old.token()));
    fixture.answer(keys(&[&old, &new]));
    assert_eq!(fixture.verify(&new.token()).await, Ok(()));
    assert_eq!(fixture.verify(&old.token()).await, Ok(()));

    fixture.hands.advance(LATER);
    fixture.answer(keys(&[&new]));
    assert_eq!(fixture.verify(&Signer::ed("unknown").token()).await, INVALID);
    assert_eq!(fixture.verify(&old.token()).await, INVALID, "its key was removed");
    assert_eq!(fixture.verify(&new.token()).await, Ok(()));

    // The same id for another key is another key.
    fixture.hands.advance(LATER);
    fixture.answer(keys(&[&Signer::ec("new")]));
    assert_eq!(fixture.verify(&Signer::ed("unknown").token()).await, INVALID);
    assert_eq!(fixture.verify(&new.token()).await, INVALID);

    // A set without keys is one too: nobody's tokens count.
    fixture.hands.advance(LATER);
    fixture.answer(keys(&[]));
    assert_eq!(fixture.verify(&old.token()).await, UNAVAILABLE);
}

#[tokio::test]
async fn unknown_keys_make_at_most_one_fetch_in_ten_seconds_and_cost_no_known_key() {
    let good = Signer::ed("good");
    let fixture = Fixture::new(keys(&[&good])).await;
    assert_eq!(fixture.verify(&good.token()).await, Ok(()));
    let at_first = fixture.asked();
    let stranger = Signer::ed("stranger");
    for round in 1..=2 {
        fixture.hands.advance(LATER);
        let strangers = (0..200).map(|n| {
            let header = Header { kid: Some(format!("{round}-{n}")), ..stranger.header() };
            let token = stranger.sign(&header, &claims());
            let fixture = &fixture;
            async move { assert_eq!(fixture.verify(&token).await, INVALID) }
        });
        futures_util::future::join_all(strangers).await;
        for _ in 0..3 {
            assert_eq!(fixture.verify(&stranger.token()).await, INVALID);
        }
        assert_eq!(fixture.asked(), at_first + round);
        assert_eq!(fixture.verify(&good.token()).await, Ok(()));
    }
}

#[tokio::test]
async fn an_endpoint_that_fails_costs_no_known_key_for_an_hour() {
    let (good, stranger) = (Signer::ed("good"), Signer::ed("stranger"));
    let fixture = Fixture::new(keys(&[&good])).await;
    assert_eq!(fixture.verify(&good.token()).await, Ok(()));
    let token = good.sign(&Header { typ: None, ..good.header() }, &claims());
    let failures = [
        Vec::new(),
        reply("500 Internal Server Error", b"{\"keys\":[]}"),
        reply("302 Found", b""),
        reply("200 OK", b"<html>"),
        reply("200 OK", &[b"{\"keys\":[],\"x\":\"", &vec![b'x'; 300 * 1024][..], b"\"}"].concat()),
        b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{\"keys\":[]}".to_vec(),
        b"garbage".to_vec(),
    ];
    for (number, failure) in failures.into_iter().enumerate() {
        fixture.hands.advance(LATER);
        fixture.answer(failure);
        let asked = fixture.asked();
        assert_eq!(fixture.verify(&stranger.token()).await, INVALID);
        assert!(fixture.asked() > asked, "{number}: it was asked");
        for token in [&good.token(), &token] {
            assert_eq!(fixture.verify(token).await, Ok(()), "{number}");
        }
    }
    fixture.hands.advance(KEYS_MAX_AGE);
    assert_eq!(fixture.verify(&good.token()).await, UNAVAILABLE);
    // It knows better again as soon as it may ask.
    fixture.hands.advance(LATER);
    fixture.answer(keys(&[&good]));
    assert_eq!(fixture.verify(&good.token()).await, Ok(()));
}

#[tokio::test]
async fn only_the_keys_own_algorithm_and_a_type_of_access_tokens_count() {
    let (ed, ec) = (Signer::ed("ed"), Signer::ec("ec"));
    let fixture = Fixture::new(keys(&[&ed, &ec])).await;
    for typ in [None, Some("JWT"), Some("jwt"), Some("at+jwt"), Some("application/at+JWT")] {
        let header = Header { typ: typ.map(str::to_owned), ..ec.header() };
        assert_eq!(fixture.verify(&ec.sign(&header, &claims())).await, Ok(()), "{typ:?}");
    }
    let with = |name: &str, value: Value| {
        let mut claims = claims();
        claims[name] = value;
        ed.sign(&ed.header(), &claims)
    };
    assert_eq!(fixture.verify(&with("aud", json!(["other", AUDIENCE]))).await, Ok(()));

    // Whatever an HMAC is made with: the key itself, its document, nothing.
    let jwk = ed.jwk();
    let raw = base64_simd::URL_SAFE_NO_PAD.decode_to_vec(jwk["x"].as_str().unwrap()).unwrap();
    let hmac = |secret: &[u8]| {
        let header = Header { kid: Some("ed".to_owned()), ..Header::new(Algorithm::HS256) };
        jsonwebtoken::encode(&header, &claims(), &EncodingKey::from_secret(secret)).unwrap()
    };
    let relabelled = |token: &str, header: Value| {
        let (_, rest) = token.split_once('.').unwrap();
        format!("{}.{rest}", base64_simd::URL_SAFE_NO_PAD.encode_to_string(header.to_string()))
    };
    let good = ed.token();
    let refused = [
        ("HS256 under the public key", hmac(&raw)),
        ("HS256 under its document", hmac(jwk.to_string().as_bytes())),
        ("HS256 under nothing", hmac(b"")),
        ("none", relabelled(&good, json!({ "alg": "none", "kid": "ed" }))),
        ("another algorithm's name", relabelled(&good, json!({ "alg": "ES256", "kid": "ed" }))),
        ("another key", ec.sign(&Header { kid: Some("ed".to_owned()), ..ec.header() }, &claims())),
        ("another key of its kind", Signer::ed("ed").token()),
        ("no kid", ed.sign(&Header { kid: None, ..ed.header() }, &claims())),
        (
            "a type of others",
            ed.sign(&Header { typ: Some("logout+jwt".to_owned()), ..ed.header() }, &claims()),
        ),
        ("critical", ed.sign(&Header { crit: Some(vec!["b64".to_owned()]), ..ed.header() }, &claims())),
        ("issuer", with("iss", json!("https://id.example/"))),
        ("a list of issuers", with("iss", json!([ISSUER]))),
        ("audience", with("aud", json!("other"))),
        ("audiences", with("aud", json!(["other"]))),
        ("no audience", with("aud", Value::Null)),
        ("a claim of ours", with("cryptoserve_role", json!("operator"))),
        ("cut", good[..good.len() - 4].to_owned()),
        ("nonsense", "nonsense".to_owned()),
    ];
    for (what, token) in refused {
        fixture.hands.advance(Duration::from_millis(1));
        assert_eq!(fixture.verify(&token).await, INVALID, "{what}");
    }
    assert!(!Provider::is_addressed(&hmac(&raw)), "an HMAC is ours to judge");
    assert_eq!(fixture.verify(&good).await, Ok(()));
    fixture.hands.advance(Duration::from_secs(7200));
    let expired = Err(ProviderError::Token(TokenError::Expired));
    assert_eq!(fixture.verify(&good).await, expired, "also one that is known");
}
