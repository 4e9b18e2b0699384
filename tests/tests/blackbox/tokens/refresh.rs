use std::collections::BTreeSet;
use std::time::Duration;

use cryptoserve_tests::{LogLine, Program};
use futures_util::future::join_all;
use serde_json::json;

use super::{identity, is_dead, issue, refresh, rotate, service, uses};
use crate::support::{admin, on_each_store, one};

const DAY: Duration = Duration::from_secs(24 * 3600);

on_each_store! {
    async fn a_refresh_token_makes_access_tokens_that_are_narrowed_alike(store) {
        let cluster = one(store).await;
        let (admin, client) = (admin(&cluster).await, cluster.client(0));
        let path = identity(&admin, "app", &["general", "user-pii"]).await;
        let body = json!({ "scopes": ["encrypt", "decrypt"], "contexts": ["general", "health-data"] });
        let app = issue(&admin, &path, body).await;
        assert!(app.refresh.starts_with("csrt_") && app.refresh.len() == 69, "{}", app.refresh);

        // The doubled prefix is what a published client asks for.
        let mut tokens = vec![app.access];
        for path in ["/api/v1/auth/refresh", "/v1/auth/refresh", "/api/api/v1/auth/refresh"] {
            let reply = client.post_json(path, &json!({ "refresh_token": app.refresh })).await.expect(200);
            assert_eq!((reply.text("token_type"), reply.json()["expires_in"].clone()), ("Bearer".to_owned(), 3600.into()));
            assert!(reply.json()["expires_at"].is_string() && reply.json().get("refresh_token").is_none(), "{reply:?}");
            tokens.push(reply.text("access_token"));
        }
        assert_eq!(tokens.iter().collect::<BTreeSet<_>>().len(), 4);
        for token in &tokens {
            assert_eq!(uses(&cluster, token, "general").await, 200);
            // One that the token leaves out, and one that the identity never had.
            assert_eq!(uses(&cluster, token, "user-pii").await, 403);
            assert_eq!(uses(&cluster, token, "health-data").await, 403);
            let random = client.clone().with_token(token).post_json("/v1/crypto/random", &json!({})).await;
            random.expect_problem(403, "scope_missing");
        }
        // What the identity loses, its refresh tokens lose, and get back.
        admin.put_json(&path, &json!({ "contexts": ["user-pii"] })).await.expect(200);
        let token = refresh(&client, &app.refresh).await.expect(200).text("access_token");
        assert_eq!(uses(&cluster, &token, "general").await, 403);

        let listed = admin.get(&format!("{path}/tokens")).await.expect(200).json();
        let [family] = &listed["refresh_tokens"].as_array().expect("a list")[..] else { panic!("{listed}") };
        assert_eq!((&family["id"], &family["rotates"]), (&app.family.as_str().into(), &false.into()));
        assert_eq!((&family["scopes"], &family["contexts"]), (&json!(["encrypt", "decrypt"]), &json!(["general", "health-data"])));
        assert!(family["detail"].as_str().is_some_and(|text| text.starts_with("issued by admin (")), "{family}");

        let listed = admin.get("/api/admin/identities").await.expect(200).json();
        let own = listed["identities"].as_array().expect("a list").iter().find(|one| one["name"] == "admin");
        let own = format!("/api/admin/identities/{}/tokens", own.expect("listed")["id"].as_str().expect("an id"));
        admin.post_json(&own, &json!({ "refresh": true })).await.expect_problem(400, "invalid_request");
    }

    async fn a_refresh_token_lives_for_ninety_days_after_its_last_use(store) {
        let cluster = one(store).await;
        let (admin, client) = (admin(&cluster).await, cluster.client(0));
        let app = service(&admin, "app").await;
        let tables = cluster.tables().await;
        let last_used = |days: u32| {
            format!("UPDATE refresh_families SET used_at = {}", tables.ago(DAY * days + Duration::from_secs(60)))
        };
        let used_today = format!("SELECT count(*) FROM refresh_families WHERE used_at > {}", tables.ago(DAY));
        for days in [1, 89] {
            assert_eq!(tables.change(&last_used(days)).await, 1);
            refresh(&client, &app.refresh).await.expect(200);
            assert_eq!(tables.number(&used_today).await, 1, "{days}");
        }
        tables.change(&last_used(90)).await;
        is_dead(&client, &app.refresh, "unused for too long").await;
        // Upkeep may have forgotten it by now; what it made before lives on, as it was not revoked.
        assert_eq!(admin.get(&format!("{}/tokens", app.path)).await.expect(200).json()["refresh_tokens"], json!([]));
        assert_eq!(uses(&cluster, &app.access, "general").await, 200);
    }

    async fn rotation_gives_one_successor_and_reuse_ends_the_family(store) {
        let cluster = one(store).await;
        let (admin, client) = (admin(&cluster).await, cluster.client(0));
        let app = service(&admin, "app").await;
        let other = issue(&admin, &app.path, json!({})).await;
        let reply = rotate(&client, &app.refresh).await.expect(200);
        let (second, access) = (reply.text("refresh_token"), reply.text("access_token"));
        assert_ne!(second, app.refresh);
        // A reply that was lost: the repeat gives the same, asked for or not.
        assert_eq!(rotate(&client, &app.refresh).await.expect(200).text("refresh_token"), second);
        assert_eq!(refresh(&client, &app.refresh).await.expect(200).text("refresh_token"), second);
        // Nobody asked for this one to be replaced.
        assert_eq!(refresh(&client, &second).await.expect(200).json().get("refresh_token"), None);
        let replies = join_all((0..20).map(|_| rotate(&client, &second))).await;
        let successors: BTreeSet<_> = replies.into_iter().map(|reply| reply.expect(200).text("refresh_token")).collect();
        let [third] = &successors.into_iter().collect::<Vec<_>>()[..] else { panic!("two successors") };

        admin.put_json(&app.path, &json!({ "rotate_refresh_tokens": true })).await.expect(200);
        let fourth = refresh(&client, third).await.expect(200).text("refresh_token");
        assert_eq!(uses(&cluster, &access, "general").await, 200);
        // The test's clock: all that were replaced were replaced an hour ago.
        let tables = cluster.tables().await;
        let long_ago = format!("UPDATE refresh_tokens SET replaced_at = {} WHERE replaced_at IS NOT NULL", tables.an_hour_ago());
        assert_eq!(tables.change(&long_ago).await, 3);
        refresh(&client, &fourth).await.expect(200);
        is_dead(&client, &app.refresh, "used after it was replaced").await;
        is_dead(&client, &fourth, "of a family that was revoked").await;
        for token in [&app.access, &access] {
            assert_eq!(uses(&cluster, token, "general").await, 401);
        }
        // The other family has nothing to do with it.
        refresh(&client, &other.refresh).await.expect(200);
        assert_eq!(uses(&cluster, &other.access, "general").await, 200);
        let warns = |line: &LogLine| line.0.contains("used after it was replaced") && line.0.contains(&app.family);
        cluster.replicas()[0].log().find("a warning of reuse", warns).await;
    }

    async fn the_command_prints_a_refresh_token_on_a_second_line(store) {
        let cluster = one(store).await;
        let run = async |args: &[&str]| {
            let command = args.iter().fold(cluster.program().arg("token"), |command, arg| Program::arg(command, *arg));
            command.run().await
        };
        // The identity may use more than its token.
        assert!(run(&["--identity", "app"]).await.status.success());
        let done = run(&["--identity", "app", "--contexts", "general", "--refresh"]).await;
        let lines: Vec<_> = done.stdout.lines().map(str::to_owned).collect();
        let [access, token] = &lines[..] else { panic!("{done:?}") };
        assert_eq!(uses(&cluster, access, "general").await, 200);
        let access = refresh(&cluster.client(0), token).await.expect(200).text("access_token");
        assert_eq!((uses(&cluster, &access, "general").await, uses(&cluster, &access, "user-pii").await), (200, 403));
        assert_eq!(run(&["--admin", "--refresh"]).await.status.code(), Some(64));
    }
}
