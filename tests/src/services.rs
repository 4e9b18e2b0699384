//! Throw-away PostgreSQL and Redis.
//!
//! `./tests/run` starts both on loopback and names them in `CRYPTOSERVE_TEST_POSTGRES` and `CRYPTOSERVE_TEST_REDIS`.
//! Each test takes a database of its own from them, so tests run side by side.

use std::env;
use std::thread;
use std::time::Duration;

use tokio::runtime;
use tokio::time::timeout;
use tokio_postgres::{Client, NoTls};
use url::Url;

/// An empty PostgreSQL database; dropped, with whoever is still connected, at the end of the test.
#[derive(Debug)]
pub struct TestDatabase {
    url: Url,
}

impl TestDatabase {
    /// Makes one.
    ///
    /// # Panics
    ///
    /// If there is no PostgreSQL server to make it on.
    pub async fn create() -> Self {
        let mut url = service("CRYPTOSERVE_TEST_POSTGRES");
        let name = random_name("test");
        // The usual template cannot be copied while anyone is connected to it; to this one nobody can connect.
        run(&url, &format!("CREATE DATABASE {name} TEMPLATE template0")).await;
        url.set_path(&name);
        Self { url }
    }

    /// Its address, as `DATABASE_URL` takes it.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// A connection of the test's own.
    ///
    /// # Panics
    ///
    /// If the server refuses.
    pub async fn connect(&self) -> Client {
        connect(&self.url).await
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let mut server = self.url.clone();
        server.set_path("postgres");
        let statement = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", &self.url.path()[1..]);
        // The test's runtime may be gone or busy; a thread with its own needs neither. Best effort: the whole
        // server is thrown away anyway.
        let dropping = thread::spawn(move || {
            let runtime = runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            let _ =
                runtime.block_on(async { timeout(Duration::from_secs(10), run(&server, &statement)).await });
        });
        let _ = dropping.join();
    }
}

/// A numbered Redis database that is empty and belongs to one test.
#[derive(Clone, Debug)]
pub struct TestRedis {
    url: Url,
}

impl TestRedis {
    /// Takes the next number and empties it.
    ///
    /// # Panics
    ///
    /// If there is no Redis server.
    pub async fn create() -> Self {
        let mut url = service("CRYPTOSERVE_TEST_REDIS");
        let mut server = redis_connection(&url).await;
        let (_, databases): (String, u32) = redis::cmd("CONFIG")
            .arg("GET")
            .arg("databases")
            .query_async(&mut server)
            .await
            .expect("CONFIG GET");
        let taken: u32 =
            redis::cmd("INCR").arg("databases-taken").query_async(&mut server).await.expect("INCR");
        // Number 0 holds the counter. A long session comes round again, when the first test is long over.
        url.set_path(&(1 + (taken - 1) % (databases - 1)).to_string());
        let redis = Self { url };
        let _: () = redis::cmd("FLUSHDB").query_async(&mut redis.connect().await).await.expect("FLUSHDB");
        redis
    }

    /// Its address, as `REDIS_URL` takes it.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// A connection of the test's own.
    ///
    /// # Panics
    ///
    /// If the server refuses.
    pub async fn connect(&self) -> redis::aio::MultiplexedConnection {
        redis_connection(&self.url).await
    }
}

/// The address in the variable `name`.
fn service(name: &str) -> Url {
    let url = variable(name);
    Url::parse(&url).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The variable `name`, which ./tests/run sets.
pub(crate) fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| {
        panic!("{name} is not set: this test needs what ./tests/run provides; run ./tests/run [FILTER]")
    })
}

/// A name that nothing else in any test has.
pub(crate) fn random_name(prefix: &str) -> String {
    let mut random = [0; 12];
    aws_lc_rs::rand::fill(&mut random).expect("the system's random numbers");
    format!("{prefix}_{}", hex::encode(random))
}

async fn run(server: &Url, statement: &str) {
    connect(server)
        .await
        .batch_execute(statement)
        .await
        .unwrap_or_else(|error| panic!("{statement}: {error}"));
}

async fn connect(url: &Url) -> Client {
    let (client, connection) = tokio_postgres::connect(url.as_str(), NoTls)
        .await
        .unwrap_or_else(|error| panic!("PostgreSQL: {error}"));
    tokio::spawn(connection);
    client
}

pub(crate) async fn redis_connection(url: &Url) -> redis::aio::MultiplexedConnection {
    let client = redis::Client::open(url.as_str()).expect("a Redis address");
    client.get_multiplexed_async_connection().await.unwrap_or_else(|error| panic!("Redis: {error}"))
}
