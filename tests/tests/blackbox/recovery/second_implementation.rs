//! Ciphertexts of the service, opened by `tests/decrypt.py`, which shares no code with it.

use std::path::{Path, PathBuf};

use cryptoserve_tests::{Client, Cluster, Finished, Program, StoreKind};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{ENCRYPT, admin, app, base64, encrypt, on_each_store, one, unbase64};

const ALGORITHMS: [&str; 5] =
    ["XAES-256-GCM", "AES-256-GCM", "AES-128-GCM", "ChaCha20-Poly1305", "AES-256-GCM-SIV"];

/// The script with what it needs of one deployment, and a directory for its files.
struct Script {
    directory: TempDir,
    keys: PathBuf,
    secrets: String,
}

impl Script {
    /// As it would be used after the end of this deployment's service: on the database file of an embedded store, or
    /// on what `psql` exports.
    async fn of(cluster: &Cluster, store: StoreKind) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path();
        if store == StoreKind::Sqlite {
            let data = cluster.data_dir();
            let secrets = format!("--secrets-file '{}'", data.join("secrets.env").display());
            return Self { keys: data.join("cryptoserve.db"), secrets, directory };
        }
        let (keys, url) = (path.join("keys.json"), cluster.database().url());
        let query = format!("$({} --print-query)", script());
        let done = shell(&format!("psql '{url}' -XAtc \"{query}\" > '{}'", keys.display())).run().await;
        assert!(done.status.success(), "{}", done.stderr);
        let secrets = secret_files(path, &cluster.secrets().master_key, &cluster.secrets().hkdf_salt);
        Self { keys, secrets, directory }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Runs it on `ciphertext`; what it wrote and how it ended.
    async fn run(&self, ciphertext: &[u8], associated_data: &[u8]) -> (Vec<u8>, Finished) {
        let files = ["ciphertext", "associated", "plaintext"].map(|name| self.path(name));
        let [input, associated, output] = &files;
        std::fs::write(input, ciphertext).expect("written");
        std::fs::write(associated, associated_data).expect("written");
        let done = shell(&format!(
            "{} --keys '{}' {} --associated-data '@{}' < '{}' > '{}'",
            script(),
            self.keys.display(),
            self.secrets,
            associated.display(),
            input.display(),
            output.display()
        ));
        let done = done.run().await;
        (std::fs::read(output).expect("made by the shell"), done)
    }

    async fn opens(&self, ciphertext: &[u8], associated_data: &[u8]) -> Vec<u8> {
        let (plaintext, done) = self.run(ciphertext, associated_data).await;
        assert!(done.status.success() && done.stderr.is_empty(), "{}", done.stderr);
        plaintext
    }

    /// It says `text` on standard error and nothing else than 1 in its exit code.
    async fn refuses(&self, ciphertext: &[u8], associated_data: &[u8], text: &str) -> Vec<u8> {
        let (output, done) = self.run(ciphertext, associated_data).await;
        assert_eq!(done.status.code(), Some(1), "{}", done.stderr);
        assert!(done.stderr.starts_with("decrypt.py: ") && done.stderr.contains(text), "{}", done.stderr);
        assert!(!done.stderr.contains("Traceback"), "{}", done.stderr);
        output
    }
}

fn script() -> String {
    format!("python3 '{}/decrypt.py'", env!("CARGO_MANIFEST_DIR"))
}

/// A shell that finds the Python packages of `./tests/run`.
fn shell(command: &str) -> Program {
    let packages = std::env::var("CRYPTOSERVE_TEST_PYTHON_PACKAGES");
    let packages = packages.expect("CRYPTOSERVE_TEST_PYTHON_PACKAGES is not set: run ./tests/run [FILTER]");
    Program::at(Path::new("/bin/sh")).arg("-euc").arg(command).env("PYTHONPATH", packages)
}

