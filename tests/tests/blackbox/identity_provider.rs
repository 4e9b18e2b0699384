use std::cell::Cell;
use std::time::Instant;

use aws_lc_rs::digest::{SHA256, digest};
use cryptoserve_tests::{
    Authority, Client, Cluster, ClusterBuilder, IdentityProvider, Reply, StoreKind, TokenKey, TokenRequest,
};
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::forged::{claims, now, with};
use crate::support::{
    ENCRYPT, admin, base64, builder, on_each_store, operator, refused_everywhere, replicas,
};

fn request(context: &str) -> Value {
    json!({ "context": context, "plaintext": base64("x") })
}

/// Replicas that know `provider`. Failures have a limit per address, so requests here say that they come from many.
fn with_provider(cluster: ClusterBuilder, provider: &IdentityProvider) -> ClusterBuilder {
    cluster
        .env("JWT_ISSUER", IdentityProvider::ISSUER)
        .env("JWT_AUDIENCE", IdentityProvider::AUDIENCE)
        .env("JWT_JWKS_URL", provider.url())
        .env("TRUSTED_PROXIES", "127.0.0.1")
}

fn from(client: Client, number: usize) -> Client {
    client.with_header("x-forwarded-for", &format!("192.0.2.{number}"))
}

async fn encrypt(client: &Client, token: &str, context: &str) -> Reply {
    client.clone().with_token(token).post_json(ENCRYPT, &request(context)).await
}

/// The identities of the default tenant that a provider's tokens made.
async fn introduced(admin: &Client) -> Vec<Value> {
    let listed = admin.get("/api/admin/identities").await.expect(200).json();
    let all = listed["identities"].as_array().expect("a list").clone();
    all.into_iter().filter(|identity| identity["subject"].is_string()).collect()
}

/// The hash that id and name of an identity come from, computed as docs/identity-providers.md says.
fn hash(tenant: &str, subject: &str) -> Vec<u8> {
    let tenant = hex::decode(tenant.replace('-', "")).expect("a UUID");
    let parts: [&[u8]; 5] =
        [b"cryptoserve/v1/outside", &tenant, IdentityProvider::ISSUER.as_bytes(), &[0], subject.as_bytes()];
    digest(&SHA256, &parts.concat()).as_ref()[..16].to_vec()
}

