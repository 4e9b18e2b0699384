//! How often versions were used.

use cryptoserve_tests::{Client, StoreKind};
use serde_json::{Value, json};

use super::{apps, create, opening, rotate, versions};
use crate::support::{
    DECRYPT, admin, app, base64, builder, encrypt_in, on_each_store, one, restart, unbase64,
};

async fn counts(admin: &Client, context: &str) -> Vec<(Option<u64>, Option<u64>)> {
    let of = |version: &Value| (version["encrypts"].as_u64(), version["decrypts"].as_u64());
    versions(admin, context).await.iter().map(of).collect()
}

on_each_store! {
    async fn what_is_done_with_each_version_is_counted(store) {
        let mut cluster = one(store).await;
        let (admin, app) = (admin(&cluster).await, app(&cluster).await);
        create(&admin, "a", json!({})).await;
        create(&admin, "unused", json!({})).await;
        let ciphertext = encrypt_in(&app, "a", "x").await;
        rotate(&admin, "a").await;
        encrypt_in(&app, "a", "x").await;
        let items: Vec<_> = (0..10).map(|n| json!({ "id": n.to_string(), "plaintext": base64("x") })).collect();
        let sealed = app
            .post_json("/api/v1/crypto/batch/encrypt", &json!({ "context": "a", "items": items }))
            .await
            .expect(200)
            .json();
        let sealed: Vec<_> = sealed["results"].as_array().expect("a list").iter()
            .map(|result| json!({ "id": result["id"], "ciphertext": result["ciphertext"] })).collect();
        let batch = json!({ "context": "a", "items": sealed });
        app.post_json("/api/v1/crypto/batch/decrypt", &batch).await.expect(200);
        let stream = app.post_bytes("/api/v1/crypto/encrypt/stream?context=a", vec![7; 100_000]).await.expect(200).body;
        app.post_bytes("/api/v1/crypto/decrypt/stream", stream).await.expect(200);
        for _ in 0..3 {
            assert_eq!(opening(&app, &ciphertext).await, "-");
        }
        // What fails is no use of the key.
        let mut altered = ciphertext.clone();
        *altered.last_mut().expect("not empty") ^= 1;
        assert_eq!(opening(&app, &altered).await, "authentication_failed");
        let mismatch = json!({ "ciphertext": base64(&ciphertext), "context": "general" });
        app.post_json(DECRYPT, &mismatch).await.expect_problem(400, "context_mismatch");
        assert_eq!(unbase64(sealed[0]["ciphertext"].as_str().expect("text"))[23], 2);

        // Written down at the end, whatever the time.
        restart(&mut cluster, 0).await;
        let expected = [(Some(12), Some(11)), (Some(1), Some(3))];
        assert_eq!(counts(&admin, "a").await, expected);
        assert_eq!(counts(&admin, "unused").await, [(Some(0), Some(0))]);
        for version in versions(&admin, "a").await {
            assert!(version["last_decrypt_at"].as_str() > version["created_at"].as_str(), "{version}");
        }
        assert_eq!(versions(&admin, "unused").await[0]["last_decrypt_at"], Value::Null);

        // A second run adds to the first.
        assert_eq!(opening(&app, &ciphertext).await, "-");
        restart(&mut cluster, 0).await;
        assert_eq!(counts(&admin, "a").await, [(Some(12), Some(11)), (Some(1), Some(4))]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_uses_on_three_replicas_add_up() {
    let mut cluster = builder(StoreKind::Postgres).start(3).await;
    let admin = admin(&cluster).await;
    create(&admin, "a", json!({})).await;
    let apps = apps(&cluster).await;
    let ciphertext = encrypt_in(&apps[0], "a", "x").await;
    let opening_all = async || {
        for (n, app) in apps.iter().enumerate() {
            for _ in 0..10 * (n + 1) {
                assert_eq!(opening(app, &ciphertext).await, "-");
            }
            for _ in 0..n {
                encrypt_in(app, "a", "x").await;
            }
        }
    };
    opening_all().await;
    // What changes in between drops the keys from memory, and no count.
    rotate(&admin, "a").await;
    super::opening_becomes(&apps, &ciphertext, "-").await;
    for replica in 0..3 {
        restart(&mut cluster, replica).await;
    }
    assert_eq!(counts(&admin, "a").await, [(Some(0), Some(0)), (Some(1 + 3), Some(60 + 3))]);
}
