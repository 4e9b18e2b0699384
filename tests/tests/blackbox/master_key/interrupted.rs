use std::time::Instant;

use cryptoserve_tests::{Client, Cluster, Program, StoreKind, Tables, TokenRequest, eventually};
use futures_util::future::join_all;
use serde_json::json;

use super::load::{Sealed, decrypt_all};
use super::{fresh, list, patient, rewrap, rewrapped};
use crate::support::{ENCRYPT, base64, on_each_store, restart};

/// Versions of one key: enough for several transactions.
const VERSIONS: u64 = 350;
/// Those, the first versions of the other default contexts, and the two keys of the audit trail.
const KEYS: u64 = VERSIONS + 8 + 2;

/// A replica that knows two master keys, which the embedded store has by its file and its environment.
struct Walk {
    cluster: Cluster,
    command: Program,
    fingerprints: [String; 2],
    app: Client,
    sealed: Vec<Sealed>,
}

impl Walk {
    async fn start(store: StoreKind) -> Self {
        let new = fresh();
        let cluster = patient(store).env(super::PREVIOUS, &new).start(1).await;
        let command = cluster.program();
        let admin = cluster.client(0).with_token(&cluster.token(&TokenRequest::admin()).await);
        let app = cluster.client(0).with_token(&cluster.token(&TokenRequest::identity("app")).await);
        let mut sealed = Vec::new();
        for version in 1..=VERSIONS {
            if version > 1 {
                admin.post_json("/api/admin/contexts/general/rotate-key", &json!({})).await.expect(200);
            }
            if version % 10 == 1 {
                let plaintext = version.to_string();
                let body = json!({ "context": "general", "plaintext": base64(&plaintext) });
                let ciphertext = app.post_json(ENCRYPT, &body).await.expect(200).text("ciphertext");
                sealed.push(Sealed { ciphertext: json!({ "ciphertext": ciphertext }), plaintext });
            }
        }
        let listed = list(&command).await;
        assert_eq!(
            listed.iter().map(|key| (key.active, key.wrapped)).collect::<Vec<_>>(),
            [(true, KEYS), (false, 0)]
        );
        let fingerprints = [listed[0].fingerprint.clone(), listed[1].fingerprint.clone()];
        Self { cluster, command, fingerprints, app, sealed }
    }

    async fn wrapped(&self, fingerprint: &str) -> u64 {
        let listed = list(&self.command).await;
        listed.iter().find(|key| key.fingerprint == fingerprint).expect("listed").wrapped
    }

    /// A replica that has just been started, and so unwraps everything anew, decrypts everything.
    async fn check(&mut self) {
        restart(&mut self.cluster, 0).await;
        decrypt_all(&self.app, &self.sealed).await;
    }
}

/// How many keys are wrapped under a master key; `None` before it is the active one.
async fn reached(tables: &Tables, fingerprint: &str) -> Option<u64> {
    let is = |id: &str| id.trim_start_matches("\\x") == fingerprint;
    let active = tables.rows("SELECT active_kek FROM deployment").await;
    if !is(&active[0]) {
        return None;
    }
    let counted = tables.rows("SELECT kek_id, count(*) FROM wrapped_keys GROUP BY kek_id").await;
    let mut counted = counted.iter().filter_map(|row| row.split_once(' '));
    let found = counted.find(|(id, _)| is(id));
    Some(found.map_or(0, |(_, keys)| keys.parse().expect("a number")))
}

