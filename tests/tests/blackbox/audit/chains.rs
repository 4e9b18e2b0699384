//! Reads the whole trail and authenticates it again.

use cryptoserve_core::audit::{ChainRow, Checkpoint, Keys, StoredRecord};
use cryptoserve_core::clock::Clock;
use cryptoserve_core::config::{Config, DatabaseUrl};
use cryptoserve_core::keyring::Keks;
use cryptoserve_core::store::Store;
use cryptoserve_core::store::postgres::{PostgresOptions, PostgresStore};
use cryptoserve_core::store::sqlite::SqliteStore;
use cryptoserve_tests::{Cluster, Secrets, StoreKind};

/// Records in one look.
const PAGE: u32 = 500;

/// A trail of which every chain is whole, and every checkpoint true.
pub(crate) struct Trail {
    /// In the order in which they began, each with its records.
    pub(crate) chains: Vec<(ChainRow, Vec<StoredRecord>)>,
    pub(crate) checkpoints: Vec<Checkpoint>,
}

impl Trail {
    /// That of a cluster's own store.
    pub(crate) async fn of(cluster: &Cluster, store: StoreKind) -> Self {
        match store {
            StoreKind::Postgres => Self::at(cluster.database().url().as_str(), cluster.secrets()).await,
            StoreKind::Sqlite => {
                let database = cluster.data_dir().join("cryptoserve.db");
                let url = format!("sqlite://{}", database.to_str().expect("UTF-8"));
                Self::at(&url, &generated(cluster)).await
            }
        }
    }

    pub(crate) async fn at(url: &str, secrets: &Secrets) -> Self {
        let config = Config::from_vars([
            ("DATABASE_URL", url),
            ("CRYPTOSERVE_MASTER_KEY", &secrets.master_key),
            ("JWT_SECRET_KEY", &secrets.jwt_secret_key),
            ("HKDF_SALT", &secrets.hkdf_salt),
        ])
        .expect("a configuration");
        let (master_key, salt) = (config.crypto.master_key.as_ref(), config.crypto.hkdf_salt.as_ref());
        let keks = Keks::derive(master_key.expect("set"), &[], salt.expect("set")).expect("derived");
        match &config.database.url {
            DatabaseUrl::Sqlite(path) => {
                read(SqliteStore::open(path.clone()).await.expect("opened"), &keks).await
            }
            DatabaseUrl::Postgres(url) => {
                let options = PostgresOptions::new(url, &config.database);
                read(PostgresStore::connect(&options).await.expect("connected"), &keks).await
            }
        }
    }

    pub(crate) fn records(&self) -> impl Iterator<Item = &StoredRecord> {
        self.chains.iter().flat_map(|(_, records)| records)
    }
}

/// The secrets that an embedded store has made.
fn generated(cluster: &Cluster) -> Secrets {
    let file = std::fs::read_to_string(cluster.data_dir().join("secrets.env")).expect("generated secrets");
    let secret = |name: &str| {
        let value = file.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        value.expect("a secret").to_owned()
    };
    Secrets {
        master_key: secret("CRYPTOSERVE_MASTER_KEY"),
        jwt_secret_key: secret("JWT_SECRET_KEY"),
        hkdf_salt: secret("HKDF_SALT"),
    }
}

async fn read<S: Store>(store: S, keks: &Keks) -> Trail {
    let keys = Keys::open(&store, keks, &Clock::system()).await.expect("the audit keys");
    // Before the chains, which may go on meanwhile.
    let checkpoints = store.audit_checkpoints(0, u32::MAX >> 1).await.expect("read");
    let mut chains = Vec::new();
    for chain in store.audit_chains(None, u32::MAX >> 1).await.expect("read") {
        let records = records(&store, &keys, &chain).await;
        chains.push((chain, records));
    }
    store.close().await;
    let mut previous = [0; 32];
    for (checkpoint, number) in checkpoints.iter().zip(1..) {
        checkpoint.verify(&keys).expect("a good signature");
        assert_eq!((checkpoint.number, checkpoint.previous), (number, previous));
        previous = checkpoint.hash();
        for entry in checkpoint.entries().expect("entries") {
            let (_, records) = chains.iter().find(|(chain, _)| chain.id == entry.chain).expect("its chain");
            let seq = usize::try_from(entry.head.seq).expect("small");
            assert_eq!(records[seq].mac, entry.head.mac, "{entry:?}");
        }
    }
    Trail { chains, checkpoints }
}

/// Each authenticated, with the one before it; up to what the chain's row says, as the chain may go on.
async fn records<S: Store>(store: &S, keys: &Keys, chain: &ChainRow) -> Vec<StoredRecord> {
    let key = keys.chain_key(chain.id).expect("a key");
    let mut records: Vec<StoredRecord> = Vec::new();
    loop {
        let after = records.last().map(|last| (last.seq, last.recorded_at));
        let page = store.audit_records(chain.id, after, PAGE).await.expect("read");
        if page.is_empty() {
            break;
        }
        for record in page {
            let previous = records.last();
            assert_eq!(record.seq, records.len() as u64);
            assert!(record.recorded_at >= record.at);
            assert!(previous.is_none_or(|previous| previous.recorded_at <= record.recorded_at));
            assert_eq!(record.mac, key.mac(&previous.map_or([0; 32], |previous| previous.mac), &record));
            records.push(record);
        }
    }
    assert_eq!(records[usize::try_from(chain.head.seq).expect("small")].mac, chain.head.mac);
    records
}
