//! Who may do what: every route of the route table with every role, scope, tenant and state of a token; and that what
//! another tenant has answers as what does not exist. A route without a rule does not compile here.

mod case;
mod isolation;
mod named;
mod paths;
mod roles;
mod rules;
mod things;
mod token_states;
mod world;

use crate::support::on_each_store;
use world::{World, report};

on_each_store! {
    async fn every_route_is_for_those_who_may_use_it_and_for_nobody_else(store) {
        let world = World::new(store).await;
        let faults = [paths::check(&world).await, roles::check(&world).await, token_states::check(&world).await];
        report(faults.concat());
    }

    async fn what_another_tenant_has_answers_as_if_it_did_not_exist(store) {
        let world = World::new(store).await;
        report(isolation::check(&world).await);
    }
}
