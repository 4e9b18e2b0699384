use cryptoserve_tests::{Reply, StoreKind};
use http::Method;
use http_body_util::Empty;
use serde_json::json;

use crate::support::{ENCRYPT, app, one};

#[tokio::test]
async fn unknown_paths_are_404_and_other_methods_405_with_those_that_there_are() {
    let cluster = one(StoreKind::Sqlite).await;
    let client = cluster.client(0);
    for path in [
        "/",
        "/nowhere",
        "/api/v1/crypto/encrypt/",
        "/API/V1/crypto/encrypt",
        "/api/api/v1/contexts",
        "//health",
        "/health/live/x",
    ] {
        let reply = client.get(path).await.expect_problem(404, "not_found");
        assert_common(&reply);
    }
    for (method, path, allowed) in [
        (Method::GET, ENCRYPT, "POST"),
        (Method::OPTIONS, ENCRYPT, "POST"),
        (Method::TRACE, ENCRYPT, "POST"),
        (Method::DELETE, "/v1/contexts", "GET, HEAD"),
        (Method::PATCH, "/api/admin/contexts", "GET, POST, HEAD"),
        (Method::PUT, "/health", "GET, HEAD"),
    ] {
        let request = client.request(method.clone(), path).body(Empty::new()).expect("a request");
        let reply =
            client.try_send(request).await.expect("a reply").expect_problem(405, "method_not_allowed");
        assert_eq!(reply.header("allow"), Some(allowed), "{method} {path}");
        assert_common(&reply);
    }
}

#[tokio::test]
async fn head_answers_as_get_without_the_body() {
    let cluster = one(StoreKind::Sqlite).await;
    let client = cluster.client(0);
    for path in ["/health", "/health/live", "/health/ready", "/openapi.json"] {
        let got = client.get(path).await.expect(200);
        let request = client.request(Method::HEAD, path).body(Empty::new()).expect("a request");
        let head = client.try_send(request).await.expect("a reply").expect(200);
        assert!(head.body.is_empty());
        assert_eq!(head.header("content-length"), Some(got.body.len().to_string().as_str()), "{path}");
        assert_eq!(head.header("content-type"), got.header("content-type"));
    }
}

/// Nothing may keep a reply, and every reply has its id, whatever went wrong.
fn assert_common(reply: &Reply) {
    assert_eq!(reply.header("cache-control"), Some("no-store"), "{reply:?}");
    assert_eq!(reply.header("x-content-type-options"), Some("nosniff"), "{reply:?}");
    assert_eq!(reply.header("server"), None, "{reply:?}");
    let id = reply.header("x-request-id").expect("an id");
    assert!(!id.is_empty());
    if reply.status >= 400 {
        assert_eq!(reply.header("content-type"), Some("application/problem+json"));
        let problem = reply.json();
        assert_eq!(problem["request_id"], id);
        for field in ["type", "title", "detail", "code"] {
            assert!(problem[field].is_string(), "{field} in {problem}");
        }
    }
}

#[tokio::test]
async fn every_reply_can_be_found_in_the_log_by_an_id_of_the_client_or_of_ours() {
    let cluster = one(StoreKind::Sqlite).await;
    let app = app(&cluster).await;
    let longest = "i".repeat(128);
    for good in ["a", "Az09._-", &longest] {
        let reply = app.clone().with_header("x-request-id", good).get("/v1/contexts").await.expect(200);
        assert_common(&reply);
        assert_eq!(reply.header("x-request-id"), Some(good));
        logged(&cluster, good).await;
    }
    let too_long = "i".repeat(129);
    for bad in ["", "two words", "a/b", "a\"b", "a\tb", "{}", &too_long] {
        let client = app.clone().with_header("x-request-id", bad);
        let replies = [
            client.get("/v1/contexts").await.expect(200),
            client.get("/nowhere").await.expect(404),
            client.post_json(ENCRYPT, &json!({})).await.expect(400),
            client.clone().with_token("nonsense").get("/v1/contexts").await.expect(401),
        ];
        for reply in replies {
            assert_common(&reply);
            let id = reply.header("x-request-id").expect("an id");
            assert_ne!(id, bad);
            logged(&cluster, id).await;
        }
    }
    let ours: Vec<_> = cluster.replicas()[0].log().lines();
    assert!(ours.iter().all(|line| !line.0.contains("two words") && !line.0.contains(&too_long)));
}

async fn logged(cluster: &cryptoserve_tests::Cluster, id: &str) {
    cluster.replicas()[0].log().find(id, |line| line.field("request_id").as_deref() == Some(id)).await;
}
