use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use super::*;
use crate::auth::Scope;
use crate::clock::ManualClock;
use crate::id::{IdentityId, TenantId};

const KEY: &[u8] = b"0f7Jm3wqLz9bXv2cRt5yUh8nKd1sPa4e";
const START: u64 = 1_793_534_400;

fn key(bytes: &[u8]) -> Secret<Vec<u8>> {
    Secret::new(bytes.to_vec())
}

fn tokens() -> (Tokens, ManualClock) {
    let hands = ManualClock::new(Timestamp::from_secs(START));
    (Tokens::new(&key(KEY), &[], Clock::Manual(hands.clone())), hands)
}

fn identity(role: Role) -> Identity {
    let new = Identity::new(TenantId::random(), "app".parse().unwrap(), role, Timestamp::from_secs(START));
    Identity { contexts: ContextGrant::All, epoch: 3, ..new }
}

fn claims() -> Value {
    json!({
        "iss": "cryptoserve", "aud": "cryptoserve-api", "sub": IdentityId::random().to_string(),
        "tid": TenantId::random().to_string(), "jti": "x", "iat": START, "exp": START + 60, "epoch": 0,
    })
}

fn sign(header: &Header, claims: &Value) -> String {
    jsonwebtoken::encode(header, claims, &EncodingKey::from_secret(KEY)).unwrap()
}

fn header(typ: &str) -> Header {
    Header { typ: Some(typ.to_owned()), ..Header::new(Algorithm::HS256) }
}

#[test]
fn a_token_verifies_until_it_expires() {
    let (tokens, hands) = tokens();
    let identity = identity(Role::Service);
    let narrowing =
        Narrowing { scopes: Some(ScopeSet::NONE.with(Scope::Decrypt)), contexts: "a b".parse().ok() };
    let issued = tokens.issue(&identity, Duration::from_secs(10), &narrowing, None).unwrap();
    let verified = tokens.verify(issued.token.expose()).unwrap();
    assert_eq!((verified.identity, verified.tenant), (identity.id, identity.tenant));
    assert_eq!((&verified.id, verified.credential), (&issued.id, Credential::Own { epoch: 3 }));
    assert_eq!(verified.narrowing.scopes, narrowing.scopes);
    assert_eq!(verified.narrowing.contexts, narrowing.contexts);
    hands.advance(Duration::from_secs(9));
    assert!(tokens.verify(issued.token.expose()).is_ok());
    hands.advance(Duration::from_secs(1));
    assert_eq!(tokens.verify(issued.token.expose()).unwrap_err(), TokenError::Expired);
}

#[test]
fn lifetimes_depend_on_the_role() {
    let (tokens, _) = tokens();
    let issue = |role, ttl| tokens.issue(&identity(role), ttl, &Narrowing::default(), None);
    assert!(issue(Role::Service, MAX_SERVICE_TTL).is_ok());
    assert!(issue(Role::Service, MAX_SERVICE_TTL + Duration::from_secs(1)).is_err());
    assert!(issue(Role::Admin, MAX_ADMIN_TTL).is_ok());
    for role in [Role::Admin, Role::Operator] {
        assert!(issue(role, MAX_ADMIN_TTL + Duration::from_secs(1)).is_err());
    }
    assert!(issue(Role::Service, Duration::ZERO).is_err());
}

#[test]
fn a_previous_key_still_verifies_and_an_unknown_one_does_not() {
    let clock = Clock::Manual(ManualClock::new(Timestamp::from_secs(START)));
    let other = b"another key of thirty-two bytes..";
    let rotated = Tokens::new(&key(other), &[key(KEY)], clock.clone());
    let token = sign(&header("at+jwt"), &claims());
    assert!(rotated.verify(&token).is_ok());
    assert_eq!(Tokens::new(&key(other), &[], clock).verify(&token).unwrap_err(), TokenError::Invalid);
}

#[test]
fn only_the_expected_type_issuer_and_audience_count() {
    let (tokens, _) = tokens();
    assert!(tokens.verify(&sign(&header("at+jwt"), &claims())).is_ok());
    for typ in ["JWT", "refresh+jwt", "AT+JWT"] {
        assert_eq!(tokens.verify(&sign(&header(typ), &claims())).unwrap_err(), TokenError::Invalid);
    }
    for (claim, value) in [
        ("iss", json!("someone-else")),
        ("aud", json!("another-api")),
        ("aud", Value::Null),
        ("sub", json!("not-a-uuid")),
        ("tid", json!("")),
        ("epoch", json!(-1)),
        ("exp", json!("soon")),
        ("scope", json!("sudo")),
        ("contexts", json!("NOT A NAME")),
    ] {
        let mut claims = claims();
        claims[claim] = value;
        assert_eq!(
            tokens.verify(&sign(&header("at+jwt"), &claims)).unwrap_err(),
            TokenError::Invalid,
            "{claim}"
        );
    }
    for claim in ["iss", "aud", "sub", "tid", "jti", "iat", "exp", "epoch"] {
        let mut claims = claims();
        claims.as_object_mut().unwrap().remove(claim);
        assert_eq!(
            tokens.verify(&sign(&header("at+jwt"), &claims)).unwrap_err(),
            TokenError::Invalid,
            "{claim}"
        );
    }
}

#[test]
fn the_algorithm_is_ours_to_choose() {
    let (tokens, _) = tokens();
    for algorithm in [Algorithm::HS384, Algorithm::HS512] {
        let header = Header { typ: Some("at+jwt".to_owned()), ..Header::new(algorithm) };
        assert_eq!(tokens.verify(&sign(&header, &claims())).unwrap_err(), TokenError::Invalid);
    }
    let good = sign(&header("at+jwt"), &claims());
    let (_, rest) = good.split_once('.').unwrap();
    for alg in ["none", "None", "RS256", "ES256", "hs256"] {
        let header =
            base64_simd::URL_SAFE_NO_PAD.encode_to_string(format!(r#"{{"typ":"at+jwt","alg":"{alg}"}}"#));
        assert_eq!(tokens.verify(&format!("{header}.{rest}")).unwrap_err(), TokenError::Invalid, "{alg}");
        let (payload, _) = rest.split_once('.').unwrap();
        assert_eq!(tokens.verify(&format!("{header}.{payload}.")).unwrap_err(), TokenError::Invalid, "{alg}");
    }
}

#[test]
fn no_byte_of_a_token_may_change_and_no_text_panics() {
    let (tokens, _) = tokens();
    let good = sign(&header("at+jwt"), &claims());
    for position in 0..good.len() {
        let mut bytes = good.clone().into_bytes();
        bytes[position] = if bytes[position] == b'A' { b'B' } else { b'A' };
        let text = String::from_utf8(bytes).unwrap();
        // The last character carries unused bits, which a strict decoder refuses too.
        assert!(tokens.verify(&text).is_err(), "position {position}");
        assert!(tokens.verify(&good[..position]).is_err());
    }
    for text in ["", ".", "..", "...", "é.é.é", &"a".repeat(MAX_LENGTH + 1), &format!("{good}.")] {
        assert_eq!(tokens.verify(text).unwrap_err(), TokenError::Invalid);
    }
}
