//! What a cluster tells its replicas, with a program that logs its environment and then serves like one.

use std::path::Path;

use cryptoserve_tests::{ClusterBuilder, Program, Replica, StoreKind};
use tokio::net::TcpStream;
use url::Url;

fn telling_server() -> Program {
    let script = r#"env >&2; exec "$0" baseline"#;
    Program::at(Path::new("/bin/sh")).arg("-c").arg(script).arg(env!("CARGO_BIN_EXE_bench"))
}

/// The variable `name` in the environment of `replica`.
fn variable(replica: &Replica, name: &str) -> Option<String> {
    let lines = replica.log().lines();
    lines.iter().find_map(|line| line.0.strip_prefix(name)?.strip_prefix('=').map(str::to_owned))
}

#[tokio::test]
async fn replicas_share_secrets_and_stores_and_reach_them_through_the_proxies() {
    let builder = ClusterBuilder::new(telling_server()).store(StoreKind::Postgres).redis().through_proxy();
    let cluster = builder.env("LOG_LEVEL", "debug").start(2).await;
    let [one, other] = cluster.replicas() else { panic!("two replicas") };
    for name in
        ["CRYPTOSERVE_MASTER_KEY", "JWT_SECRET_KEY", "HKDF_SALT", "DATABASE_URL", "REDIS_URL", "LOG_LEVEL"]
    {
        let value = variable(one, name);
        assert!(value.is_some(), "{name}");
        assert_eq!(value, variable(other, name), "{name}");
    }
    assert_eq!(variable(one, "CRYPTOSERVE_MASTER_KEY").as_deref(), Some(&*cluster.secrets().master_key));
    assert_eq!(variable(one, "INSTANCE_ID").as_deref(), Some("replica-0"));
    assert_eq!(variable(other, "INSTANCE_ID").as_deref(), Some("replica-1"));

    for (name, proxy, direct) in [
        ("DATABASE_URL", cluster.postgres_proxy(), cluster.database().url()),
        ("REDIS_URL", cluster.redis_proxy(), cluster.redis().url()),
    ] {
        let url: Url = variable(one, name).expect("checked above").parse().expect("a URL");
        assert_eq!(url.port(), Some(proxy.address().port()));
        assert_eq!((url.path(), url.password()), (direct.path(), direct.password()));
    }
}

#[tokio::test]
async fn the_embedded_store_is_the_default_with_no_secret_given() {
    let cluster = ClusterBuilder::new(telling_server()).start(1).await;
    let replica = &cluster.replicas()[0];
    for name in ["CRYPTOSERVE_MASTER_KEY", "JWT_SECRET_KEY", "HKDF_SALT", "DATABASE_URL", "REDIS_URL"] {
        assert_eq!(variable(replica, name), None, "{name}");
    }
    assert_eq!(variable(replica, "DATA_DIR").as_deref(), cluster.data_dir().to_str());
    assert_eq!(variable(replica, "RATE_LIMIT_IP").as_deref(), Some("10000000:10000000"));
}

#[tokio::test]
async fn a_cluster_grows_and_stops() {
    let builder = ClusterBuilder::new(telling_server()).store(StoreKind::Postgres);
    let mut cluster = builder.start(1).await;
    cluster.grow(2).await;
    let addresses = cluster.addresses();
    assert_eq!(addresses.len(), 3);
    for index in 0..3 {
        cluster.client(index).get("/health/live").await.expect(200);
    }
    let (_, cluster) = cluster.stop().await;
    assert!(cluster.replicas().is_empty());
    for address in addresses {
        TcpStream::connect(address).await.expect_err("nobody listens");
    }
}
