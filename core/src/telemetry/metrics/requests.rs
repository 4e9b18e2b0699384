use std::sync::OnceLock;
use std::time::Duration;

use http::Method;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::api::{ROUTES, Route};

/// Upper bounds of latencies, in seconds.
const LATENCIES: [f64; 15] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// The statuses that are frequent, or are when something is wrong. The rest are counted no less, but behind a lock.
const FREQUENT: [u16; 8] = [200, 201, 400, 401, 403, 404, 429, 503];
/// The route of a request that has none.
const NO_ROUTE: &str = "none";

/// Requests that were answered, by route, and how long that took.
pub(crate) struct Requests {
    counts: Family<Labels, Counter>,
    latencies: Family<RouteLabel, Histogram, fn() -> Histogram>,
    /// By operation: found once, and then without a lock.
    of_operation: Vec<OfOperation>,
}

#[derive(Default)]
struct OfOperation {
    counts: [OnceLock<Counter>; FREQUENT.len()],
    latency: OnceLock<Histogram>,
}

/// Only what this program knows, so that no client can make up a new series.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    route: &'static str,
    method: &'static str,
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabel {
    route: &'static str,
}

impl Requests {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let counts = Family::default();
        registry.register("http_requests", "Requests that were answered", counts.clone());
        let histogram: fn() -> Histogram = || Histogram::new(LATENCIES);
        let latencies = Family::new_with_constructor(histogram);
        let help = "Time from the head of a request to its reply, or to the head of a stream's reply";
        registry.register_with_unit("http_request", help, Unit::Seconds, latencies.clone());
        let operations = ROUTES.iter().map(|route| route.operation as usize + 1).max().unwrap_or(0);
        let of_operation = std::iter::repeat_with(OfOperation::default).take(operations).collect();
        Self { counts, latencies, of_operation }
    }

    /// Counts a request that was answered; `route` is `None` where nothing is.
    pub(crate) fn record(&self, route: Option<&'static Route>, method: &Method, status: u16, time: Duration) {
        let seconds = time.as_secs_f64();
        let Some(route) = route else {
            let labels = Labels { route: NO_ROUTE, method: method_name(method), status };
            self.counts.get_or_create(&labels).inc();
            self.latencies.get_or_create(&RouteLabel { route: NO_ROUTE }).observe(seconds);
            return;
        };
        let labels = Labels { route: route.path, method: route.method.as_str(), status };
        let of_operation = &self.of_operation[route.operation as usize];
        match FREQUENT.iter().position(|frequent| *frequent == status) {
            Some(index) => {
                of_operation.counts[index].get_or_init(|| self.counts.get_or_create_owned(&labels)).inc()
            }
            None => self.counts.get_or_create(&labels).inc(),
        };
        let latency = || self.latencies.get_or_create_owned(&RouteLabel { route: route.path });
        of_operation.latency.get_or_init(latency).observe(seconds);
    }
}

/// The methods that people try; clients may make up others.
/// A method that HTTP or everybody has, or `other`: strangers may send any, of any length.
pub(crate) fn method_name(method: &Method) -> &'static str {
    const KNOWN: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"];
    KNOWN.into_iter().find(|known| *known == method.as_str()).unwrap_or("other")
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text;

    use super::*;

    fn route(path: &str, method: Method) -> Option<&'static Route> {
        ROUTES.iter().find(|route| route.path == path && route.method == method)
    }

    #[test]
    fn each_route_method_and_status_has_its_own_count_and_what_clients_make_up_has_none() {
        let mut registry = Registry::default();
        let requests = Requests::new(&mut registry);
        let encrypt = route("/api/v1/crypto/encrypt", Method::POST);
        let record = |route, method: &str, status| {
            let method = method.parse().unwrap();
            requests.record(route, &method, status, Duration::from_micros(700));
        };
        // With and without a slot of its own.
        for status in [200, 200, 200, 418, 418] {
            record(encrypt, "POST", status);
        }
        for method in [Method::GET, Method::POST] {
            record(route("/api/admin/contexts", method.clone()), method.as_str(), 200);
        }
        for method in ["GET", "BREW", "WHEN"] {
            record(None, method, 404);
        }
        let mut shown = String::new();
        text::encode(&mut shown, &registry).unwrap();
        let mut counts: Vec<_> =
            shown.lines().filter(|line| line.starts_with("http_requests_total")).collect();
        counts.sort_unstable();
        assert_eq!(
            counts,
            [
                r#"http_requests_total{route="/api/admin/contexts",method="GET",status="200"} 1"#,
                r#"http_requests_total{route="/api/admin/contexts",method="POST",status="200"} 1"#,
                r#"http_requests_total{route="/api/v1/crypto/encrypt",method="POST",status="200"} 3"#,
                r#"http_requests_total{route="/api/v1/crypto/encrypt",method="POST",status="418"} 2"#,
                r#"http_requests_total{route="none",method="GET",status="404"} 1"#,
                r#"http_requests_total{route="none",method="other",status="404"} 2"#,
            ]
        );
        for line in [
            r#"http_request_seconds_bucket{le="0.0005",route="/api/v1/crypto/encrypt"} 0"#,
            r#"http_request_seconds_bucket{le="0.001",route="/api/v1/crypto/encrypt"} 5"#,
            r#"http_request_seconds_count{route="/api/admin/contexts"} 2"#,
            r#"http_request_seconds_count{route="none"} 3"#,
        ] {
            assert!(shown.lines().any(|shown| shown == line), "{line} in\n{shown}");
        }
    }

    #[test]
    fn every_operation_has_a_slot() {
        let requests = Requests::new(&mut Registry::default());
        for route in ROUTES {
            requests.record(Some(route), &route.method, 200, Duration::ZERO);
        }
    }
}
