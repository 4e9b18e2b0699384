use serde_json::{Value, json};

use super::{ALGORITHMS, FORMATS, KEYS, SIGN, VERIFY, ed25519, generate, is_valid, text};
use crate::other_side::ask_all;
use crate::support::{app, base64, on_each_store, one};

const MESSAGES: [&str; 3] = ["", "a message", "with a canary that no key has ever seen, Ünïcode\0"];

on_each_store! {
    /// Each signature verifies here and with another implementation, which takes the key in each of its forms.
    async fn every_algorithm_signs_in_every_format(store) {
        let cluster = one(store).await;
        let app = app(&cluster).await;
        let mut questions = Vec::new();
        for algorithm in ALGORITHMS {
            let key = generate(&app, algorithm, "user-pii").await;
            assert_eq!((&key["algorithm"], &key["context"]), (&json!(algorithm), &json!("user-pii")));
            let key_id = text(&key, "key_id");
            let public = app.get(&format!("{KEYS}/{key_id}/public")).await.expect(200).json();
            assert_eq!(public, key, "what is told of a key stays so");
            for message in MESSAGES {
                for format in FORMATS {
                    let body = json!({ "message": base64(message), "key_id": key_id, "output_format": format });
                    let signed = app.post_json(SIGN, &body).await.expect(200).json();
                    assert_eq!((&signed["algorithm"], &signed["key_id"]), (&json!(algorithm), &json!(key_id)));
                    assert_eq!(signed["format"], format);
                    let mut body = json!({
                        "message": base64(message), "key_id": key_id, "signature": signed["signature"], "format": format,
                        "context": "user-pii",
                    });
                    let verified = app.post_json(VERIFY, &body).await.expect(200).json();
                    assert_eq!((&verified["valid"], &verified["key_id"]), (&json!(true), &json!(key_id)));
                    assert_eq!(verified["algorithm"], algorithm);
                    assert!(verified["message"].is_string(), "{verified}");
                    body["message"] = json!(base64(format!("{message}.")));
                    assert!(!is_valid(&app, &body).await, "{algorithm} {format}: another message");
                    let mut question = key.clone();
                    question["do"] = json!("verify");
                    question["message"] = json!(base64(message));
                    question["signature"] = signed["signature"].clone();
                    question["format"] = json!(format);
                    questions.push(question);
                }
            }
        }
        let answers = ask_all(&questions).await;
        assert_eq!(answers.len(), ALGORITHMS.len() * MESSAGES.len() * FORMATS.len());
        for (question, answer) in questions.iter().zip(answers) {
            assert_eq!(answer, json!(true), "{question}");
        }
        // That the other side can say no.
        questions.truncate(1);
        questions[0]["message"] = json!(base64("another"));
        assert_eq!(ask_all(&questions).await, [json!(false)]);
    }

    /// What another implementation signed, verified with the key that it presents.
    async fn signatures_from_elsewhere_verify_with_the_key_that_is_presented(store) {
        let cluster = one(store).await;
        let app = app(&cluster).await;
        let questions: Vec<Value> = ALGORITHMS
            .iter()
            .map(|algorithm| json!({ "do": "sign", "algorithm": algorithm, "message": base64("from elsewhere") }))
            .collect();
        let signed = ask_all(&questions).await;
        for (algorithm, signed) in ALGORITHMS.iter().zip(&signed) {
            let pem = text(signed, "pem");
            // As PEM, as either client of the Python service sends it, and in DER.
            for public_key in [pem.clone(), base64(&pem), text(signed, "der")] {
                let mut body = json!({
                    "message": base64("from elsewhere"), "signature": signed["signature"], "key_id": "",
                    "public_key": public_key,
                });
                let verified = app.post_json(VERIFY, &body).await.expect(200).json();
                assert_eq!(
                    (&verified["valid"], &verified["algorithm"], &verified["key_id"]),
                    (&json!(true), &json!(algorithm), &json!("")),
                );
                body["message"] = json!(base64("another"));
                assert!(!is_valid(&app, &body).await);
            }
        }
        // A key of another signature.
        let body = json!({
            "message": base64("from elsewhere"), "signature": signed[0]["signature"], "public_key": signed[1]["pem"],
        });
        assert!(!is_valid(&app, &body).await);
    }

    async fn names_are_read_in_any_case_and_defaults_are_those_of_the_clients(store) {
        let cluster = one(store).await;
        let app = app(&cluster).await;
        for (sent, meant) in [
            ("ed25519", "Ed25519"), ("EdDSA", "Ed25519"), ("es256", "ECDSA-P256"), ("ECDSA-p384", "ECDSA-P384"),
            ("rsa", "RSA-PSS-3072"), ("ml-dsa-65", "ML-DSA-65"),
        ] {
            assert_eq!(generate(&app, sent, "general").await["algorithm"], meant);
        }
        let key_id = ed25519(&app).await;
        let body = json!({ "message": "", "key_id": key_id.to_uppercase(), "output_format": "JWS" });
        let signed = app.post_json(SIGN, &body).await.expect(200).json();
        assert_eq!((&signed["format"], &signed["key_id"]), (&json!("jws"), &json!(key_id)));
        // The form of a JWS says what it is.
        let body = json!({ "message": "", "key_id": key_id, "signature": signed["signature"] });
        assert!(is_valid(&app, &body).await);
        let signed = app.post_json(SIGN, &json!({ "message": "", "key_id": key_id })).await.expect(200).json();
        assert_eq!(signed["format"], "base64");
    }
}
