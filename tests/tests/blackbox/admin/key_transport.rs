//! Bringing keys, and taking them out.

use cryptoserve_tests::{Client, Cluster, StoreKind, TokenRequest, eventually};
use serde_json::{Value, json};

use crate::other_side::ask;
use crate::support::{
    DECRYPT, admin, app, base64, builder, encrypt_in, on_each_store, one, restart, sealed, unbase64,
};

const CONTEXTS: &str = "/api/admin/contexts";
const KEY: [u8; 32] = *b"a key that somebody else has got";

fn at(context: &str, path: &str) -> String {
    format!("{CONTEXTS}/{context}/{path}")
}

async fn transport_key(admin: &Client, context: &str) -> Value {
    admin.post_json(&at(context, "transport-key"), &json!({})).await.expect(201).json()
}

/// A body for `import` with `key` wrapped elsewhere.
async fn wrapped(transport_key: &Value, key: &[u8]) -> Value {
    let wrapped = json!({ "do": "wrap", "public": transport_key["public_key_pem"], "key": base64(key) });
    json!({ "transport_key_id": transport_key["transport_key_id"], "wrapped_key": ask(wrapped).await })
}

async fn create(admin: &Client, body: Value) {
    admin.post_json(CONTEXTS, &body).await.expect(201);
}

async fn versions(admin: &Client, context: &str) -> Vec<Value> {
    let page = admin.get(&at(context, "keys")).await.expect(200).json();
    page["versions"].as_array().expect("a list").clone()
}

async fn opens(app: &Client, ciphertext: &[u8], plaintext: &str) {
    let reply = app.post_json(DECRYPT, &sealed(ciphertext)).await.expect(200);
    assert_eq!(unbase64(&reply.text("plaintext")), plaintext.as_bytes());
}

