use std::collections::BTreeSet;
use std::time::Duration;

use cryptoserve_tests::{StoreKind, TokenRequest, eventually};
use futures_util::future::join_all;
use serde_json::json;

use super::{identity, is_dead, issue, refresh, rotate};
use crate::support::{builder, refused_everywhere};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_replicas_agree_on_refresh_tokens_and_an_outage_is_not_a_refusal() {
    let cluster = builder(StoreKind::Postgres).through_proxy().start(3).await;
    let clients: Vec<_> = (0..3).map(|n| cluster.client(n)).collect();
    let admin_token = cluster.token(&TokenRequest::admin()).await;
    let admin = clients[0].clone().with_token(&admin_token);
    let path = identity(&admin, "app", &["general"]).await;
    let app = issue(&admin, &path, json!({})).await;

    // One client that repeats, through whichever replica; and twenty at once.
    let second = rotate(&clients[0], &app.refresh).await.expect(200).text("refresh_token");
    assert_eq!(refresh(&clients[1], &app.refresh).await.expect(200).text("refresh_token"), second);
    let replies = join_all((0..20).map(|n| rotate(&clients[n % 3], &second))).await;
    let replies: Vec<_> = replies.into_iter().map(|reply| reply.expect(200)).collect();
    let successors: BTreeSet<_> = replies.iter().map(|reply| reply.text("refresh_token")).collect();
    assert_eq!(successors.len(), 1, "{successors:?}");
    let third = &replies[0].text("refresh_token");
    let tables = cluster.tables().await;
    assert_eq!(tables.number("SELECT count(*) FROM refresh_tokens").await, 3);

    let replaced_at = tables.an_hour_ago();
    let long_ago =
        format!("UPDATE refresh_tokens SET replaced_at = {replaced_at} WHERE replaced_at IS NOT NULL");
    assert_eq!(tables.change(&long_ago).await, 2);
    let reuse = async || is_dead(&clients[2], &app.refresh, "used after it was replaced").await;
    refused_everywhere(&clients, &replies[19].text("access_token"), "reuse on another replica", reuse).await;
    for client in &clients {
        is_dead(client, third, "of a family that was revoked").await;
    }
    let app = issue(&admin, &path, json!({})).await;
    let revoke = async || {
        admin.delete(&format!("{path}/tokens/{}", app.family)).await.expect(200);
    };
    refused_everywhere(&clients, &app.access, "revoked by its id", revoke).await;
    let app = issue(&admin, &path, json!({})).await;
    let disable = async || drop(admin.put_json(&path, &json!({ "enabled": false })).await.expect(200));
    refused_everywhere(&clients, &app.access, "its identity is disabled", disable).await;
    admin.put_json(&path, &json!({ "enabled": true })).await.expect(200);
    let end = async || drop(admin.delete(&format!("{path}/tokens")).await.expect(200));
    refused_everywhere(&clients, &app.access, "all tokens of its identity are revoked", end).await;

    // Twenty live ones at most, however many ask at once, and wherever.
    let admins: Vec<_> = clients.iter().map(|client| client.clone().with_token(&admin_token)).collect();
    let tokens = format!("{path}/tokens");
    let body = json!({ "refresh": true });
    let replies = join_all((0..30).map(|n| admins[n % 3].post_json(&tokens, &body))).await;
    let (good, refused): (Vec<_>, Vec<_>) = replies.into_iter().partition(|reply| reply.status == 200);
    assert_eq!((good.len(), refused.len()), (20, 10));
    for reply in refused {
        reply.expect_problem(409, "too_many_refresh_tokens");
    }
    assert_eq!(
        admin.get(&tokens).await.expect(200).json()["refresh_tokens"].as_array().map(Vec::len),
        Some(20)
    );
    // One that is revoked, or was not used for long, makes room.
    admin.delete(&format!("{tokens}/{}", good[0].text("refresh_token_id"))).await.expect(200);
    issue(&admin, &path, json!({})).await;
    admin.post_json(&tokens, &body).await.expect_problem(409, "too_many_refresh_tokens");
    let unused = tables.ago(Duration::from_secs(91 * 24 * 3600));
    tables
        .change(&format!(
            "UPDATE refresh_families SET used_at = {unused} WHERE id = '{}'",
            good[1].text("refresh_token_id")
        ))
        .await;
    let last = issue(&admin, &path, json!({})).await;

    // Without its database a replica cannot know, and says so.
    let (proxy, token) = (cluster.postgres_proxy(), &last.refresh);
    proxy.cut().await;
    for client in &clients {
        for reply in [refresh(client, token).await, rotate(client, token).await] {
            let reply = reply.expect_problem(503, "store_unavailable");
            assert!(
                reply.header("retry-after").is_some_and(|value| value.parse::<u32>().is_ok()),
                "{reply:?}"
            );
        }
    }
    proxy.restore().await;
    for client in &clients {
        eventually("the database is used again", async || {
            (refresh(client, token).await.status == 200).then_some(())
        })
        .await;
    }
}
