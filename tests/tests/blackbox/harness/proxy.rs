use std::net::SocketAddr;
use std::time::{Duration, Instant};

use cryptoserve_tests::{FaultProxy, TestDatabase, TestRedis};
use redis::aio::MultiplexedConnection;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_postgres::NoTls;
use url::Url;

/// Long enough for a round trip on a busy machine, short enough to wait for in vain.
const PATIENCE: Duration = Duration::from_millis(300);

async fn in_front_of(url: &Url) -> (FaultProxy, Url) {
    let upstream = SocketAddr::new(
        url.host_str().expect("a host").parse().expect("an address"),
        url.port().expect("a port"),
    );
    let proxy = FaultProxy::start(upstream).await;
    let mut proxied = url.clone();
    proxied.set_port(Some(proxy.address().port())).expect("a URL with a host");
    (proxy, proxied)
}

/// One try, so that what the proxy does is what is seen.
async fn redis_connection(url: &Url) -> redis::RedisResult<MultiplexedConnection> {
    let config = redis::AsyncConnectionConfig::new().set_response_timeout(None).set_connection_timeout(None);
    let client = redis::Client::open(url.as_str())?;
    client.get_multiplexed_async_connection_with_config(&config).await
}

async fn ping(connection: &mut MultiplexedConnection) -> redis::RedisResult<String> {
    redis::cmd("PING").query_async(connection).await
}

#[tokio::test]
async fn forwards_redis_and_counts() {
    let redis = TestRedis::create().await;
    let (proxy, url) = in_front_of(redis.url()).await;
    assert_eq!(proxy.connections(), 0);
    let mut connection = redis_connection(&url).await.expect("a connection");
    assert_eq!(ping(&mut connection).await.expect("PONG"), "PONG");
    assert_eq!(proxy.connections(), 1);
}

#[tokio::test]
async fn forwards_postgres_and_large_replies() {
    let database = TestDatabase::create().await;
    let (_proxy, url) = in_front_of(database.url()).await;
    let (client, connection) = tokio_postgres::connect(url.as_str(), NoTls).await.expect("a connection");
    tokio::spawn(connection);
    let one: i32 = client.query_one("SELECT 1", &[]).await.expect("a row").get(0);
    assert_eq!(one, 1);
    let large: String = client.query_one("SELECT repeat('x', 5000000)", &[]).await.expect("a row").get(0);
    assert_eq!(large.len(), 5_000_000);
}

#[tokio::test]
async fn a_cut_ends_connections_and_refuses_new_ones_until_restored() {
    let redis = TestRedis::create().await;
    let (proxy, url) = in_front_of(redis.url()).await;
    let mut connection = redis_connection(&url).await.expect("a connection");

    proxy.cut().await;
    ping(&mut connection).await.expect_err("the connection was cut");
    let refused = TcpStream::connect(proxy.address()).await.expect_err("nobody listens");
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);

    proxy.restore().await;
    let mut connection = redis_connection(&url).await.expect("a connection");
    assert_eq!(ping(&mut connection).await.expect("PONG"), "PONG");
}

#[tokio::test]
async fn a_hang_holds_back_and_restoring_delivers() {
    let redis = TestRedis::create().await;
    let (proxy, url) = in_front_of(redis.url()).await;
    let mut connection = redis_connection(&url).await.expect("a connection");

    proxy.hang().await;
    let mut held = std::pin::pin!(ping(&mut connection));
    timeout(PATIENCE, &mut held).await.expect_err("an answer during the hang");
    TcpStream::connect(proxy.address()).await.expect("a frozen server still accepts");

    proxy.restore().await;
    assert_eq!(held.await.expect("PONG"), "PONG");
}

#[tokio::test]
async fn a_delay_slows_each_round_trip_by_its_length() {
    let redis = TestRedis::create().await;
    let (proxy, url) = in_front_of(redis.url()).await;
    let mut connection = redis_connection(&url).await.expect("a connection");

    let delay = Duration::from_millis(200);
    proxy.delay(delay).await;
    let start = Instant::now();
    for _ in 0..2 {
        ping(&mut connection).await.expect("PONG");
    }
    assert!(start.elapsed() >= 2 * delay, "{:?}", start.elapsed());

    // It is latency, not a queue: requests sent one shortly after another arrive so.
    let start = Instant::now();
    let pings = (0..20).map(|number| {
        let mut connection = connection.clone();
        async move {
            tokio::time::sleep(number * Duration::from_millis(5)).await;
            ping(&mut connection).await
        }
    });
    futures_util::future::try_join_all(pings).await.expect("PONG each");
    // A queue would need 20 delays and more.
    assert!(start.elapsed() < 20 * delay, "{:?}", start.elapsed());

    proxy.restore().await;
    ping(&mut connection).await.expect("PONG");
}
