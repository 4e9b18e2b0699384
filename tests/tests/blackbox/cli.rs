//! The command as people use it, against a real server.

use cryptoserve_tests::{Cluster, Program, StoreKind, TokenRequest};

use crate::support::one;

/// The client command for the first replica, with a token for `contexts`.
async fn client(cluster: &Cluster, contexts: &[&str]) -> Program {
    let request = TokenRequest::identity("files").contexts(contexts.iter().copied());
    let token = cluster.token(&request).await;
    Program::cryptoserve()
        .env("CRYPTOSERVE_SERVER", format!("http://{}", cluster.replicas()[0].address()))
        .env("CRYPTOSERVE_TOKEN", token)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_go_through_the_streams_there_and_back() {
    let cluster = one(StoreKind::Sqlite).await;
    let directory = tempfile::tempdir().expect("a directory");
    let path = |name: &str| directory.path().join(name).to_string_lossy().into_owned();
    let content: Vec<u8> = (0..5_000_000_u32).map(|n| n.to_le_bytes()[0] ^ n.to_le_bytes()[1]).collect();
    std::fs::write(path("report"), &content).expect("written");
    let command = client(&cluster, &["business-documents"]).await;

    let sealed = ["encrypt", "--context", "business-documents", "--associated-data", "2026", &path("report")];
    let done = sealed.iter().fold(command.clone(), |command, arg| command.arg(*arg)).run().await;
    assert!(done.status.success(), "{}", done.stderr);
    let ciphertext = std::fs::read(path("report.cs")).expect("written beside the input");
    assert!(ciphertext.starts_with(b"CS\x02\x02") && ciphertext.len() > content.len());

    let open = ["decrypt", "--associated-data", "2026", "-o", &path("back"), &path("report.cs")];
    let done = open.iter().fold(command.clone(), |command, arg| command.arg(*arg)).run().await;
    assert!(done.status.success(), "{}", done.stderr);
    assert!(std::fs::read(path("back")).expect("written") == content);

    // Cut, altered, or with other associated data: no output, and the reason on standard error.
    let mut altered = ciphertext.clone();
    altered[ciphertext.len() / 2] ^= 1;
    for (what, bytes, associated_data) in [
        ("cut", &ciphertext[..ciphertext.len() - 20_000], "2026"),
        ("altered", &altered[..], "2026"),
        ("associated data", &ciphertext[..], "2025"),
    ] {
        std::fs::write(path("bad.cs"), bytes).expect("written");
        let open = ["decrypt", "--associated-data", associated_data, "-o", &path("bad"), &path("bad.cs")];
        let done = open.iter().fold(command.clone(), |command, arg| command.arg(*arg)).run().await;
        assert_eq!(done.status.code(), Some(1), "{what}: {}", done.stderr);
        assert!(!done.stderr.is_empty() && !std::path::Path::new(&path("bad")).exists(), "{what}");
    }

    let other = ["encrypt", "--context", "health-data", "-o", &path("other"), &path("report")];
    let done = other.iter().fold(command, |command, arg| command.arg(*arg)).run().await;
    assert_eq!(done.status.code(), Some(1));
    assert!(done.stderr.contains("may not use that context"), "{}", done.stderr);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_cannot_have_what_its_identity_has_not() {
    let cluster = one(StoreKind::Sqlite).await;
    cluster.token(&TokenRequest::identity("billing").contexts(["payment-data"])).await;
    let token =
        |args: &[&str]| args.iter().fold(cluster.program().arg("token"), |command, arg| command.arg(*arg));
    for (args, code, text) in [
        (&["--identity", "billing", "--contexts", "user-pii"][..], 1, "may not use `user-pii`"),
        (&["--identity", "admin", "--ttl", "91d"], 64, "at most"),
        (&["--admin", "--ttl", "13h"], 64, "at most 12 hours"),
        (&["--identity", "NOT A NAME"], 64, "a name is"),
        (&["--admin", "--operator"], 64, "cannot be used with"),
    ] {
        let done = token(args).run().await;
        assert_eq!(done.status.code(), Some(code), "{args:?}: {}", done.stderr);
        assert!(done.stderr.contains(text) && done.stdout.is_empty(), "{args:?}: {}", done.stderr);
    }
    // An identity has one role.
    cluster.token(&TokenRequest::identity("admin").contexts(["general"])).await;
    let done = token(&["--admin"]).run().await;
    assert_eq!(done.status.code(), Some(64), "{}", done.stderr);
    assert!(done.stderr.contains("role service"), "{}", done.stderr);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn generated_secrets_start_a_replica_and_healthcheck_sees_it() {
    let done = Program::cryptoserve().arg("keygen").run().await;
    assert!(done.status.success() && done.stderr.contains("Keep these three secrets"), "{}", done.stderr);
    let mut builder = Cluster::builder().store(StoreKind::Postgres);
    for line in done.stdout.lines() {
        let (name, value) = line.split_once('=').expect("lines of an environment");
        builder = builder.env(name, value);
    }
    let cluster = builder.start(1).await;
    let check =
        async |url: String| Program::cryptoserve().arg("healthcheck").arg("--url").arg(url).run().await;
    let base = format!("http://{}", cluster.replicas()[0].address());
    assert!(check(format!("{base}/health/ready")).await.status.success());
    assert_eq!(check(format!("{base}/nowhere")).await.status.code(), Some(1));
    drop(cluster);
    assert_eq!(check(format!("{base}/health/ready")).await.status.code(), Some(1));
}

/// Bytes of memory that a process occupies.
fn resident(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("a running process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
}

/// SHA-256 of a file, read in pieces.
fn sha256(path: &str) -> Vec<u8> {
    use std::io::Read;
    let mut file = std::fs::File::open(path).expect("a file");
    let mut hash = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    let mut piece = vec![0; 1 << 20];
    loop {
        match file.read(&mut piece).expect("readable") {
            0 => return hash.finish().as_ref().to_vec(),
            length => hash.update(&piece[..length]),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_file_passes_in_flat_memory() {
    const MOST: u64 = 16 << 20;
    let length: u64 = if std::env::var_os("CRYPTOSERVE_TEST_FULL").is_some() { 1 << 30 } else { 96 << 20 };
    let cluster = one(StoreKind::Sqlite).await;
    let directory = tempfile::tempdir().expect("a directory");
    let path = |name: &str| directory.path().join(name).to_string_lossy().into_owned();
    // A sparse file: its content is zeros, its ciphertext is not.
    std::fs::File::create(path("large")).and_then(|file| file.set_len(length)).expect("a file");
    let command = client(&cluster, &["backup-data"]).await;
    let server = cluster.replicas()[0].process().id();
    let before = resident(server);
    for args in [
        vec!["encrypt".to_owned(), "--context".to_owned(), "backup-data".to_owned(), path("large")],
        vec!["decrypt".to_owned(), "-o".to_owned(), path("back"), path("large.cs")],
    ] {
        let done = args.iter().fold(command.clone(), |command, arg| command.arg(arg)).run().await;
        assert!(done.status.success(), "{}", done.stderr);
        let grown = resident(server).saturating_sub(before);
        assert!(grown < MOST, "{grown} bytes more after {args:?}");
    }
    assert_eq!(sha256(&path("large")), sha256(&path("back")));
}
