use cryptoserve_tests::Client;
use serde_json::json;

use crate::support::{DECRYPT, app, base64, encrypt, encrypt_in, on_each_store, one, sealed, service};

/// Bytes of a ciphertext that say which key and algorithm it needs.
const PREFIX: usize = 24;

async fn refused(app: &Client, ciphertext: &[u8], what: &str) -> String {
    let reply = app.post_json(DECRYPT, &sealed(ciphertext)).await;
    assert_eq!(reply.status, 400, "{what}: {reply:?}");
    reply.text("code")
}

on_each_store! {
    /// Defect of the former service: tampered data answered 500.
    async fn no_byte_of_a_ciphertext_can_be_edited(store) {
        let cluster = one(store).await;
        let app = app(&cluster).await;
        let ciphertext = encrypt(&app, "secret").await;
        for position in 0..ciphertext.len() {
            for mask in [0x01, 0x80, 0xff] {
                let mut edited = ciphertext.clone();
                edited[position] ^= mask;
                let code = refused(&app, &edited, &format!("byte {position} ^ {mask:#x}")).await;
                let expected: &[&str] = match position {
                    // Magic, format, algorithm: not a ciphertext, or one that does not open.
                    0..4 => &["invalid_ciphertext", "authentication_failed"],
                    // Key id and version: no such key.
                    4..PREFIX => &["invalid_ciphertext"],
                    _ => &["authentication_failed"],
                };
                assert!(expected.contains(&code.as_str()), "byte {position}: {code}");
            }
        }
        for length in 0..ciphertext.len() {
            refused(&app, &ciphertext[..length], &format!("cut to {length}")).await;
        }
        for extra in 1..40 {
            let extended = [&ciphertext[..], &vec![0; extra]].concat();
            assert_eq!(refused(&app, &extended, "extended").await, "authentication_failed");
        }
    }

    async fn the_prefixes_of_two_contexts_cannot_be_swapped(store) {
        let cluster = one(store).await;
        let app = app(&cluster).await;
        let one = encrypt_in(&app, "user-pii", "one").await;
        let other = encrypt_in(&app, "health-data", "other").await;
        for (prefix, rest) in [(&one, &other), (&other, &one)] {
            let swapped = [&prefix[..PREFIX], &rest[PREFIX..]].concat();
            assert_eq!(refused(&app, &swapped, "swapped").await, "authentication_failed");
        }
    }

    /// Defect of the former service: a caller reached a context it may not use by editing the ciphertext's header.
    async fn editing_the_header_does_not_reach_another_context(store) {
        let cluster = one(store).await;
        let everything = app(&cluster).await;
        let one_only = service(&cluster, "billing", ["payment-data"]).await;
        let foreign = encrypt_in(&everything, "health-data", "diagnosis").await;
        let own = encrypt_in(&one_only, "payment-data", "card").await;

        // The foreign body under the own header: the own key does not open it.
        let edited = [&own[..PREFIX], &foreign[PREFIX..]].concat();
        assert_eq!(refused(&one_only, &edited, "own header").await, "authentication_failed");
        // Whatever the caller says the context is, the key named in the ciphertext decides.
        for context in ["payment-data", "health-data"] {
            let body = json!({ "ciphertext": base64(&foreign), "context": context });
            one_only.post_json(DECRYPT, &body).await.expect_problem(403, "context_forbidden");
        }
    }

    async fn associated_data_is_authenticated(store) {
        let cluster = one(store).await;
        let app = app(&cluster).await;
        let ciphertext = encrypt(&app, "secret").await;
        for associated_data in ["x", "user-pii"] {
            let body = json!({ "ciphertext": base64(&ciphertext), "associated_data": base64(associated_data) });
            app.post_json(DECRYPT, &body).await.expect_problem(400, "authentication_failed");
        }
        // Absent and empty are the same.
        let body = json!({ "ciphertext": base64(&ciphertext), "associated_data": "" });
        app.post_json(DECRYPT, &body).await.expect(200);
    }

    async fn what_never_was_a_ciphertext_is_refused(store) {
        let cluster = one(store).await;
        let app = app(&cluster).await;
        for bytes in [&b""[..], b"CS", b"hello, world", &[0; 64], &[0xff; 64], &[b'C'; 4096]] {
            assert_eq!(refused(&app, bytes, "nonsense").await, "invalid_ciphertext");
        }
        app.post_json(DECRYPT, &json!({ "ciphertext": "Q1M" })).await.expect_problem(400, "invalid_base64");
    }
}
