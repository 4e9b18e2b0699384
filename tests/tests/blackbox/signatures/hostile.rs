//! What is sent in bad faith, or by mistake.

use aws_lc_rs::hmac;
use serde_json::{Value, json};

use super::{
    ALGORITHMS, FORMATS, GENERATE, KEYS, SIGN, VERIFY, ed25519, generate, is_valid, sign, text, to_verify,
};
use crate::support::{
    DECRYPT, ENCRYPT, admin, app, base64, encrypt_in, on_each_store, one, sealed, unbase64,
};

const UNKNOWN: &str = "00000000-0000-4000-8000-000000000000";

fn base64url(bytes: impl AsRef<[u8]>) -> String {
    base64_simd::URL_SAFE_NO_PAD.encode_to_string(bytes)
}

on_each_store! {
    /// In any format, whatever is altered: an answer, and never another than no.
    async fn altered_signatures_are_not_valid(store) {
        let cluster = one(store).await;
        let app = app(&cluster).await;
        for algorithm in ALGORITHMS {
            let key_id = text(&generate(&app, algorithm, "general").await, "key_id");
            let other = text(&generate(&app, algorithm, "general").await, "key_id");
            for format in FORMATS {
                let body = json!({ "message": base64("message"), "key_id": key_id, "output_format": format });
                let signature = app.post_json(SIGN, &body).await.expect(200).text("signature");
                let verify = |signature: String| json!({
                    "message": base64("message"), "key_id": key_id, "signature": signature, "format": format,
                });
                assert!(is_valid(&app, &verify(signature.clone())).await);
                let mut by_other = verify(signature.clone());
                by_other["key_id"] = json!(other);
                assert!(!is_valid(&app, &by_other).await, "{algorithm} {format}: another key");
                if format == "jws" {
                    continue;
                }
                let bytes = unbase64(&signature);
                for place in [0, 1, bytes.len() / 2, bytes.len() - 1] {
                    let mut altered = bytes.clone();
                    altered[place] ^= 1;
                    assert!(!is_valid(&app, &verify(base64(altered))).await, "{algorithm} {format}: byte {place}");
                }
                for length in [0, 1, bytes.len() / 2, bytes.len() - 1] {
                    assert!(!is_valid(&app, &verify(base64(&bytes[..length]))).await, "{algorithm} {format}: {length}");
                }
                for more in [1, 64, 100_000] {
                    let longer = [&bytes[..], &vec![0; more]].concat();
                    assert!(!is_valid(&app, &verify(base64(longer))).await, "{algorithm} {format}: + {more}");
                }
                assert!(!is_valid(&app, &verify(base64(vec![0; bytes.len()]))).await);
                assert!(!is_valid(&app, &verify(base64(vec![0xff; bytes.len()]))).await);
            }
            // One form is not taken for the other.
            if algorithm.starts_with("ECDSA") {
                let body = json!({ "message": "", "key_id": key_id, "output_format": "der" });
                let der = app.post_json(SIGN, &body).await.expect(200).text("signature");
                let body = json!({ "message": "", "key_id": key_id, "signature": der, "format": "raw" });
                assert!(!is_valid(&app, &body).await);
            }
        }
    }

    /// The header of a JWS chooses neither algorithm nor key.
    async fn the_header_of_a_jws_decides_nothing(store) {
        let cluster = one(store).await;
        let app = app(&cluster).await;
        for algorithm in ALGORITHMS {
            let key = generate(&app, algorithm, "general").await;
            let key_id = text(&key, "key_id");
            let body = json!({ "message": base64("message"), "key_id": key_id, "output_format": "jws" });
            let jws = app.post_json(SIGN, &body).await.expect(200).text("signature");
            let verify = |jws: String| json!({
                "message": base64("message"), "key_id": key_id, "signature": jws, "format": "jws",
            });
            assert!(is_valid(&app, &verify(jws.clone())).await);
            let parts: Vec<_> = jws.split('.').collect();
            let [header, payload, signature] = parts[..] else { panic!("three parts: {jws}") };

            // No signature, or one by the public key as if it were a secret.
            for alg in ["none", "None", "NONE", "HS256", ""] {
                let header = base64url(json!({ "alg": alg, "kid": key_id }).to_string());
                let signed = format!("{header}.{payload}");
                for secret in [text(&key, "public_key_pem").into_bytes(), unbase64(&text(&key, "public_key_raw"))] {
                    let secret = hmac::Key::new(hmac::HMAC_SHA256, &secret);
                    let tag = hmac::sign(&secret, signed.as_bytes());
                    assert!(!is_valid(&app, &verify(format!("{signed}.{}", base64url(tag)))).await, "{algorithm} {alg}");
                }
                assert!(!is_valid(&app, &verify(format!("{signed}."))).await, "{algorithm} {alg}");
                assert!(!is_valid(&app, &verify(format!("{signed}.{signature}"))).await, "{algorithm} {alg}");
            }
            // Of every other algorithm there is.
            let all = ["EdDSA", "ES256", "ES384", "PS256", "RS256", "ML-DSA-65", "ML-DSA-87"];
            for alg in all.into_iter().filter(|alg| key["public_key_jwk"]["alg"] != *alg) {
                let header = base64url(json!({ "alg": alg, "kid": key_id }).to_string());
                assert!(!is_valid(&app, &verify(format!("{header}.{payload}.{signature}"))).await, "{algorithm} {alg}");
            }
            // Another message within, or without.
            let other = base64url("another");
            assert!(!is_valid(&app, &verify(format!("{header}.{other}.{signature}"))).await);
            let mut body = verify(jws.clone());
            body["message"] = json!(base64("another"));
            assert!(!is_valid(&app, &body).await);
            // A key in the header is no key.
            let jwk = json!({ "alg": key["public_key_jwk"]["alg"], "jwk": key["public_key_jwk"] }).to_string();
            assert!(!is_valid(&app, &verify(format!("{}.{payload}.{signature}", base64url(jwk)))).await);

            let critical = json!({ "alg": key["public_key_jwk"]["alg"], "crit": ["b64"], "b64": false }).to_string();
            let twice = format!(r#"{{"alg":"none","alg":{}}}"#, key["public_key_jwk"]["alg"]);
            let padded = format!("{header}=.{payload}.{signature}");
            for malformed in [
                "".to_owned(), ".".to_owned(), "..".to_owned(), "...".to_owned(), header.to_owned(),
                format!("{header}.{payload}"), format!("{jws}."), format!("{jws}.{signature}"), format!(".{jws}"), padded,
                format!("{}.{payload}.{signature}", base64url(critical)), format!("{}.{payload}.{signature}", base64url(twice)),
                format!("{}.{payload}.{signature}", base64url("[]")), format!("{}.{payload}.{signature}", base64url("{}")),
                format!("{header}.{payload}.{signature}\n"), format!(" {jws}"),
            ] {
                let refused = app.post_json(VERIFY, &verify(malformed.clone())).await;
                assert_eq!(refused.status, 400, "{algorithm} {malformed:?}: {refused:?}");
                refused.expect_problem(400, "invalid_request");
            }
        }
    }

    async fn what_is_malformed_is_refused(store) {
        let cluster = one(store).await;
        let app = app(&cluster).await;
        let key_id = ed25519(&app).await;
        let signature = sign(&app, &key_id, "m").await;
        for algorithm in ["", "none", "HS256", "RS256", "ES512", "Ed448", "Ed25519 ", "ML-DSA-44", "rot13"] {
            let body = json!({ "algorithm": algorithm, "context": "general" });
            app.post_json(GENERATE, &body).await.expect_problem(422, "unknown_algorithm");
        }
        for context in ["", "none", "Not A Name", "general\0", "*"] {
            let body = json!({ "algorithm": "Ed25519", "context": context });
            app.post_json(GENERATE, &body).await.expect_problem(404, "context_not_found");
        }
        for body in [
            json!({}), json!({ "algorithm": "Ed25519" }), json!({ "context": "general" }), json!([]), json!(null),
            json!({ "algorithm": 1, "context": "general" }), json!({ "algorithm": "Ed25519", "context": null }),
            json!({ "algorithm": "Ed25519", "context": "general", "key_id": UNKNOWN }),
        ] {
            app.post_json(GENERATE, &body).await.expect_problem(400, "invalid_request");
        }
        let with = |change: Value| {
            let mut body = json!({ "message": "", "key_id": key_id });
            body.as_object_mut().expect("an object").extend(change.as_object().expect("an object").clone());
            body
        };
        for (change, code) in [
            (json!({ "message": "a" }), "invalid_base64"),
            (json!({ "message": "aGVsbG8" }), "invalid_base64"),
            (json!({ "message": "aGVs bG8=" }), "invalid_base64"),
            (json!({ "message": null }), "invalid_request"),
            (json!({ "output_format": "pem" }), "invalid_request"),
            (json!({ "output_format": "" }), "invalid_request"),
            (json!({ "format": "raw" }), "invalid_request"),
            (json!({ "algorithm": "Ed25519" }), "invalid_request"),
            (json!({ "context": "user-pii" }), "context_mismatch"),
            (json!({ "context": "" }), "context_mismatch"),
        ] {
            app.post_json(SIGN, &with(change)).await.expect_problem(400, code);
        }
        for (change, code) in [
            (json!({ "signature": "a" }), "invalid_base64"),
            (json!({ "signature": "%%%%" }), "invalid_base64"),
            (json!({ "signature": signature, "message": "a" }), "invalid_base64"),
            (json!({ "signature": signature, "format": "pkcs7" }), "invalid_request"),
            (json!({ "signature": signature, "context": "user-pii" }), "context_mismatch"),
            (json!({}), "invalid_request"),
            (json!({ "signature": 1 }), "invalid_request"),
            (json!({ "signature": signature, "key_id": "" }), "invalid_request"),
            (json!({ "signature": signature, "key_id": null }), "invalid_request"),
            (json!({ "signature": signature, "key_id": "", "public_key": "" }), "invalid_request"),
            (json!({ "signature": signature, "key_id": "", "public_key": "nonsense" }), "invalid_public_key"),
            (json!({ "signature": signature, "key_id": "", "public_key": base64("nonsense") }), "invalid_public_key"),
            (json!({ "signature": signature, "key_id": "", "public_key": base64([7; 32]) }), "invalid_public_key"),
        ] {
            app.post_json(VERIFY, &with(change.clone())).await.expect_problem(400, code);
        }
        for id in [UNKNOWN, "", "my-key-id", "%00", "..", "a/b", &key_id[1..], &format!("{{{key_id}}}")] {
            let body = json!({ "message": "", "key_id": id });
            app.post_json(SIGN, &body).await.expect_problem(404, "signing_key_not_found");
            if !id.is_empty() {
                let body = to_verify(id, "m", &signature);
                app.post_json(VERIFY, &body).await.expect_problem(404, "signing_key_not_found");
            }
        }
        for id in [UNKNOWN, "my-key-id", "%00", "%ff"] {
            app.get(&format!("{KEYS}/{id}/public")).await.expect_problem(404, "signing_key_not_found");
            app.delete(&format!("{KEYS}/{id}")).await.expect_problem(404, "signing_key_not_found");
            let restore = format!("{KEYS}/{id}/restore");
            app.post_json(&restore, &json!({})).await.expect_problem(404, "signing_key_not_found");
        }
        for query in ["waiting_days=0", "waiting_days=366", "waiting_days=-1", "waiting_days=x", "days=7"] {
            let refused = app.delete(&format!("{KEYS}/{key_id}?{query}")).await;
            refused.expect_problem(400, "invalid_request");
        }
        assert!(is_valid(&app, &to_verify(&key_id, "m", &signature)).await, "nothing of this changed the key");
    }

    /// With a key id the stored key alone counts, whatever key is presented.
    async fn a_presented_key_does_not_take_the_place_of_the_stored_one(store) {
        let cluster = one(store).await;
        let app = app(&cluster).await;
        let mine = generate(&app, "Ed25519", "general").await;
        let theirs = ed25519(&app).await;
        let forged = sign(&app, &text(&mine, "key_id"), "transfer").await;
        for presented in [text(&mine, "public_key_pem"), base64(text(&mine, "public_key_pem")), "nonsense".to_owned()] {
            let mut body = to_verify(&theirs, "transfer", &forged);
            body["public_key"] = json!(presented);
            assert!(!is_valid(&app, &body).await);
        }
    }

    /// Keys for one purpose do not exist for the other.
    async fn a_signing_key_decrypts_nothing_and_a_context_key_signs_nothing(store) {
        let cluster = one(store).await;
        let (app, admin) = (app(&cluster).await, admin(&cluster).await);
        let key_id = ed25519(&app).await;
        let ciphertext = encrypt_in(&app, "general", "secret").await;
        let mut forged = ciphertext.clone();
        forged[4..20].copy_from_slice(&hex::decode(key_id.replace('-', "")).expect("a UUID"));
        let refused = app.post_json(DECRYPT, &sealed(&forged)).await.expect_problem(400, "invalid_ciphertext");
        // As any key that does not exist.
        forged[4..20].copy_from_slice(&[7; 16]);
        let unknown = app.post_json(DECRYPT, &sealed(&forged)).await.expect_problem(400, "invalid_ciphertext");
        assert_eq!(refused.text("detail"), unknown.text("detail"));

        let body = json!({ "context": "general", "plaintext": "" });
        let context_key = app.post_json(ENCRYPT, &body).await.expect(200).text("key_id");
        let path = "/api/admin/contexts/general/transport-key";
        let transport_key = admin.post_json(path, &json!({})).await.expect(201).text("transport_key_id");
        for id in [context_key, transport_key] {
            app.post_json(SIGN, &json!({ "message": "", "key_id": id })).await.expect_problem(404, "signing_key_not_found");
            app.post_json(VERIFY, &to_verify(&id, "", "")).await.expect_problem(404, "signing_key_not_found");
            app.get(&format!("{KEYS}/{id}/public")).await.expect_problem(404, "signing_key_not_found");
            app.delete(&format!("{KEYS}/{id}")).await.expect_problem(404, "signing_key_not_found");
        }
        app.post_json(DECRYPT, &sealed(&ciphertext)).await.expect(200);
    }
}
