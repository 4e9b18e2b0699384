use std::collections::{BTreeMap, BTreeSet};

use cryptoserve_core::api::{ROUTES, Route};
use cryptoserve_core::auth::Scope;
use futures_util::{StreamExt, stream};
use http::Method;

use super::case::{Body, Case, Request, paths};
use super::rules::{Asks, rule};
use super::world::{AT_ONCE, World};

/// Every route under all of its paths and with all methods, and tokens in places where they count for nothing.
pub(super) async fn check(world: &World) -> Vec<String> {
    let mut served: BTreeMap<String, Vec<&Route>> = BTreeMap::new();
    for route in ROUTES {
        for path in paths(route) {
            served.entry(path).or_default().push(route);
        }
    }
    let mut cases = Vec::new();
    let mut refusals = Vec::new();
    for (path, routes) in &served {
        for route in routes {
            answered(world, route, path, &mut cases);
        }
        let mut methods: BTreeSet<_> = routes.iter().map(|route| route.method.as_str()).collect();
        if methods.contains("GET") {
            methods.insert("HEAD");
        }
        for method in ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"] {
            if !methods.contains(method) {
                let method: Method = method.parse().expect("a method");
                // Whoever asks: what is not there needs no token.
                refusals.push((Request { method, ..Request::of(routes[0]).at(path) }, methods.clone()));
            }
        }
        let route = routes[0];
        let elsewhere = [format!("{path}/"), format!("/{path}"), path.to_uppercase(), format!("/x{path}")];
        for other in elsewhere.into_iter().chain(path.strip_prefix("/api").map(str::to_owned)) {
            if !served.contains_key(&other) {
                let request = Request::of(route).at(&other).with_token(&world.ours.admin.token);
                cases.push(Case {
                    what: "a path that is another".to_owned(),
                    request,
                    answer: (404, "not_found"),
                });
            }
        }
    }
    let refused = async |(request, methods): (Request, BTreeSet<&str>)| {
        let reply = request.send(&world.client()).await;
        let what = format!("{} {}", request.method, request.path);
        assert_eq!(reply.status, 405, "{what}");
        let allowed = reply.header("allow").unwrap_or_default();
        assert_eq!(allowed.split(", ").collect::<BTreeSet<_>>(), methods, "{what}");
    };
    stream::iter(refusals).for_each_concurrent(AT_ONCE, refused).await;
    world.faults(&cases).await
}

/// What the route answers at one of its paths.
fn answered(world: &World, route: &Route, path: &str, cases: &mut Vec<Case>) {
    let rule = rule(route.operation);
    let request = Request::of(route).at(path);
    let mut add = |what: &str, request: Request, answer| {
        let what = what.to_owned();
        if route.method == Method::GET {
            let head = Request { method: Method::HEAD, ..request.clone() };
            cases.push(Case { what: what.clone(), request: head, answer });
        }
        cases.push(Case { what, request, answer });
    };
    let Asks::Token(scope) = rule.asks else {
        return add("no token", request, rule.answer);
    };
    let caller = world.entitled(scope);
    let token = &caller.token;
    let others: Vec<_> = Scope::ALL.into_iter().filter(|&other| other != scope).map(Scope::name).collect();
    let other = world.narrowed(caller, "scope", &others.join(" "));
    const UNKNOWN: (u16, &str) = (401, "unauthenticated");
    add("a good token", request.clone().with_token(token), rule.answer);
    add("a token with every other scope", request.clone().with_token(&other), (403, "scope_missing"));
    add("no token", request.clone(), UNKNOWN);
    if path != Request::of(route).path() {
        return;
    }
    for parameter in ["access_token", "token", "jwt"] {
        let mark = if request.path.contains('?') { '&' } else { '?' };
        let path = format!("{}{mark}{parameter}={token}", request.path);
        add("a token in the query", Request { path, ..request.clone() }, UNKNOWN);
    }
    for (header, value) in [
        ("x-api-key", token.clone()),
        ("x-access-token", token.clone()),
        ("proxy-authorization", format!("Bearer {token}")),
    ] {
        add("a token in another header", request.clone().with_header(header, value), UNKNOWN);
    }
    let cookie = request.with_header("cookie", format!("a=b; access_token={token}"));
    add("a token in a cookie", cookie.clone(), if rule.takes_cookie { rule.answer } else { UNKNOWN });
    let from_a_page = cookie.clone().with_header("origin", "https://example.com");
    add("a token in a cookie that a browser sends", from_a_page, UNKNOWN);
    let text = match &cookie.body {
        Body::Json(json) => Body::Bytes(json.to_string().into()),
        other => other.clone(),
    };
    add("a token in a cookie that a form sends", Request { body: text, ..cookie }, UNKNOWN);
}
