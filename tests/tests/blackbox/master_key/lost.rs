use cryptoserve_tests::{StoreKind, TokenRequest, eventually};
use serde_json::json;

use super::{fresh, other_fingerprint, patient, rewrap, with_keys};
use crate::support::{DECRYPT, ENCRYPT, base64, encrypt, encrypt_in, sealed, unbase64};

/// A replica that was not heard of for long, and comes back after a change that it missed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_comes_back_without_the_key_is_unready_and_answers_nothing_wrong() {
    let mut cluster = patient(StoreKind::Postgres).start(2).await;
    let (old, new) = (cluster.secrets().master_key.clone(), fresh());
    let token = cluster.token(&TokenRequest::identity("app")).await;
    let admin = cluster.token(&TokenRequest::admin()).await;
    let both = with_keys(cluster.program(), &old, &new);
    let to = other_fingerprint(&both).await;
    let replica = cluster.replica_mut(0);
    replica.process().terminate();
    replica.ended().await;
    replica.start_again_with(|program| with_keys(program, &old, &new)).await;
    let [well, lost] = [0, 1].map(|n| cluster.client(n).with_token(&token));
    let lost_admin = cluster.client(1).with_token(&admin);
    let before = encrypt(&lost, "before").await;
    lost_admin.get("/api/admin/contexts").await.expect(200);

    cluster.replicas()[1].process().pause();
    let database = cluster.database().connect().await;
    let silent = "UPDATE replicas SET seen_at = seen_at - interval '1 hour' WHERE instance = 'replica-1'";
    assert_eq!(database.execute(silent, &[]).await.expect("made silent"), 1);
    let done = rewrap(&both, &to).await;
    assert!(done.status.success(), "{done:?}");
    let cold = json!({ "name": "cold" });
    cluster.client(0).with_token(&admin).post_json("/api/admin/contexts", &cold).await.expect(201);
    let made_since = encrypt_in(&well, "cold", "since").await;
    cluster.replicas()[1].process().resume();

    let line = cluster.replicas()[1].log().find("the key that it lacks", |line| line.0.contains(&to)).await;
    assert_eq!(line.field("level").as_deref(), Some("error"), "{line:?}");
    eventually("it is unready", async || {
        let reply = cluster.client(1).get("/health/ready").await;
        (reply.status == 503 && reply.text("reason").contains("master key")).then_some(())
    })
    .await;
    // What it holds it still does right; what it would have to unwrap it refuses.
    let after = encrypt(&lost, "after").await;
    for (ciphertext, plaintext) in [(&before, "before"), (&after, "after")] {
        for client in [&well, &lost] {
            let reply = client.post_json(DECRYPT, &sealed(ciphertext)).await.expect(200);
            assert_eq!(unbase64(&reply.text("plaintext")), plaintext.as_bytes());
        }
    }
    lost.post_json(DECRYPT, &sealed(&made_since)).await.expect_problem(500, "internal");
    let body = json!({ "context": "cold", "plaintext": base64("x") });
    lost.post_json(ENCRYPT, &body).await.expect_problem(500, "internal");
    for (path, body) in [
        ("/api/admin/contexts", json!({ "name": "late" })),
        ("/api/admin/contexts/general/rotate-key", json!({})),
    ] {
        lost_admin.post_json(path, &body).await.expect_problem(500, "internal");
    }
    let under_old = "SELECT count(*) FROM wrapped_keys w, deployment d WHERE w.kek_id <> d.active_kek";
    let under_old: i64 = database.query_one(under_old, &[]).await.expect("a count").get(0);
    assert_eq!(under_old, 0, "it made nothing under the old key");

    // As soon as it is seen again, nothing more is done that would take keys away from it.
    eventually("it is refused because of the replica", async || {
        let done = rewrap(&both, &to).await;
        (done.status.code() == Some(1) && done.stderr.contains("replica-1")).then_some(())
    })
    .await;
    // Started again with the new key it is well.
    let replica = cluster.replica_mut(1);
    replica.process().terminate();
    replica.ended().await;
    replica.start_again_with(|program| with_keys(program, &new, &old)).await;
    lost.post_json(DECRYPT, &sealed(&made_since)).await.expect(200);
}
