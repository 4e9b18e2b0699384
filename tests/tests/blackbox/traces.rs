//! Traces, as a collector gets them.

use cryptoserve_tests::{Client, Cluster, ClusterBuilder, Collector, Span, StoreKind, eventually};
use http::StatusCode;
use serde_json::json;
use tokio::net::TcpListener;

use crate::support::{ENCRYPT, app, base64, builder, on_each_store};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

fn traced(store: StoreKind, endpoint: &str) -> ClusterBuilder {
    builder(store)
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
        .env("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20collector-canary")
        .env("OTEL_SERVICE_NAME", "vault")
        .env("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
        .env("OTEL_BSP_SCHEDULE_DELAY", "20")
}

fn traceparent(client: &Client, value: &str) -> Client {
    client.clone().with_header("traceparent", value)
}

async fn encrypt(client: &Client, plaintext: &str) {
    let body = json!({ "context": "general", "plaintext": base64(plaintext) });
    let reply = client.post_json(ENCRYPT, &body).await.expect(200);
    assert_eq!((reply.header("traceparent"), reply.header("tracestate")), (None, None));
}

fn named<'a>(spans: &'a [Span], name: &str) -> &'a Span {
    spans.iter().find(|span| span.name == name).unwrap_or_else(|| panic!("no span {name:?} in {spans:#?}"))
}

async fn end(mut cluster: Cluster) -> String {
    cluster.replicas()[0].process().terminate();
    assert!(cluster.replica_mut(0).ended().await.success());
    cluster.replicas()[0].log().text()
}

on_each_store! {
    async fn a_request_is_a_trace_and_continues_its_callers(store) {
        let collector = Collector::start().await;
        let cluster = traced(store, &collector.endpoint()).start(1).await;
        let app = app(&cluster).await.with_header("x-request-id", "the-request");
        encrypt(&traceparent(&app, &format!("00-{TRACE}-{PARENT}-01")), "plaintext-canary").await;

        let name = "POST /api/v1/crypto/encrypt";
        let spans = collector.trace(TRACE, name).await;
        let request = named(&spans, name);
        assert_eq!((request.parent.as_str(), request.kind), (PARENT, 2));
        for (attribute, value) in [
            ("http.request.method", "POST"), ("http.route", ENCRYPT), ("http.response.status_code", "200"),
            ("cryptoserve.request_id", "the-request"),
        ] {
            assert_eq!(request.attributes.get(attribute).map(String::as_str), Some(value), "{attribute}");
        }
        assert_eq!(request.resource["service.name"], "vault");
        assert_eq!(request.resource["service.instance.id"], "replica-0");
        assert_eq!(request.resource["deployment.environment.name"], "test");
        for name in ["limits", "crypto", "keyring.load"] {
            assert_eq!(named(&spans, name).parent, request.id, "{name}");
        }
        // The identity and the key were cold.
        let load = named(&spans, "store");
        let parent = spans.iter().find(|span| span.id == load.parent).expect("its parent");
        assert_eq!((parent.name.as_str(), load.attributes["db.operation.name"].as_str()), ("keyring.load", "read"));
        assert!(spans.iter().all(|span| span.events.is_empty()), "log lines are not traces: {spans:#?}");

        // A caller that does not sample is not sampled; one that says nothing good begins a trace.
        let other = TRACE.replace('4', "5");
        encrypt(&traceparent(&app, &format!("00-{other}-{PARENT}-00")), "x").await;
        for bad in ["", "00", "00-xyz-abc-01", &format!("00-{}-{PARENT}-01", "0".repeat(32)), &format!("ff-{TRACE}-{PARENT}-01")] {
            encrypt(&traceparent(&app, bad), "x").await;
        }
        encrypt(&app, "x").await;
        // What is left is exported at the end.
        let log = end(cluster).await;
        let spans = collector.spans();
        assert!(spans.iter().all(|span| span.trace != other));
        let begun: Vec<_> = spans.iter().filter(|span| span.name == name && span.parent.is_empty()).collect();
        assert_eq!(begun.len(), 6, "{begun:#?}");
        // What replicas do beside requests is no trace: every one begins with a request.
        for span in &spans {
            let known = span.kind == 2 || spans.iter().any(|other| other.id == span.parent);
            assert!(known, "{span:#?}");
        }
        assert!(collector.requests().iter().all(|(headers, _)| headers["authorization"] == "Bearer collector-canary"));
        assert!(!log.contains("collector-canary"), "{log}");
        let bodies: Vec<u8> = collector.requests().iter().flat_map(|(_, body)| body.to_vec()).collect();
        let text = String::from_utf8_lossy(&bodies);
        assert!(!text.contains("canary") && !text.contains(&base64("plaintext-canary")) && !text.contains("eyJ"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_in_trouble_costs_two_lines_of_the_log_and_no_request() {
    let collector = Collector::start().await;
    collector.refuse(Some(StatusCode::BAD_REQUEST));
    let cluster = traced(StoreKind::Sqlite, &collector.endpoint()).start(1).await;
    let app = app(&cluster).await;
    let asked = async |times: usize| {
        let before = collector.requests().len();
        eventually("exports", async || {
            encrypt(&app, "x").await;
            (collector.requests().len() >= before + times).then_some(())
        })
        .await;
    };
    asked(3).await;
    let trouble = "traces cannot be exported; those of now are lost";
    let line = cluster.replicas()[0].log().message(trouble).await;
    assert!(line.field("error").is_some_and(|error| error.contains("400")), "{line:?}");
    collector.refuse(None);
    asked(1).await;
    cluster.replicas()[0].log().message("traces are exported again").await;
    let log = end(cluster).await;
    assert_eq!(log.matches(trouble).count(), 1, "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_says_nothing_holds_up_neither_requests_nor_the_end() {
    // Connections wait to be accepted for ever.
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let endpoint = format!("http://{}", listener.local_addr().expect("it is bound"));
    let cluster = traced(StoreKind::Sqlite, &endpoint).start(1).await;
    let app = app(&cluster).await;
    for _ in 0..50 {
        encrypt(&app, "x").await;
    }
    end(cluster).await;
    drop(listener);
}
