//! Messages of the algorithms with short nonces.

use cryptoserve_tests::{Client, StoreKind, Tables, eventually};
use serde_json::{Value, json};

use super::{audited, create, is_version, opening, states, version_of, versions};
use crate::support::{admin, app, base64, builder, encrypt_in, on_each_store, one, unbase64};

const HALF: u64 = 1 << 31;
const ALL: u64 = 1 << 32;

/// The context `counted`, whose messages are.
async fn counted(admin: &Client) {
    create(admin, "counted", json!({ "algorithm": "AES-256-GCM" })).await;
}

async fn set_reserved(tables: &Tables, version: u64, messages: u64) {
    let counted = is_version("counted", version);
    let sql = format!("UPDATE key_versions SET messages_reserved = {messages} WHERE {counted}");
    assert_eq!(tables.change(&sql).await, 1);
}

/// Encrypts `count` messages at once; the codes of those that failed, and the ciphertexts of the others.
async fn encrypt_many(app: &Client, count: usize) -> Result<Vec<Vec<u8>>, String> {
    let items: Vec<_> =
        (0..count).map(|n| json!({ "id": n.to_string(), "plaintext": base64("x") })).collect();
    let body = json!({ "context": "counted", "items": items });
    let reply = app.post_json("/api/v1/crypto/batch/encrypt", &body).await;
    if reply.status != 200 {
        return Err(reply.expect_problem(409, "key_exhausted").text("detail"));
    }
    let ciphertext = |result: &Value| unbase64(result["ciphertext"].as_str().expect("a ciphertext"));
    Ok(reply.json()["results"].as_array().expect("a list").iter().map(ciphertext).collect())
}

async fn reserved(admin: &Client) -> u64 {
    versions(admin, "counted").await[0]["messages_reserved"].as_u64().expect("a number")
}

on_each_store! {
    async fn messages_are_reserved_before_they_are_encrypted(store) {
        let cluster = one(store).await;
        let (admin, app) = (admin(&cluster).await, app(&cluster).await);
        counted(&admin).await;
        assert_eq!(reserved(&admin).await, 0);
        encrypt_in(&app, "counted", "x").await;
        assert_eq!(reserved(&admin).await, 256);
        encrypt_many(&app, 255).await.expect("encrypted");
        assert_eq!(reserved(&admin).await, 256, "of the first block");
        encrypt_many(&app, 1000).await.expect("encrypted");
        assert!(reserved(&admin).await >= 1256, "a batch costs what it holds");

        // Nonces of 192 bits need no count.
        create(&admin, "long", json!({})).await;
        encrypt_in(&app, "long", "x").await;
        assert_eq!(versions(&admin, "long").await[0]["messages_reserved"], 0);
    }

    async fn a_key_is_rotated_after_half_of_what_it_may_encrypt(store) {
        let cluster = one(store).await;
        let (admin, app) = (admin(&cluster).await, app(&cluster).await);
        counted(&admin).await;
        let first = encrypt_in(&app, "counted", "x").await;
        let tables = cluster.tables().await;
        set_reserved(&tables, 1, HALF - 256).await;
        // Nothing fails, before, while and after the key is rotated.
        let mut rotated = Vec::new();
        eventually("a new version", async || {
            rotated = encrypt_many(&app, 300).await.expect("encrypted");
            (version_of(&rotated[0]) == 2).then_some(())
        })
        .await;
        for ciphertext in [&first, &rotated[0], &rotated[299]] {
            assert_eq!(opening(&app, ciphertext).await, "-");
        }
        assert_eq!(states(&admin, "counted").await, [(2, "enabled".to_owned()), (1, "decrypt_only".to_owned())]);
        assert!(reserved(&admin).await < 10_000, "the new version has a count of its own");
        drop(cluster.stop().await.1);
    }

    async fn a_key_encrypts_no_more_than_it_may_and_is_then_replaced(store) {
        let cluster = one(store).await;
        let (admin, app) = (admin(&cluster).await, app(&cluster).await);
        counted(&admin).await;
        let first = encrypt_in(&app, "counted", "x").await;
        let tables = cluster.tables().await;
        // If the upkeep comes between, the key is rotated before anything is refused.
        let refused = eventually("a refusal", async || {
            let newest = states(&admin, "counted").await[0].0;
            set_reserved(&tables, newest, ALL - 100).await;
            encrypt_many(&app, 1000).await.err()
        })
        .await;
        assert!(refused.contains("rotate"), "{refused}");
        eventually("a new version", async || encrypt_many(&app, 1000).await.ok()).await;
        assert_eq!(opening(&app, &first).await, "-");
        let counts = "SELECT count(*) FROM key_versions WHERE messages_reserved > 4294967296";
        assert_eq!(tables.number(counts).await, 0);
        let (_, cluster) = cluster.stop().await;
        let audited = audited(&tables, "counted", "keys.rotate").await;
        assert!(audited[0].starts_with("2 success as due"), "{audited:?}");
        drop(cluster);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_share_one_count_and_one_of_them_rotates() {
    let cluster = builder(StoreKind::Postgres).start(3).await;
    let admin = admin(&cluster).await;
    counted(&admin).await;
    let apps = super::apps(&cluster).await;
    for (app, expected) in apps.iter().zip([256, 512, 768]) {
        encrypt_in(app, "counted", "x").await;
        assert_eq!(reserved(&admin).await, expected);
    }
    let tables = cluster.tables().await;
    set_reserved(&tables, 1, HALF - 256).await;
    for app in &apps {
        eventually("a new version", async || {
            let ciphertexts = encrypt_many(app, 300).await.expect("encrypted");
            (version_of(&ciphertexts[0]) == 2).then_some(())
        })
        .await;
    }
    let (_, _cluster) = cluster.stop().await;
    assert_eq!(audited(&tables, "counted", "keys.rotate").await.len(), 1);
    assert_eq!(tables.number("SELECT max(version) FROM key_versions").await, 2);
}
