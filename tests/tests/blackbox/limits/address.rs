//! Whose bucket a request is counted in, by its peer and by what proxies say.

use cryptoserve_tests::{Client, Cluster, Reply};

use super::{encrypt_in, limited, refused};
use crate::support::app;

const WARNING: &str = "a private address that TRUSTED_PROXIES does not name sends X-Forwarded-For or Forwarded: \
                       all clients behind it share one limit; if it is a proxy of yours, set TRUSTED_PROXIES";

/// A header of proxies, how `FORWARDED_HEADER` calls it, and how it names an address.
struct Header {
    name: &'static str,
    setting: &'static str,
    start: &'static str,
    end: &'static str,
}

const X_FORWARDED_FOR: Header =
    Header { name: "x-forwarded-for", setting: "X-Forwarded-For", start: "", end: "" };
const FORWARDED: Header = Header { name: "forwarded", setting: "forwarded", start: "for=\"", end: "\"" };

async fn with(client: &Client, header: &str, value: &str) -> Reply {
    encrypt_in(&client.clone().with_header(header, value), "general").await
}

/// How often the replica has warned of its peer, up to a request of this id that is made now.
async fn warnings(cluster: &Cluster, id: &str) -> usize {
    let client = cluster.client(0).with_header("x-request-id", id);
    client.get("/v1/contexts").await.expect(401);
    let log = cluster.replicas()[0].log();
    log.find("the request", |line| line.field("request_id").as_deref() == Some(id)).await;
    let lines = log.lines();
    let warnings = lines.iter().filter(|line| line.field("message").as_deref() == Some(WARNING));
    warnings.inspect(|line| assert_eq!(line.field("peer").as_deref(), Some("127.0.0.1"))).count()
}

#[tokio::test]
async fn no_header_moves_a_peer_that_is_not_trusted_and_the_log_tells_of_it_once() {
    let cluster = limited("RATE_LIMIT_IP", "3:3").start(1).await;
    let app = app(&cluster).await;
    encrypt_in(&app, "general").await.expect(200);
    assert_eq!(warnings(&cluster, "before").await, 0);
    with(&app, "x-forwarded-for", "198.51.100.1").await.expect(200);
    with(&app, "forwarded", "for=198.51.100.2").await.expect(200);
    for value in ["198.51.100.3", "127.0.0.1, 198.51.100.4", "nonsense", ",,,", "::1"] {
        refused(with(&app, "x-forwarded-for", value).await, "ip");
    }
    for value in ["for=198.51.100.5", "for=\"[2001:db8::1]:443\"", "for=unknown", "for=\"", ";"] {
        refused(with(&app, "forwarded", value).await, "ip");
    }
    assert_eq!(warnings(&cluster, "after").await, 1);
}

#[tokio::test]
async fn clients_behind_a_trusted_proxy_have_a_bucket_each_by_the_header_that_it_writes() {
    for (believed, ignored) in [(X_FORWARDED_FOR, FORWARDED), (FORWARDED, X_FORWARDED_FOR)] {
        let cluster = limited("RATE_LIMIT_IP", "2:2")
            .env("TRUSTED_PROXIES", "127.0.0.1")
            .env("FORWARDED_HEADER", believed.setting)
            .start(1)
            .await;
        let app = app(&cluster).await;
        let from = async |address: &str| {
            let value = [believed.start, address, believed.end].concat();
            with(&app, believed.name, &value).await
        };
        // One address, however it is written; one network of IPv6.
        for (same, another) in [
            (["198.51.100.1", "198.51.100.1:4711", "[::ffff:198.51.100.1]"], "198.51.100.2"),
            (["[2001:db8::1]", "[2001:db8::2]:443", "[2001:db8::ffff:0:0:1]"], "[2001:db8:0:1::1]"),
        ] {
            from(same[0]).await.expect(200);
            from(same[1]).await.expect(200);
            refused(from(same[2]).await, "ip");
            from(another).await.expect(200);
        }
        // What the client wrote itself, to the left or in the other header.
        let own = [believed.start, "198.51.100.1", believed.end].concat();
        for claimed in ["203.0.113.9", "127.0.0.1", "\"", "nonsense;"] {
            refused(with(&app, believed.name, &format!("{claimed}, {own}")).await, "ip");
        }
        let claimed = [ignored.start, "203.0.113.9", ignored.end].concat();
        let both = app.clone().with_header(ignored.name, &claimed);
        refused(with(&both, believed.name, &own).await, "ip");
        assert_eq!(warnings(&cluster, "after").await, 0);
    }
}
