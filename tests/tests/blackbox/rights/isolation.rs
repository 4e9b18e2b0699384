use std::collections::BTreeMap;

use cryptoserve_core::api::{Operation, ROUTES, Route};
use cryptoserve_tests::{Client, Reply};
use futures_util::{StreamExt, stream};
use serde_json::Value;

use super::case::{Body, Request};
use super::named::{makes, requests};
use super::things::Things;
use super::world::{AT_ONCE, Caller, World};

/// Asks of every route, in every way in which it can be asked, for what another tenant has and for what nobody has: the
/// answers are the same, nothing of the other shows in any, and nothing of the other changes.
pub(super) async fn check(world: &World) -> Vec<String> {
    let (admin, their_admin) = (&world.ours.admin, &world.theirs.admin);
    let ours = Things::make(&world.client(), admin, "those-here").await;
    let theirs = Things::make(&world.client(), their_admin, "those-elsewhere").await;
    // What the other tenant has is there, as the same requests show when its own administrator sends them.
    let clients: Vec<_> = world.clients().collect();
    for client in &clients {
        seen(client, their_admin, &theirs).await;
        seen(client, admin, &ours).await;
    }
    let client = &clients[0];
    let before = (state(client, their_admin, &theirs).await, state(client, admin, &ours).await);
    let of_theirs = compare(world, &[&world.operator, admin, &world.ours.service], &ours, &theirs).await;
    let of_ours = compare(world, &[their_admin, &world.theirs.service], &theirs, &ours).await;
    let after = (state(client, their_admin, &theirs).await, state(client, admin, &ours).await);
    let faults = [of_theirs, of_ours].concat();
    assert!(before == after || !faults.is_empty(), "changed from {before:#?}\nto {after:#?}");
    [faults, nameless(client, their_admin, &theirs).await].concat()
}

/// Compares what `callers`, whose tenant has `own`, are told of `other` and of nothing.
async fn compare(world: &World, callers: &[&Caller], own: &Things, other: &Things) -> Vec<String> {
    let nobodys = other.nobodys();
    let mut pairs = Vec::new();
    let mut making = Vec::new();
    for (route, caller) in ROUTES.iter().flat_map(|route| callers.iter().map(move |caller| (route, *caller)))
    {
        let foreign = requests(route, own, other);
        let none = requests(route, own, &nobodys);
        let into = if makes(route.operation) { &mut making } else { &mut pairs };
        into.extend(foreign.into_iter().zip(none).map(|(foreign, none)| (route, caller, foreign, none)));
    }
    let look = async |(route, caller, foreign, none): (&Route, &Caller, Request, Request)| {
        let client = world.client();
        let sent =
            |request: Request| request.with_token(&caller.token).with_header("x-request-id", "the-same");
        let [foreign, none] = [foreign, none].map(sent);
        let replies = (foreign.send(&client).await, none.send(&client).await);
        // What is made has the name that was asked for.
        let named = |things| Some(things).filter(|_| makes(route.operation));
        let shown = [visible(&replies.0, named(other)), visible(&replies.1, named(&nobodys))];
        let what = format!("{} {} as {}", route.method, foreign.path, caller.name);
        if shown[0] != shown[1] {
            return Some(format!("{what}: {:?}\n and of nothing: {:?}", shown[0], shown[1]));
        }
        leaked(&foreign, &replies.0, other).map(|name| format!("{what}: {name} shows in {:?}", replies.0))
    };
    let mut faults: Vec<String> = stream::iter(pairs)
        .map(look)
        .buffer_unordered(AT_ONCE)
        .filter_map(async |fault| fault)
        .collect()
        .await;
    // Then the callers have such things too.
    for pair in making {
        faults.extend(look(pair).await);
    }
    faults
}

/// Routes whose requests name nothing that is there, so that the comparison would show nothing: to the owner of the things,
/// who comes last because he changes them, at least one request must tell them from what is nobody's.
async fn nameless(client: &Client, owner: &Caller, things: &Things) -> Vec<String> {
    let nobodys = things.nobodys();
    let mut faults = Vec::new();
    let (last, first): (Vec<_>, Vec<_>) =
        ROUTES.iter().partition(|route| route.operation == Operation::AdminDeleteIdentity);
    for route in first.into_iter().chain(last) {
        let pairs: Vec<_> = requests(route, things, things)
            .into_iter()
            .zip(requests(route, things, &nobodys))
            .filter(|(named, nameless)| named != nameless)
            .collect();
        let mut differs = pairs.is_empty();
        for (named, nameless) in pairs {
            let [named, nameless] = [named, nameless].map(|request| sent_by(owner, request));
            let (named, nameless) = (named.send(client).await, nameless.send(client).await);
            differs |= visible(&named, None) != visible(&nameless, None);
        }
        if !differs {
            faults.push(format!("{} {}: no request names anything", route.method, route.path));
        }
    }
    faults
}

