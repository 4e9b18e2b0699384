use cryptoserve_tests::{ClusterBuilder, Program, RawConnection, StoreKind, eventually};
use serde_json::json;

use super::{connect, head, status, token};
use crate::support::{ENCRYPT, app, base64, builder};

#[tokio::test]
async fn bodies_beyond_the_memory_for_all_of_them_are_503_until_there_is_room() {
    let cluster = builder(StoreKind::Sqlite)
        .env("MAX_BODY_BYTES", "64KiB")
        .env("MAX_INFLIGHT_BYTES", "64KiB")
        .start(1)
        .await;
    let app = app(&cluster).await;
    let large = json!({ "context": "general", "plaintext": base64(vec![0; 40_000]) }).to_string();
    let small = json!({ "context": "general", "plaintext": base64(vec![0; 10_000]) });

    let framing = format!("Content-Length: {}\r\n", large.len());
    let token = token(&cluster).await;
    // All but the end: what has arrived takes room, for this or for the other, whichever comes first.
    let (most, end) = large.split_at(large.len() - 10);
    let hold = async || {
        let mut holder = connect(&cluster).await;
        holder.send(head(ENCRYPT, &token, &framing)).await;
        holder.send(most).await;
        let reply = app.post_json(ENCRYPT, &small).await;
        (reply.status != 200).then_some((holder, reply))
    };
    let room_again = async || (app.post_json(ENCRYPT, &small).await.status == 200).then_some(());
    let refused = eventually("no room for one while another has it", async || {
        let (mut holder, refused) = hold().await?;
        cluster.client(0).get("/health/live").await.expect(200);
        holder.send(end).await;
        // If not, both were refused: the room was still that of one before, whose end had not been seen yet.
        (status(&holder.read_reply().await) == "200").then_some(refused)
    });
    let refused = refused.await.expect_problem(503, "overloaded");
    assert_eq!(refused.header("retry-after"), Some("1"));
    eventually("room again", room_again).await;

    // One that is cut gives its room back too.
    let (holder, _) = eventually("no room", hold).await;
    drop(holder);
    eventually("room again", room_again).await;
}

#[tokio::test]
async fn connections_beyond_the_systems_files_are_503_until_there_is_room() {
    let program = Program::cryptoserve().open_files(130);
    let cluster = ClusterBuilder::new(program).start(1).await;
    let get = "GET /health HTTP/1.1\r\nHost: x\r\n\r\n";
    let mut held = Vec::new();
    let refused = loop {
        let mut connection = RawConnection::open(cluster.replicas()[0].address()).await;
        connection.send(get).await;
        let reply = connection.read_reply().await;
        if status(&reply) != "200" {
            break reply;
        }
        held.push(connection);
        assert!(held.len() < 130, "more connections than files");
    };
    assert_eq!(status(&refused), "503", "{refused}");
    let (head, body) = refused.split_once("\r\n\r\n").expect("a head");
    assert!(head.contains("Retry-After: 1") && head.contains("application/problem+json"), "{head}");
    let problem: serde_json::Value = serde_json::from_str(body).expect("JSON");
    assert_eq!(problem["code"], "overloaded");
    assert!(held.len() >= 20, "{} connections", held.len());
    // Those that have a place keep it.
    held[0].send(get).await;
    assert_eq!(status(&held[0].read_reply().await), "200");

    drop(held);
    let client = cluster.client(0);
    eventually("room again", async || client.try_get("/health").await.ok().filter(|r| r.status == 200)).await;
}
