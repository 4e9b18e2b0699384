use serde_json::{Value, json};

use crate::support::{app, base64, encrypt_in, on_each_store, one, service, unbase64};

const ENCRYPT: &str = "/api/v1/crypto/batch/encrypt";
const DECRYPT: &str = "/api/v1/crypto/batch/decrypt";

fn plaintexts(count: usize) -> Value {
    let item = |n: usize| json!({ "id": n.to_string(), "plaintext": base64(format!("message {n}")) });
    json!({ "context": "user-pii", "items": (0..count).map(item).collect::<Vec<_>>() })
}

on_each_store! {
    async fn a_thousand_items_go_there_and_back(store) {
        let cluster = one(store).await;
        let app = app(&cluster).await;
        let sealed = app.post_json(ENCRYPT, &plaintexts(1000)).await.expect(200).json();
        assert_eq!((&sealed["total"], &sealed["successful"], &sealed["failed"]), (&json!(1000), &json!(1000), &json!(0)));
        let items: Vec<_> = sealed["results"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|result| json!({ "id": result["id"], "ciphertext": result["ciphertext"] }))
            .collect();
        let opened = app.post_json(DECRYPT, &json!({ "context": "user-pii", "items": items })).await;
        let opened = opened.expect(200).json();
        assert_eq!(opened["successful"], 1000);
        for (n, result) in opened["results"].as_array().into_iter().flatten().enumerate() {
            assert_eq!(result["id"], n.to_string());
            assert_eq!(result["success"], true);
            let plaintext = unbase64(result["plaintext"].as_str().unwrap_or_default());
            assert_eq!(plaintext, format!("message {n}").as_bytes());
        }
    }

    async fn items_fail_one_by_one(store) {
        let cluster = one(store).await;
        let app = app(&cluster).await;
        let good = encrypt_in(&app, "user-pii", "x").await;
        let mut altered = good.clone();
        *altered.last_mut().expect("not empty") ^= 1;
        let foreign = encrypt_in(&app, "general", "x").await;
        let item = |id: &str, ciphertext: String| json!({ "id": id, "ciphertext": ciphertext });
        let mut body = json!({ "context": "user-pii", "items": [
            item("good", base64(&good)),
            item("altered", base64(&altered)),
            item("foreign", base64(&foreign)),
            item("base64", "*".to_owned()),
            item("short", base64("CS")),
            item("again", base64(&good)),
        ]});
        let codes = |reply: &Value| -> Vec<String> {
            let of = |result: &Value| result["error"]["code"].as_str().unwrap_or("-").to_owned();
            reply["results"].as_array().into_iter().flatten().map(of).collect()
        };
        let reply = app.post_json(DECRYPT, &body).await.expect(200).json();
        assert_eq!(codes(&reply), [
            "-", "authentication_failed", "context_mismatch", "invalid_base64", "invalid_ciphertext", "-",
        ]);
        assert_eq!((&reply["total"], &reply["successful"], &reply["failed"]), (&json!(6), &json!(2), &json!(4)));

        body["fail_fast"] = true.into();
        let reply = app.post_json(DECRYPT, &body).await.expect(200).json();
        let skipped = "not_attempted";
        assert_eq!(codes(&reply), ["-", "authentication_failed", skipped, skipped, skipped, skipped]);
        assert_eq!(reply["failed"], 5);
    }

    async fn a_batch_has_1_to_1000_items(store) {
        let cluster = one(store).await;
        let app = app(&cluster).await;
        for count in [0, 1001] {
            app.post_json(ENCRYPT, &plaintexts(count)).await.expect_problem(422, "batch_size");
        }
        let mut body = plaintexts(1);
        body["context"] = "nowhere".into();
        app.post_json(ENCRYPT, &body).await.expect_problem(404, "context_not_found");
    }

    async fn a_batch_may_use_only_the_callers_contexts(store) {
        let cluster = one(store).await;
        let other = service(&cluster, "billing", ["payment-data"]).await;
        other.post_json(ENCRYPT, &plaintexts(1)).await.expect_problem(403, "context_forbidden");
    }
}