/// Files of the two secrets as options of the script.
fn secret_files(directory: &Path, master_key: &str, salt: &str) -> String {
    let (key_file, salt_file) = (directory.join("master-key"), directory.join("salt"));
    std::fs::write(&key_file, format!("{master_key}\n")).expect("written");
    std::fs::write(&salt_file, salt).expect("written");
    format!("--master-key-file '{}' --salt-file '{}'", key_file.display(), salt_file.display())
}

async fn stream(client: &Client, plaintext: &[u8], associated_data: &[u8]) -> Vec<u8> {
    let client = client.clone().with_header("x-associated-data", &base64(associated_data));
    let path = "/api/v1/crypto/encrypt/stream?context=backup-data";
    client.post_bytes(path, plaintext.to_vec()).await.expect(200).body.to_vec()
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|n| u8::try_from(n * 7 % 251).expect("below 251")).collect()
}

on_each_store! {
    async fn messages_of_every_algorithm_open(store) {
        let cluster = one(store).await;
        let (app, admin) = (app(&cluster).await, admin(&cluster).await);
        let context = json!({ "name": "many", "allowed_algorithms": ALGORITHMS });
        admin.post_json("/api/admin/contexts", &context).await.expect(201);
        let mut sealed: Vec<(Vec<u8>, &[u8], String)> = Vec::new();
        for algorithm in ALGORITHMS {
            for (length, associated_data) in [(0, &b""[..]), (1000, &b"row 17, \xff\x00"[..])] {
                let plaintext = pattern(length);
                let body = json!({
                    "context": "many",
                    "plaintext": base64(&plaintext),
                    "associated_data": base64(associated_data),
                    "algorithm_override": algorithm,
                });
                let reply = app.post_json(ENCRYPT, &body).await.expect(200);
                sealed.push((plaintext, associated_data, reply.text("ciphertext")));
            }
        }
        let script = Script::of(&cluster, store).await;
        for (plaintext, associated_data, ciphertext) in sealed {
            assert!(script.opens(&unbase64(&ciphertext), associated_data).await == plaintext, "{ciphertext}");
            // As it stands in a reply, and as an editor leaves it.
            let lines = format!("{}\n{}\n", &ciphertext[..20], &ciphertext[20..]);
            assert!(script.opens(lines.as_bytes(), associated_data).await == plaintext, "{ciphertext}");
        }
    }

    async fn streams_open(store) {
        let cluster = one(store).await;
        let app = app(&cluster).await;
        let script = Script::of(&cluster, store).await;
        for (length, associated_data) in [(0, &b""[..]), (1, b"volume 3"), (16_384, b"volume 3"), (100_000, b"")] {
            let plaintext = pattern(length);
            let ciphertext = stream(&app, &plaintext, associated_data).await;
            assert!(script.opens(&ciphertext, associated_data).await == plaintext, "length {length}");
            assert!(script.opens(base64(&ciphertext).as_bytes(), associated_data).await == plaintext);
        }
    }

    async fn what_is_not_authentic_does_not_open(store) {
        let cluster = one(store).await;
        let app = app(&cluster).await;
        let script = Script::of(&cluster, store).await;

        let ciphertext = encrypt(&app, "secret").await;
        assert_eq!(script.opens(&ciphertext, b"").await, b"secret");
        let mut altered = ciphertext.clone();
        altered[50] ^= 1;
        for (ciphertext, associated_data, text) in [
            (&altered[..], &b""[..], "not authentic (XAES-256-GCM)"),
            (&ciphertext, b"other", "not authentic (XAES-256-GCM)"),
            (&ciphertext[..ciphertext.len() - 1], b"", "not authentic (XAES-256-GCM)"),
            (&ciphertext[..40], b"", "the ciphertext is cut"),
            (&ciphertext[..23], b"", "no CryptoServe ciphertext"),
            (b"", b"", "no CryptoServe ciphertext"),
            (b"hello", b"", "no CryptoServe ciphertext"),
            (b"Q1MBAg*=", b"", "not valid base64"),
        ] {
            assert_eq!(script.refuses(ciphertext, associated_data, text).await, b"");
        }
        let with = |position: usize, byte: u8| {
            let mut edited = ciphertext.clone();
            edited[position] = byte;
            edited
        };
        script.refuses(&with(2, 3), b"", "format 3 with algorithm 1 is not known").await;
        script.refuses(&with(3, 9), b"", "format 1 with algorithm 9 is not known").await;
        script.refuses(&with(3, 2), b"", "not authentic (AES-256-GCM)").await;
        script.refuses(&with(23, 2), b"", "in version 2").await;
        script.refuses(&with(7, !ciphertext[7]), b"", "there is no key").await;

        // Of a stream only the beginning comes out, and the exit code says so.
        let plaintext = pattern(40_000);
        let whole = stream(&app, &plaintext, b"").await;
        for length in [80 + 2 * 16_400, 80 + 2 * 16_400 + 1, whole.len() - 1] {
            let text = "not authentic from byte 32768 of the plaintext on";
            assert!(script.refuses(&whole[..length], b"", text).await == plaintext[..32_768]);
        }
        assert_eq!(script.refuses(&whole, b"other", "the beginning was altered").await, b"");
        assert_eq!(script.refuses(&whole[..70], b"", "the ciphertext is cut").await, b"");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_secrets_and_edited_rows_are_told_apart() {
    let cluster = one(StoreKind::Postgres).await;
    let ciphertext = encrypt(&app(&cluster).await, "secret").await;
    let mut script = Script::of(&cluster, StoreKind::Postgres).await;
    let keys = std::fs::read_to_string(&script.keys).expect("exported");
    let secrets = cluster.secrets();
    let (other, salt) = ("a5".repeat(32), &secrets.hkdf_salt);

    script.secrets = secret_files(script.directory.path(), &other, salt);
    script.refuses(&ciphertext, b"", "under the master key with the fingerprint").await;
    script.secrets = secret_files(script.directory.path(), &secrets.master_key, "another-deployments-salt");
    script.refuses(&ciphertext, b"", "under the master key with the fingerprint").await;
    script.secrets = secret_files(script.directory.path(), "a5", salt);
    script.refuses(&ciphertext, b"", "64 hexadecimal characters").await;
    script.secrets = String::new();
    script.refuses(&ciphertext, b"", "the master key and the salt are needed").await;
    // After a rotation of the master key some rows are wrapped under the other one.
    script.secrets = secret_files(script.directory.path(), &secrets.master_key, salt);
    std::fs::write(script.path("other"), other).expect("written");
    script.secrets += &format!(" --master-key-file '{}'", script.path("other").display());
    assert_eq!(script.opens(&ciphertext, b"").await, b"secret");

    // Whatever somebody who can write to the database changes, the row does not unwrap.
    let id = hex::encode(&ciphertext[4..20]);
    let row = keys.lines().find(|line| line.contains(&id)).expect("the key's row");
    let row: Value = serde_json::from_str(row).expect("JSON");
    let uuid = json!("00000000-0000-4000-8000-000000000000");
    for (column, value, text) in [
        ("tenant_id", uuid.clone(), "does not unwrap"),
        ("context_id", uuid, "does not unwrap"),
        ("origin", json!(2), "does not unwrap"),
        ("exportable", json!(true), "does not unwrap"),
        ("check_value", json!(format!("\\x{}", "00".repeat(16))), "to another key than was stored"),
        ("purpose", json!(2), "not for encryption"),
        ("bytes", json!("\\x00"), "does not unwrap"),
        ("bytes", json!(7), "is no key row"),
        ("bytes", Value::Null, "is no key row"),
    ] {
        let mut edited = row.clone();
        edited[column] = value;
        std::fs::write(&script.keys, format!("{edited}\n")).expect("written");
        assert_eq!(script.refuses(&ciphertext, b"", text).await, b"", "{column}");
    }
    for (content, text) in
        [("{", "line 1 is no key row"), ("[]", "line 1 is no key row"), ("", "there is no key")]
    {
        std::fs::write(&script.keys, content).expect("written");
        script.refuses(&ciphertext, b"", text).await;
    }
}
