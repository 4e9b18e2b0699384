use std::collections::BTreeSet;

use cryptoserve_tests::{Client, Cluster, Program, RawConnection, StoreKind, TokenRequest};
use http::Method;
use serde_json::json;
use tokio::net::TcpListener;

use crate::support::{ENCRYPT, app, base64, builder, encrypt, one};

/// A client of the address where the first replica serves its metrics.
pub(crate) async fn prometheus(cluster: &Cluster) -> Client {
    Client::new(cluster.replicas()[0].metrics_address().await)
}

pub(crate) async fn scrape(prometheus: &Client) -> String {
    let reply = prometheus.get("/metrics").await.expect(200);
    String::from_utf8(reply.body.to_vec()).expect("UTF-8")
}

/// The value of a series, which is `name{label="value",…}` as it is written; 0 if it is not there.
pub(crate) fn value(metrics: &str, series: &str) -> f64 {
    let series = format!("{series} ");
    let value = metrics.lines().find_map(|line| line.strip_prefix(&series));
    value.map_or(0.0, |value| value.parse().unwrap_or_else(|error| panic!("{series}{value}: {error}")))
}

fn requests(route: &str, method: &str, status: u16) -> String {
    let labels = format!(r#"instance_id="replica-0",route="{route}",method="{method}",status="{status}""#);
    format!("cryptoserve_http_requests_total{{{labels}}}")
}

#[tokio::test]
async fn metrics_are_on_an_address_of_their_own_and_nothing_else_is() {
    let cluster = one(StoreKind::Sqlite).await;
    let prometheus = prometheus(&cluster).await;
    let reply = prometheus.get("/metrics?name=x").await.expect(200);
    let media_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert_eq!(reply.header("content-type"), Some(media_type));
    let text = scrape(&prometheus).await;
    assert!(text.ends_with("# EOF\n"), "{text}");
    let version = env!("CARGO_PKG_VERSION");
    let build = format!(r#"cryptoserve_build_info{{instance_id="replica-0",version="{version}"}}"#);
    assert_eq!(value(&text, &build), 1.0, "{text}");

    cluster.client(0).get("/metrics").await.expect_problem(404, "not_found");
    for path in ["/", "/metrics/", "/metrics/x", "//metrics", "/METRICS", "/health/live", ENCRYPT] {
        prometheus.get(path).await.expect(404);
    }
    for method in [Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS, Method::TRACE] {
        let request = prometheus.request(method, "/metrics").body(String::new()).expect("a request");
        let reply = prometheus.try_send(request).await.expect("a reply").expect(405);
        assert_eq!(reply.header("allow"), Some("GET, HEAD"));
    }
    let head = prometheus.request(Method::HEAD, "/metrics").body(String::new()).expect("a request");
    assert!(prometheus.try_send(head).await.expect("a reply").expect(200).body.is_empty());

    // Whatever else comes hinders no scrape.
    let address = cluster.replicas()[0].metrics_address().await;
    let mut silent = RawConnection::open(address).await;
    silent.send("GET /metr").await;
    for garbage in ["nonsense\r\n\r\n", "\0\r\n", "GET /metrics HTTP/9.9\r\n\r\n"] {
        let reply = RawConnection::exchange(address, garbage).await;
        assert!(reply.is_empty() || reply.starts_with("HTTP/1.1 400"), "{reply}");
    }
    scrape(&prometheus).await;
}

#[tokio::test]
async fn requests_are_counted_by_route_and_nothing_that_a_client_sends_is_shown() {
    const CANARY: &str = "canary-in-a-request";
    let cluster = one(StoreKind::Sqlite).await;
    let token = cluster.token(&TokenRequest::identity("app").contexts(["*"])).await;
    let app = cluster.client(0).with_token(&token);
    let prometheus = prometheus(&cluster).await;
    for _ in 0..3 {
        encrypt(&app, CANARY).await;
    }
    let body = json!({ "context": CANARY, "plaintext": base64(CANARY) });
    app.post_json("/v1/crypto/encrypt", &body).await.expect(404);
    cluster.client(0).with_token(CANARY).post_json(ENCRYPT, &body).await.expect(401);
    app.get(&format!("/api/v1/signatures/keys/{CANARY}/public?{CANARY}")).await.expect(404);
    app.get(&format!("/{CANARY}")).await.expect(404);
    app.delete(ENCRYPT).await.expect(405);
    let made_up = app.request(CANARY.parse().expect("a method"), ENCRYPT).body(String::new());
    app.try_send(made_up.expect("a request")).await.expect("a reply").expect(405);

    let text = scrape(&prometheus).await;
    for (route, method, status, count) in [
        (ENCRYPT, "POST", 200, 3.0),
        (ENCRYPT, "POST", 401, 1.0),
        (ENCRYPT, "POST", 404, 1.0),
        ("/api/v1/signatures/keys/{id}/public", "GET", 404, 1.0),
        ("none", "GET", 404, 1.0),
        ("none", "DELETE", 405, 1.0),
        ("none", "other", 405, 1.0),
    ] {
        assert_eq!(value(&text, &requests(route, method, status)), count, "{route} {status}: {text}");
    }
    let of_encrypt = format!(r#"{{instance_id="replica-0",route="{ENCRYPT}"}}"#);
    assert_eq!(value(&text, &format!("cryptoserve_http_request_seconds_count{of_encrypt}")), 5.0, "{text}");
    assert!(value(&text, &format!("cryptoserve_http_request_seconds_sum{of_encrypt}")) > 0.0, "{text}");
    for secret in [CANARY, &base64(CANARY), &hex::encode(CANARY), &token] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
}

#[tokio::test]
async fn metrics_are_served_to_the_end() {
    let cluster = builder(StoreKind::Sqlite).env("SHUTDOWN_DELAY", "1h").start(1).await;
    let (app, prometheus) = (app(&cluster).await, prometheus(&cluster).await);
    let replica = &cluster.replicas()[0];
    replica.process().terminate();
    replica.log().message("draining: no longer ready").await;
    encrypt(&app, "still").await;
    let ready = requests("/health/ready", "GET", 503);
    assert_eq!(value(&scrape(&prometheus).await, &ready), 0.0);
    app.get("/health/ready").await.expect(503);
    assert_eq!(value(&scrape(&prometheus).await, &ready), 1.0);
}

#[tokio::test]
async fn an_address_in_use_stops_the_start_with_the_name_of_its_variable() {
    let taken = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = taken.local_addr().expect("it is bound").to_string();
    let directory = tempfile::tempdir().expect("a directory");
    for (variable, other) in [("BIND_ADDR", "METRICS_BIND_ADDR"), ("METRICS_BIND_ADDR", "BIND_ADDR")] {
        let program = Program::cryptoserve()
            .env("DATA_DIR", directory.path().join("data").to_string_lossy())
            .env(variable, &address)
            .env(other, "127.0.0.1:0");
        let done = program.run().await;
        assert_eq!(done.status.code(), Some(1), "{done:?}");
        let told = format!("cryptoserve: {variable} {address}: ");
        assert!(done.stderr.lines().any(|line| line.starts_with(&told)), "{told}: {}", done.stderr);
        assert!(!done.stderr.contains("\"listening\""), "{}", done.stderr);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_operator_watches_is_there_and_moves() {
    let cluster = builder(StoreKind::Postgres).redis().start(1).await;
    let (app, prometheus) = (app(&cluster).await, prometheus(&cluster).await);
    encrypt(&app, "sixteen bytes ok").await;
    let item = |plaintext: &str| json!({ "id": "1", "plaintext": plaintext });
    let batch = json!({ "context": "general", "items": [item(&base64("x")), item("*")] });
    app.post_json("/v1/crypto/batch/encrypt", &batch).await.expect(200);
    app.post_bytes("/v1/crypto/encrypt/stream?context=general", "12345").await.expect(200);
    app.post_json(ENCRYPT, &json!({ "context": "none", "plaintext": "" })).await.expect(404);
    let text = scrape(&prometheus).await;
    let series =
        |name: &str, labels: &str| format!(r#"cryptoserve_{name}{{instance_id="replica-0"{labels}}}"#);
    let operation = |operation: &str, outcome: &str| {
        series("crypto_operations_total", &format!(r#",operation="{operation}",outcome="{outcome}""#))
    };
    for (series, expected) in [
        (operation("encrypt", "success"), 1.0),
        (operation("encrypt", "context_not_found"), 1.0),
        (operation("batch.encrypt", "success"), 1.0),
        (operation("batch.encrypt", "item_failed"), 1.0),
        (operation("stream.encrypt", "success"), 1.0),
        (series("crypto_plaintext_bytes_total", r#",operation="encrypt""#), 16.0),
        (series("crypto_plaintext_bytes_total", r#",operation="stream.encrypt""#), 5.0),
        (series("ready", ""), 1.0),
        (series("degraded", ""), 0.0),
        (series("audit_queue_capacity_records", ""), 16384.0),
        (series("db_pool_max_connections", ""), 30.0),
        (series("db_pool_waiting_requests", ""), 0.0),
        (series("log_lines_dropped_total", ""), 0.0),
        (series("redis_up", ""), 1.0),
    ] {
        assert_eq!(value(&text, &series), expected, "{series} in {text}");
    }
    for (series, least) in [
        (series("keyring_lookups_total", r#",kind="identity",outcome="hit""#), 1.0),
        (series("keyring_lookups_total", r#",kind="identity",outcome="miss""#), 1.0),
        (series("keyring_entries", r#",kind="key_version""#), 1.0),
        (series("keyring_age_seconds", ""), 0.000_001),
        (series("db_query_seconds_count", r#",lane="pool""#), 1.0),
        (series("db_query_seconds_count", r#",lane="poll""#), 1.0),
        (series("db_wait_seconds_count", r#",lane="pool""#), 1.0),
        (series("db_pool_open_connections", ""), 1.0),
        (series("http_connections", ""), 1.0),
        (r#"process_cpu_seconds_total{instance_id="replica-0"}"#.to_owned(), 0.01),
        (r#"process_resident_memory_bytes{instance_id="replica-0"}"#.to_owned(), 1e6),
        (r#"process_open_fds{instance_id="replica-0"}"#.to_owned(), 5.0),
        (r#"process_start_time_seconds{instance_id="replica-0"}"#.to_owned(), 1.7e9),
    ] {
        assert!(value(&text, &series) >= least, "{series} in {text}");
    }
    assert!(
        series("audit_queue_records", "").split('{').next().is_some_and(|name| text.contains(name)),
        "{text}"
    );
    assert_eq!(text.matches("# EOF").count(), 1);

    // The document lists what there is, and nothing else.
    let documented: BTreeSet<&str> = include_str!("../../../docs/metrics.md")
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once('`').map(|(name, _)| name))
        .filter(|name| name.starts_with("cryptoserve_") || name.starts_with("process_"))
        // This one speaks none.
        .filter(|name| !name.starts_with("cryptoserve_tls_"))
        .collect();
    let shown: BTreeSet<String> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '))
        .map(|(name, kind)| match kind {
            "counter" => format!("{name}_total"),
            "info" => format!("{name}_info"),
            _ => name.to_owned(),
        })
        .collect();
    assert_eq!(shown.iter().map(String::as_str).collect::<BTreeSet<_>>(), documented);
}
