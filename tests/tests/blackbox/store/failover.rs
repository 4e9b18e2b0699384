use cryptoserve_tests::{Client, PostgresServer, TokenRequest, eventually};
use serde_json::json;

use super::{CONTEXTS, clients, creates, go_on, impatient, refused_in_time, warmed};
use crate::support::ENCRYPT;

/// Both servers, as one `DATABASE_URL`.
fn either(first: &PostgresServer, second: &PostgresServer) -> String {
    let url = first.url();
    let both = format!("{},{}", first.address(), second.address());
    url.as_str().replacen(&first.address().to_string(), &both, 1)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_the_first_host_dies_the_second_takes_over() {
    let mut primary = PostgresServer::start().await;
    let standby = primary.standby().await;
    let cluster = impatient().database_url(either(&primary, &standby)).start(2).await;
    let (admins, traffic) = warmed(&cluster).await;
    creates(&admins[0], "before").await;
    primary.replicated_to(&standby).await;

    primary.kill().await;
    go_on(&traffic).await;
    // The standby is there, but takes no writes, and what it knows may be old.
    for admin in &admins {
        refused_in_time(admin).await;
    }
    standby.promote().await;
    for (n, admin) in admins.iter().enumerate() {
        creates(admin, &format!("after-{n}")).await;
        admin.get(&format!("{CONTEXTS}/before")).await.expect(200);
    }
    go_on(&traffic).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_the_first_host_says_nothing_the_second_takes_over() {
    let primary = PostgresServer::start().await;
    let standby = primary.standby().await;
    let cluster = impatient().database_url(either(&primary, &standby)).start(2).await;
    let (admins, traffic) = warmed(&cluster).await;
    creates(&admins[0], "before").await;
    primary.replicated_to(&standby).await;

    primary.freeze();
    standby.promote().await;
    for (n, admin) in admins.iter().enumerate() {
        creates(admin, &format!("after-{n}")).await;
    }
    go_on(&traffic).await;
    for replica in cluster.replicas() {
        replica.log().message("the database answers again").await;
    }
}

/// Whether choosing another algorithm in a warm context is answered with `status`.
async fn chooses(app: &Client, status: u16) -> Option<()> {
    let body = json!({ "context": "user-pii", "plaintext": "", "algorithm_override": "ChaCha20-Poly1305" });
    (app.post_json(ENCRYPT, &body).await.status == status).then_some(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_failover_lost_is_forgotten() {
    let mut primary = PostgresServer::start().await;
    let mut standby = primary.standby().await;
    let cluster = impatient().database_url(either(&primary, &standby)).start(2).await;
    let (admins, traffic) = warmed(&cluster).await;
    primary.replicated_to(&standby).await;
    let apps = clients(&cluster, TokenRequest::identity("app")).await;
    for app in &apps {
        chooses(app, 422).await.expect("only the default is allowed");
    }

    // The standby misses what comes now.
    standby.stop().await;
    let change = json!({ "allowed_algorithms": ["XAES-256-GCM", "ChaCha20-Poly1305"] });
    admins[0].put_json(&format!("{CONTEXTS}/user-pii"), &change).await.expect(200);
    for app in &apps {
        eventually("the change holds", async || chooses(app, 200).await).await;
    }
    primary.kill().await;
    standby.start_again().await;
    standby.promote().await;

    for (replica, app) in cluster.replicas().iter().zip(&apps) {
        let line = "the store's revision went backwards; all cached keys and identities are dropped";
        replica.log().message(line).await;
        eventually("the change is forgotten", async || chooses(app, 422).await).await;
    }
    go_on(&traffic).await;
}
