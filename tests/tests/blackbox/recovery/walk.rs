//! The walks of `docs/recovery.md`, with the very commands that it shows: a machine is lost, another takes its place.

use std::path::Path;

use cryptoserve_tests::{Cluster, StoreKind, TokenRequest, eventually};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{sql, succeeded};
use crate::support::{
    DECRYPT, ENCRYPT, admin, app, base64, encrypt, encrypt_in, on_each_store, sealed, unbase64,
};

const DOCUMENT: &str = include_str!("../../../../docs/recovery.md");

/// The commands below `<!-- walk: {store}, {step} -->`.
fn commands(store: StoreKind, step: &str) -> &'static str {
    let store = match store {
        StoreKind::Sqlite => "embedded",
        StoreKind::Postgres => "postgresql",
    };
    let marker = format!("<!-- walk: {store}, {step} -->\n```sh\n");
    let (_, rest) = DOCUMENT.split_once(&marker).unwrap_or_else(|| panic!("no block {marker:?}"));
    rest.split_once("```").expect("the end of the block").0
}

/// Where backups, secrets and lists are kept while there is no machine.
struct Safe(TempDir);

impl Safe {
    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().expect("UTF-8").to_owned()
    }

    /// Runs a step of the document with the environment of a machine.
    async fn run(&self, machine: &Cluster, script: &str) -> String {
        let mut shell = machine.program().shell(script);
        for (name, file) in
            [("BACKUP", "backup"), ("SECRETS", "secrets.env"), ("DESTRUCTIONS", "destructions")]
        {
            shell = shell.env(name, self.path(file));
        }
        succeeded(shell.run().await).stdout
    }
}

/// The secrets that do not lie in its data directory.
async fn machine(store: StoreKind, like: Option<&Cluster>) -> Cluster {
    let mut builder = Cluster::builder().store(store);
    if let (Some(like), StoreKind::Postgres) = (like, store) {
        let secrets = like.secrets();
        builder = builder
            .env("CRYPTOSERVE_MASTER_KEY", &secrets.master_key)
            .env("JWT_SECRET_KEY", &secrets.jwt_secret_key)
            .env("HKDF_SALT", &secrets.hkdf_salt);
    }
    builder.start(0).await
}

/// State and number of each version of the context `counted`, newest first.
async fn versions(machine: &Cluster) -> Vec<(u64, String)> {
    let list = admin(machine).await.get("/api/admin/contexts/counted/keys").await.expect(200).json();
    let versions = list["versions"].as_array().expect("a list").iter();
    versions
        .map(|version| {
            let state = version["state"].as_str().expect("a text").to_owned();
            (version["version"].as_u64().expect("a number"), state)
        })
        .collect()
}

on_each_store! {
    async fn what_was_backed_up_serves_again_and_what_was_ended_stays_so(store) {
        let safe = Safe(tempfile::tempdir().expect("a directory"));
        let mut lost = machine(store, None).await;
        lost.grow(1).await;
        let app_token = TokenRequest::identity("app").contexts(["*"]);
        let mut tokens = vec![lost.token(&app_token).await, lost.token(&TokenRequest::admin()).await];
        let [early, manager] = [&tokens[0], &tokens[1]].map(|token| lost.client(0).with_token(token));
        let context = json!({ "name": "counted", "algorithm": "AES-256-GCM" });
        manager.post_json("/api/admin/contexts", &context).await.expect(201);
        let first = encrypt_in(&early, "counted", "first").await;
        manager.post_json("/api/admin/contexts/counted/rotate-key", &json!({})).await.expect(200);
        let second = encrypt_in(&early, "counted", "second").await;
        let other = encrypt(&early, "other").await;
        for state in ["disabled", "scheduled_for_destruction"] {
            let path = "/api/admin/contexts/counted/keys/1";
            manager.put_json(path, &json!({ "state": state })).await.expect(200);
        }

        safe.run(&lost, commands(store, "back up")).await;

        // After the backup: a token, and the end of the first version's waiting period.
        tokens.push(lost.token(&app_token).await);
        let (_, mut lost) = lost.stop().await;
        sql(&lost, store, "UPDATE key_versions SET destroy_at = created_at WHERE state = 4").await;
        lost.grow(1).await;
        eventually("the destruction", async || {
            (versions(&lost).await == [(2, "enabled".to_owned()), (1, "destroyed".to_owned())]).then_some(())
        })
        .await;
        lost.client(0).with_token(&tokens[2]).get("/api/v1/contexts").await.expect(200);
        keep_destructions(&lost, store, &safe).await;
        let (_, lost) = lost.stop().await;

        let mut found = machine(store, Some(&lost)).await;
        if store == StoreKind::Sqlite {
            std::fs::copy(lost.data_dir().join("secrets.env"), safe.path("secrets.env")).expect("kept");
        }
        drop(lost);
        let said = safe.run(&found, commands(store, "restore")).await;
        assert!(said.contains("1 key version again"), "{said}");
        assert!(said.contains("the key of 1 context,"), "{said}");
        found.grow(1).await;

        for token in &tokens {
            let client = found.client(0).with_token(token);
            client.get("/api/v1/contexts").await.expect_problem(401, "unauthenticated");
        }
        let app = app(&found).await;
        for (ciphertext, plaintext) in [(&second, "second"), (&other, "other")] {
            let reply = app.post_json(DECRYPT, &sealed(ciphertext)).await.expect(200);
            assert_eq!(unbase64(&reply.text("plaintext")), plaintext.as_bytes());
        }
        app.post_json(DECRYPT, &sealed(&first)).await.expect_problem(409, "key_version_disabled");
        let expected = [(3, "enabled"), (2, "decrypt_only"), (1, "destroyed")];
        assert_eq!(versions(&found).await, expected.map(|(version, state)| (version, state.to_owned())));
        for (context, version) in [("counted", 3), ("user-pii", 1)] {
            let body = json!({ "context": context, "plaintext": base64("again") });
            let reply = app.post_json(ENCRYPT, &body).await.expect(200);
            assert_eq!(reply.json()["key_version"], version, "{context}");
        }
        let bytes = sql(&found, store, "SELECT count(*) FROM wrapped_keys w JOIN contexts c ON c.key_id = w.key_id \
            WHERE c.name = 'counted' AND w.version = 1").await;
        assert_eq!(bytes, "0");
        let audited = sql(&found, store, "SELECT DISTINCT operation FROM audit_records WHERE operation IN \
            ('command.doctor', 'keys.rotate', 'keys.destroy') ORDER BY operation").await;
        assert_eq!(audited, "command.doctor\nkeys.destroy\nkeys.rotate");
    }
}

/// Saves the list of destructions, as the document says where it is.
async fn keep_destructions(machine: &Cluster, store: StoreKind, safe: &Safe) {
    let line: Value = match store {
        StoreKind::Sqlite => {
            let list = machine.data_dir().join("destructions.ndjson");
            eventually("the list of destructions", async || list.exists().then_some(())).await;
            std::fs::copy(&list, safe.path("destructions")).expect("kept");
            let text = std::fs::read_to_string(Path::new(&list)).expect("readable");
            serde_json::from_str(text.trim_end()).expect("one line of JSON")
        }
        StoreKind::Postgres => {
            let log = machine.replicas()[0].process().stderr();
            let line = log.message("a key version was destroyed").await.json();
            std::fs::write(safe.path("destructions"), log.text()).expect("kept");
            line
        }
    };
    for field in ["tenant_id", "key_id", "version", "destroyed_at"] {
        assert!(!line[field].is_null(), "{line}");
    }
}
