use std::time::Instant;

use cryptoserve_tests::{StoreKind, eventually};
use futures_util::future::join_all;
use serde_json::{Value, json};

use super::{CONTEXTS, apps, audited, create, keys, opening, rotate, set, states, version_of, versions};
use crate::support::{COHERENCE, admin, app, builder, encrypt_in, on_each_store, one};

on_each_store! {
    async fn an_older_version_decrypts_and_the_newest_encrypts(store) {
        let cluster = one(store).await;
        let (admin, app) = (admin(&cluster).await, app(&cluster).await);
        let key_id = create(&admin, "a", json!({})).await["key_id"].clone();
        let mut ciphertexts = vec![encrypt_in(&app, "a", "1").await];
        for previous in 1..4 {
            let rotated = admin.post_json(&format!("{CONTEXTS}/a/rotate-key"), &json!({})).await.expect(200).json();
            let expected = json!({
                "context": "a", "key_id": key_id, "key_version": previous + 1, "previous_version": previous,
            });
            assert_eq!(rotated, expected);
            ciphertexts.push(encrypt_in(&app, "a", "next").await);
        }
        let numbers: Vec<_> = ciphertexts.iter().map(|ciphertext| version_of(ciphertext)).collect();
        assert_eq!(numbers, [1, 2, 3, 4]);
        for ciphertext in &ciphertexts {
            assert_eq!(opening(&app, ciphertext).await, "-");
        }
        let expected = [(4, "enabled"), (3, "decrypt_only"), (2, "decrypt_only"), (1, "decrypt_only")];
        assert_eq!(states(&admin, "a").await, expected.map(|(version, state)| (version, state.to_owned())));
        // One version's bytes under another's number are of another key.
        let swapped = [&ciphertexts[0][..24], &ciphertexts[1][24..]].concat();
        assert_eq!(opening(&app, &swapped).await, "authentication_failed");
        let mut unborn = ciphertexts[0].clone();
        unborn[23] = 5;
        assert_eq!(opening(&app, &unborn).await, "invalid_ciphertext");
        let (_, cluster) = cluster.stop().await;
        let tables = cluster.tables().await;
        assert_eq!(audited(&tables, "a", "admin.keys.rotate").await, [
            "2 success version 1 only decrypts from now on",
            "3 success version 2 only decrypts from now on",
            "4 success version 3 only decrypts from now on",
        ]);
    }

    async fn keep_last_disables_what_is_older_and_that_can_be_undone(store) {
        let cluster = one(store).await;
        let (admin, app) = (admin(&cluster).await, app(&cluster).await);
        create(&admin, "short", json!({ "keep_last": 2 })).await;
        let mut ciphertexts = vec![encrypt_in(&app, "short", "x").await];
        for _ in 0..3 {
            rotate(&admin, "short").await;
            ciphertexts.push(encrypt_in(&app, "short", "x").await);
        }
        for (ciphertext, outcome) in ciphertexts.iter().zip(["key_version_disabled", "key_version_disabled", "-", "-"]) {
            assert_eq!(opening(&app, ciphertext).await, outcome);
        }
        set(&admin, "short", 2, "decrypt_only").await.expect(200);
        assert_eq!(opening(&app, &ciphertexts[1]).await, "-");
        // Without it nothing is disabled by a rotation, and with one of 1 everything that is older.
        admin.put_json(&format!("{CONTEXTS}/short"), &json!({ "keep_last": 0 })).await.expect(200);
        rotate(&admin, "short").await;
        assert_eq!(opening(&app, &ciphertexts[1]).await, "-");
        admin.put_json(&format!("{CONTEXTS}/short"), &json!({ "keep_last": 1 })).await.expect(200);
        rotate(&admin, "short").await;
        let states: Vec<_> = states(&admin, "short").await.into_iter().map(|(_, state)| state).collect();
        assert_eq!(states, ["enabled", "disabled", "disabled", "disabled", "disabled", "disabled"]);
    }

    async fn a_context_says_when_its_key_is_rotated(store) {
        let cluster = one(store).await;
        let admin = admin(&cluster).await;
        let plain = create(&admin, "plain", json!({})).await;
        let of = |context: &Value| {
            ["rotation_days", "rotate_at", "keep_last", "exportable"].map(|field| context[field].clone())
        };
        assert_eq!(of(&plain), [json!(0), Value::Null, json!(0), json!(false)]);
        let all = json!({ "rotation_days": 3650, "keep_last": u32::MAX, "exportable": true });
        let made = create(&admin, "all", all).await;
        assert_eq!(made["rotation_days"], 3650);
        assert_eq!((&made["keep_last"], &made["exportable"]), (&json!(u32::MAX), &json!(true)));
        let days = |context: &Value, field: &str, from: &str| {
            let day = |field: &str| {
                let text = context[field].as_str().expect("a time");
                let year: i64 = text[..4].parse().expect("a year");
                (year, text[4..10].to_owned())
            };
            (day(field).0 - day(from).0, day(field).1 == day(from).1)
        };
        assert!((9..=10).contains(&days(&made, "rotate_at", "created_at").0), "{made}");
        assert_eq!(admin.get(&format!("{CONTEXTS}/all")).await.expect(200).json(), made);
        rotate(&admin, "all").await;
        let rotated = admin.get(&format!("{CONTEXTS}/all")).await.expect(200).json();
        assert!(rotated["rotate_at"].as_str() > made["rotate_at"].as_str(), "counted anew: {rotated}");

        // What is absent stays; a period counts from when it is set.
        let path = format!("{CONTEXTS}/all");
        let changed = admin.put_json(&path, &json!({ "keep_last": 3 })).await.expect(200).json();
        assert_eq!((&changed["rotate_at"], &changed["keep_last"]), (&rotated["rotate_at"], &json!(3)));
        let changed = admin.put_json(&path, &json!({ "rotation_days": 365 })).await.expect(200).json();
        assert!((0..=1).contains(&days(&changed, "rotate_at", "updated_at").0), "{changed}");
        assert_eq!(changed["keep_last"], 3);
        let never = admin.put_json(&path, &json!({ "rotation_days": 0 })).await.expect(200).json();
        assert_eq!((&never["rotation_days"], &never["rotate_at"]), (&json!(0), &Value::Null));

        for settings in [
            json!({ "rotation_days": 3651 }), json!({ "rotation_days": -1 }), json!({ "rotation_days": 4_294_967_296_u64 }),
            json!({ "rotation_days": "1" }), json!({ "rotation_days": 1.5 }), json!({ "keep_last": -1 }),
            json!({ "keep_last": 4_294_967_296_u64 }), json!({ "keep_last": "1" }), json!({ "rotate_at": null }),
        ] {
            admin.put_json(&path, &settings).await.expect_problem(400, "invalid_request");
            let mut settings = settings;
            settings["name"] = "refused".into();
            admin.post_json(CONTEXTS, &settings).await.expect_problem(400, "invalid_request");
        }
        // Whether a key may leave is decided once.
        admin.put_json(&path, &json!({ "exportable": false })).await.expect_problem(400, "invalid_request");
        let exportable = json!({ "name": "refused", "exportable": 1 });
        admin.post_json(CONTEXTS, &exportable).await.expect_problem(400, "invalid_request");
        admin.get(&format!("{CONTEXTS}/refused")).await.expect_problem(404, "context_not_found");
    }

    async fn the_key_of_a_deleted_context_is_not_rotated_and_its_versions_are_kept(store) {
        let cluster = one(store).await;
        let (admin, app) = (admin(&cluster).await, app(&cluster).await);
        create(&admin, "gone", json!({})).await;
        let ciphertext = encrypt_in(&app, "gone", "kept").await;
        rotate(&admin, "gone").await;
        admin.delete(&format!("{CONTEXTS}/gone")).await.expect(200);
        let refused = admin.post_json(&format!("{CONTEXTS}/gone/rotate-key"), &json!({})).await;
        refused.expect_problem(404, "context_not_found");
        assert_eq!(versions(&admin, "gone").await.len(), 2);
        // An administrator may still see to its keys.
        set(&admin, "gone", 1, "disabled").await.expect(200);
        assert_eq!(opening(&app, &ciphertext).await, "invalid_ciphertext");
        admin.post_json(&format!("{CONTEXTS}/gone/restore"), &json!({})).await.expect(200);
        assert_eq!(opening(&app, &ciphertext).await, "key_version_disabled");
        set(&admin, "gone", 1, "decrypt_only").await.expect(200);
        assert_eq!(opening(&app, &ciphertext).await, "-");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation_holds_on_all_replicas_soon_after_and_disturbs_none() {
    let cluster = builder(StoreKind::Postgres).start(3).await;
    let admin = admin(&cluster).await;
    let apps = apps(&cluster).await;
    let mut old = Vec::new();
    for app in &apps {
        old.push(encrypt_in(app, "user-pii", "old").await);
    }
    assert_eq!(rotate(&admin, "user-pii").await, 2);
    let rotated = Instant::now();
    // The replica that did it knows at once, and what it encrypts is opened at once by those that do not know yet.
    let new = encrypt_in(&apps[0], "user-pii", "new").await;
    assert_eq!(version_of(&new), 2);
    for app in &apps {
        assert_eq!(opening(app, &new).await, "-");
        eventually("the new version", async || {
            let ciphertext = encrypt_in(app, "user-pii", "x").await;
            assert_eq!(opening(&apps[0], &ciphertext).await, "-");
            (version_of(&ciphertext) == 2).then_some(())
        })
        .await;
    }
    let took = rotated.elapsed();
    assert!(took < COHERENCE, "{took:?}");
    for app in &apps {
        for ciphertext in &old {
            assert_eq!(opening(app, ciphertext).await, "-");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rotations_at_once_follow_each_other() {
    let cluster = builder(StoreKind::Postgres).start(3).await;
    let token = cluster.token(&cryptoserve_tests::TokenRequest::admin()).await;
    let admins: Vec<_> = (0..3).map(|n| cluster.client(n).with_token(&token)).collect();
    let path = format!("{CONTEXTS}/user-pii/rotate-key");
    for round in 0..4 {
        // Two rotations at once are two rotations, each with an answer of its own.
        let (one, other) = (admins[round % 3].clone(), admins[(round + 1) % 3].clone());
        let body = json!({});
        let both =
            futures_util::future::join(one.post_json(&path, &body), other.post_json(&path, &body)).await;
        let mut made = [both.0, both.1].map(|reply| reply.expect(200).json()["key_version"].as_u64());
        made.sort_unstable();
        let first = 2 + 2 * round as u64;
        assert_eq!(made, [Some(first), Some(first + 1)]);
    }
    // Of very many some may be told that others were faster; nothing is done in part.
    let body = json!({});
    let replies = join_all((0..30).map(|n| admins[n % 3].post_json(&path, &body))).await;
    let mut done = 0;
    for reply in replies {
        match reply.status {
            200 => done += 1,
            _ => drop(reply.expect_problem(409, "conflict")),
        }
    }
    assert!(done > 5, "{done}");
    let versions = states(&admins[0], "user-pii").await;
    assert_eq!(versions.len(), 9 + done);
    assert!(versions.iter().rev().map(|(version, _)| *version).eq(1..=versions.len() as u64));
    assert_eq!(versions[0].1, "enabled");
    assert!(versions[1..].iter().all(|(_, state)| state == "decrypt_only"), "{versions:?}");
    assert_eq!(
        admins[1].get(&keys("user-pii")).await.expect(200).json()["versions"][0]["version"],
        versions[0].0
    );
}
