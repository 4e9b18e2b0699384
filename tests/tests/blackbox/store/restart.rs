use cryptoserve_tests::{Client, PostgresServer, eventually};

use super::{CONTEXTS, creates, go_on, impatient, refused_in_time, warmed};

/// Each replica asks the database again, and changes something there.
async fn recovered(admins: &[Client], round: usize) {
    for (n, admin) in admins.iter().enumerate() {
        eventually("the database is used again", async || {
            (admin.get(CONTEXTS).await.status == 200).then_some(())
        })
        .await;
        creates(admin, &format!("after-{round}-{n}")).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_ends_or_crashes_and_comes_back_costs_no_warm_request() {
    let mut server = PostgresServer::start().await;
    let cluster = impatient().database_url(server.url()).start(2).await;
    let (admins, traffic) = warmed(&cluster).await;
    for (round, crash) in [false, true].into_iter().enumerate() {
        if crash {
            server.kill().await
        } else {
            server.stop().await
        }
        go_on(&traffic).await;
        for admin in &admins {
            refused_in_time(admin).await;
        }
        server.start_again().await;
        recovered(&admins, round).await;
        go_on(&traffic).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_server_is_given_up_in_time_and_used_again_once_it_goes_on() {
    let server = PostgresServer::start().await;
    let cluster = impatient().database_url(server.url()).start(2).await;
    let (admins, traffic) = warmed(&cluster).await;
    server.freeze();
    go_on(&traffic).await;
    for admin in &admins {
        refused_in_time(admin).await;
    }
    go_on(&traffic).await;
    server.thaw();
    recovered(&admins, 0).await;
    go_on(&traffic).await;
}
