//! The list of the buckets that are most exhausted.

use cryptoserve_tests::{Cluster, StoreKind};
use serde_json::{Value, json};

use super::{LIMITS, encrypt, identity_id, set, statuses, window};
use crate::support::{admin, app, builder, one, operator};

async fn lists_what_is_most_exhausted(cluster: &Cluster) {
    let (admin, app) = (admin(cluster).await, app(cluster).await);
    encrypt(&app).await.expect(200);
    let id = identity_id(&admin, "app").await;
    let daily =
        json!({ "limit": 4, "window_seconds": 86_400, "counts": "requests", "operations": "encrypt" });
    set(&admin, &format!("identity/{id}"), &window(daily.clone())).await;
    let of_ten = window(json!({ "limit": 10, "window_seconds": 86_400 }));
    set(&admin, &format!("identity/{id}/context/general"), &of_ten).await;
    let mut shadow = window(json!({ "limit": 1, "window_seconds": 86_400 }));
    shadow["shadow"] = json!(true);
    set(&admin, "context/general", &shadow).await;
    assert_eq!(statuses(&app, 3).await, [200; 3]);
    let listed = admin.get(&format!("{LIMITS}/exhausted?limit=3")).await.expect(200).json();
    assert_eq!(listed["complete"], true, "{listed}");
    let [context, identity, pair] = &listed["buckets"].as_array().expect("a list")[..] else {
        panic!("three of {listed}")
    };
    assert_eq!(
        (&context["dimension"], &context["context"], &context["remaining"], &context["shadow"]),
        (&json!("context"), &json!("general"), &json!(0), &json!(true))
    );
    assert_eq!(
        (&identity["dimension"], &identity["identity"], &identity["identity_id"], &identity["remaining"]),
        (&json!("identity"), &json!("app"), &json!(id), &json!(1))
    );
    for field in ["limit", "window_seconds", "counts", "operations"] {
        assert_eq!(identity["window"][field], daily[field], "{identity}");
    }
    assert!(identity["full_in_seconds"].as_u64() > Some(50_000), "{identity}");
    assert_eq!(
        (&pair["dimension"], &pair["identity"], &pair["context"], &pair["remaining"]),
        (&json!("identity-context"), &json!("app"), &json!("general"), &json!(7))
    );
    for query in ["limit=0", "limit=101", "limit=x", "after=x"] {
        admin.get(&format!("{LIMITS}/exhausted?{query}")).await.expect_problem(400, "invalid_request");
    }

    // Another tenant sees its own.
    let made =
        operator(cluster).await.post_json("/api/admin/tenants", &json!({ "name": "acme" })).await.expect(201);
    let theirs = cluster.client(0).with_token(&made.text("access_token"));
    let listed = theirs.get(&format!("{LIMITS}/exhausted?limit=100")).await.expect(200).json();
    let foreign = |bucket: &Value| bucket["context"] == "general" || bucket["identity"] == "app";
    assert!(!listed["buckets"].as_array().expect("a list").iter().any(foreign), "{listed}");
    // What has begun again is not exhausted.
    admin.post_json(&format!("{LIMITS}/reset/{id}"), &json!({})).await.expect(200);
    let listed = admin.get(&format!("{LIMITS}/exhausted?limit=100")).await.expect(200).json();
    let names: Vec<_> =
        listed["buckets"].as_array().expect("a list").iter().map(|bucket| &bucket["identity"]).collect();
    assert!(!names.contains(&&json!("app")), "{listed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_most_exhausted_buckets_of_a_process_are_listed() {
    lists_what_is_most_exhausted(&one(StoreKind::Sqlite).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_most_exhausted_buckets_in_redis_are_listed() {
    let cluster = builder(StoreKind::Sqlite).redis().env("RATE_LIMIT_REDIS_TIMEOUT", "10s").start(1).await;
    cluster.replicas()[0].process().stderr().message("limits are shared through Redis").await;
    lists_what_is_most_exhausted(&cluster).await;
}