on_each_store! {
    async fn a_key_is_brought_and_taken_out_again(store) {
        let cluster = one(store).await;
        let (app, admin) = (app(&cluster).await, admin(&cluster).await);
        create(&admin, json!({ "name": "mine", "exportable": true })).await;
        let before = encrypt_in(&app, "mine", "before").await;
        let transport = transport_key(&admin, "mine").await;
        assert_eq!(transport["algorithm"], "RSA_AES_KEY_WRAP_SHA_256");
        assert!(transport["expires_at"].is_string(), "{transport}");
        let body = wrapped(&transport, &KEY).await;
        let imported = admin.post_json(&at("mine", "keys/import"), &body).await.expect(200).json();
        assert_eq!((&imported["key_version"], &imported["previous_version"]), (&json!(2), &json!(1)));
        let after = encrypt_in(&app, "mine", "after").await;
        assert_eq!(after[20..24], [0, 0, 0, 2]);
        opens(&app, &before, "before").await;
        opens(&app, &after, "after").await;
        let listed = versions(&admin, "mine").await;
        assert_eq!((&listed[0]["origin"], &listed[1]["origin"]), (&json!("imported"), &json!("generated")));
        assert_eq!(listed[0]["messages_reserved"], 1_u64 << 31);
        assert_eq!(listed[1]["messages_reserved"], 0);

        for bits in [3072, 4096] {
            let recipient = ask(json!({ "do": "make_rsa", "bits": bits })).await;
            let body = json!({ "public_key_pem": recipient["public"] });
            let exported = admin.post_json(&at("mine", "keys/2/export"), &body).await.expect(200).json();
            assert_eq!((&exported["key_version"], &exported["algorithm"]), (&json!(2), &transport["algorithm"]));
            assert_eq!(unbase64(exported["key_check_value"].as_str().expect("text")).len(), 16);
            let question = json!({ "do": "unwrap", "private": recipient["private"], "wrapped": exported["wrapped_key"] });
            assert_eq!(ask(question).await, base64(KEY));

            // The version that only decrypts too; what was made here counts as known elsewhere from now on.
            let exported = admin.post_json(&at("mine", "keys/1/export"), &body).await.expect(200).json();
            let question = json!({ "do": "unwrap", "private": recipient["private"], "wrapped": exported["wrapped_key"] });
            assert_ne!(ask(question).await, base64(KEY));
            assert_eq!(versions(&admin, "mine").await[1]["messages_reserved"], 1_u64 << 31);
        }
    }

    async fn a_transport_key_is_for_one_key_of_its_context(store) {
        let cluster = one(store).await;
        let admin = admin(&cluster).await;
        let transport = transport_key(&admin, "general").await;
        let body = wrapped(&transport, &KEY).await;
        let import = at("general", "keys/import");
        let elsewhere = at("user-pii", "keys/import");
        admin.post_json(&elsewhere, &body).await.expect_problem(404, "transport_key_not_found");
        admin.post_json(&import, &body).await.expect(200);
        for path in [&import, &elsewhere] {
            admin.post_json(path, &body).await.expect_problem(404, "transport_key_not_found");
        }
        for id in ["", "x", "00000000-0000-4000-8000-000000000000", body["transport_key_id"].as_str().expect("text")] {
            let mut body = body.clone();
            body["transport_key_id"] = json!(id);
            admin.post_json(&import, &body).await.expect_problem(404, "transport_key_not_found");
        }
        assert_eq!(versions(&admin, "general").await.len(), 2);
        // The same key again would begin to count its messages anew.
        for context in ["general", "user-pii"] {
            let body = wrapped(&transport_key(&admin, context).await, &KEY).await;
            admin.post_json(&at(context, "keys/import"), &body).await.expect_problem(409, "key_known");
        }
    }

    async fn only_keys_that_can_be_random_are_taken(store) {
        let cluster = one(store).await;
        let admin = admin(&cluster).await;
        let transport = transport_key(&admin, "general").await;
        let import = at("general", "keys/import");
        for length in [1, 16, 24, 31, 33, 64, 4096] {
            let key: Vec<u8> = (0..length).map(|n| u8::try_from(n % 251).expect("below 251")).collect();
            let body = wrapped(&transport, &key).await;
            admin.post_json(&import, &body).await.expect_problem(400, "invalid_wrapped_key");
        }
        for byte in [0, 1, 0xff] {
            let body = wrapped(&transport, &[byte; 32]).await;
            admin.post_json(&import, &body).await.expect_problem(422, "weak_key");
        }
        let good = wrapped(&transport, &KEY).await;
        let bytes = unbase64(good["wrapped_key"].as_str().expect("text"));
        let mut damaged = vec![Vec::new(), bytes[..383].to_vec(), bytes[..bytes.len() - 8].to_vec(), vec![0; bytes.len()]];
        for place in [0, 200, 383, 384, bytes.len() - 1] {
            let mut altered = bytes.clone();
            altered[place] ^= 1;
            damaged.push(altered);
        }
        damaged.push([&bytes[..], &[0; 8]].concat());
        damaged.push(vec![1; 100_000]);
        for wrapped_key in damaged {
            let mut body = good.clone();
            body["wrapped_key"] = json!(base64(wrapped_key));
            admin.post_json(&import, &body).await.expect_problem(400, "invalid_wrapped_key");
        }
        for (wrapped_key, code) in [(json!("a"), "invalid_base64"), (json!(null), "invalid_request")] {
            let mut body = good.clone();
            body["wrapped_key"] = wrapped_key;
            admin.post_json(&import, &body).await.expect_problem(400, code);
        }
        for body in [json!({}), json!([]), json!({ "transport_key_id": "x" })] {
            admin.post_json(&import, &body).await.expect_problem(400, "invalid_request");
        }
        assert_eq!(versions(&admin, "general").await.len(), 1, "nothing of this was taken");
        admin.post_json(&import, &good).await.expect(200);
    }

    async fn a_key_leaves_only_from_an_exportable_context_to_a_strong_key(store) {
        let cluster = one(store).await;
        let admin = admin(&cluster).await;
        create(&admin, json!({ "name": "open", "exportable": true })).await;
        let recipient = ask(json!({ "do": "make_rsa", "bits": 3072 })).await;
        let body = json!({ "public_key_pem": recipient["public"] });
        admin.post_json(&at("general", "keys/1/export"), &body).await.expect_problem(403, "key_export_forbidden");
        // It was said when the context was made, and stays so.
        let update = json!({ "exportable": true });
        admin.put_json(&format!("{CONTEXTS}/general"), &update).await.expect_problem(400, "invalid_request");

        let export = at("open", "keys/1/export");
        let weak = ask(json!({ "do": "make_rsa", "bits": 2048 })).await;
        let public = recipient["public"].as_str().expect("PEM");
        for pem in [
            "", "nonsense", weak["public"].as_str().expect("PEM"), recipient["private"].as_str().expect("PEM"),
            &public.repeat(2), &public.replace("PUBLIC KEY", "CERTIFICATE"), &public[..public.len() / 2],
        ] {
            let body = json!({ "public_key_pem": pem });
            admin.post_json(&export, &body).await.expect_problem(400, "invalid_public_key");
        }
        for body in [json!({}), json!({ "public_key_pem": null }), json!({ "public_key_pem": public, "raw": true })] {
            admin.post_json(&export, &body).await.expect_problem(400, "invalid_request");
        }
        for version in ["2", "0", "x", "4294967296", "-1"] {
            let path = at("open", &format!("keys/{version}/export"));
            admin.post_json(&path, &body).await.expect_problem(404, "key_version_not_found");
        }
        admin.post_json(&at("none", "keys/1/export"), &body).await.expect_problem(404, "context_not_found");
        assert_eq!(versions(&admin, "open").await[0]["messages_reserved"], 0, "nothing left so far");

        admin.post_json(&at("open", "rotate-key"), &json!({})).await.expect(200);
        let state = at("open", "keys/1");
        admin.put_json(&state, &json!({ "state": "disabled" })).await.expect(200);
        admin.post_json(&export, &body).await.expect_problem(409, "key_version_disabled");
        admin.put_json(&state, &json!({ "state": "scheduled_for_destruction" })).await.expect(200);
        admin.post_json(&export, &body).await.expect_problem(409, "key_version_disabled");
        assert_eq!(versions(&admin, "open").await[1]["messages_reserved"], 0);
        admin.post_json(&at("open", "keys/2/export"), &body).await.expect(200);

        admin.delete(&format!("{CONTEXTS}/open")).await.expect(200);
        admin.post_json(&at("open", "keys/2/export"), &body).await.expect_problem(404, "context_not_found");
        admin.post_json(&at("open", "transport-key"), &json!({})).await.expect_problem(404, "context_not_found");
    }

    async fn it_takes_an_administrator_whose_token_is_for_the_context(store) {
        let cluster = one(store).await;
        let (app, whole) = (app(&cluster).await, admin(&cluster).await);
        create(&whole, json!({ "name": "open", "exportable": true })).await;
        let recipient = ask(json!({ "do": "make_rsa", "bits": 3072 })).await;
        let export = json!({ "public_key_pem": recipient["public"] });
        let transport = transport_key(&whole, "open").await;
        let import = wrapped(&transport, &KEY).await;
        let all = async |client: &Client| {
            [
                client.post_json(&at("open", "transport-key"), &json!({})).await,
                client.post_json(&at("open", "keys/import"), &import).await,
                client.post_json(&at("open", "keys/1/export"), &export).await,
            ]
        };
        for reply in all(&app).await {
            reply.expect_problem(403, "scope_missing");
        }
        let narrowed = narrowed(&cluster, &whole, json!({ "contexts": ["general"] })).await;
        for reply in all(&narrowed).await {
            reply.expect_problem(403, "context_forbidden");
        }
        assert_eq!(versions(&whole, "open").await.len(), 1);
    }
}

