use serde_json::{Value, json};

use super::{REFRESH, REVOKE, audited, is_dead, refresh, rotate, service};
use crate::support::{admin, builder, on_each_store};

on_each_store! {
    async fn what_is_no_refresh_token_is_refused_and_stops_nobody_else(store) {
        let cluster = builder(store).env("TRUSTED_PROXIES", "127.0.0.1").start(1).await;
        let admin = admin(&cluster).await;
        let app = service(&admin, "app").await;
        let good = app.refresh.as_str();
        let (tenant, secret) = good["csrt_".len()..].split_at(22);
        let other_secret = if secret.ends_with('A') { 'B' } else { 'A' };
        let mut n = 0_u32;
        // Each from an address of its own: failures have a limit, which is tested below.
        let mut stranger = || {
            n += 1;
            cluster.client(0).with_header("x-forwarded-for", &format!("192.0.2.{n}"))
        };
        for token in [
            String::new(),
            "csrt_".to_owned(),
            good[..68].to_owned(),
            good[5..].to_owned(),
            format!("{good}="),
            format!("{good} "),
            format!("CSRT_{}", &good[5..]),
            format!("csrt_{tenant}{}{other_secret}", &secret[..secret.len() - 1]),
            // The same secret, said to be of a tenant that there is not.
            format!("csrt_{}{secret}", "A".repeat(22)),
            format!("csrt_{}", "A".repeat(64)),
            "x".repeat(7000),
            app.access.clone(),
            "' OR 1=1 --\u{0}".to_owned(),
        ] {
            let reply = stranger().post_json(REFRESH, &json!({ "refresh_token": token, "rotate": true })).await;
            reply.expect_problem(401, "invalid_refresh_token");
        }
        for body in [json!({}), json!({ "refresh_token": null }), json!({ "refresh_token": [good] }), json!({ "refresh_token": good, "x": 1 }), Value::Null] {
            let refused = stranger().post_json(REFRESH, &body).await.expect_problem(400, "invalid_request");
            assert!(!refused.text("detail").contains(&secret[..20]), "{refused:?}");
        }
        for path in [REFRESH, REVOKE] {
            let long = json!({ "refresh_token": "x".repeat(9000), "token": "x" });
            stranger().post_json(path, &long).await.expect_problem(413, "body_too_large");
            stranger().post_bytes(path, "").await.expect_problem(400, "invalid_request");
            stranger().get(path).await.expect_problem(405, "method_not_allowed");
        }
        // Nothing of this did anything, and a bearer token is neither needed nor of use.
        let client = cluster.client(0).with_token("nonsense");
        refresh(&client, good).await.expect(200);

        let guesser = cluster.client(0).with_header("x-forwarded-for", "198.51.100.1");
        for path in [REFRESH, REVOKE] {
            let mut statuses = Vec::new();
            for _ in 0..25 {
                let guess = json!({ "refresh_token": format!("csrt_{}", "B".repeat(64)) });
                let body = if path == REFRESH { guess } else { json!({ "token": "nonsense" }) };
                statuses.push(guesser.post_json(path, &body).await.status);
            }
            assert!(statuses.contains(&429), "{path}: {statuses:?}");
        }
        refresh(&guesser, good).await.expect(200);
        guesser.post_json(REVOKE, &json!({ "token": good })).await.expect(200);
        is_dead(&cluster.client(0), good, "revoked").await;

        // The reuse of a replaced token is noticed, and on record, whatever its sender has exhausted.
        let app = service(&admin, "another").await;
        let second = rotate(&guesser, &app.refresh).await.expect(200).text("refresh_token");
        let tables = cluster.tables().await;
        let long_ago = format!("UPDATE refresh_tokens SET replaced_at = {} WHERE replaced_at IS NOT NULL", tables.an_hour_ago());
        assert_eq!(tables.change(&long_ago).await, 1);
        is_dead(&guesser, &app.refresh, "used after it was replaced").await;
        audited(&tables, &format!("operation = 'auth.refresh' AND outcome = 'invalid_refresh_token' AND detail LIKE '%{}: used after%'", app.family), 1).await;
        is_dead(&cluster.client(0), &second, "of a family that was revoked").await;
    }
}
