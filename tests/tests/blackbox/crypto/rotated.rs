//! Rewrap and message authentication codes over several versions of a key.

use cryptoserve_tests::{Client, Cluster, StoreKind, TokenRequest, eventually};
use serde_json::{Value, json};

use super::stream::{self, DECRYPT_STREAM, complete, pattern};
use crate::support::{DECRYPT, admin, app, base64, encrypt_in, on_each_store, one, sealed, unbase64};

const REWRAP: &str = "/v1/crypto/rewrap";
const CONTEXT: &str = "backup-data";
const MAC: &str = "/v1/crypto/mac";
const VERIFY: &str = "/v1/crypto/mac/verify";

async fn rotate(admin: &Client) -> u64 {
    let reply = admin.post_json(&format!("/api/admin/contexts/{CONTEXT}/rotate-key"), &json!({})).await;
    reply.expect(200).json()["key_version"].as_u64().expect("a number")
}

async fn disable(admin: &Client, version: u32) {
    let path = format!("/api/admin/contexts/{CONTEXT}/keys/{version}");
    admin.put_json(&path, &json!({ "state": "disabled" })).await.expect(200);
}

/// The key version that a ciphertext names.
fn version_in(ciphertext: &[u8]) -> u32 {
    u32::from_be_bytes(*ciphertext[20..].first_chunk().expect("a prefix"))
}

async fn tag(client: &Client) -> String {
    client.post_json(MAC, &json!({ "data": base64("m"), "context": CONTEXT })).await.expect(200).text("hex")
}

fn to_verify(tag: &str, version: Option<u32>) -> Value {
    json!({ "data": base64("m"), "context": CONTEXT, "expected_tag": tag, "key_version": version })
}

/// `valid` and `key_version` of a verification.
async fn verified(client: &Client, tag: &str, version: Option<u32>) -> (bool, Option<u64>) {
    let reply = client.post_json(VERIFY, &to_verify(tag, version)).await.expect(200).json();
    (reply["valid"].as_bool().expect("an answer"), reply["key_version"].as_u64())
}

