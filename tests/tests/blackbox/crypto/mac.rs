use cryptoserve_tests::{Cluster, Reply, StoreKind};
use serde_json::{Value, json};

use crate::support::{admin, app, base64, on_each_store, one, service, unbase64, with_scopes};

const MAC: &str = "/v1/crypto/mac";
const VERIFY: &str = "/api/v1/crypto/mac/verify";
const GENERATE: &str = "/v1/crypto/mac/generate-key";

fn with(body: &Value, name: &str, value: impl Into<Value>) -> Value {
    let mut body = body.clone();
    body[name] = value.into();
    body
}

fn tag_in(reply: &Reply) -> String {
    let json = reply.json();
    let hexadecimal = json["hex"].as_str().expect("a tag").to_owned();
    assert_eq!(json["tag"], base64(hex::decode(&hexadecimal).expect("hexadecimal")));
    assert_eq!(json["length_bits"], hexadecimal.len() * 4);
    hexadecimal
}

on_each_store! {
    /// RFC 4231, test case 1.
    async fn tags_with_the_callers_key_are_those_of_the_standard(store) {
        let cluster = one(store).await;
        let app = app(&cluster).await;
        for (algorithm, expected) in [
            ("hmac-sha256", "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"),
            ("hmac-sha384", "afd03944d84895626b0825f4ab46907f15f9dadbe4101ec682aa034c7cebc59cfaea9ea9076ede7f4af152e8b2fa9cb6"),
            ("hmac-sha512", "87aa7cdea5ef619d4ff0b4241a1d6cb02379f4e2ce4ec2787ad0b30545e17cdedaa833b7d6b8a702038b274eaea3f4e4be9d914eeb61f1702e696c203a126854"),
        ] {
            let body = json!({ "data": base64("Hi There"), "key": base64([0x0b; 20]), "algorithm": algorithm });
            let reply = app.post_json(MAC, &with(&body, "algorithm", algorithm.to_uppercase())).await.expect(200);
            assert_eq!((tag_in(&reply).as_str(), reply.text("algorithm").as_str()), (expected, algorithm));
            assert_eq!(reply.json().get("key_version"), None);
            for (written, valid) in [
                (expected.to_owned(), true),
                (base64(hex::decode(expected).expect("hexadecimal")), true),
                (format!("00{}", &expected[2..]), false),
                // A truncated tag is none.
                (expected[..32].to_owned(), false),
                (String::new(), false),
            ] {
                let reply = app.post_json(VERIFY, &with(&body, "expected_tag", written)).await.expect(200);
                assert_eq!(reply.json(), json!({ "valid": valid, "algorithm": algorithm }));
            }
            let other_key = with(&with(&body, "key", base64([0x0c; 20])), "expected_tag", expected);
            assert_eq!(app.post_json(VERIFY, &other_key).await.expect(200).json()["valid"], false);
            let other_data = with(&with(&body, "data", base64("hi there")), "expected_tag", expected);
            assert_eq!(app.post_json(VERIFY, &other_data).await.expect(200).json()["valid"], false);
        }
    }

    async fn a_contexts_key_makes_tags_that_it_alone_verifies(store) {
        let cluster = one(store).await;
        let app = app(&cluster).await;
        let mut seen = Vec::new();
        for algorithm in ["hmac-sha256", "hmac-sha384", "hmac-sha512"] {
            let body = json!({ "data": base64("row 17"), "context": "user-pii", "algorithm": algorithm });
            let reply = app.post_json(MAC, &body).await.expect(200);
            let tag = tag_in(&reply);
            assert_eq!(reply.json()["key_version"], 1);
            assert_eq!(tag_in(&app.post_json(MAC, &body).await.expect(200)), tag, "the same every time");
            let elsewhere = app.post_json(MAC, &with(&body, "context", "general")).await.expect(200);
            seen.extend([tag[..32].to_owned(), tag_in(&elsewhere)[..32].to_owned()]);

            let verify = with(&body, "expected_tag", tag);
            for verify in [verify.clone(), with(&verify, "key_version", 1)] {
                let reply = app.post_json(VERIFY, &verify).await.expect(200);
                assert_eq!(reply.json(), json!({ "valid": true, "algorithm": algorithm, "key_version": 1 }));
                for (field, value) in [("data", base64("row 18")), ("context", "general".to_owned())] {
                    let reply = app.post_json(VERIFY, &with(&verify, field, value)).await.expect(200);
                    assert_eq!(reply.json(), json!({ "valid": false, "algorithm": algorithm }));
                }
            }
            for version in [0, 2, u32::MAX] {
                let reply = app.post_json(VERIFY, &with(&verify, "key_version", version)).await;
                reply.expect_problem(404, "key_version_not_found");
            }
        }
        let tags = seen.len();
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), tags, "each context and algorithm has a key of its own");
    }

    async fn generated_keys_are_as_long_as_the_tag(store) {
        let cluster = one(store).await;
        let app = app(&cluster).await;
        for (algorithm, bits) in [("hmac-sha256", 256), ("hmac-sha384", 384), ("HMAC-SHA512", 512)] {
            let body = json!({ "algorithm": algorithm });
            let reply = app.post_json(GENERATE, &body).await.expect(200);
            assert_eq!(reply.json()["length_bits"], bits);
            assert_eq!(reply.text("algorithm"), algorithm.to_lowercase());
            assert_eq!(unbase64(&reply.text("key")).len() * 8, bits);
            assert_ne!(app.post_json(GENERATE, &body).await.expect(200).text("key"), reply.text("key"));
            let body = json!({ "data": "", "key": reply.text("key"), "algorithm": algorithm });
            app.post_json(MAC, &body).await.expect(200);
        }
        assert_eq!(app.post_json(GENERATE, &json!({})).await.expect(200).text("algorithm"), "hmac-sha256");
    }

    async fn what_is_wrong_is_said(store) {
        let cluster = one(store).await;
        let app = app(&cluster).await;
        let good = json!({ "data": base64("x"), "key": base64([1; 16]), "expected_tag": "00" });
        app.post_json(VERIFY, &good).await.expect(200);
        let short = app.post_json(VERIFY, &with(&good, "key", base64([1; 15]))).await;
        let short = short.expect_problem(400, "invalid_request");
        assert!(short.text("detail").contains("at least 16 bytes"), "{}", short.text("detail"));
        for (field, value, status, code) in [
            ("algorithm", json!("kmac128"), 422, "unknown_algorithm"),
            ("algorithm", json!("sha256"), 422, "unknown_algorithm"),
            ("key", json!("AQ"), 400, "invalid_base64"),
            ("key", Value::Null, 400, "invalid_request"),
            ("data", json!("*"), 400, "invalid_base64"),
            ("context", json!("user-pii"), 400, "invalid_request"),
            ("key_version", json!(1), 400, "invalid_request"),
            ("key_version", json!(-1), 400, "invalid_request"),
            ("expected_tag", json!("xyz"), 400, "invalid_request"),
            ("keyversion", json!(1), 400, "invalid_request"),
        ] {
            app.post_json(VERIFY, &with(&good, field, value)).await.expect_problem(status, code);
        }
        app.post_json(MAC, &good).await.expect_problem(400, "invalid_request");
        app.post_json(MAC, &json!({ "data": "" })).await.expect_problem(400, "invalid_request");
        app.post_json(GENERATE, &json!({ "algorithm": "x" })).await.expect_problem(422, "unknown_algorithm");
    }

    async fn only_the_callers_contexts_and_scopes(store) {
        let cluster = one(store).await;
        let in_context = |name: &str| json!({ "data": "", "context": name });
        let verify = |name: &str| with(&in_context(name), "expected_tag", "00");
        let billing = service(&cluster, "billing", ["payment-data"]).await;
        for (path, foreign, unknown) in [
            (MAC, in_context("user-pii"), in_context("nowhere")),
            (VERIFY, verify("user-pii"), verify("nowhere")),
        ] {
            billing.post_json(path, &foreign).await.expect_problem(403, "context_forbidden");
            billing.post_json(path, &unknown).await.expect_problem(403, "context_forbidden");
            app(&cluster).await.post_json(path, &unknown).await.expect_problem(404, "context_not_found");
        }
        let stranger = with_scopes(&cluster, "stranger", &["encrypt", "hash", "sign"]).await;
        for path in [MAC, VERIFY, GENERATE] {
            stranger.post_json(path, &in_context("general")).await.expect_problem(403, "scope_missing");
        }
        let (admin, app) = (admin(&cluster).await, app(&cluster).await);
        admin.delete("/api/admin/contexts/user-pii").await.expect(200);
        app.post_json(MAC, &in_context("user-pii")).await.expect_problem(404, "context_not_found");
        app.post_json(VERIFY, &verify("user-pii")).await.expect_problem(404, "context_not_found");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_verify_each_others_tags() {
    let cluster = Cluster::builder().store(StoreKind::Postgres).start(2).await;
    let token = cluster.token(&cryptoserve_tests::TokenRequest::identity("app")).await;
    let [one, other] = [0, 1].map(|index| cluster.client(index).with_token(&token));
    let body = json!({ "data": base64("shared"), "context": "general" });
    let tag = tag_in(&one.post_json(MAC, &body).await.expect(200));
    let reply = other.post_json(VERIFY, &with(&body, "expected_tag", tag)).await.expect(200);
    assert_eq!(reply.json()["valid"], true);
}
