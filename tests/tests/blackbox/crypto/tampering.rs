use cryptoserve_tests::Client;
use serde_json::json;

use crate::support::{DECRYPT, app, base64, encrypt, encrypt_in, on_each_store, one, sealed};

/// Bytes of a ciphertext that say which key and algorithm it needs.
const PREFIX: usize = 24;

async fn refused(app: &Client, ciphertext: &[u8], what: &str) -> String {
    let reply = app.post_json(DECRYPT, &sealed(ciphertext)).await;
    assert_eq!(reply.status, 400, "{what}: {reply:?}");
    reply.text("code")
}

on_each_store! {
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
