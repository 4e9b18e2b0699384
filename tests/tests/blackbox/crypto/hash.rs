use cryptoserve_tests::Reply;
use serde_json::{Value, json};

use crate::support::{app, base64, builder, on_each_store, one, with_scopes};

const HASH: &str = "/api/v1/crypto/hash";
const VERIFY: &str = "/v1/crypto/hash/verify";

/// Digests of "hello", by Python's `hashlib`.
const KNOWN: [(&str, &str); 11] = [
    ("sha256", "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"),
    (
        "sha384",
        "59e1748777448c69de6b800d7a33bbfb9ff1b463e44354c3553bcdb9c666fa90125a3c79f90397bdf5f6a13de828684f",
    ),
    (
        "sha512",
        "9b71d224bd62f3785d96d46ad3ea3d73319bfbc2890caadae2dff72519673ca72323c3d99ba5c11d\
         7c7acc6e14b8c5da0c4663475c2e5c3adef46f73bcdec043",
    ),
    ("sha512-256", "e30d87cfa2a75db545eac4d61baf970366a8357c7f72fa95b52d0accb698f13a"),
    ("sha3-256", "3338be694f50c5f338814986cdf0686453a888b84f424d792af4b9202398f392"),
    (
        "sha3-384",
        "720aea11019ef06440fbf05d87aa24680a2153df3907b23631e7177ce620fa1330ff07c0fddee54699a4c3ee0ee9d887",
    ),
    (
        "sha3-512",
        "75d527c368f2efe848ecf6b073a36767800805e9eef2b1857d5f984f036eb6df891d75f72d9b1545\
         18c1cd58835286d1da9a38deba3de98b5a53e5ed78a84976",
    ),
    ("shake128", "8eb4b6a932f280335ee1a279f8c208a349e7bc65daf831d3021c213825292463"),
    (
        "shake256",
        "1234075ae4a1e77316cf2d8000974581a343b9ebbca7e3d1db83394c30f221626f594e4f0de63902\
         349a5ea5781213215813919f92a4d86d127466e3d07e8be3",
    ),
    (
        "blake2b",
        "e4cfa39a3d37be31c59609e807970799caa68a19bfaa15135f165085e01d41a65ba1e1b146aeb6bd\
         0092b49eac214c103ccfa3a365954bbbe52f74a2b3620c94",
    ),
    ("blake2s", "19213bacc58dee6dbde3ceb9a47cbb330b3d86f8cca8997eb00be456f140ca25"),
];

fn digest_in(reply: &Reply) -> String {
    let json = reply.json();
    let hexadecimal = json["hex"].as_str().expect("a digest").to_owned();
    assert_eq!(json["digest"], base64(hex::decode(&hexadecimal).expect("hexadecimal")));
    assert_eq!(json["length_bits"], hexadecimal.len() * 4);
    hexadecimal
}

on_each_store! {
    async fn digests_are_those_of_another_implementation(store) {
        let cluster = one(store).await;
        let app = app(&cluster).await;
        for (algorithm, expected) in KNOWN {
            for spelling in [algorithm.to_owned(), algorithm.to_uppercase()] {
                let body = json!({ "data": base64("hello"), "algorithm": spelling });
                let reply = app.post_json(HASH, &body).await.expect(200);
                assert_eq!((digest_in(&reply).as_str(), reply.text("algorithm").as_str()), (expected, algorithm));
            }
            for (written, valid) in [
                (expected.to_owned(), true),
                (expected.to_uppercase(), true),
                (base64(hex::decode(expected).expect("hexadecimal")), true),
                (format!("00{}", &expected[2..]), false),
                (expected[2..].to_owned(), false),
                (String::new(), false),
            ] {
                let body = json!({ "data": base64("hello"), "algorithm": algorithm, "expected_digest": written });
                let reply = app.post_json(VERIFY, &body).await.expect(200);
                assert_eq!(reply.json(), json!({ "valid": valid, "algorithm": algorithm }), "{written}");
            }
        }
        let reply = app.post_json(HASH, &json!({ "data": base64("hello") })).await.expect(200);
        assert_eq!(digest_in(&reply), KNOWN[0].1);
        let large = base64(vec![b'a'; 1_000_000]);
        let reply = app.post_json(HASH, &json!({ "data": large, "algorithm": "sha256" })).await.expect(200);
        assert_eq!(digest_in(&reply), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    }

    async fn what_is_wrong_is_said(store) {
        let cluster = one(store).await;
        let app = app(&cluster).await;
        let expect = async |path: &str, body: Value, status, code| {
            app.post_json(path, &body).await.expect_problem(status, code)
        };
        for algorithm in ["md5", "blake3", "", "sha256 ", "HMAC-SHA256"] {
            let body = json!({ "data": "", "algorithm": algorithm });
            let refused = expect(HASH, body, 422, "unknown_algorithm").await;
            assert!(refused.text("detail").contains("sha512-256, sha3-256"), "{}", refused.text("detail"));
            let body = json!({ "data": "", "expected_digest": "", "algorithm": algorithm });
            expect(VERIFY, body, 422, "unknown_algorithm").await;
        }
        expect(HASH, json!({ "data": "aGVsbG8" }), 400, "invalid_base64").await;
        expect(HASH, json!({ "data": 7 }), 400, "invalid_request").await;
        expect(HASH, json!({}), 400, "invalid_request").await;
        expect(HASH, json!({ "data": "", "algoritm": "sha256" }), 400, "invalid_request").await;
        expect(VERIFY, json!({ "data": "" }), 400, "invalid_request").await;
        expect(VERIFY, json!({ "data": "", "expected_digest": "!" }), 400, "invalid_request").await;
    }

    async fn the_scope_and_the_limits_hold(store) {
        let cluster = builder(store).default_limits().env("MAX_BODY_BYTES", "2000").start(1).await;
        let stranger = with_scopes(&cluster, "stranger", &["encrypt", "mac"]).await;
        for path in [HASH, VERIFY] {
            stranger.post_json(path, &json!({ "data": "" })).await.expect_problem(403, "scope_missing");
        }
        let hasher = with_scopes(&cluster, "hasher", &["hash"]).await;
        let large = json!({ "data": base64(vec![7; 2000]) });
        hasher.post_json(HASH, &large).await.expect_problem(413, "body_too_large");
        for remaining in (0..19).rev() {
            let reply = hasher.post_json(HASH, &json!({ "data": "" })).await.expect(200);
            assert_eq!(reply.header("x-ratelimit-remaining"), Some(remaining.to_string().as_str()));
        }
        hasher.post_json(VERIFY, &json!({ "data": "" })).await.expect_problem(429, "rate_limited");
    }
}