/// An administrator's token that is worth less than its identity.
async fn narrowed(cluster: &Cluster, admin: &Client, to: Value) -> Client {
    let body = json!({ "name": "second", "role": "admin", "contexts": ["*"] });
    let made = admin.post_json("/api/admin/identities", &body).await.expect(201).text("id");
    let issued = admin.post_json(&format!("/api/admin/identities/{made}/tokens"), &to).await.expect(200);
    cluster.client(0).with_token(&issued.text("access_token"))
}

/// On three replicas: what one made, another uses, and all of it is on record.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_brought_through_any_replica_and_that_is_on_record() {
    let cluster = builder(StoreKind::Postgres).start(3).await;
    let token = cluster.token(&TokenRequest::admin()).await;
    let admins: Vec<_> = (0..3).map(|n| cluster.client(n).with_token(&token)).collect();
    let token = cluster.token(&TokenRequest::identity("app")).await;
    let apps: Vec<_> = (0..3).map(|n| cluster.client(n).with_token(&token)).collect();
    create(&admins[0], json!({ "name": "mine", "exportable": true })).await;
    let transport = transport_key(&admins[0], "mine").await;
    let body = wrapped(&transport, &KEY).await;
    admins[1].post_json(&at("mine", "keys/import"), &body).await.expect(200);
    let ciphertext = encrypt_in(&apps[1], "mine", "under the key that was brought").await;
    assert_eq!(ciphertext[20..24], [0, 0, 0, 2]);
    for app in &apps {
        opens(app, &ciphertext, "under the key that was brought").await;
    }
    let recipient = ask(json!({ "do": "make_rsa", "bits": 3072 })).await;
    let body = json!({ "public_key_pem": recipient["public"] });
    admins[2].post_json(&at("mine", "keys/2/export"), &body).await.expect(200);
    admins[2]
        .post_json(&at("general", "keys/1/export"), &body)
        .await
        .expect_problem(403, "key_export_forbidden");

    let database = cluster.database().connect().await;
    let records = eventually("the records are written", async || {
        let rows = database
            .query(
                "SELECT operation, context, key_version, outcome, detail FROM audit_records \
                 WHERE operation LIKE 'admin.keys.%' ORDER BY operation, outcome",
                &[],
            )
            .await
            .expect("read");
        (rows.len() == 4).then_some(rows)
    })
    .await;
    let records: Vec<(String, Option<i64>, String, String)> =
        records.iter().map(|row| (row.get(0), row.get(2), row.get(3), row.get(4))).collect();
    let [refused, exported, imported, made] = &records[..] else { panic!("four: {records:?}") };
    assert_eq!((&refused.0[..], &refused.2[..]), ("admin.keys.export", "key_export_forbidden"));
    assert_eq!((&exported.0[..], exported.1, &exported.2[..]), ("admin.keys.export", Some(2), "success"));
    assert_eq!((&imported.0[..], imported.1, &imported.2[..]), ("admin.keys.import", Some(2), "success"));
    assert_eq!((&made.0[..], &made.2[..]), ("admin.keys.make-transport-key", "success"));
    let fingerprint = |pem: &str| {
        let base64: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &unbase64(&base64));
        format!("sha256:{}", hex::encode(digest))
    };
    let (to, through) = (recipient["public"].as_str(), transport["public_key_pem"].as_str());
    for record in [refused, exported] {
        assert!(record.3.contains(&fingerprint(to.expect("PEM"))), "{record:?}");
    }
    assert!(imported.3.contains(&fingerprint(through.expect("PEM"))), "{imported:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transport_key_that_has_expired_brings_nothing_and_is_destroyed() {
    let mut cluster = one(StoreKind::Postgres).await;
    let admin = admin(&cluster).await;
    let transport = transport_key(&admin, "general").await;
    let body = wrapped(&transport, &KEY).await;
    let database = cluster.database().connect().await;
    let expired = "UPDATE key_versions SET created_at = created_at - interval '25 hours', \
                   destroy_at = destroy_at - interval '25 hours' WHERE destroy_at IS NOT NULL";
    assert_eq!(database.execute(expired, &[]).await.expect("changed"), 1);
    let import = at("general", "keys/import");
    admin.post_json(&import, &body).await.expect_problem(404, "transport_key_not_found");
    restart(&mut cluster, 0).await;
    eventually("its bytes are gone", async || {
        let left = "SELECT 1 FROM wrapped_keys w JOIN keys k ON k.id = w.key_id WHERE k.purpose = 4";
        database.query(left, &[]).await.expect("read").is_empty().then_some(())
    })
    .await;
    admin.post_json(&import, &body).await.expect_problem(404, "transport_key_not_found");
}

/// The schedule must not replace it at once because its count begins high.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_was_brought_stays() {
    let mut cluster = one(StoreKind::Postgres).await;
    let (app, admin) = (app(&cluster).await, admin(&cluster).await);
    create(&admin, json!({ "name": "mine", "algorithm": "AES-256-GCM" })).await;
    let transport = transport_key(&admin, "mine").await;
    let body = wrapped(&transport, &KEY).await;
    admin.post_json(&at("mine", "keys/import"), &body).await.expect(200);
    encrypt_in(&app, "mine", "counted").await;
    // A context that is due by its time: those that are worn are looked for in the same query.
    create(&admin, json!({ "name": "due", "rotation_days": 1 })).await;
    let database = cluster.database().connect().await;
    let due = "UPDATE contexts SET rotate_at = now() - interval '1 second' WHERE name = 'due'";
    assert_eq!(database.execute(due, &[]).await.expect("changed"), 1);
    restart(&mut cluster, 0).await;
    eventually("the one is rotated", async || (versions(&admin, "due").await.len() == 2).then_some(())).await;
    // What had begun is done when it ends.
    restart(&mut cluster, 0).await;
    assert_eq!(versions(&admin, "mine").await.len(), 2, "the other is not");
}
