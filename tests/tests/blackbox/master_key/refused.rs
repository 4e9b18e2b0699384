use cryptoserve_tests::{Replica, StoreKind};

use super::{fresh, list, other_fingerprint, patient, rewrap, with_keys};

/// The configuration must be changed.
const CONFIGURATION: Option<i32> = Some(64);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_lacks_a_key_is_told_and_nothing_changes() {
    let mut cluster = patient(StoreKind::Postgres).start(2).await;
    let (old, new) = (cluster.secrets().master_key.clone(), fresh());
    let both = with_keys(cluster.program(), &old, &new);
    let to = other_fingerprint(&both).await;
    let before = list(&both).await;

    // This process does not know the new key, or nothing but the new key.
    let lacks_new = rewrap(&cluster.program(), &to).await;
    assert_eq!(lacks_new.status.code(), CONFIGURATION);
    assert!(lacks_new.stderr.contains(&to), "{}", lacks_new.stderr);
    let lacks_old = rewrap(&with_keys(cluster.program(), &new, ""), &to).await;
    assert_eq!(lacks_old.status.code(), CONFIGURATION);
    assert!(lacks_old.stderr.contains(&before[0].fingerprint), "{}", lacks_old.stderr);

    // Every replica that lacks it is named, and no other.
    let lacking = |stderr: &str| ["replica-0", "replica-1"].map(|name| stderr.contains(name));
    let refused = rewrap(&both, &to).await;
    assert_eq!((refused.status.code(), lacking(&refused.stderr)), (Some(1), [true, true]), "{refused:?}");
    for (index, expected) in [(0, Some([false, true])), (1, None)] {
        assert_eq!(list(&both).await, before);
        let replica = cluster.replica_mut(index);
        replica.process().terminate();
        replica.ended().await;
        replica.start_again_with(|program| with_keys(program, &old, &new)).await;
        let done = rewrap(&both, &to).await;
        match expected {
            Some(expected) => {
                assert_eq!((done.status.code(), lacking(&done.stderr)), (Some(1), expected), "{done:?}");
            }
            None => assert!(done.status.success(), "{done:?}"),
        }
        for secret in [&old, &new] {
            assert!(!format!("{done:?}").contains(secret.as_str()));
        }
    }

    // From now on no process starts without the new key, and says which it lacks.
    for command in ["serve", "token"] {
        let done = cluster.program().env("BIND_ADDR", "127.0.0.1:0").arg(command).run().await;
        assert_eq!(done.status.code(), CONFIGURATION, "{}", done.stderr);
        assert!(done.stderr.contains(&to), "{}", done.stderr);
    }
    Replica::start(&with_keys(cluster.program(), &new, "")).await;
}