fn sent_by(caller: &Caller, request: Request) -> Request {
    request.with_token(&caller.token).with_header("x-request-id", "the-same")
}

/// All that a caller sees of a reply, but for what is never the same twice.
fn visible(reply: &Reply, named: Option<&Things>) -> (u16, BTreeMap<String, String>, String) {
    let headers = reply.headers.iter().map(|(name, value)| {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        let value = match name.as_str() {
            "date" => String::new(),
            // A token that is made has the length that it happens to have.
            "content-length" if named.is_some() => String::new(),
            // What is left in the limits; which limits there are shows all the same.
            "ratelimit" | "x-ratelimit-remaining" | "x-ratelimit-reset" => {
                value.chars().filter(|char| !char.is_ascii_digit()).collect()
            }
            _ => value,
        };
        (name.to_string(), value)
    });
    let body = match serde_json::from_slice::<Value>(&reply.body) {
        Ok(mut json) => {
            mask(&mut json, named);
            json.to_string()
        }
        Err(_) => hex::encode(&reply.body),
    };
    (reply.status, headers.collect(), body)
}

/// Replaces what was asked for by a word, and what is made anew in each reply by nothing.
fn mask(json: &mut Value, named: Option<&Things>) {
    match json {
        Value::String(text) => {
            for name in named.iter().flat_map(|things| things.names()) {
                *text = text.replace(name, "(named)");
            }
        }
        Value::Array(values) => values.iter_mut().for_each(|value| mask(value, named)),
        Value::Object(members) => {
            for (name, value) in members {
                let fresh = ["id", "app_id", "refresh_token", "key_id", "token_id", "access_token"];
                if fresh.contains(&name.as_str()) || name.ends_with("_at") {
                    *value = Value::Null;
                } else {
                    mask(value, named);
                }
            }
        }
        _ => {}
    }
}

/// A name or id of `other` in the reply that is not in the request.
fn leaked<'a>(request: &Request, reply: &Reply, other: &'a Things) -> Option<&'a str> {
    let sent = match &request.body {
        Body::Json(json) => format!("{} {json}", request.path),
        _ => request.path.clone(),
    };
    let told = format!("{} {:?}", String::from_utf8_lossy(&reply.body), reply.headers);
    other.names().into_iter().find(|name| told.contains(name) && !sent.contains(name))
}

/// Waits until a replica knows what is there.
async fn seen(client: &Client, owner: &Caller, things: &Things) {
    let client = client.clone().with_token(&owner.token);
    let body = serde_json::json!({ "ciphertext": things.ciphertext });
    cryptoserve_tests::eventually("the other replica knows of it", async || {
        (client.post_json("/v1/crypto/decrypt", &body).await.status == 200).then_some(())
    })
    .await;
}

/// What its owner sees of all of it.
async fn state(client: &Client, owner: &Caller, things: &Things) -> Vec<Value> {
    let owner = client.clone().with_token(&owner.token);
    let Things { context, taken, identity, signing_key, .. } = things;
    let mut state = Vec::new();
    for path in [
        format!("/api/admin/contexts/{context}"),
        format!("/api/admin/contexts/{taken}"),
        format!("/api/admin/contexts/{context}/keys"),
        format!("/api/admin/identities/{identity}"),
        format!("/api/v1/signatures/keys/{signing_key}/public"),
    ] {
        let mut seen = owner.get(&path).await.expect(200).json();
        // How often it was used is written down later.
        for version in seen["versions"].as_array_mut().into_iter().flatten() {
            for count in ["encrypts", "decrypts", "last_decrypt_at"] {
                version[count] = Value::Null;
            }
        }
        state.push(seen);
    }
    client.clone().with_token(&things.token).get("/api/v1/contexts").await.expect(200);
    state
}
