//! `cryptoserve audit verify` on trails that somebody changed, and on such that nobody did.

use std::time::{Duration, Instant};

use cryptoserve_core::clock::Clock;
use cryptoserve_tests::{Cluster, Program, Secrets, StoreKind, Tables, TokenRequest, eventually};

use super::past::{self, Past};
use super::{audit, verify};
use crate::support::{app, base64, builder, encrypt, on_each_store, one};

/// The tables that somebody who means ill can change.
const TABLES: [&str; 4] = ["audit_records", "audit_chains", "audit_checkpoints", "audit_cuts"];

/// A deployment at rest, whose trail can be put back to what it was.
struct Trail {
    cluster: Cluster,
    program: Program,
    tables: Tables,
    /// Of the replica.
    chain: String,
    /// What replicas logged.
    log: String,
}

impl Trail {
    /// Of a replica that did something and ended in good order.
    async fn new(store: StoreKind) -> Self {
        let cluster = one(store).await;
        let app = app(&cluster).await;
        for n in 0..12 {
            encrypt(&app, format!("{n}")).await;
        }
        let (program, cluster, log) = ended(cluster).await;
        let tables = cluster.tables().await;
        let text = if store == StoreKind::Sqlite { "lower(hex(c.id))" } else { "c.id" };
        let longest = format!("SELECT {text} FROM audit_chains c ORDER BY c.last_seq DESC LIMIT 1");
        let chain = hyphenated(&tables.rows(&longest).await.remove(0));
        let trail = Self { cluster, program, tables, chain, log };
        trail.save("saved").await;
        trail
    }

    /// Keeps what is there now.
    async fn save(&self, prefix: &str) {
        for table in TABLES {
            self.tables.change(&format!("DROP TABLE IF EXISTS {prefix}_{table}")).await;
            self.tables.change(&format!("CREATE TABLE {prefix}_{table} AS SELECT * FROM {table}")).await;
        }
    }

    /// Lets a replica run once more.
    async fn go_on(&mut self) {
        self.save("before").await;
        self.cluster.grow(1).await;
        let replica = self.cluster.replica_mut(0);
        replica.process().terminate();
        assert!(replica.ended().await.success());
        replica.process().stderr().ended().await;
        self.log += &replica.log().text();
        self.save("saved").await;
    }

    /// The chain as it stands in a statement.
    fn id(&self) -> String {
        match self.tables {
            Tables::Sqlite(_) => format!("x'{}'", self.chain.replace('-', "")),
            Tables::Postgres(_) => format!("'{}'", self.chain),
        }
    }

    /// Runs statements, in which `$C` is the chain.
    async fn change(&self, statements: &[&str]) {
        for statement in statements {
            let sql = statement.replace("$C", &self.id());
            assert!(self.tables.change(&sql).await > 0, "{sql}");
        }
    }

    async fn put_back(&self) {
        for table in TABLES {
            self.tables.change(&format!("DELETE FROM {table}")).await;
            self.tables.change(&format!("INSERT INTO {table} SELECT * FROM saved_{table}")).await;
        }
    }

    /// What is found after the statements; then puts everything back.
    async fn found(&self, statements: &[&str], args: &[&str]) -> Vec<String> {
        self.change(statements).await;
        let found = verify(&self.program, args).await;
        self.put_back().await;
        found
    }

    /// That after the statements exactly this is found at that record of the chain.
    async fn expect(&self, what: &str, seq: i64, statements: &[&str]) {
        let found = self.found(statements, &[]).await;
        let expected = format!("chain {}, record {seq}: {what}: ", self.chain);
        assert!(
            matches!(&found[..], [one] if one.starts_with(&expected)),
            "{expected}\n{found:#?}\n{statements:#?}"
        );
    }

    /// The last checkpoint, as an anchor.
    async fn anchor(&self) -> String {
        let done = audit(&self.program, &["verify"]).await;
        let line = done.stdout.lines().find(|line| line.starts_with("The last checkpoint"));
        let line = line.unwrap_or_else(|| panic!("no checkpoint: {done:?}"));
        line.rsplit(' ').next().unwrap_or_default().to_owned()
    }
}

/// Ends the one replica; with what it logged.
async fn ended(mut cluster: Cluster) -> (Program, Cluster, String) {
    let replica = cluster.replica_mut(0);
    replica.process().terminate();
    assert!(replica.ended().await.success());
    replica.log().ended().await;
    let log = replica.log().text();
    let (program, cluster) = cluster.stop().await;
    (program, cluster, log)
}

