use cryptoserve_tests::{Cluster, Program, Secrets, StoreKind, TokenRequest};

use super::load::{Load, decrypt_all};
use super::{fresh, list, other_fingerprint, patient, rewrap, rewrapped, with_keys};
use crate::audit::chains::Trail;

/// Ends each replica as an orchestrator does, and starts it again otherwise, one after the other.
async fn roll_out(cluster: &mut Cluster, load: &Load, change: impl Fn(Program) -> Program) {
    for index in 0..cluster.replicas().len() {
        let replica = cluster.replica_mut(index);
        replica.process().terminate();
        assert!(replica.ended().await.success(), "{:?}", replica.log());
        replica.start_again_with(&change).await;
        load.goes_on().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_replicas_change_their_master_key_and_no_request_fails() {
    let mut cluster = patient(StoreKind::Postgres).start(3).await;
    let (old, new) = (cluster.secrets().master_key.clone(), fresh());
    let token = cluster.token(&TokenRequest::identity("app")).await;
    let load = Load::start(&cluster).await;
    load.goes_on().await;

    // Step 1.
    roll_out(&mut cluster, &load, |program| with_keys(program, &old, &new)).await;
    // Step 2.
    let command = with_keys(cluster.program(), &old, &new);
    let to = other_fingerprint(&command).await;
    let done = rewrap(&command, &to).await;
    assert!(done.status.success() && rewrapped(&done) >= 9, "{done:?}");
    assert!(done.stdout.contains("Next: step 3"), "{}", done.stdout);
    load.goes_on().await;
    let listed = list(&command).await;
    let active: Vec<_> = listed.iter().filter(|key| key.active).map(|key| &key.fingerprint).collect();
    assert_eq!(active, [&to]);
    assert_eq!(listed.iter().find(|key| key.fingerprint != to).map(|key| key.wrapped), Some(0));
    for replica in cluster.replicas() {
        let line = "another master key is the active one: new keys are wrapped under it";
        assert_eq!(replica.log().message(line).await.field("master_key_fingerprint"), Some(to.clone()));
    }
    // Step 3.
    roll_out(&mut cluster, &load, |program| with_keys(program, &new, &old)).await;
    let again = rewrap(&with_keys(cluster.program(), &new, &old), &to).await;
    assert!(again.status.success() && again.stdout.contains("Nothing was left to do"), "{again:?}");
    assert!(again.stdout.contains("step 4"), "{}", again.stdout);
    // Step 4.
    roll_out(&mut cluster, &load, |program| with_keys(program, &new, "")).await;
    let sealed = load.end().await;
    for replica in cluster.replicas() {
        decrypt_all(&replica.client().with_token(&token), &sealed).await;
    }
    let done = with_keys(cluster.program(), &new, "").arg("rewrap-keys").run().await;
    assert!(done.stdout.contains("No change of the master key is under way"), "{}", done.stdout);

    let database = cluster.database().connect().await;
    let audited = "SELECT detail FROM audit_records WHERE operation = 'command.rewrap-keys' ORDER BY recorded_at, chain_id, seq";
    let rows = database.query(audited, &[]).await.expect("records");
    let details: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(details.len(), 2, "{details:?}");
    assert_eq!(details[0], format!("{to} is the active master key"));
    assert!(details[1].ends_with(&format!("keys rewrapped under master key {to}, 0 failed")), "{details:?}");

    // The keys of the audit trail have come along: chains from before and after are authenticated with the same.
    let secrets = Secrets { master_key: new, ..cluster.secrets().clone() };
    let trail = Trail::at(cluster.database().url().as_str(), &secrets).await;
    assert!(
        trail.chains.iter().filter(|(chain, _)| chain.ended.is_none()).count() >= 3,
        "each replica has one"
    );
    assert!(trail.records().any(|record| record.operation == "command.rewrap-keys"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_embedded_store_changes_its_master_key_by_its_secrets_file() {
    let mut cluster = patient(StoreKind::Sqlite).start(1).await;
    let token = cluster.token(&TokenRequest::identity("app")).await;
    let load = Load::start(&cluster).await;
    load.goes_on().await;
    let path = cluster.data_dir().join("secrets.env");
    let generated = std::fs::read_to_string(&path).expect("the secrets");
    let old = generated.lines().find_map(|line| line.strip_prefix("CRYPTOSERVE_MASTER_KEY="));
    let (old, new) = (old.expect("a master key").to_owned(), fresh());
    // A restart of the one server, between two steps: clients wait for it.
    let write = |first: &str, others: &str| {
        let mut text = generated.replace(&old, first);
        if !others.is_empty() {
            text.push_str(&format!("CRYPTOSERVE_MASTER_KEY_PREVIOUS={others}\n"));
        }
        std::fs::write(&path, text).expect("our file");
    };
    let command = cluster.program();
    write(&old, &new);
    let to = other_fingerprint(&command).await;
    let refused = rewrap(&command, &to).await;
    assert_eq!(refused.status.code(), Some(1), "the server does not know it yet: {refused:?}");

    roll_out(&mut cluster, &load, |program| program).await;
    let done = rewrap(&command, &to).await;
    assert!(done.status.success() && rewrapped(&done) >= 9, "{done:?}");
    load.goes_on().await;
    write(&new, &old);
    roll_out(&mut cluster, &load, |program| program).await;
    write(&new, "");
    roll_out(&mut cluster, &load, |program| program).await;
    let sealed = load.end().await;
    decrypt_all(&cluster.client(0).with_token(&token), &sealed).await;
    let listed = list(&command).await;
    assert!(listed.len() == 1 && listed[0].active && listed[0].fingerprint == to, "{listed:?}");
}
