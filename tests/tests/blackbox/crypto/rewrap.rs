use cryptoserve_tests::StoreKind;
use serde_json::{Value, json};

use super::stream::{self, DECRYPT_STREAM, complete, complete_chunked, damaged, pattern};
use crate::support::{
    DECRYPT, admin, app, base64, builder, encrypt, encrypt_in, on_each_store, one, sealed, service, unbase64,
    with_scopes,
};

const REWRAP: &str = "/api/v1/crypto/rewrap";
const BATCH: &str = "/v1/crypto/batch/rewrap";
const STREAM: &str = "/api/v1/crypto/rewrap/stream";

on_each_store! {
    async fn a_message_comes_under_the_algorithm_that_its_context_has_now(store) {
        let cluster = one(store).await;
        let (app, admin) = (app(&cluster).await, admin(&cluster).await);
        let body = json!({ "context": "user-pii", "plaintext": base64("m"), "associated_data": base64("row 17") });
        let old = app.post_json("/v1/crypto/encrypt", &body).await.expect(200);
        admin.put_json("/api/admin/contexts/user-pii", &json!({ "algorithm": "AES-256-GCM" })).await.expect(200);

        let body = json!({
            "ciphertext": old.text("ciphertext"),
            "context": "user-pii",
            "associated_data": base64("row 17"),
        });
        let new = app.post_json(REWRAP, &body).await.expect(200).json();
        assert_eq!(
            [&new["algorithm"], &new["key_version"], &new["warnings"]],
            [&json!({ "name": "AES-256-GCM", "mode": "gcm", "key_bits": 256 }), &json!(1), &json!([])]
        );
        assert_eq!(new["key_id"], old.json()["key_id"]);
        assert_eq!(new.get("plaintext"), None);
        assert_eq!(unbase64(new["ciphertext"].as_str().expect("a ciphertext"))[3], 2);
        for ciphertext in [&new["ciphertext"], &old.json()["ciphertext"]] {
            let body = json!({ "ciphertext": ciphertext, "associated_data": base64("row 17") });
            let opened = app.post_json(DECRYPT, &body).await.expect(200);
            assert_eq!(unbase64(&opened.text("plaintext")), b"m");
            let without = json!({ "ciphertext": ciphertext });
            app.post_json(REWRAP, &without).await.expect_problem(400, "authentication_failed");
        }
        // Once more is no harm, and never the same.
        let again = app.post_json(REWRAP, &body).await.expect(200);
        assert_ne!(again.json()["ciphertext"], new["ciphertext"]);
    }

    async fn what_was_a_stream_stays_one(store) {
        let cluster = one(store).await;
        let app = app(&cluster).await;
        for length in [0, 40_000, 1_000_000] {
            let old = stream::encrypt(&app, &pattern(length)).await;
            let single = app.post_json(REWRAP, &sealed(&old)).await.expect(200);
            assert_eq!(single.json()["algorithm"]["name"], "AES-256-GCM");
            let item = json!({ "id": "1", "ciphertext": base64(&old) });
            let batch = app.post_json(BATCH, &json!({ "context": "backup-data", "items": [item] })).await;
            let batch = batch.expect(200).json();
            let batched = batch["results"][0]["ciphertext"].as_str().expect("a ciphertext");
            for new in [unbase64(&single.text("ciphertext")), unbase64(batched)] {
                assert_eq!(new.len(), old.len());
                assert_ne!(new[24..48], old[24..48], "another salt");
                assert!(complete(&app, DECRYPT_STREAM, &new).await == Some(pattern(length)));
            }
        }
    }

    async fn the_scope_rewrap_is_enough_and_opens_nothing(store) {
        let cluster = one(store).await;
        let everything = app(&cluster).await;
        let old = encrypt(&everything, "secret").await;
        let old_stream = stream::encrypt(&everything, b"secret").await;
        let worker = with_scopes(&cluster, "worker", &["rewrap"]).await;
        worker.post_json(REWRAP, &sealed(&old)).await.expect(200);
        worker.post_bytes(STREAM, old_stream.clone()).await.expect(200);
        worker.post_json(DECRYPT, &sealed(&old)).await.expect_problem(403, "scope_missing");

        let stranger = with_scopes(&cluster, "stranger", &["encrypt", "decrypt"]).await;
        stranger.post_json(REWRAP, &sealed(&old)).await.expect_problem(403, "scope_missing");
        stranger.post_json(BATCH, &json!({})).await.expect_problem(403, "scope_missing");
        stranger.post_bytes(STREAM, old_stream.clone()).await.expect_problem(403, "scope_missing");

        let billing = service(&cluster, "billing", ["payment-data"]).await;
        billing.post_json(REWRAP, &sealed(&old)).await.expect_problem(403, "context_forbidden");
        billing.post_bytes(STREAM, old_stream.clone()).await.expect_problem(403, "context_forbidden");
        let batch = json!({ "context": "user-pii", "items": [{ "id": "1", "ciphertext": base64(&old) }] });
        billing.post_json(BATCH, &batch).await.expect_problem(403, "context_forbidden");
    }

    async fn no_byte_of_a_ciphertext_can_be_edited(store) {
        let cluster = one(store).await;
        let app = app(&cluster).await;
        let ciphertext = encrypt(&app, "secret").await;
        for position in 0..ciphertext.len() {
            let mut edited = ciphertext.clone();
            edited[position] ^= 0x80;
            let expected = if position < 24 { "invalid_ciphertext" } else { "authentication_failed" };
            app.post_json(REWRAP, &sealed(edited)).await.expect_problem(400, expected);
            let cut = &ciphertext[..position];
            assert_eq!(app.post_json(REWRAP, &sealed(cut)).await.status, 400, "cut to {position}");
        }
    }

    async fn what_is_wrong_is_said(store) {
        let cluster = builder(store).env("MAX_BODY_BYTES", "2000").start(1).await;
        let (app, admin) = (app(&cluster).await, admin(&cluster).await);
        let ciphertext = encrypt(&app, "secret").await;
        let mut unknown_version = ciphertext.clone();
        unknown_version[23] = 2;
        app.post_json(REWRAP, &sealed(unknown_version)).await.expect_problem(400, "invalid_ciphertext");
        let with = |field: &str, value: &str| {
            let mut body = sealed(&ciphertext);
            body[field] = value.into();
            body
        };
        for (body, code) in [
            (with("context", "general"), "context_mismatch"),
            (with("associated_data", "*"), "invalid_base64"),
            (with("associated_data", &base64("x")), "authentication_failed"),
            (with("ciphertext", "*"), "invalid_base64"),
            (with("ciphertext", ""), "invalid_ciphertext"),
            (with("algorithm_override", "AES-256-GCM"), "invalid_request"),
            (json!({}), "invalid_request"),
        ] {
            app.post_json(REWRAP, &body).await.expect_problem(400, code);
        }
        app.post_json(REWRAP, &sealed([7; 2000])).await.expect_problem(413, "body_too_large");
        admin.delete("/api/admin/contexts/user-pii").await.expect(200);
        app.post_json(REWRAP, &sealed(&ciphertext)).await.expect_problem(400, "invalid_ciphertext");
    }

    /// Another deployment's ciphertexts name keys that do not exist here.
    async fn a_ciphertext_from_elsewhere_is_none(store) {
        let (here, elsewhere) = (one(store).await, one(store).await);
        let (here, elsewhere) = (app(&here).await, (app(&elsewhere).await, elsewhere));
        let foreign = encrypt(&elsewhere.0, "secret").await;
        here.post_json(REWRAP, &sealed(foreign)).await.expect_problem(400, "invalid_ciphertext");
        let foreign = stream::encrypt(&elsewhere.0, b"secret").await;
        here.post_bytes(STREAM, foreign).await.expect_problem(400, "invalid_ciphertext");
    }

    async fn items_of_a_batch_fail_one_by_one(store) {
        let cluster = one(store).await;
        let app = app(&cluster).await;
        let good = encrypt(&app, "x").await;
        let mut altered = good.clone();
        *altered.last_mut().expect("not empty") ^= 1;
        let foreign = encrypt_in(&app, "general", "x").await;
        let item = |id: &str, ciphertext: &[u8]| json!({ "id": id, "ciphertext": base64(ciphertext) });
        let mut body = json!({ "context": "user-pii", "items": [
            item("good", &good), item("altered", &altered), item("foreign", &foreign), item("short", b"CS"), item("again", &good),
        ] });
        let codes = |reply: &Value| -> Vec<String> {
            let of = |result: &Value| result["error"]["code"].as_str().unwrap_or("-").to_owned();
            reply["results"].as_array().into_iter().flatten().map(of).collect()
        };
        let reply = app.post_json(BATCH, &body).await.expect(200).json();
        assert_eq!(codes(&reply), ["-", "authentication_failed", "context_mismatch", "invalid_ciphertext", "-"]);
        assert_eq!((&reply["total"], &reply["successful"], &reply["failed"]), (&json!(5), &json!(2), &json!(3)));
        for index in [0, 4] {
            let result = &reply["results"][index];
            assert_eq!((result.get("plaintext"), &result["key_version"]), (None, &json!(1)));
            let opened = app.post_json(DECRYPT, &json!({ "ciphertext": result["ciphertext"] })).await;
            assert_eq!(unbase64(&opened.expect(200).text("plaintext")), b"x");
        }
        body["fail_fast"] = true.into();
        let reply = app.post_json(BATCH, &body).await.expect(200).json();
        assert_eq!(codes(&reply)[2..], ["not_attempted"; 3]);

        body["algorithm_override"] = "AES-256-GCM".into();
        app.post_json(BATCH, &body).await.expect_problem(400, "invalid_request");
        let none = json!({ "context": "user-pii", "items": [] });
        app.post_json(BATCH, &none).await.expect_problem(422, "batch_size");
    }

    async fn streams_of_every_length(store) {
        let cluster = one(store).await;
        let app = app(&cluster).await.with_header("x-associated-data", &base64("volume 3"));
        for length in [0, 1, 16_383, 16_384, 16_385, 3_000_000] {
            let old = stream::encrypt(&app, &pattern(length)).await;
            let reply = app.post_bytes(STREAM, old.clone()).await.expect(200);
            assert_eq!(reply.header("content-length"), Some(old.len().to_string().as_str()));
            assert!(reply.body != old);
            let chunked = complete_chunked(&app, STREAM, &old).await.expect("a whole stream");
            for new in [&reply.body[..], &chunked] {
                assert!(complete(&app, DECRYPT_STREAM, new).await == Some(pattern(length)), "{length}");
            }
        }
    }

    async fn a_cut_or_altered_stream_never_ends_as_success(store) {
        let cluster = one(store).await;
        let app = app(&cluster).await;
        let old = stream::encrypt(&app, &pattern(5 * 16 * 1024 + 100)).await;
        for (what, altered) in damaged(&old) {
            assert!(complete(&app, STREAM, &altered).await.is_none(), "{what}");
            assert!(complete_chunked(&app, STREAM, &altered).await.is_none(), "{what}, chunked");
        }
        let other = app.clone().with_header("x-associated-data", &base64("other"));
        other.post_bytes(STREAM, old.clone()).await.expect_problem(400, "authentication_failed");
        let named = format!("{STREAM}?context=general");
        app.post_bytes(&named, old.clone()).await.expect_problem(400, "context_mismatch");
        let message = encrypt(&app, "no stream").await;
        app.post_bytes(STREAM, message).await.expect_problem(400, "invalid_ciphertext");
        assert!(complete(&app, STREAM, &old).await.is_some(), "the server is none the worse for it");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_rewrapped_is_recorded() {
    let mut cluster = one(StoreKind::Postgres).await;
    let app = app(&cluster).await;
    let (message, long) = (encrypt(&app, "secret").await, stream::encrypt(&app, &pattern(40_000)).await);
    app.post_json(REWRAP, &sealed(&message)).await.expect(200);
    app.post_bytes(STREAM, long).await.expect(200);
    let items = json!([{ "id": "1", "ciphertext": base64(&message) }, { "id": "2", "ciphertext": "" }]);
    app.post_json(BATCH, &json!({ "context": "user-pii", "items": items })).await.expect(200);
    cluster.replicas()[0].process().terminate();
    assert!(cluster.replica_mut(0).ended().await.success());
    let database = cluster.database().connect().await;
    let query = "SELECT row_to_json(audit_records)::text FROM audit_records WHERE operation LIKE '%rewrap'";
    let rows = database.query(query, &[]).await.expect("the audit trail");
    let mut records: Vec<Value> =
        rows.iter().map(|row| serde_json::from_str(row.get(0)).expect("JSON")).collect();
    records.sort_by_key(|record| record["operation"].to_string());
    let seen: Vec<_> = records
        .iter()
        .map(|record| {
            ["operation", "context", "key_version", "items", "failed", "bytes", "detail"]
                .map(|name| &record[name])
        })
        .collect();
    let from = json!("from version 1");
    assert_eq!(
        seen,
        [
            [
                &json!("batch.rewrap"),
                &json!("user-pii"),
                &json!(1),
                &json!(2),
                &json!(1),
                &json!(6),
                &Value::Null
            ],
            [&json!("rewrap"), &json!("user-pii"), &json!(1), &json!(1), &json!(0), &json!(6), &from],
            [
                &json!("stream.rewrap"),
                &json!("backup-data"),
                &json!(1),
                &json!(1),
                &json!(0),
                &json!(40_000),
                &from
            ],
        ]
    );
}
