use cryptoserve_core::api::ROUTES;
use cryptoserve_core::auth::Scope;

use super::case::{Case, Request};
use super::rules::{Asks, roles, rule};
use super::world::World;

/// Every route with every role in each tenant, and tokens that are narrowed to the route's scope, to all others, to none,
/// or not at all.
pub(super) async fn check(world: &World) -> Vec<String> {
    let mut cases = Vec::new();
    for route in ROUTES {
        let rule = rule(route.operation);
        let Asks::Token(scope) = rule.asks else { continue };
        let others: Vec<_> =
            Scope::ALL.into_iter().filter(|&other| other != scope).map(Scope::name).collect();
        for caller in world.callers() {
            let may = roles(scope).contains(&caller.role);
            let mut add = |what: &str, token: &str, answer| {
                let what = format!("{} with {what}", caller.name);
                cases.push(Case { what, request: Request::of(route).with_token(token), answer });
            };
            let answer = if may { rule.answer } else { MISSING };
            add("a whole token", &caller.token, answer);
            add("the scope alone", &world.narrowed(caller, "scope", scope.name()), answer);
            add("every other scope", &world.narrowed(caller, "scope", &others.join(" ")), MISSING);
            add("no scope", &world.narrowed(caller, "scope", ""), MISSING);
            let nowhere = world.narrowed(caller, "contexts", "none-such-2");
            let forbidden = if may && rule.in_context { (403, "context_forbidden") } else { answer };
            add("a context that is another", &nowhere, forbidden);
        }
    }
    world.faults(&cases).await
}

const MISSING: (u16, &str) = (403, "scope_missing");