on_each_store! {
    async fn old_versions_come_to_the_newest(store) {
        let cluster = one(store).await;
        let (app, admin) = (app(&cluster).await, admin(&cluster).await);
        let old = encrypt_in(&app, CONTEXT, "one").await;
        let old_stream = stream::encrypt(&app, &pattern(40_000)).await;
        assert_eq!(rotate(&admin).await, 2);
        let between = encrypt_in(&app, CONTEXT, "two").await;
        assert_eq!(rotate(&admin).await, 3);
        let newest = encrypt_in(&app, CONTEXT, "three").await;
        assert_eq!([&old, &between, &newest].map(|ciphertext| version_in(ciphertext)), [1, 2, 3]);

        let single = app.post_json(REWRAP, &sealed(&old)).await.expect(200);
        assert_eq!(single.json()["key_version"], 3);
        let items: Vec<_> = [&old, &between, &newest, &old_stream]
            .into_iter()
            .enumerate()
            .map(|(n, ciphertext)| json!({ "id": n.to_string(), "ciphertext": base64(ciphertext) }))
            .collect();
        let batch = json!({ "context": CONTEXT, "items": items });
        let batch = app.post_json("/v1/crypto/batch/rewrap", &batch).await.expect(200).json();
        assert_eq!(batch["successful"], 4);
        let passed = app.post_bytes("/v1/crypto/rewrap/stream", old_stream.clone()).await.expect(200).body;
        assert_eq!(version_in(&passed), 3);

        // Nobody needs the old ones any more.
        disable(&admin, 1).await;
        disable(&admin, 2).await;
        app.post_json(REWRAP, &sealed(&old)).await.expect_problem(409, "key_version_disabled");
        app.post_bytes("/v1/crypto/rewrap/stream", old_stream).await.expect_problem(409, "key_version_disabled");
        let opened = app.post_json(DECRYPT, &sealed(unbase64(&single.text("ciphertext")))).await.expect(200);
        assert_eq!(unbase64(&opened.text("plaintext")), b"one");
        for (n, plaintext) in [&b"one"[..], b"two", b"three", &pattern(40_000)].into_iter().enumerate() {
            let result = &batch["results"][n];
            assert_eq!(result["key_version"], 3);
            let opened = app.post_json(DECRYPT, &json!({ "ciphertext": result["ciphertext"] })).await.expect(200);
            assert!(unbase64(&opened.text("plaintext")) == plaintext, "{n}");
        }
        assert!(complete(&app, DECRYPT_STREAM, &passed).await == Some(pattern(40_000)));
    }

    async fn a_tag_is_of_one_version(store) {
        let cluster = one(store).await;
        let (app, admin) = (app(&cluster).await, admin(&cluster).await);
        let first = tag(&app).await;
        rotate(&admin).await;
        let second = tag(&app).await;
        assert_ne!(first, second);
        for (tag, version, expected) in [
            (&first, None, (true, Some(1))),
            (&second, None, (true, Some(2))),
            (&first, Some(1), (true, Some(1))),
            (&first, Some(2), (false, None)),
            (&second, Some(1), (false, None)),
        ] {
            assert_eq!(verified(&app, tag, version).await, expected);
        }
        disable(&admin, 1).await;
        assert_eq!(verified(&app, &first, None).await, (false, None));
        assert_eq!(verified(&app, &second, None).await, (true, Some(2)));
        let refused = app.post_json(VERIFY, &to_verify(&first, Some(1))).await;
        refused.expect_problem(409, "key_version_disabled");
    }

    async fn the_sixteen_newest_usable_versions_are_tried(store) {
        let cluster = one(store).await;
        let (app, admin) = (app(&cluster).await, admin(&cluster).await);
        let first = tag(&app).await;
        rotate(&admin).await;
        let second = tag(&app).await;
        for version in 3..=17 {
            assert_eq!(rotate(&admin).await, version);
        }
        assert_eq!(verified(&app, &second, None).await, (true, Some(2)));
        assert_eq!(verified(&app, &first, None).await, (false, None));
        assert_eq!(verified(&app, &first, Some(1)).await, (true, Some(1)));
        // One that may not be used is not one of the sixteen.
        disable(&admin, 5).await;
        assert_eq!(verified(&app, &first, None).await, (true, Some(1)));
    }
}

/// Until it has heard of the rotation, up to a second, a replica still encrypts with the version before; what the new
/// one made counts there at once all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation_on_one_replica_misleads_none() {
    let cluster = Cluster::builder().store(StoreKind::Postgres).start(2).await;
    let token = cluster.token(&TokenRequest::identity("app")).await;
    let [one, other] = [0, 1].map(|index| cluster.client(index).with_token(&token));
    let admin = admin(&cluster).await;
    for version in 2..=6 {
        tag(&other).await;
        rotate(&admin).await;
        let (tag, ciphertext) = (tag(&one).await, encrypt_in(&one, CONTEXT, "m").await);
        assert_eq!(verified(&other, &tag, None).await, (true, Some(version)));
        let rewrapped = other.post_json(REWRAP, &sealed(&ciphertext)).await.expect(200);
        assert_eq!(rewrapped.json()["key_version"], version);
        let batch =
            json!({ "context": CONTEXT, "items": [{ "id": "a", "ciphertext": base64(&ciphertext) }] });
        let rewrapped = other.post_json("/api/v1/crypto/batch/rewrap", &batch).await.expect(200).json();
        assert_eq!(rewrapped["results"][0]["key_version"], version, "{rewrapped}");
        eventually("the other replica's new version", async || {
            let reply = other.post_json(MAC, &json!({ "data": "", "context": CONTEXT })).await.expect(200);
            (reply.json()["key_version"] == version).then_some(())
        })
        .await;
    }
}