on_each_store! {
    async fn killed_at_any_point_it_is_completed_by_the_next(store) {
        let kills: u32 = if std::env::var_os("CRYPTOSERVE_TEST_FULL").is_some() { 40 } else { 6 };
        let mut walk = Walk::start(store).await;
        let tables = walk.cluster.tables().await;
        let begun = Instant::now();
        let done = rewrap(&walk.command, &walk.fingerprints[1]).await;
        let whole = begun.elapsed();
        assert_eq!((done.status.code(), rewrapped(&done)), (Some(0), KEYS), "{done:?}");
        let (mut cut_off, mut runs) = (0, 0);
        while cut_off < kills {
            // One that came to its end before it could be killed is no kill.
            assert!(runs < 4 * kills, "only {cut_off} of {runs} runs were cut off");
            // There and back again: as soon as the master key is the active one, after a page, after two, and each time a
            // little later behind that.
            let to = walk.fingerprints[runs as usize % 2].clone();
            let through = [0, 1, 101][cut_off as usize % 3];
            let mut process = walk.command.clone().arg("rewrap-keys").arg("--to").arg(&to).spawn();
            eventually("the change is on its way", async || {
                reached(&tables, &to).await.filter(|keys| *keys >= through)
            })
            .await;
            tokio::time::sleep(whole / 5 * cut_off / kills).await;
            process.kill();
            process.ended().await;
            let before = reached(&tables, &to).await.expect("it is the active one");
            if before < KEYS {
                cut_off += 1;
                if cut_off % 5 == 0 {
                    walk.check().await;
                }
            }
            let rest = rewrap(&walk.command, &to).await;
            assert_eq!((rest.status.code(), rewrapped(&rest)), (Some(0), KEYS - before), "{rest:?}");
            assert_eq!(reached(&tables, &to).await, Some(KEYS));
            runs += 1;
        }
        walk.check().await;
    }

    async fn two_at_once_share_the_work(store) {
        let mut walk = Walk::start(store).await;
        let to = walk.fingerprints[1].clone();
        let runs = join_all((0..2).map(|_| rewrap(&walk.command, &to))).await;
        for done in &runs {
            assert!(done.status.success(), "{done:?}");
        }
        assert_eq!(runs.iter().map(rewrapped).sum::<u64>(), KEYS, "{runs:?}");
        let again = rewrap(&walk.command, &to).await;
        assert!(again.status.success() && again.stdout.contains("Nothing was left to do"), "{again:?}");
        walk.check().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_does_not_unwrap_is_told_and_stops_no_other() {
    let walk = Walk::start(StoreKind::Postgres).await;
    let to = &walk.fingerprints[1];
    let database = walk.cluster.database().connect().await;
    let damage = "UPDATE wrapped_keys SET bytes = set_byte(bytes, 30, get_byte(bytes, 30) # 1) WHERE version = 7 \
                  RETURNING encode(key_id, 'hex')";
    let key: String = database.query_one(damage, &[]).await.expect("one row").get(0);
    for expected in [KEYS - 1, 0] {
        let done = rewrap(&walk.command, to).await;
        assert_eq!((done.status.code(), rewrapped(&done)), (Some(1), expected), "{done:?}");
        assert!(done.stderr.contains("version 7: authentication failed"), "{}", done.stderr);
        assert!(done.stderr.replace('-', "").contains(&key), "{}", done.stderr);
    }
    // The same bit once more.
    database.query_one(damage, &[]).await.expect("one row");
    let done = rewrap(&walk.command, to).await;
    assert_eq!((done.status.code(), rewrapped(&done)), (Some(0), 1), "{done:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn opposite_changes_at_once_leave_every_key_readable() {
    let mut walk = Walk::start(StoreKind::Postgres).await;
    let [old, new] = walk.fingerprints.clone();
    let command = walk.command.clone();
    let (one, other) = tokio::join!(rewrap(&command, &new), rewrap(&command, &old));
    for done in [&one, &other] {
        let superseded =
            done.stderr.contains("somebody else is changing it too") || done.stderr.contains("keep that");
        assert!(done.status.success() || superseded, "{done:?}");
    }
    let active = list(&command).await.into_iter().find(|key| key.active).expect("one is active").fingerprint;
    let done = rewrap(&command, &active).await;
    assert!(done.status.success(), "{done:?}");
    assert_eq!(walk.wrapped(&active).await, KEYS);
    walk.check().await;
}
