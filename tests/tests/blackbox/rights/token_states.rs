use aws_lc_rs::hmac::HMAC_SHA512;
use cryptoserve_core::api::ROUTES;
use cryptoserve_core::auth::Role;
use serde_json::{Value, json};

use super::case::{Case, Request};
use super::rules::{Asks, rule};
use super::world::{Caller, World};
use crate::forged::{forge, now, signed_part, tagged, url64, with};

/// Every route with tokens in every state that a token can be in.
pub(super) async fn check(world: &World) -> Vec<String> {
    let admin = States::new(world, &world.ours.admin).await;
    let operator = States::new(world, &world.operator).await;
    let mut cases = Vec::new();
    for route in ROUTES {
        let rule = rule(route.operation);
        let states = match rule.asks {
            Asks::Token(scope) if world.entitled(scope).role == Role::Operator => &operator,
            _ => &admin,
        };
        let mut add = |what: &str, request: Request, let_through: bool| {
            let answer = if let_through { rule.answer } else { (401, "unauthenticated") };
            cases.push(Case { what: what.to_owned(), request, answer });
        };
        for (what, token) in &states.good {
            add(what, Request::of(route).with_token(token), true);
        }
        for (what, token) in &states.bad {
            add(what, Request::of(route).with_token(token), rule.asks == Asks::Nothing);
        }
        let needs_none = !matches!(rule.asks, Asks::Token(_));
        add("no token", Request::of(route), needs_none);
        let token = &states.good[0].1;
        for (what, value) in [
            ("another scheme", format!("Token {token}")),
            (
                "the token as a password",
                format!("Basic {}", base64_simd::STANDARD.encode_to_string(format!("x:{token}"))),
            ),
            ("the token without a scheme", token.clone()),
            ("a scheme without a token", "Bearer".to_owned()),
        ] {
            add(what, Request::of(route).with_header("authorization", value), needs_none);
        }
        let twice = Request::of(route).with_token(token).with_token(token);
        add("two headers", twice, needs_none);
    }
    world.faults(&cases).await
}