fn uuid_8(mut hash: Vec<u8>) -> String {
    hash[6] = hash[6] & 0x0f | 0x80;
    hash[8] = hash[8] & 0x3f | 0x80;
    let hex = hex::encode(hash);
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

/// Replicas that know the provider of `ec`.
struct World {
    cluster: Cluster,
    /// One per replica.
    clients: Vec<Client>,
    admin: Client,
    /// The id of the default tenant.
    tenant: String,
    ec: TokenKey,
    /// A token of `alice` for every context, signed by `ec`.
    first: String,
}

/// Claims for every context.
fn all() -> Value {
    json!({ "cryptoserve_contexts": "*" })
}

/// However many come at the same time, and wherever.
async fn a_first_token_makes_one_identity(world: &World) {
    let replies =
        join_all((0..8).map(|n| encrypt(&world.clients[n % world.clients.len()], &world.first, "general")));
    for reply in replies.await {
        reply.expect(200);
    }
    let made = introduced(&world.admin).await;
    assert_eq!(made.len(), 1, "{made:?}");
    let alice = hash(&world.tenant, "alice");
    assert_eq!(made[0]["id"], uuid_8(alice.clone()));
    assert_eq!(made[0]["name"], format!("outside-{}", hex::encode(&alice[..8])));
    assert_eq!((&made[0]["subject"], &made[0]["role"]), (&json!("alice"), &json!("service")));
    let introductions = "SELECT outcome FROM audit_records WHERE operation = 'identities.introduce'";
    let tables = world.cluster.tables().await;
    cryptoserve_tests::eventually("the record", async || {
        (tables.rows(introductions).await == ["success"]).then_some(())
    })
    .await;
}

/// Every algorithm works; a new key works at once, and one that is gone no more.
async fn keys_change(world: &World, provider: &IdentityProvider, rsa: &TokenKey) {
    let (client, ed) = (&world.clients[0], TokenKey::ed("ed"));
    let old = rsa.token("alice", &all());
    encrypt(client, &old, "general").await.expect(200);
    provider.publish(&[&world.ec, &ed]);
    encrypt(client, &ed.token("alice", &all()), "general").await.expect(200);
    encrypt(client, &old, "general").await.expect_problem(401, "unauthenticated");
    encrypt(client, &world.first, "general").await.expect(200);
}

/// Claims map to contexts, scopes, role and tenant.
async fn claims_map(world: &World) {
    let client = &world.clients[0];
    let claims = |more: Value| world.ec.token("alice", &more);
    encrypt(client, &claims(json!({})), "general").await.expect_problem(403, "context_forbidden");
    let one = claims(json!({ "cryptoserve_contexts": ["user-pii"] }));
    encrypt(client, &one, "general").await.expect_problem(403, "context_forbidden");
    encrypt(client, &one, "user-pii").await.expect(200);
    let decrypt = claims(json!({ "cryptoserve_contexts": "*", "scope": "openid decrypt" }));
    encrypt(client, &decrypt, "general").await.expect_problem(403, "scope_missing");
    let contexts = async |token: &str| client.clone().with_token(token).get("/api/admin/contexts").await;
    contexts(&world.first).await.expect_problem(403, "scope_missing");
    let root = world.ec.token("root", &json!({ "cryptoserve_role": "admin" }));
    contexts(&root).await.expect(200);
    let lesser = world.ec.token("root", &json!({ "cryptoserve_contexts": "user-pii" }));
    contexts(&lesser).await.expect_problem(403, "scope_missing");
    let seen = client.clone().with_token(&lesser).get("/api/v1/contexts?limit=1").await.expect(200).json();
    assert_eq!(
        (&seen["identity"]["role"], &seen["contexts"][0]["name"]),
        (&json!("service"), &json!("user-pii"))
    );
    contexts(&claims(json!({ "cryptoserve_role": "admin" }))).await.expect_problem(403, "scope_missing");
    let operator = operator(&world.cluster).await;
    let in_acme = json!({ "cryptoserve_tenant": "acme", "cryptoserve_role": "admin" });
    let in_acme = world.ec.token("alice", &in_acme);
    contexts(&in_acme).await.expect_problem(401, "unauthenticated");
    operator.post_json("/api/admin/tenants", &json!({ "name": "acme" })).await.expect(201);
    let theirs = client.clone().with_token(&in_acme);
    theirs.post_json("/api/admin/contexts", &json!({ "name": "of-acme" })).await.expect(201);
    contexts(&in_acme).await.expect(200);
    encrypt(client, &world.first, "of-acme").await.expect_problem(404, "context_not_found");
    // Nobody is made in a tenant that is disabled.
    let enable = async |enabled: bool| {
        operator.put_json("/api/admin/tenants/acme", &json!({ "enabled": enabled })).await.expect(200);
    };
    enable(false).await;
    let new = json!({ "cryptoserve_tenant": "acme", "cryptoserve_contexts": "*" });
    let new = world.ec.token("carol", &new);
    encrypt(client, &new, "general").await.expect_problem(401, "unauthenticated");
    contexts(&in_acme).await.expect_problem(401, "unauthenticated");
    let tables = world.cluster.tables().await;
    assert_eq!(tables.number("SELECT count(*) FROM identities WHERE subject = 'carol'").await, 0);
    enable(true).await;
    encrypt(client, &new, "general").await.expect(200);
}

/// What an administrator changes of the row bounds the tokens.
async fn the_row_bounds(world: &World) {
    let (client, admin) = (&world.clients[0], &world.admin);
    let path = format!("/api/admin/identities/{}", uuid_8(hash(&world.tenant, "alice")));
    admin.put_json(&path, &json!({ "contexts": ["user-pii"] })).await.expect(200);
    encrypt(client, &world.first, "general").await.expect_problem(403, "context_forbidden");
    encrypt(client, &world.first, "user-pii").await.expect(200);
    // Its next token would make it again, without these bounds.
    let refused = admin.delete(&path).await.expect_problem(409, "identity_of_provider");
    assert!(refused.text("detail").contains("disable"), "{refused:?}");
    encrypt(client, &world.first, "general").await.expect_problem(403, "context_forbidden");
    admin.put_json(&path, &json!({ "contexts": ["general", "user-pii"] })).await.expect(200);
    let disable = async || drop(admin.put_json(&path, &json!({ "enabled": false })).await.expect(200));
    refused_everywhere(&world.clients, &world.first, "its identity is disabled", disable).await;
    admin.put_json(&path, &json!({ "enabled": true })).await.expect(200);
    encrypt(client, &world.first, "user-pii").await.expect(200);
    admin.delete(&format!("{path}/tokens")).await.expect(200);
    encrypt(client, &world.first, "user-pii").await.expect_problem(401, "unauthenticated");
    let later = world.ec.token("alice", &with(&all(), "iat", json!(now() + 2)));
    encrypt(client, &later, "user-pii").await.expect(200);
    admin.post_json(&format!("{path}/tokens"), &json!({})).await.expect_problem(403, "role_forbidden");
}

/// By their `jti`, which an administrator or the audit trail knows, and by who has one.
async fn single_tokens_are_revoked(world: &World) {
    let tokens = format!("/api/admin/identities/{}/tokens", uuid_8(hash(&world.tenant, "alice")));
    let later = with(&all(), "iat", json!(now() + 2));
    let token = |id: &str| world.ec.token("alice", &with(&later, "jti", json!(id)));
    let (by_id, by_itself, stays) = (token("by-id"), token("by-itself"), token("stays"));
    let delete = async || drop(world.admin.delete(&format!("{tokens}/by-id")).await.expect(200));
    refused_everywhere(&world.clients, &by_id, "revoked by its id", delete).await;
    let body = json!({ "token": by_itself });
    let revoke = async || drop(world.clients[0].post_json("/api/v1/auth/revoke", &body).await.expect(200));
    refused_everywhere(&world.clients, &by_itself, "revoked by who has it", revoke).await;
    // Without a `jti` it is the token's SHA-256.
    let nameless = world.ec.token("alice", &later);
    let id = hex::encode(digest(&SHA256, nameless.as_bytes()));
    let delete = async || drop(world.admin.delete(&format!("{tokens}/{id}")).await.expect(200));
    refused_everywhere(&world.clients, &nameless, "revoked by its hash", delete).await;
    encrypt(&world.clients[0], &stays, "general").await.expect(200);
}

/// Names that others have are no obstacle, and their holders no other's identity.
async fn taken_names_are_no_obstacle(world: &World) {
    let client = &world.clients[0];
    let bob = hash(&world.tenant, "bob");
    for digits in [hex::encode(&bob[..8]), hex::encode(&bob)] {
        let application = json!({ "app_name": "outside", "environment": digits, "contexts": ["general"] });
        world.admin.post_json("/api/v1/applications/sdk/register", &application).await.expect(200);
    }
    encrypt(client, &world.ec.token("bob", &all()), "general").await.expect(200);
    let made = introduced(&world.admin).await;
    let bob = made.iter().find(|made| made["subject"] == "bob").expect("an identity of bob");
    assert!(bob["name"].as_str().is_some_and(|name| name.starts_with("outside-")), "{bob}");
}

/// What is wrong with a token makes it worthless. Its signature is good, if nothing else is said.
async fn what_is_wrong_is_worthless(world: &World) {
    let (client, ec) = (&world.clients[0], &world.ec);
    let claims = |more: Value| ec.token("alice", &more);
    let header = |name: &str, value: Value| {
        let mut header = ec.header();
        header[name] = value;
        header
    };
    let good = json!({
        "iss": IdentityProvider::ISSUER, "aud": IdentityProvider::AUDIENCE, "sub": "alice",
        "iat": now() + 2, "exp": now() + 300, "cryptoserve_contexts": "*",
    });
    encrypt(client, &ec.sign(&ec.header(), &good), "user-pii").await.expect(200);
    let mut cases: Vec<_> = [
        ("iss", json!("https://other.example")),
        ("aud", json!("another-api")),
        ("exp", json!(now() - 1)),
        ("exp", json!(now() + 25 * 3600)),
        ("nbf", json!(now() + 120)),
        ("iat", json!(now() + 120)),
        ("sub", json!("")),
        ("cryptoserve_role", json!("operator")),
        ("cryptoserve_scopes", json!("encrypt everything")),
        ("cryptoserve_tenant", json!("nobody")),
    ]
    .into_iter()
    .map(|(name, value)| {
        (name, claims(json!({ "iat": now() + 2, "cryptoserve_contexts": "*", name: value })))
    })
    .collect();
    let (signed, signature) = world.first.rsplit_once('.').expect("three parts");
    let other = TokenKey::ec("ec");
    cases.extend([
        ("another key", other.sign(&ec.header(), &good)),
        ("an unknown key", other.sign(&header("kid", json!("other")), &good)),
        ("no kid", ec.sign(&header("kid", Value::Null), &good)),
        ("another algorithm's name", ec.sign(&header("alg", json!("RS256")), &good)),
        ("none", ec.sign(&header("alg", json!("none")), &good)),
        ("our algorithm", ec.sign(&header("alg", json!("HS256")), &good)),
        ("another type", ec.sign(&header("typ", json!("logout+jwt")), &good)),
        ("a cut signature", format!("{signed}.{}", &signature[1..])),
        ("no signature", format!("{signed}.")),
    ]);
    for (number, (what, token)) in cases.into_iter().enumerate() {
        let reply = encrypt(&from(client.clone(), number), &token, "user-pii").await;
        assert_eq!(
            (reply.status, reply.text("code").as_str()),
            (401, "unauthenticated"),
            "{what}: {reply:?}"
        );
    }
}

on_each_store! {
    async fn tokens_of_an_identity_provider_are_worth_what_claims_and_row_say(store) {
        let authority = Authority::new();
        let (rsa, ec) = (TokenKey::rsa("rsa"), TokenKey::ec("ec"));
        let provider = IdentityProvider::start_tls(&[&rsa, &ec], &authority.certificate("localhost")).await;
        let cluster = with_provider(builder(store), &provider).env("SSL_CERT_FILE", authority.path().to_string_lossy());
        let cluster = cluster.start(replicas(store)).await;
        let own = claims(&cluster.token(&TokenRequest::identity("app")).await);
        let world = World {
            clients: (0..cluster.replicas().len()).map(|n| cluster.client(n)).collect(),
            admin: admin(&cluster).await,
            tenant: own["tid"].as_str().expect("a tenant").to_owned(),
            first: ec.token("alice", &all()),
            ec,
            cluster,
        };
        a_first_token_makes_one_identity(&world).await;
        keys_change(&world, &provider, &rsa).await;
        claims_map(&world).await;
        the_row_bounds(&world).await;
        single_tokens_are_revoked(&world).await;
        taken_names_are_no_obstacle(&world).await;
        what_is_wrong_is_worthless(&world).await;
    }

    async fn new_subjects_are_bounded_by_the_limit_per_address_and_need_the_store(store) {
        let key = TokenKey::ed("ed");
        let provider = IdentityProvider::start(&[&key]).await;
        let cluster = with_provider(builder(store), &provider).env("RATE_LIMIT_IP", "6:6").through_proxy().start(1).await;
        let all = json!({ "cryptoserve_contexts": "*" });
        let flood = join_all((0..20).map(|n| {
            let token = key.token(&format!("subject-{n}"), &all);
            let client = from(cluster.client(0), 1);
            async move { encrypt(&client, &token, "general").await.status }
        }));
        let statuses = flood.await;
        assert!(statuses.iter().all(|status| matches!(status, 200 | 429)), "{statuses:?}");
        let made = cluster.tables().await.number("SELECT count(*) FROM identities WHERE subject IS NOT NULL").await;
        assert!((1..=7).contains(&made), "{made}");
        let elsewhere = from(cluster.client(0), 2);
        let known = key.token("subject-99", &all);
        encrypt(&elsewhere, &known, "general").await.expect(200);
        if store == StoreKind::Postgres {
            cluster.postgres_proxy().cut().await;
            let new = key.token("subject-100", &all);
            encrypt(&elsewhere, &new, "general").await.expect_problem(503, "store_unavailable");
            encrypt(&elsewhere, &known, "general").await.expect(200);
        }
    }
}

/// What `asking` returns, which waits for the endpoint, and that other requests have not waited with it. Several are made at
/// once, as a busy machine may delay one or another.
async fn delays_nobody<T>(cluster: &Cluster, tokens: &[&str], asking: impl Future<Output = T>) -> T {
    let ended = Cell::new(false);
    let asking = async {
        let said = asking.await;
        ended.set(true);
        said
    };
    let requests = join_all((0..8 * tokens.len()).map(async |n| {
        let client = cluster.client(0);
        encrypt(&client, tokens[n / 8], "general").await.expect(200);
        client.get("/health/ready").await.expect(200);
        !ended.get()
    }));
    let (said, prompt) = tokio::join!(asking, requests);
    for of_one_token in prompt.chunks(8) {
        assert!(of_one_token.contains(&true), "all waited for the endpoint");
    }
    said
}

async fn hanging_at_first() {
    let key = TokenKey::ed("ed");
    let provider = IdentityProvider::start(&[]).await;
    provider.hang();
    let cluster = with_provider(builder(StoreKind::Sqlite), &provider).start(1).await;
    let own = cluster.token(&TokenRequest::identity("app")).await;
    let token = key.token("alice", &json!({ "cryptoserve_contexts": "*" }));
    let client = cluster.client(0);
    let reply = delays_nobody(&cluster, &[&own], encrypt(&client, &token, "general")).await;
    let reply = reply.expect_problem(503, "identity_provider_unavailable");
    assert_eq!(reply.header("retry-after"), Some("10"));
    // As soon as it answers again.
    provider.publish(&[&key]);
    encrypt(&client, &token, "general").await.expect(200);
}

async fn hanging_later() {
    let (key, stranger) = (TokenKey::ed("ed"), TokenKey::ed("stranger"));
    let provider = IdentityProvider::start(&[&key]).await;
    let cluster = with_provider(builder(StoreKind::Sqlite), &provider).start(1).await;
    let own = cluster.token(&TokenRequest::identity("app")).await;
    let all = json!({ "cryptoserve_contexts": "*" });
    let client = cluster.client(0);
    encrypt(&client, &key.token("alice", &all), "general").await.expect(200);
    provider.hang();
    let (before, begun) = (provider.requests(), Instant::now());
    let unknown = join_all((0..50).map(|n| {
        let mut header = stranger.header();
        header["kid"] = format!("{n}").into();
        let token = stranger.sign(&header, &json!({ "sub": "mallory" }));
        let client = from(client.clone(), n);
        async move { encrypt(&client, &token, "general").await.expect_problem(401, "unauthenticated") }
    }));
    // Another token of the key, as well as one that is known.
    let new = key.token("alice", &json!({ "cryptoserve_contexts": "general" }));
    delays_nobody(&cluster, &[&new, &own], unknown).await;
    // They may ask once in ten seconds, and a question that failed is repeated after ten: more only where this took long.
    let asked = (provider.requests() - before) as u64;
    let most = 1 + 2 * (begun.elapsed().as_secs() / 10);
    assert!((1..=most).contains(&asked), "fifty unknown keys are one question, not {asked}");
    // And it may be gone altogether.
    drop(provider);
    encrypt(&client, &key.token("alice", &all), "general").await.expect(200);
    encrypt(&client, &own, "general").await.expect(200);
    client.get("/health/ready").await.expect(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_that_hangs_delays_nobody_else_and_unknown_keys_do_not_flood_it() {
    tokio::join!(hanging_at_first(), hanging_later());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_with_a_certificate_of_nobody_is_not_believed() {
    let key = TokenKey::ed("ed");
    let provider = IdentityProvider::start_tls(&[&key], &Authority::new().certificate("localhost")).await;
    let cluster = with_provider(builder(StoreKind::Sqlite), &provider).start(1).await;
    let token = key.token("alice", &json!({ "cryptoserve_contexts": "*" }));
    let reply = encrypt(&cluster.client(0), &token, "general").await;
    reply.expect_problem(503, "identity_provider_unavailable");
    assert_eq!(provider.requests(), 0, "no request went through");
    cryptoserve_tests::eventually("the log says why", async || {
        cluster.replicas()[0].log().text().contains("UnknownIssuer").then_some(())
    })
    .await;
}
