use serde_json::json;

use crate::support::{app, on_each_store, one, unbase64, with_scopes};

const RANDOM: &str = "/api/v1/crypto/random";

on_each_store! {
    async fn as_many_bytes_as_asked_for_and_never_the_same(store) {
        let cluster = one(store).await;
        let app = app(&cluster).await;
        for bytes in [1, 32, 65_536] {
            let reply = app.post_json(RANDOM, &json!({ "bytes": bytes })).await.expect(200);
            assert_eq!(reply.json()["length_bits"], bytes * 8);
            assert_eq!(unbase64(&reply.text("random_bytes")).len(), bytes);
        }
        let mut seen = Vec::new();
        for _ in 0..20 {
            seen.push(app.post_json(RANDOM, &json!({ "bytes": 16 })).await.expect(200).text("random_bytes"));
        }
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), 20);
    }

    async fn nothing_and_too_much_are_refused(store) {
        let cluster = one(store).await;
        let app = app(&cluster).await;
        for bytes in [json!(0), json!(65_537), json!(u64::MAX), json!(-1), json!(1.5), json!("32"), json!(null)] {
            app.post_json(RANDOM, &json!({ "bytes": bytes })).await.expect_problem(400, "invalid_request");
        }
        app.post_json(RANDOM, &json!({})).await.expect_problem(400, "invalid_request");
        let stranger = with_scopes(&cluster, "stranger", &["datakey"]).await;
        stranger.post_json(RANDOM, &json!({ "bytes": 16 })).await.expect_problem(403, "scope_missing");
    }
}