fn hyphenated(id: &str) -> String {
    let hex = id.replace('-', "");
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

/// Moves the numbers from one on, by way of numbers that no record has.
const MAKE_ROOM: [&str; 2] = [
    "UPDATE audit_records SET seq = seq + 100001 WHERE chain_id = $C AND seq >= 5",
    "UPDATE audit_records SET seq = seq - 100000 WHERE chain_id = $C AND seq >= 100000",
];
const COPY: &str = "INSERT INTO audit_records SELECT chain_id, 5, recorded_at, at, instance, request_id, tenant_id, identity_id, \
     operation, context, key_version, outcome, items, failed, bytes + 1, address, detail, mac \
     FROM audit_records WHERE chain_id = $C AND seq = 4";
const SWAP: [&str; 3] = [
    "UPDATE audit_records SET seq = 100000 WHERE chain_id = $C AND seq = 4",
    "UPDATE audit_records SET seq = 4 WHERE chain_id = $C AND seq = 7",
    "UPDATE audit_records SET seq = 7 WHERE chain_id = $C AND seq = 100000",
];
/// The chains that were not there before the last start.
const GONE: &str = "(SELECT id FROM audit_chains WHERE id NOT IN (SELECT id FROM before_audit_chains))";
/// The row of the chain as one would have it who cut off what lies behind record 6.
const ADJUST: &str = "UPDATE audit_chains SET last_seq = 6, \
     last_mac = (SELECT mac FROM audit_records r WHERE r.chain_id = $C AND r.seq = 6) WHERE id = $C";

on_each_store! {
    async fn every_change_of_the_trail_is_found_at_its_record(store) {
        let trail = Trail::new(store).await;
        assert_eq!(verify(&trail.program, &[]).await, [""; 0]);

        for change in ["bytes = bytes + 1", "outcome = 'internal'", "detail = ''", "address = NULL", "operation = 'decrypt'"] {
            let edit = format!("UPDATE audit_records SET {change} WHERE chain_id = $C AND seq = 5");
            trail.expect("edited", 5, &[&edit]).await;
        }
        let anonymous = "UPDATE audit_records SET tenant_id = NULL, identity_id = NULL WHERE chain_id = $C AND seq = 3";
        trail.expect("edited", 3, &[anonymous]).await;
        let other_time = format!("UPDATE audit_records SET at = {} WHERE chain_id = $C AND seq = 6", trail.tables.an_hour_ago());
        trail.expect("edited", 6, &[&other_time]).await;

        let removed = "DELETE FROM audit_records WHERE chain_id = $C AND seq = 5";
        trail.expect("missing", 5, &[removed]).await;
        let close_up = [
            removed,
            "UPDATE audit_records SET seq = seq + 99999 WHERE chain_id = $C AND seq > 5",
            "UPDATE audit_records SET seq = seq - 100000 WHERE chain_id = $C AND seq >= 100000",
            "UPDATE audit_chains SET last_seq = last_seq - 1 WHERE id = $C",
        ];
        trail.expect("missing", 5, &close_up).await;
        trail.expect("missing", 0, &["DELETE FROM audit_records WHERE chain_id = $C AND seq < 3"]).await;
        let forged_head = [
            "DELETE FROM audit_records WHERE chain_id = $C AND seq < 3",
            "UPDATE audit_chains SET first_seq = 3 WHERE id = $C",
        ];
        trail.expect("missing", 0, &forged_head).await;

        let more = "UPDATE audit_chains SET last_seq = last_seq + 1 WHERE id = $C";
        trail.expect("inserted", 5, &[MAKE_ROOM[0], MAKE_ROOM[1], COPY, more]).await;
        trail.expect("reordered", 4, &SWAP).await;

        let tail = "DELETE FROM audit_records WHERE chain_id = $C AND seq > 6";
        trail.expect("truncated", 7, &[tail]).await;
        trail.expect("truncated", 7, &[tail, ADJUST]).await;
        let as_if_killed = "UPDATE audit_chains SET ended = 'crashed' WHERE id = $C";
        // A checkpoint saw its end.
        trail.expect("truncated", 7, &[tail, ADJUST, as_if_killed]).await;
        let whole = ["DELETE FROM audit_records WHERE chain_id = $C", "DELETE FROM audit_chains WHERE id = $C"];
        trail.expect("truncated", 0, &whole).await;

        let row = trail.found(&["DELETE FROM audit_chains WHERE id = $C"], &[]).await;
        assert!(matches!(&row[..], [one] if one.starts_with(&format!("chain {}: missing", trail.chain))), "{row:?}");
        assert_eq!(verify(&trail.program, &[]).await, [""; 0], "everything was put back");
    }

    async fn signed_statements_cannot_be_removed_or_forged(store) {
        let mut trail = Trail::new(store).await;
        let first = trail.anchor().await;
        let since = Clock::system().now().to_string();
        trail.go_on().await;
        let last = trail.anchor().await;
        let number = |anchor: &str| anchor.split(':').next().and_then(|number| number.parse::<u64>().ok());
        let (first_number, last_number) = (number(&first).expect("a number"), number(&last).expect("a number"));
        assert!(first_number < last_number, "{first} {last}");
        assert_eq!(verify(&trail.program, &["--anchor", &first, "--anchor", &last]).await, [""; 0]);

        let starts = |found: &[String], start: &str| {
            assert!(found.first().is_some_and(|one| one.starts_with(start)), "{start}: {found:#?}");
        };
        // What was signed by then is not looked at again, and all else is.
        let old = "UPDATE audit_records SET bytes = bytes + 1 WHERE chain_id = $C AND seq = 3";
        assert_eq!(trail.found(&[old], &["--since", &since]).await, [""; 0]);
        assert_eq!(trail.found(&[old], &["--since", "2026-01-01T00:00:00Z"]).await.len(), 1);
        let new = format!("UPDATE audit_records SET bytes = bytes + 1 WHERE seq = 1 AND chain_id IN {GONE}");
        assert_eq!(trail.found(&[&new], &["--since", &since]).await.len(), 1);
        let shorter = "UPDATE audit_chains SET last_seq = last_seq - 1 WHERE id = $C";
        assert_eq!(trail.found(&[shorter], &["--since", &since]).await.len(), 1);

        let edit = format!("UPDATE audit_checkpoints SET at = {} WHERE number = {first_number}", trail.tables.an_hour_ago());
        let edited = format!("checkpoint {first_number}: edited: ");
        starts(&trail.found(&[&edit], &[]).await, &edited);
        // One that is genuine, as if it had been another.
        let exchange = format!("UPDATE audit_checkpoints SET number = number + 100 WHERE number = {first_number}");
        starts(&trail.found(&[&exchange], &[]).await, &format!("checkpoint {first_number}: missing: "));
        let remove = format!("DELETE FROM audit_checkpoints WHERE number = {first_number}");
        starts(&trail.found(&[&remove], &[]).await, &format!("checkpoint {first_number}: missing: "));

        let forge = "INSERT INTO audit_cuts (number, at, cut_before, entries, key_id, signature) \
            SELECT 1, at, at, entries, key_id, signature FROM audit_checkpoints WHERE number = 1";
        let head = "DELETE FROM audit_records WHERE chain_id = $C AND seq < 4";
        let row = "UPDATE audit_chains SET first_seq = 4 WHERE id = $C";
        let found = trail.found(&[forge, head, row], &[]).await;
        starts(&found, "cut 1: edited: ");
        starts(&found[1..], &format!("chain {}, record 0: missing: ", trail.chain));

        // Back to what it was before the last start: nobody can tell without an anchor.
        let rollback = [
            format!("DELETE FROM audit_checkpoints WHERE number > {first_number}"),
            format!("DELETE FROM audit_records WHERE chain_id IN {GONE}"),
            format!("DELETE FROM audit_chains WHERE id IN {GONE}"),
        ];
        let rollback: Vec<_> = rollback.iter().map(String::as_str).collect();
        assert_eq!(trail.found(&rollback, &["--anchor", &first]).await, [""; 0]);
        let truncated = format!("checkpoint {last_number}: truncated: ");
        starts(&trail.found(&rollback, &["--anchor", &last]).await, &truncated);
        // The log of the servers is as good, and any other history as bad.
        let log = trail.cluster.data_dir().join("servers.log");
        std::fs::create_dir_all(trail.cluster.data_dir()).expect("a directory");
        std::fs::write(&log, &trail.log).expect("a file");
        let log = log.to_str().expect("a path in UTF-8").to_owned();
        assert_eq!(verify(&trail.program, &["--anchor", &log]).await, [""; 0]);
        starts(&trail.found(&rollback, &["--anchor", &log]).await, &truncated);
        let other = format!("{first_number}:{}", "ab".repeat(32));
        starts(&verify(&trail.program, &["--anchor", &other]).await, &edited);

        let done = audit(&trail.program, &["verify", "--anchor", "1:abc"]).await;
        assert_eq!(done.status.code(), Some(64), "{done:?}");
        std::fs::write(&log, "nothing\n").expect("a file");
        let done = audit(&trail.program, &["verify", "--anchor", &log]).await;
        assert_eq!(done.status.code(), Some(64), "{done:?}");
        assert!(done.stderr.contains("there is no anchor in it"), "{}", done.stderr);
    }

    async fn a_crash_is_told_from_tampering(store) {
        let mut cluster = one(store).await;
        let app = app(&cluster).await;
        for n in 0..5 {
            encrypt(&app, format!("{n}")).await;
        }
        let tables = cluster.tables().await;
        let recorded = "SELECT count(*) FROM audit_records WHERE operation = 'encrypt'";
        eventually("the records", async || (tables.number(recorded).await == 5).then_some(())).await;
        let program = cluster.program();
        let replica = cluster.replica_mut(0);
        replica.process().kill();
        replica.ended().await;
        let done = audit(&program, &["verify"]).await;
        assert_eq!(done.status.code(), Some(0), "{done:?}");
        let chain = done.stdout.lines().find_map(|line| line.strip_prefix("chain ")).expect("an open chain");
        assert!(chain.ends_with("open, last record 5"), "{done:?}");
        let chain = chain.split(' ').next().unwrap_or_default().to_owned();

        // Long ago, as far as anybody can see.
        let ago = tables.an_hour_ago();
        tables.change(&format!("UPDATE audit_chains SET appended_at = {ago} WHERE ended IS NULL")).await;
        tables.change(&format!("UPDATE replicas SET seen_at = {ago}")).await;
        cluster.replica_mut(0).start_again().await;
        let crashed = "SELECT count(*) FROM audit_records WHERE operation = 'audit.crashed'";
        eventually("the chain is closed", async || (tables.number(crashed).await == 1).then_some(())).await;
        let (program, cluster) = cluster.stop().await;
        let done = audit(&program, &["verify"]).await;
        assert_eq!(done.status.code(), Some(0), "{done:?}");
        assert!(done.stdout.contains("1 crashed, 0 open"), "{done:?}");

        // Somebody shortens it, and makes its row and all checkpoints say so.
        let id = if store == StoreKind::Sqlite { format!("x'{}'", chain.replace('-', "")) } else { format!("'{chain}'") };
        for statement in [
            format!("DELETE FROM audit_records WHERE chain_id = {id} AND seq > 3"),
            format!(
                "UPDATE audit_chains SET last_seq = 3, last_mac = \
                 (SELECT mac FROM audit_records r WHERE r.chain_id = {id} AND r.seq = 3) WHERE id = {id}"
            ),
            "DELETE FROM audit_checkpoints".to_owned(),
        ] {
            assert!(tables.change(&statement).await > 0, "{statement}");
        }
        let found = verify(&program, &[]).await;
        let expected = format!("chain {chain}, record 4: truncated: ");
        assert!(matches!(&found[..], [one] if one.starts_with(&expected)), "{found:?}");
        drop(cluster);
    }

    /// The key that chains hang from is wrapped as every other.
    async fn a_trail_verifies_after_a_change_of_the_master_key(store) {
        let (cluster, secrets) = past::deployment(store, &[]).await;
        let program = cluster.program();
        let key = audit(&program, &["public-key"]).await.stdout;
        assert!(key.starts_with("SHA-256 ") && key.contains("-----BEGIN PUBLIC KEY-----"), "{key}");
        let new = Secrets::generate().master_key;
        let both = program.clone().env("CRYPTOSERVE_MASTER_KEY_PREVIOUS", &new);
        let listed = both.clone().arg("rewrap-keys").run().await.stdout;
        let to = listed.lines().find(|line| line.contains(" no ")).and_then(|line| line.split(' ').next());
        let done = both.arg("rewrap-keys").arg("--to").arg(to.expect("a fingerprint")).run().await;
        assert!(done.status.success(), "{done:?}");
        let program = program.env("CRYPTOSERVE_MASTER_KEY", &new);
        assert_eq!(verify(&program, &[]).await, [""; 0]);
        assert_eq!(audit(&program, &["public-key"]).await.stdout, key);
        // Without any key for it nobody can tell, which is no finding.
        let unknown = program.env("CRYPTOSERVE_MASTER_KEY", &secrets.jwt_secret_key);
        let done = audit(&unknown, &["verify"]).await;
        assert!(matches!(done.status.code(), Some(2 | 64)), "{done:?}");
    }

    async fn a_trail_verifies_after_retention_has_cut_its_heads(store) {
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        let (mut cluster, secrets) = past::deployment(store, &[("AUDIT_RETENTION_DAYS", "10")]).await;
        // One that goes as a whole, and one that lasted for three days.
        for (age, step) in [(DAY * 40, DAY / 1000), (DAY * 12, DAY / 10)] {
            let past = Past { cluster: &cluster, secrets: &secrets, age, step, batch: 1 };
            past::write(store, &past, 30).await;
        }
        assert_eq!(verify(&cluster.program(), &[]).await, [""; 0]);
        cluster.grow(1).await;
        let tables = cluster.tables().await;
        let old = format!("SELECT count(*) FROM audit_records WHERE recorded_at < {}", tables.ago(DAY * 11));
        eventually("old records are removed", async || (tables.number(&old).await == 0).then_some(())).await;
        let (program, cluster) = cluster.stop().await;
        let done = audit(&program, &["verify", "--all"]).await;
        assert_eq!(done.status.code(), Some(0), "{done:?}");
        assert!(!done.stdout.contains(" 0 cuts"), "{done:?}");
        let left = "SELECT count(*) FROM audit_records WHERE instance = 'of-old'";
        let left = tables.number(left).await;
        assert!((1..32).contains(&left), "{left}");
        // More than was signed.
        let more = "DELETE FROM audit_records WHERE instance = 'of-old' AND seq = \
             (SELECT min(seq) FROM audit_records WHERE instance = 'of-old')";
        assert_eq!(tables.change(more).await, 1);
        let found = verify(&program, &[]).await;
        assert!(matches!(&found[..], [one] if one.contains(": missing: ")), "{found:?}");
        tables.change("DELETE FROM audit_cuts").await;
        let found = verify(&program, &[]).await;
        assert!(found.len() == 2 && found.iter().all(|one| one.contains("record 0: ")), "{found:#?}");
        drop(cluster);
    }

    /// A million of them with `CRYPTOSERVE_TEST_FULL`.
    async fn many_records_verify_and_leave_in_little_memory(store) {
        let full = std::env::var_os("CRYPTOSERVE_TEST_FULL").is_some();
        let records = if full { 1_000_000 } else { 5_000 };
        let (cluster, secrets) = past::deployment(store, &[]).await;
        let (age, step) = (Duration::from_secs(3 * 24 * 60 * 60), Duration::from_secs(60));
        past::write(store, &Past { cluster: &cluster, secrets: &secrets, age, step, batch: 2000 }, records).await;
        let program = cluster.program().env("DB_QUERY_TIMEOUT", "30s");
        let file = tempfile::NamedTempFile::new().expect("a file");
        let path = file.path().to_str().expect("a path in UTF-8");
        for args in [&["verify"][..], &["export", "--format", "csv", "--output", path], &["export", "--output", path]] {
            let (begun, command) = (Instant::now(), args.iter().fold(program.clone().arg("audit"), |program, arg| program.arg(*arg)));
            let (finished, peak) = past::run_measured(&command).await;
            assert!(finished.status.success(), "{finished:?}");
            past::tell(format_args!("{store:?}: {records} records, audit {}: {:?}, at most {} MiB", args[0], begun.elapsed(), peak >> 20));
            assert!(peak < 200 << 20, "audit {args:?}: {peak} bytes");
            if args[0] == "verify" {
                let good = finished.stdout.split(" records are as").next().and_then(|text| text.rsplit('\n').next());
                let good: u64 = good.and_then(|count| count.parse().ok()).expect("a number");
                assert!(good >= records + 2, "{finished:?}");
            } else {
                let lines = std::io::BufReader::new(std::fs::File::open(path).expect("the export"));
                let old = std::io::BufRead::lines(lines).filter(|line| line.as_ref().is_ok_and(|line| line.contains("old-")));
                assert_eq!(old.count() as u64, records, "{args:?}");
            }
        }
        drop(cluster);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trail_that_is_written_meanwhile_verifies() {
    let cluster = builder(StoreKind::Postgres).start(2).await;
    let clients = [0, 1].map(|n| cluster.client(n));
    let token = cluster.token(&TokenRequest::identity("app")).await;
    let body = serde_json::json!({ "context": "general", "plaintext": base64("x") });
    let stop = std::sync::atomic::AtomicBool::new(false);
    let load = futures_util::future::join_all((0..8).map(|n| {
        let (client, body, stop) = (clients[n % 2].clone().with_token(&token), &body, &stop);
        async move {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                client.post_json(crate::support::ENCRYPT, body).await.expect(200);
            }
        }
    }));
    let look = async {
        for _ in 0..5 {
            assert_eq!(verify(&cluster.program(), &[]).await, [""; 0]);
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    };
    tokio::join!(load, look);
}