/// Tokens of a role, with what is special about each.
struct States {
    good: Vec<(&'static str, String)>,
    bad: Vec<(&'static str, String)>,
}

impl States {
    async fn new(world: &World, caller: &Caller) -> Self {
        let (key, Caller { header, claims, token, .. }) = (world.key.as_bytes(), caller);
        let sign = |header: &Value, claims: &Value| forge(header, claims, key);
        let claimed = |name: &str, value: Value| sign(header, &with(claims, name, value));
        let headed = |name: &str, value: &str| with(header, name, json!(value));
        let unsigned = |alg: &str| format!("{}.", signed_part(&headed("alg", alg), claims));
        let (signed, tag) = token.rsplit_once('.').expect("three parts");

        let good = vec![
            ("a token as issued", token.clone()),
            ("a token that was forged well", sign(header, claims)),
            ("a token of the previous key", forge(header, claims, world.previous_key.as_bytes())),
        ];
        let mut bad = vec![
            ("nonsense", "nonsense".to_owned()),
            ("dots", "..".to_owned()),
            ("no header", format!(".{}.{}", url64(claims.to_string()), tag)),
            ("a long token", "x".repeat(20_000)),
            ("an opaque token", format!("csrt_{}", url64([7; 48]))),
            ("no signature", format!("{signed}.")),
            ("another signature", format!("{signed}.{}", url64([7; 32]))),
            ("another key", forge(header, claims, b"a key that is not the deployment's own")),
            ("an empty key", forge(header, claims, b"")),
            ("alg none", unsigned("none")),
            ("alg None", unsigned("None")),
            ("alg nOnE with the old signature", unsigned("nOnE") + tag),
            ("alg HS384", sign(&headed("alg", "HS384"), claims)),
            ("alg HS512", tagged(&headed("alg", "HS512"), claims, HMAC_SHA512, key)),
            ("alg HS512 with a tag of HS256", sign(&headed("alg", "HS512"), claims)),
            // Confusion with what an outside identity provider signs: the tag is an HMAC.
            ("alg RS256", sign(&headed("alg", "RS256"), claims)),
            ("alg ES256", sign(&headed("alg", "ES256"), claims)),
            ("alg EdDSA", sign(&headed("alg", "EdDSA"), claims)),
            ("another type", sign(&headed("typ", "refresh+jwt"), claims)),
            ("no type", sign(&with(header, "typ", Value::Null), claims)),
            ("another audience", claimed("aud", json!("another-api"))),
            ("another issuer", claimed("iss", json!("another"))),
            ("an expired token", claimed("exp", json!(now() - 1))),
            ("no expiry", claimed("exp", Value::Null)),
            ("an expired token of the previous key", {
                forge(header, &with(claims, "exp", json!(now() - 1)), world.previous_key.as_bytes())
            }),
            ("an epoch to come", claimed("epoch", json!(1))),
            ("another tenant", claimed("tid", world.theirs.admin.claims["tid"].clone())),
            ("no such tenant", claimed("tid", json!(NOBODY))),
            ("an identity of another tenant", claimed("sub", world.theirs.admin.claims["sub"].clone())),
            ("no such identity", claimed("sub", json!(NOBODY))),
            ("a scope that there is not", claimed("scope", json!("everything"))),
        ];
        bad.extend(Self::ended(world, caller).await);
        Self { good, bad }
    }

    /// Tokens that were good, and that were ended in each of the ways that there are.
    async fn ended(world: &World, caller: &Caller) -> Vec<(&'static str, String)> {
        let admin = world.client().with_token(&caller.token);
        let mut ended = Vec::new();
        for what in [
            "a revoked epoch",
            "a revoked id",
            "a token that revoked itself",
            "a disabled identity",
            "a deleted identity",
        ] {
            let name = format!("{}-{}", caller.role.name(), what.replace(' ', "-"));
            let body = json!({ "name": name, "role": caller.role.name(), "contexts": contexts(caller) });
            let made = admin.post_json("/api/admin/identities", &body).await.expect(201);
            let path = format!("/api/admin/identities/{}", made.text("id"));
            let issued = admin.post_json(&format!("{path}/tokens"), &json!({})).await.expect(200);
            let token = issued.text("access_token");
            world.taken_everywhere(&token, true).await;
            match what {
                "a revoked epoch" => admin.delete(&format!("{path}/tokens")).await,
                "a revoked id" => admin.delete(&format!("{path}/tokens/{}", issued.text("token_id"))).await,
                "a token that revoked itself" => {
                    world.client().post_json("/v1/auth/revoke", &json!({ "token": token })).await
                }
                "a disabled identity" => admin.put_json(&path, &json!({ "enabled": false })).await,
                _ => admin.delete(&path).await,
            }
            .expect(200);
            ended.push((what, token));
        }
        if caller.role == Role::Admin {
            let operator = world.client().with_token(&world.operator.token);
            for what in ["a tenant that is disabled", "a tenant whose tokens are revoked"] {
                let name = what.replace(' ', "-");
                let made =
                    operator.post_json("/api/admin/tenants", &json!({ "name": name })).await.expect(201);
                let token = made.text("access_token");
                world.taken_everywhere(&token, true).await;
                let path = format!("/api/admin/tenants/{name}");
                match what {
                    "a tenant that is disabled" => {
                        operator.put_json(&path, &json!({ "enabled": false })).await
                    }
                    _ => operator.delete(&format!("{path}/tokens")).await,
                }
                .expect(200);
                ended.push((what, token));
            }
        }
        for (_, token) in &ended {
            world.taken_everywhere(token, false).await;
        }
        ended
    }
}

/// What an identity like the caller may be given.
fn contexts(caller: &Caller) -> Vec<&'static str> {
    if caller.role == Role::Operator { vec![] } else { vec!["*"] }
}

const NOBODY: &str = "00000000-0000-4000-8000-000000000000";
