//! A replica's life, with the benchmarks' bare server in the place of the service: it tells its address the same way.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::time::Duration;

use cryptoserve_tests::{Program, RawConnection, Replica};

fn bare_server() -> Program {
    Program::at(Path::new(env!("CARGO_BIN_EXE_bench"))).arg("baseline")
}

#[tokio::test]
async fn starts_on_a_port_of_its_own_and_serves() {
    let program = bare_server();
    let (one, other) = tokio::join!(Replica::start(&program), Replica::start(&program));
    assert_ne!(one.address(), other.address());
    for replica in [&one, &other] {
        let reply = replica.client().get("/health/live").await.expect(200);
        assert_eq!(reply.text("status"), "alive");
    }
    one.client().get("/nowhere").await.expect(404);
}

#[tokio::test]
async fn a_frozen_replica_accepts_and_answers_only_when_resumed() {
    let replica = Replica::start(&bare_server()).await;
    replica.process().pause();
    let hurried = replica.client().with_limit(Duration::from_millis(300));
    hurried.try_get("/health/live").await.expect_err("an answer from a frozen process");
    replica.process().resume();
    replica.client().get("/health/live").await.expect(200);
}

#[tokio::test]
async fn signals_end_it_and_a_drop_leaves_nothing() {
    let mut replica = Replica::start(&bare_server()).await;
    replica.process().kill();
    assert_eq!(replica.ended().await.signal(), Some(9));

    let mut replica = Replica::start(&bare_server()).await;
    replica.process().terminate();
    assert_eq!(replica.ended().await.signal(), Some(15));

    let replica = Replica::start(&bare_server()).await;
    replica.process().pause();
    let proc = format!("/proc/{}", replica.process().id());
    assert!(Path::new(&proc).exists());
    drop(replica);
    assert!(!Path::new(&proc).exists());
}

#[tokio::test]
async fn a_replica_starts_again_at_the_same_address() {
    let mut replica = Replica::start(&bare_server()).await;
    let (address, id) = (replica.address(), replica.process().id());
    replica.process().kill();
    replica.ended().await;
    replica.start_again().await;
    assert_eq!(replica.address(), address);
    assert_ne!(replica.process().id(), id);
    replica.client().get("/health/live").await.expect(200);
}

#[tokio::test]
#[should_panic(expected = "no log line with message \"listening\"")]
async fn a_server_that_ends_before_it_listens_is_reported_at_once() {
    Replica::start(&Program::at(Path::new("/bin/false"))).await;
}

#[tokio::test]
async fn a_program_runs_to_its_end_with_its_own_environment_alone() {
    let shell =
        Program::at(Path::new("/bin/sh")).arg("-c").arg("echo \"$MINE $HOME\"; echo complaint >&2; exit 64");
    let done = shell.env("MINE", "yes").run().await;
    assert_eq!(
        (done.status.code(), done.stdout.as_str(), done.stderr.as_str()),
        (Some(64), "yes ", "complaint")
    );
}

#[tokio::test]
async fn raw_bytes_are_sent_as_they_are() {
    let replica = Replica::start(&bare_server()).await;
    let reply = RawConnection::exchange(replica.address(), "GET / HTTP/9.9\r\n\r\n").await;
    assert!(reply.starts_with("HTTP/1.1 400"), "{reply:?}");

    let mut connection = RawConnection::open(replica.address()).await;
    connection.send("GET /health/live HTTP/1.1\r\nHost: x\r\n").await;
    connection.send("\r\n").await;
    assert!(connection.read_head().await.starts_with("HTTP/1.1 200"));
}
