use cryptoserve_tests::{TestDatabase, TestRedis, eventually};
use redis::AsyncCommands;

#[tokio::test]
async fn databases_are_apart_and_gone_afterwards() {
    let (one, other) = tokio::join!(TestDatabase::create(), TestDatabase::create());
    let in_one = one.connect().await;
    in_one.batch_execute("CREATE TABLE mine (x int)").await.expect("a table");
    let in_other = other.connect().await;
    in_other.query("SELECT * FROM mine", &[]).await.expect_err("the table of another test");

    let name = one.url().path()[1..].to_owned();
    let count = "SELECT count(*) FROM pg_database WHERE datname = $1";
    let before: i64 = in_other.query_one(count, &[&name]).await.expect("a count").get(0);
    drop(one);
    let after: i64 = in_other.query_one(count, &[&name]).await.expect("a count").get(0);
    assert_eq!((before, after), (1, 0));
    eventually("the visitor to be sent away", async || in_one.is_closed().then_some(())).await;
}

#[tokio::test]
async fn redis_databases_are_apart_and_start_empty() {
    let (one, other) = tokio::join!(TestRedis::create(), TestRedis::create());
    assert_ne!(one.url(), other.url());
    let _: () = one.connect().await.set("mine", 1).await.expect("SET");
    let seen: Option<u32> = other.connect().await.get("mine").await.expect("GET");
    assert_eq!(seen, None);
}
