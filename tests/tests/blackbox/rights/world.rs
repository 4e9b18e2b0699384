//! A deployment with two tenants, and those who ask.

use std::sync::atomic::{AtomicUsize, Ordering};

use cryptoserve_core::auth::{Role, Scope};
use cryptoserve_tests::{Client, Cluster, StoreKind, TokenRequest, eventually};
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};

use super::case::Case;
use super::rules::roles;
use crate::forged::{forge, jwt_key, parts, with};
use crate::support::{builder, replicas};

/// Requests under way at once.
pub(super) const AT_ONCE: usize = 24;

pub(super) struct World {
    /// Runs as long as it is asked.
    _cluster: Cluster,
    pub(super) key: String,
    /// A key that tokens were signed with before.
    pub(super) previous_key: String,
    clients: Vec<Client>,
    sent: AtomicUsize,
    pub(super) operator: Caller,
    pub(super) ours: Tenant,
    pub(super) theirs: Tenant,
}

/// Those of one tenant who ask; they may do all that their roles allow.
pub(super) struct Tenant {
    pub(super) admin: Caller,
    pub(super) service: Caller,
}

/// An identity, and the parts of a token of it that narrows nothing.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    pub(super) role: Role,
    /// For whoever reads of a failure.
    pub(super) name: &'static str,
    pub(super) header: Value,
    pub(super) claims: Value,
    pub(super) token: String,
}

impl Caller {
    fn new(role: Role, name: &'static str, token: String) -> Self {
        let (header, claims) = parts(&token);
        Self { role, name, header, claims, token }
    }
}

impl World {
    pub(super) async fn new(store: StoreKind) -> Self {
        let replicas = replicas(store);
        let previous_key = "Zq81-m3xP_0vJt6YwLc2Rk9Ns4Hd7Ga5Uf".to_owned();
        let cluster = builder(store)
            .env("JWT_SECRET_KEY_PREVIOUS", &previous_key)
            // Each request comes from an address of its own, so that no limit of an address counts here.
            .env("TRUSTED_PROXIES", "127.0.0.1")
            .start(replicas)
            .await;
        let key = jwt_key(&cluster, store);
        let clients: Vec<_> = (0..replicas).map(|n| cluster.client(n)).collect();
        let admin = Caller::new(Role::Admin, "an admin", cluster.token(&TokenRequest::admin()).await);
        let operator =
            Caller::new(Role::Operator, "an operator", cluster.token(&TokenRequest::operator()).await);
        let service = new_service(&clients[0], &admin, "a service").await;
        let their_admin = new_tenant(&clients[0], &operator).await;
        let their_service = new_service(&clients[0], &their_admin, "another tenant's service").await;
        Self {
            _cluster: cluster,
            key,
            previous_key,
            clients,
            sent: AtomicUsize::new(0),
            operator,
            ours: Tenant { admin, service },
            theirs: Tenant { admin: their_admin, service: their_service },
        }
    }

    pub(super) fn callers(&self) -> [&Caller; 5] {
        let (ours, theirs) = (&self.ours, &self.theirs);
        [&self.operator, &ours.admin, &ours.service, &theirs.admin, &theirs.service]
    }

    /// A caller of the first tenant who may have `scope`.
    pub(super) fn entitled(&self, scope: Scope) -> &Caller {
        if roles(scope).contains(&Role::Admin) { &self.ours.admin } else { &self.operator }
    }

    /// A token of `caller` with one claim changed.
    pub(super) fn narrowed(&self, caller: &Caller, claim: &str, value: &str) -> String {
        forge(&caller.header, &with(&caller.claims, claim, json!(value)), self.key.as_bytes())
    }

    /// The replicas, with an address to ask from that nobody else has.
    pub(super) fn clients(&self) -> impl Iterator<Item = Client> {
        self.clients.iter().map(|client| self.elsewhere(client))
    }

    /// Sends `request` to one replica after the other.
    pub(super) fn client(&self) -> Client {
        let next = self.sent.fetch_add(1, Ordering::Relaxed);
        self.elsewhere(&self.clients[next % self.clients.len()])
    }

    fn elsewhere(&self, client: &Client) -> Client {
        let n = self.sent.fetch_add(1, Ordering::Relaxed);
        let address = format!("10.{}.{}.{}", n >> 16 & 255, n >> 8 & 255, n & 255);
        client.clone().with_header("x-forwarded-for", &address)
    }

    /// Sends all requests, many at once; what is wrong with the answers.
    pub(super) async fn faults(&self, cases: &[Case]) -> Vec<String> {
        stream::iter(cases)
            .map(async |case| case.fault(&case.request.send(&self.client()).await))
            .buffer_unordered(AT_ONCE)
            .filter_map(async |fault| fault)
            .collect()
            .await
    }

    /// Waits until every replica takes `token`, or, having taken it, takes it no more.
    pub(super) async fn taken_everywhere(&self, token: &str, taken: bool) {
        let expected = if taken { 200 } else { 401 };
        for client in self.clients.iter().map(|client| client.clone().with_token(token)) {
            eventually("what a token is worth", async || {
                let reply = self.elsewhere(&client).get("/api/v1/contexts").await;
                (reply.status == expected).then_some(())
            })
            .await;
        }
    }
}

/// Makes a service with all that services may ever have.
async fn new_service(client: &Client, admin: &Caller, name: &'static str) -> Caller {
    let scopes: Vec<_> =
        Scope::ALL.into_iter().filter(|&scope| roles(scope).contains(&Role::Service)).collect();
    let scopes: Vec<_> = scopes.into_iter().map(Scope::name).collect();
    let body = json!({ "name": "everything", "scopes": scopes, "contexts": ["*"] });
    let client = client.clone().with_token(&admin.token);
    let made = client.post_json("/api/admin/identities", &body).await.expect(201);
    let path = format!("/api/admin/identities/{}/tokens", made.text("id"));
    let issued = client.post_json(&path, &json!({})).await.expect(200);
    Caller::new(Role::Service, name, issued.text("access_token"))
}

/// Makes a tenant; its administrator.
async fn new_tenant(client: &Client, operator: &Caller) -> Caller {
    let client = client.clone().with_token(&operator.token);
    let made = client.post_json("/api/admin/tenants", &json!({ "name": "other-tenant" })).await.expect(201);
    Caller::new(Role::Admin, "another tenant's admin", made.text("access_token"))
}

/// Fails with some of the faults, if there are any.
pub(super) fn report(mut faults: Vec<String>) {
    faults.sort_unstable();
    let count = faults.len();
    // Of many of a kind a few tell enough.
    let some: Vec<_> = faults.into_iter().step_by(count / 40 + 1).collect();
    assert_eq!(count, 0, "{count} answers are wrong, among them\n{}", some.join("\n"));
}
