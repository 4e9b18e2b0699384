use std::collections::BTreeMap;

use cryptoserve_tests::{Client, StoreKind};
use http::Method;
use http_body_util::Empty;
use serde_json::Value;

use crate::support::one;

/// Methods by path, as the document lists them; the parameters have values that name nothing.
async fn listed(client: &Client) -> BTreeMap<String, Vec<Method>> {
    let reply = client.get("/openapi.json").await.expect(200);
    assert_eq!(reply.header("content-type"), Some("application/json"));
    let document = reply.json();
    assert_eq!(document["openapi"], "3.1.0");
    let methods = |item: &Value| -> Vec<Method> {
        let names = item.as_object().expect("methods").keys();
        names.map(|name| name.to_uppercase().parse().expect("a method")).collect()
    };
    let paths = document["paths"].as_object().expect("paths").iter();
    paths
        .map(|(path, item)| {
            (
                path.replace("{name}", "none")
                    .replace("{token_id}", "none")
                    .replace("{id}", "00000000-0000-4000-8000-000000000000"),
                methods(item),
            )
        })
        .collect()
}

async fn status(client: &Client, method: &Method, path: &str) -> u16 {
    let request = client.request(method.clone(), path).body(Empty::new()).expect("a request");
    client.try_send(request).await.expect("a reply").status
}

#[tokio::test]
async fn what_the_document_lists_answers_and_nothing_else() {
    let cluster = one(StoreKind::Sqlite).await;
    let client = cluster.client(0);
    let listed = listed(&client).await;
    assert!(listed.len() >= 18, "{listed:?}");
    for (path, methods) in &listed {
        let short = path.strip_prefix("/api/v1/").map(|rest| format!("/v1/{rest}"));
        for path in [Some(path.clone()), short].into_iter().flatten() {
            for method in [Method::GET, Method::POST, Method::PUT, Method::DELETE, Method::PATCH] {
                let status = status(&client, &method, &path).await;
                // Without a token nothing happens, but what asks for one is there.
                let public = !path.contains("/v1/") && !path.starts_with("/api/");
                // These ask for a token in their body, and get none either.
                let in_body = path.contains("/v1/auth/");
                let expected = match (methods.contains(&method), public) {
                    (true, true) => 200,
                    (true, false) if in_body => 400,
                    (true, false) => 401,
                    (false, _) => 405,
                };
                // The limit of failed authentication comes before the end of the list.
                assert!(status == expected || (expected, status) == (401, 429), "{method} {path}: {status}");
            }
        }
        // The rest has one base path.
        if !path.starts_with("/api/v1/") {
            for base in ["/v1", "/api/v1"] {
                assert_eq!(status(&client, &methods[0], &format!("{base}{path}")).await, 404, "{base}{path}");
            }
        }
    }
}

#[tokio::test]
async fn the_page_loads_nothing_from_elsewhere() {
    let cluster = one(StoreKind::Sqlite).await;
    let page = cluster.client(0).get("/docs").await.expect(200);
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    let policy = page.header("content-security-policy").expect("a policy");
    assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{policy}");
    assert!(!policy.contains("http") && !policy.contains('*') && !policy.contains("unsafe-eval"), "{policy}");
    let text = String::from_utf8(page.body.to_vec()).expect("UTF-8").to_lowercase();
    assert!(text.starts_with("<!doctype html>") && text.contains("/openapi.json"));
    for external in ["http:", "https:", "=\"//", "='//", "url(", "@import", "<iframe", "<base"] {
        assert!(!text.contains(external), "{external}");
    }
}
