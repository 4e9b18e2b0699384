//! What tests rely on when they stop, freeze, kill and replace a database server.

use std::time::Duration;

use cryptoserve_tests::{PgBouncer, PostgresServer, eventually};
use tokio::time::timeout;
use tokio_postgres::{Client, NoTls};

/// A connection as the service makes it, under `application`.
async fn connect(url: &str, application: &str) -> Client {
    let mut config: tokio_postgres::Config = url.parse().expect("a URL");
    config.application_name(application);
    let (client, connection) = config.connect(NoTls).await.expect("a connection");
    tokio::spawn(connection);
    client
}

async fn count(client: &Client) -> Result<i64, tokio_postgres::Error> {
    Ok(client.query_one("SELECT count(*) FROM kept", &[]).await?.get(0))
}

#[tokio::test]
async fn what_was_committed_outlives_every_kind_of_end() {
    let mut server = PostgresServer::start().await;
    let client = server.connect().await;
    client.batch_execute("CREATE TABLE kept (id int)").await.expect("a table");
    for (n, killed) in [false, true, true, false].into_iter().enumerate() {
        let before = server.connect().await;
        before.execute("INSERT INTO kept VALUES (1)", &[]).await.expect("stored");
        if killed {
            server.kill().await
        } else {
            server.stop().await
        }
        assert!(count(&before).await.is_err(), "the connection is gone");
        server.start_again().await;
        assert_eq!(count(&server.connect().await).await.expect("there"), n as i64 + 1);
    }
}

#[tokio::test]
async fn a_frozen_server_accepts_and_says_nothing_and_goes_on_where_it_was() {
    let server = PostgresServer::start().await;
    let client = server.connect().await;
    server.freeze();
    let mut waiting = Box::pin(client.query_one("SELECT 1", &[]));
    assert!(timeout(Duration::from_millis(300), &mut waiting).await.is_err(), "nothing answers");
    tokio::net::TcpStream::connect(server.address()).await.expect("the kernel accepts");
    server.thaw();
    waiting.await.expect("an answer to what was asked before");
}

#[tokio::test]
async fn statements_are_counted_for_each_application() {
    let server = PostgresServer::start().await;
    let one = connect(server.url().as_str(), "one").await;
    let other = connect(server.url().as_str(), "other").await;
    one.batch_execute("SELECT 1").await.expect("run");
    one.query_typed("SELECT $1::text", &[(&"x", tokio_postgres::types::Type::TEXT)]).await.expect("run");
    other.batch_execute("SELECT 2").await.expect("run");
    assert_eq!(server.statements("one").await, ["SELECT 1", "SELECT $1::text"]);
    assert_eq!(server.statements("other").await, ["SELECT 2"]);
    assert!(server.statements("third").await.is_empty());
}

#[tokio::test]
async fn a_standby_follows_refuses_writes_and_takes_over() {
    let mut primary = PostgresServer::start().await;
    let client = primary.connect().await;
    client.batch_execute("CREATE TABLE kept (id int)").await.expect("a table");
    let standby = primary.standby().await;
    client.execute("INSERT INTO kept VALUES (1)", &[]).await.expect("stored");
    primary.replicated_to(&standby).await;
    let follower = standby.connect().await;
    assert_eq!(count(&follower).await.expect("there"), 1);
    assert!(follower.execute("INSERT INTO kept VALUES (2)", &[]).await.is_err(), "read only");
    primary.kill().await;
    standby.promote().await;
    follower.execute("INSERT INTO kept VALUES (2)", &[]).await.expect("stored");
}

#[tokio::test]
async fn through_pgbouncer_more_clients_than_connections_work_at_once() {
    let server = PostgresServer::start().await;
    let bouncer = PgBouncer::start(&server, 2).await;
    let mut clients = Vec::new();
    for _ in 0..10 {
        clients.push(connect(bouncer.url().as_str(), "many").await);
    }
    for client in &clients {
        client.batch_execute("SELECT 1").await.expect("run");
    }
    assert_eq!(server.statements("many").await.iter().filter(|text| *text == "SELECT 1").count(), 10);
    let monitor = server.connect().await;
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'cryptoserve'";
    assert!(monitor.query_one(sql, &[]).await.expect("a count").get::<_, i64>(0) <= 2);
    drop(clients);
    eventually("PgBouncer still serves", async || {
        connect(bouncer.url().as_str(), "again").await.batch_execute("SELECT 1").await.ok()
    })
    .await;
}
