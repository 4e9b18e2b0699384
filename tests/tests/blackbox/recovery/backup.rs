//! `cryptoserve backup` and `cryptoserve restore`, as people and timers run them.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use cryptoserve_tests::{Cluster, Program, StoreKind};
use serde_json::Value;
use tempfile::TempDir;

use super::{refused, succeeded};
use crate::support::{app, encrypt, one};

/// A directory for backups and for another machine's data.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a directory"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().expect("UTF-8").to_owned()
    }
}

fn backup(cluster: &Cluster, to: &str) -> Program {
    cluster.program().arg("backup").arg("--to").arg(to)
}

/// Into a data directory of its own.
fn restore(from: &str, data_dir: &str) -> Program {
    Program::cryptoserve().arg("restore").arg("--from").arg(from).env("DATA_DIR", data_dir)
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).expect("it exists").mode() & 0o7777
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_is_made_while_the_server_runs_and_says_what_is_not_in_it() {
    let (cluster, place) = (one(StoreKind::Sqlite).await, Place::new());
    encrypt(&app(&cluster).await, "before").await;
    let done = succeeded(backup(&cluster, &place.text("backup")).run().await);
    for text in ["NOT in it", "CRYPTOSERVE_MASTER_KEY, HKDF_SALT", "JWT_SECRET_KEY", "SHA-256"] {
        assert!(done.stdout.contains(text), "{}", done.stdout);
    }
    let manifest = std::fs::read(place.path("backup/manifest.json")).expect("a manifest");
    let manifest: Value = serde_json::from_slice(&manifest).expect("JSON");
    let fingerprint = manifest["master_key_fingerprint"].as_str().expect("a text");
    let listening = cluster.replicas()[0].process().stderr().text();
    assert!(listening.contains(fingerprint), "{listening}");
    assert_eq!(manifest["has_secrets"], false);
    assert!(!place.path("backup/secrets.env").exists());
    assert_eq!(mode(&place.path("backup")), 0o700);
    for name in ["cryptoserve.db", "manifest.json"] {
        assert_eq!(mode(&place.path("backup").join(name)), 0o600, "{name}");
    }
    let again = backup(&cluster, &place.text("backup")).run().await;
    refused(&again, 64, "is not empty");

    let done = succeeded(backup(&cluster, &place.text("whole")).arg("--with-secrets").run().await);
    assert!(done.stdout.contains("whoever has this directory can decrypt everything"), "{}", done.stdout);
    assert_eq!(mode(&place.path("whole/secrets.env")), 0o600);
    let [kept, own] = [place.path("whole/secrets.env"), cluster.data_dir().join("secrets.env")]
        .map(|path| std::fs::read_to_string(path).expect("readable"));
    assert_eq!(kept, own);
    // The server is none the worse for it.
    encrypt(&app(&cluster).await, "after").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mistyped_directory_is_refused_and_not_made() {
    let place = Place::new();
    for arguments in [&["backup", "--to", &place.text("backup")][..], &["doctor", "--after-restore"]] {
        let command = Program::cryptoserve().env("DATA_DIR", place.text("data"));
        let done = arguments.iter().fold(command, |command, argument| command.arg(*argument)).run().await;
        refused(&done, 64, "DATA_DIR and DATABASE_URL say where the store is");
        assert!(!place.path("data").exists() && !place.path("backup").exists(), "{arguments:?}");
    }
    let cluster = one(StoreKind::Sqlite).await;
    let done = backup(&cluster, &place.text("no/backup")).run().await;
    refused(&done, 64, "the directory in which it lies must exist");
    assert!(!place.path("no").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_starts_on_a_restored_database_before_it_was_looked_after() {
    let (cluster, place) = (one(StoreKind::Sqlite).await, Place::new());
    succeeded(backup(&cluster, &place.text("backup")).arg("--with-secrets").run().await);
    let done = succeeded(restore(&place.text("backup"), &place.text("data")).run().await);
    assert!(done.stdout.contains("Next: `cryptoserve doctor --after-restore`"), "{}", done.stdout);
    assert!(!done.stdout.contains("are not the backup's"), "{}", done.stdout);
    for command in ["serve", "token"] {
        let command = Program::cryptoserve().arg(command).env("DATA_DIR", place.text("data"));
        refused(&command.run().await, 64, "run `cryptoserve doctor --after-restore` first");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restore_says_which_secrets_are_missing_or_wrong() {
    let (cluster, place) = (one(StoreKind::Sqlite).await, Place::new());
    succeeded(backup(&cluster, &place.text("backup")).run().await);
    let done = succeeded(restore(&place.text("backup"), &place.text("bare")).run().await);
    for text in ["its secrets do not", "CRYPTOSERVE_MASTER_KEY, JWT_SECRET_KEY, HKDF_SALT"] {
        assert!(done.stdout.contains(text), "{}", done.stdout);
    }
    let keygen = succeeded(Program::cryptoserve().arg("keygen").run().await);
    let others = |program: Program| {
        keygen.stdout.lines().fold(program, |program, line| {
            let (name, value) = line.split_once('=').expect("lines of an environment");
            program.env(name, value)
        })
    };
    let done = succeeded(others(restore(&place.text("backup"), &place.text("other"))).run().await);
    assert!(done.stdout.contains("are not the backup's: it needs the fingerprint"), "{}", done.stdout);
    let done = others(backup(&cluster, &place.text("wrong"))).arg("--with-secrets").run().await;
    refused(&done, 64, "are not the database's");
    assert!(!place.path("wrong").exists());
    for secret in keygen.stdout.lines().filter_map(|line| line.split_once('=')) {
        assert!(!done.stderr.contains(secret.1), "a secret was shown");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restore_keeps_away_from_servers_and_databases() {
    let (cluster, place) = (one(StoreKind::Sqlite).await, Place::new());
    succeeded(backup(&cluster, &place.text("backup")).run().await);
    let data_dir = cluster.data_dir();
    let data_dir = data_dir.to_str().expect("UTF-8");
    refused(&restore(&place.text("backup"), data_dir).run().await, 64, "another server process is running");
    let (_, _cluster) = cluster.stop().await;
    refused(&restore(&place.text("backup"), data_dir).run().await, 64, "a restore never overwrites");

    let database = place.path("backup/cryptoserve.db");
    let mut content = std::fs::read(&database).expect("readable");
    content[6000] ^= 1;
    std::fs::write(&database, content).expect("written");
    let done = restore(&place.text("backup"), &place.text("data")).run().await;
    refused(&done, 1, "it was altered or cut");
    assert!(!place.path("data/cryptoserve.db").exists());
    let done = restore(&place.text("nowhere"), &place.text("data")).run().await;
    refused(&done, 1, "this is no backup");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_postgresql_both_name_its_own_tools() {
    let (cluster, place) = (one(StoreKind::Postgres).await, Place::new());
    refused(&backup(&cluster, &place.text("backup")).run().await, 64, "pg_dump; docs/recovery.md");
    let restore = cluster.program().arg("restore").arg("--from").arg(place.text("backup"));
    refused(&restore.run().await, 64, "pg_restore; docs/recovery.md");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_any_moment_both_can_be_run_again() {
    let (cluster, place) = (one(StoreKind::Sqlite).await, Place::new());
    let rounds = if std::env::var_os("CRYPTOSERVE_TEST_FULL").is_some() { 60 } else { 12 };
    succeeded(backup(&cluster, &place.text("whole")).arg("--with-secrets").run().await);
    let whole = std::fs::read(place.path("whole/cryptoserve.db")).expect("readable");
    let files = |directory: PathBuf| std::fs::read_dir(directory).into_iter().flatten().count();

    for round in 0..rounds {
        let (to, data) = (format!("backup-{round}"), format!("data-{round}"));
        // Killed once it has begun to write, or has ended; where exactly is left to the machine.
        let mut process = backup(&cluster, &place.text(&to)).spawn();
        while files(place.path(&to)) <= round % 3 && process.status().is_none() {
            std::thread::yield_now();
        }
        process.kill();
        process.ended().await;
        if place.path(&to).join("manifest.json").exists() {
            succeeded(restore(&place.text(&to), &place.text(&format!("copy-{round}"))).run().await);
        } else {
            refused(&restore(&place.text(&to), &place.text(&data)).run().await, 1, "this is no backup");
        }

        let mut process = restore(&place.text("whole"), &place.text(&data)).spawn();
        while files(place.path(&data)) <= round % 5 && process.status().is_none() {
            std::thread::yield_now();
        }
        process.kill();
        process.ended().await;
        let database = place.path(&data).join("cryptoserve.db");
        if !database.exists() {
            succeeded(restore(&place.text("whole"), &place.text(&data)).run().await);
            // Database, secrets, lock and mark: nothing is left of the first attempt.
            assert_eq!(files(place.path(&data)), 4);
        }
        assert!(std::fs::read(&database).expect("readable") == whole, "a database that is not whole");
        assert!(place.path(&data).join("secrets.env").exists());
        assert!(place.path(&data).join("restored").exists());
    }
}
