use serde_json::json;

use super::*;
use crate::auth::Scope;

const NOW: u64 = 1_793_534_400;

fn read(changes: Value) -> Result<OutsideToken, TokenError> {
    let mut claims = json!({ "sub": "alice", "iat": NOW - 5, "exp": NOW + 60 });
    let claims = claims.as_object_mut().unwrap();
    for (name, value) in changes.as_object().unwrap() {
        if value == "absent" {
            claims.remove(name);
        } else {
            claims.insert(name.clone(), value.clone());
        }
    }
    OutsideToken::read(claims, &[0xab; 32], Timestamp::from_secs(NOW))
}

fn scopes_of(changes: Value) -> String {
    read(changes).unwrap().narrowing.scopes.unwrap().to_string()
}

fn contexts_of(changes: Value) -> String {
    read(changes).unwrap().narrowing.contexts.unwrap().to_string()
}

#[test]
fn without_claims_of_ours_it_is_a_service_of_the_default_tenant_with_no_context() {
    let token = read(json!({})).unwrap();
    assert_eq!(
        (token.subject.as_str(), token.tenant.as_str(), token.role),
        ("alice", "default", Role::Service)
    );
    assert_eq!(token.narrowing.scopes, Some(Role::Service.default_scopes()));
    assert_eq!(token.narrowing.contexts, Some(ContextGrant::Named([].into())));
    assert_eq!((token.id, token.issued_at), ("ab".repeat(32), Timestamp::from_secs(NOW - 5)));
    for id in ["a b", "é", &"x".repeat(129)] {
        assert_eq!(read(json!({ "jti": id })).unwrap().id, "ab".repeat(32));
    }
}

#[test]
fn claims_of_ours_say_more() {
    let token = read(json!({
        "cryptoserve_tenant": "acme", "cryptoserve_role": "admin", "jti": "j", "cryptoserve_contexts": ["a", "b"],
    }))
    .unwrap();
    assert_eq!((token.tenant.as_str(), token.role, token.id.as_str()), ("acme", Role::Admin, "j"));
    assert_eq!(token.narrowing.scopes, Some(Role::Admin.scopes()));
    assert_eq!(contexts_of(json!({ "cryptoserve_contexts": " b  a " })), "a b");
    for all in [json!("*"), json!(["*"])] {
        assert_eq!(
            read(json!({ "cryptoserve_contexts": all })).unwrap().narrowing.contexts,
            Some(ContextGrant::All)
        );
    }
    assert_eq!(contexts_of(json!({ "cryptoserve_contexts": [] })), "");
}

#[test]
fn scopes_narrow_by_our_names_alone() {
    assert_eq!(scopes_of(json!({ "scope": "openid encrypt profile decrypt" })), "encrypt decrypt");
    assert_eq!(scopes_of(json!({ "scp": ["decrypt", "offline"] })), "decrypt");
    assert_eq!(scopes_of(json!({ "scope": "encrypt", "scp": "hash" })), "encrypt hash");
    // Naming others alone is no way to get more than by naming one of ours.
    assert_eq!(scopes_of(json!({ "scope": "openid profile" })), "");
    assert_eq!(scopes_of(json!({ "scope": "openid", "cryptoserve_scopes": "encrypt hash" })), "encrypt hash");
    assert_eq!(scopes_of(json!({ "scope": "hash sign", "cryptoserve_scopes": ["encrypt", "hash"] })), "hash");
    assert_eq!(scopes_of(json!({ "cryptoserve_scopes": "" })), "");
    // Never beyond the role.
    assert_eq!(scopes_of(json!({ "cryptoserve_scopes": "hash contexts:manage" })), "hash");
    let admin =
        json!({ "cryptoserve_role": "admin", "cryptoserve_scopes": "tenants:manage contexts:manage" });
    assert_eq!(scopes_of(admin), "contexts:manage");
    assert!(!read(json!({})).unwrap().narrowing.scopes.unwrap().contains(Scope::Register));
}

#[test]
fn a_malformed_claim_makes_the_token_worthless() {
    for (name, values) in [
        (
            "sub",
            vec![json!("absent"), json!(""), json!(7), Value::Null, json!("a\u{0}b"), json!("x".repeat(256))],
        ),
        ("iat", vec![json!("absent"), json!("7"), json!(-1), Value::Null, json!(1e300), json!([])]),
        ("exp", vec![json!("absent"), json!("7"), Value::Null]),
        ("nbf", vec![json!("7"), Value::Null, json!(-1)]),
        ("jti", vec![json!(7), json!(""), Value::Null]),
        ("cryptoserve_tenant", vec![json!(""), json!("No Name"), json!(["acme"]), Value::Null]),
        (
            "cryptoserve_role",
            vec![json!("operator"), json!("Admin"), json!(""), json!(["admin"]), Value::Null],
        ),
        (
            "cryptoserve_contexts",
            vec![json!(["*", "a"]), json!("* a"), json!("A"), json!([7]), json!({}), Value::Null],
        ),
        (
            "cryptoserve_scopes",
            vec![json!("encrypt sudo"), json!(["Encrypt"]), json!([7]), json!(1), Value::Null],
        ),
        ("scope", vec![json!(7), json!([7]), json!({}), Value::Null]),
        ("scp", vec![json!(true), Value::Null]),
    ] {
        for value in values {
            assert_eq!(read(json!({ name: value })).err(), Some(TokenError::Invalid), "{name}: {value}");
        }
    }
}

#[test]
fn times_are_looked_at_with_our_clock() {
    assert_eq!(read(json!({ "exp": NOW })).err(), Some(TokenError::Expired));
    assert_eq!(read(json!({ "exp": NOW as f64 + 0.5 })).err(), Some(TokenError::Expired));
    assert!(read(json!({ "exp": NOW + 1, "iat": NOW as f64 - 0.5 })).is_ok());
    let day = 24 * 3600;
    assert!(read(json!({ "exp": NOW + day })).is_ok());
    assert_eq!(read(json!({ "exp": NOW + day + 1 })).err(), Some(TokenError::Invalid));
    for name in ["iat", "nbf"] {
        assert!(read(json!({ name: NOW + 60 })).is_ok(), "{name}");
        assert_eq!(read(json!({ name: NOW + 61 })).err(), Some(TokenError::Invalid), "{name}");
    }
    assert!(read(json!({ "nbf": NOW - 60 })).is_ok());
}
