use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use rusqlite::Connection;
use tempfile::TempDir;

use super::*;
use crate::app::set_up;
use crate::clock::{Clock, Timestamp};
use crate::config::{Config, Migrate, Secrets};
use crate::data_dir::{DESTRUCTIONS_FILE, DataDir, DataDirError};
use crate::keyring::Keks;
use crate::store::sqlite::SqliteStore;
use crate::store::{self, Deployment, Store};

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

/// A deployment of its own, and room for backups.
struct Machine {
    root: TempDir,
    data: DataDir,
    secrets: Secrets,
}

impl Machine {
    async fn new() -> Self {
        let root = tempfile::tempdir().expect("a directory");
        let data = data_dir(root.path());
        let config = Config::from_vars(std::iter::empty::<(&str, &str)>()).expect("a good environment");
        let secrets = Secrets::resolve(&config, Some(&data)).expect("secrets are made").secrets;
        let machine = Self { root, data, secrets };
        machine.open().await.1.close().await;
        machine
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    async fn open(&self) -> (Deployment, SqliteStore) {
        open(&self.data, &self.secrets).await
    }

    fn take(&self, name: &str) -> Result<Manifest, BackupError> {
        take(&self.data, &self.path(name), None, NOW)
    }
}

fn data_dir(root: &Path) -> DataDir {
    let path = root.join("data");
    DataDir::open(&path, &path.join("store.db")).expect("a good directory")
}

async fn open(data: &DataDir, secrets: &Secrets) -> (Deployment, SqliteStore) {
    let keks = Keks::derive(&secrets.master_key, &[], &secrets.hkdf_salt).expect("derives");
    let store = SqliteStore::open(data.database_file()).await.expect("opens");
    let deployment = set_up(&store, &keks, Migrate::Auto, &Clock::system()).await.expect("sets up");
    (deployment, store)
}

/// Into a data directory of its own.
fn restored(from: &Path) -> (TempDir, DataDir, Result<Manifest, BackupError>) {
    let root = tempfile::tempdir().expect("a directory");
    let data = data_dir(root.path());
    let result = restored_into(from, &data);
    (root, data, result)
}

fn restored_into(from: &Path, data: &DataDir) -> Result<Manifest, BackupError> {
    restore(from, data, &data.lock_server().expect("no server"))
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).expect("a directory");
    let mut names: Vec<_> =
        entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8")).collect();
    names.sort();
    names
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("it exists").mode() & 0o7777
}

#[tokio::test]
async fn what_was_backed_up_comes_back_and_nothing_else() {
    let machine = Machine::new().await;
    let (before, store) = machine.open().await;
    let backup = machine.path("backup");
    let made = machine.take("backup").expect("a backup, with the store open");
    assert_eq!(names(&backup), ["cryptoserve.db", "manifest.json"]);
    assert_eq!(mode(&backup), 0o700);
    assert!(names(&backup).iter().all(|name| mode(&backup.join(name)) == 0o600));
    assert_eq!(made.master_key_fingerprint, before.active_kek.to_string());
    assert_eq!(made.created_at, "2027-01-15T08:00:00.000Z");
    assert_eq!(made.release, env!("CARGO_PKG_VERSION"));
    store.close().await;

    let (_root, data, result) = restored(&backup);
    assert_eq!(result.expect("restored"), made);
    assert_eq!(names(data.path()), ["restored", "server.lock", "store.db"]);
    assert!(names(data.path()).iter().all(|name| mode(&data.path().join(name)) == 0o600));
    assert!(matches!(data.check_restored(), Err(DataDirError::Restored { .. })));
    data.clear_restored().expect("cleared");
    data.check_restored().expect("now usable");

    let (after, store) = open(&data, &machine.secrets).await;
    assert_eq!(after, before);
    let contexts = store.contexts(after.tenant.id, false, None, 100).await.expect("contexts");
    assert!(contexts.len() > 1);
    store.close().await;
}

#[tokio::test]
async fn secrets_go_along_only_when_given() {
    let machine = Machine::new().await;
    let backup = machine.path("backup");
    take(&machine.data, &backup, Some(&machine.secrets), NOW).expect("a backup");
    assert_eq!(names(&backup), ["cryptoserve.db", "manifest.json", "secrets.env"]);
    assert_eq!(mode(&backup.join("secrets.env")), 0o600);

    let (_root, data, result) = restored(&backup);
    result.expect("restored");
    let config = Config::from_vars(std::iter::empty::<(&str, &str)>()).expect("a good environment");
    let secrets = Secrets::resolve(&config, Some(&data)).expect("they are there").secrets;
    open(&data, &secrets).await.1.close().await;

    // The others that it knows, under which some keys may still be wrapped, go along.
    let mut rotated = machine.secrets.clone();
    let random = |_| crate::secret::Secret::new(crate::crypto::random::array().expect("random bytes"));
    rotated.master_key_previous = (0..2).map(random).collect();
    take(&machine.data, &machine.path("rotated"), Some(&rotated), NOW).expect("a backup");
    let (_root, data, result) = restored(&machine.path("rotated"));
    result.expect("restored");
    let kept = Secrets::resolve(&config, Some(&data)).expect("they are there").secrets;
    assert!(kept.master_key_previous == rotated.master_key_previous && kept.master_key == rotated.master_key);

    // Others would be found out when it is too late.
    let others = Machine::new().await.secrets;
    let refused = take(&machine.data, &machine.path("other"), Some(&others), NOW);
    assert!(matches!(refused, Err(BackupError::WrongSecrets { .. })), "{refused:?}");
    assert!(!machine.path("other").exists());

    let mut broken = machine.secrets.clone();
    broken.jwt_key.expose_mut().push(b'\n');
    let refused = take(&machine.data, &machine.path("other"), Some(&broken), NOW);
    assert!(matches!(refused, Err(BackupError::SecretsUnwritable)), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_is_of_one_moment_while_others_write() {
    let machine = Machine::new().await;
    let (deployment, store) = machine.open().await;
    let (stop, written) = (AtomicBool::new(false), std::sync::atomic::AtomicU64::new(0));
    let write = async {
        let general = "general".parse().expect("a name");
        let update = store::ContextUpdate { description: Some("changed".into()), ..Default::default() };
        while !stop.load(Ordering::Acquire) {
            let changed = store.update_context(deployment.tenant.id, &general, &update, NOW).await;
            assert!(changed.expect("the store works").is_some());
            written.fetch_add(1, Ordering::AcqRel);
            tokio::task::yield_now().await;
        }
    };
    let backups = async {
        for number in 0..10 {
            let before = written.load(Ordering::Acquire);
            while written.load(Ordering::Acquire) == before {
                tokio::task::yield_now().await;
            }
            let (data, to) = (machine.data.clone(), machine.path(&format!("backup-{number}")));
            let taken = tokio::task::spawn_blocking(move || take(&data, &to, None, NOW).map(|_| to));
            let to = taken.await.expect("no panic").expect("a backup");
            // A change and its revision are one transaction: the copy has both or none.
            let copy = Connection::open(to.join(DATABASE)).expect("a database");
            let both = "SELECT r.value, (SELECT max(revision) FROM changes) FROM revision r";
            let (value, last): (i64, i64) =
                copy.query_row(both, [], |row| Ok((row.get(0)?, row.get(1)?))).expect("a row");
            assert_eq!(value, last);
            assert!(value >= i64::try_from(before).expect("small"));
        }
        stop.store(true, Ordering::Release);
    };
    tokio::join!(write, backups);
    store.close().await;
}

#[tokio::test]
async fn a_backup_never_mixes_with_what_is_there() {
    let machine = Machine::new().await;
    fs::create_dir(machine.path("used")).expect("made");
    fs::write(machine.path("used/file"), "mine").expect("written");
    let refused = machine.take("used");
    assert!(matches!(refused, Err(BackupError::NotEmpty { .. })), "{refused:?}");
    assert_eq!(names(&machine.path("used")), ["file"]);

    fs::create_dir(machine.path("empty")).expect("made");
    machine.take("empty").expect("a backup in an empty directory");
    assert_eq!(mode(&machine.path("empty")), 0o700);
    assert!(matches!(machine.take("empty"), Err(BackupError::NotEmpty { .. })));
    assert!(matches!(machine.take("no/parent"), Err(BackupError::NoParent { .. })));

    let (_root, data, _) = restored(&machine.path("used"));
    let refused = take(&data, &machine.path("nothing"), None, NOW);
    assert!(matches!(refused, Err(BackupError::NoDatabase { .. })), "{refused:?}");
    assert!(!machine.path("nothing").exists());
}

#[tokio::test]
async fn what_is_not_a_whole_backup_is_refused() {
    let machine = Machine::new().await;
    take(&machine.data, &machine.path("good"), Some(&machine.secrets), NOW).expect("a backup");
    let (file, other) = (MANIFEST, "0".repeat(64));
    let text = fs::read_to_string(machine.path("good").join(MANIFEST)).expect("a manifest");
    let with = |from: &str, to: &str| {
        assert!(text.contains(from), "{text}");
        text.replace(from, to).into_bytes()
    };
    let sha256 = restored(&machine.path("good")).2.expect("restored").database_sha256;
    let database = fs::read(machine.path("good").join(DATABASE)).expect("a database");
    let mut flipped = database.clone();
    flipped[5000] ^= 1;
    for (name, content, says) in [
        (DATABASE, flipped, "altered or cut"),
        (DATABASE, database[..database.len() - 4096].to_vec(), "altered or cut"),
        (DATABASE, Vec::new(), "altered or cut"),
        (file, Vec::new(), "not the manifest"),
        (file, b"[]".to_vec(), "not the manifest"),
        (file, with("\"format\": 1", "\"format\": 2"), "another format"),
        (file, with("\"format\": 1,", ""), "not the manifest"),
        (file, with(&sha256, &other), "altered or cut"),
        (file, with("\"oldest_release\": \"0", "\"oldest_release\": \"7"), "does not describe"),
        (
            file,
            with("\"master_key_fingerprint\": \"", "\"master_key_fingerprint\": \"f"),
            "does not describe",
        ),
        (file, vec![b' '; 70_000], "larger"),
        (SECRETS, vec![b' '; 70_000], "larger"),
    ] {
        let backup = tempfile::tempdir().expect("a directory");
        for name in names(&machine.path("good")) {
            fs::copy(machine.path("good").join(&name), backup.path().join(&name)).expect("copied");
        }
        fs::write(backup.path().join(name), content).expect("written");
        refuses(backup.path(), says);
    }
    for (name, says) in
        [(DATABASE, "No such file"), (MANIFEST, "this is no backup"), (SECRETS, "does not exist")]
    {
        let kept = fs::read(machine.path("good").join(name)).expect("there");
        fs::remove_file(machine.path("good").join(name)).expect("there");
        refuses(&machine.path("good"), says);
        fs::write(machine.path("good").join(name), kept).expect("written");
    }
}

/// Refuses the backup, and leaves no database behind.
fn refuses(backup: &Path, says: &str) {
    let (_root, data, result) = restored(backup);
    let error = result.expect_err(says);
    assert!(error.to_string().contains(says), "{error}");
    assert!(names(data.path()).iter().all(|name| name == "server.lock"), "{:?}", names(data.path()));
    data.check_restored().expect("no mark without a database");
}

#[tokio::test]
async fn a_database_with_a_damaged_page_is_refused_even_with_the_right_hash() {
    const PAGE: usize = 4096;
    let machine = Machine::new().await;
    machine.take("backup").expect("a backup");
    let (database, manifest) = (machine.path("backup").join(DATABASE), machine.path("backup").join(MANIFEST));
    let old = restored(&machine.path("backup")).2.expect("restored").database_sha256;
    let text = fs::read_to_string(&manifest).expect("a manifest");
    let whole = fs::read(&database).expect("a database");
    assert!(whole.len() > 10 * PAGE);
    for page in 0..whole.len() / PAGE {
        let mut content = whole.clone();
        content[page * PAGE..][..PAGE].fill(0);
        fs::write(&database, &content).expect("written");
        let new = files::digest(&database, |_| Ok(())).expect("read").sha256;
        fs::write(&manifest, text.replace(&old, &new)).expect("written");
        let (_root, _data, result) = restored(&machine.path("backup"));
        assert!(
            matches!(result, Err(BackupError::Store(store::Error::Invalid(_)))),
            "page {page}: {result:?}"
        );
    }
    // And a store that is damaged gives no backup.
    let mut content = whole.clone();
    content[2 * PAGE..][..PAGE].fill(0);
    fs::write(machine.data.database_file(), &content).expect("written");
    assert!(matches!(machine.take("again"), Err(BackupError::Store(_))));
    assert!(!machine.path("again").exists());
}

#[tokio::test]
async fn a_release_that_is_too_old_restores_nothing() {
    let machine = Machine::new().await;
    let newer = Connection::open(machine.data.database_file()).expect("a database");
    newer.execute("UPDATE schema_compat SET oldest_release = '99.0.0'", []).expect("updated");
    newer.close().expect("closed");
    machine.take("backup").expect("backing up is possible");
    let (_root, _data, result) = restored(&machine.path("backup"));
    assert!(matches!(result, Err(BackupError::Store(store::Error::TooOld { .. }))), "{result:?}");
}

#[tokio::test]
async fn a_restore_never_overwrites() {
    let machine = Machine::new().await;
    take(&machine.data, &machine.path("backup"), Some(&machine.secrets), NOW).expect("a backup");
    for suffix in ["", "-wal", "-shm", "-journal"] {
        let root = tempfile::tempdir().expect("a directory");
        let data = data_dir(root.path());
        let file = data.path().join(format!("store.db{suffix}"));
        fs::write(&file, "mine").expect("written");
        let refused = restored_into(&machine.path("backup"), &data);
        assert!(
            matches!(&refused, Err(BackupError::DatabaseExists { path }) if *path == file),
            "{refused:?}"
        );
        assert_eq!(fs::read(&file).expect("still there"), b"mine");
    }

    let root = tempfile::tempdir().expect("a directory");
    let data = data_dir(root.path());
    fs::write(data.secrets_file(), "HKDF_SALT=other\n").expect("written");
    let refused = restored_into(&machine.path("backup"), &data);
    assert!(matches!(refused, Err(BackupError::OtherSecrets { .. })), "{refused:?}");
    assert_eq!(names(data.path()), ["secrets.env", "server.lock"]);
    // Its own, which an attempt that was interrupted may have left.
    fs::copy(machine.data.secrets_file(), data.secrets_file()).expect("copied");
    data.mark_restored().expect("marked");
    restored_into(&machine.path("backup"), &data).expect("restored");
}

#[tokio::test]
async fn destructions_go_along_and_are_added() {
    let machine = Machine::new().await;
    fs::write(machine.data.path().join(DESTRUCTIONS_FILE), "{\"version\":1}\n").expect("written");
    machine.take("backup").expect("a backup");
    let root = tempfile::tempdir().expect("a directory");
    let data = data_dir(root.path());
    // The last line was cut by a crash.
    fs::write(data.path().join(DESTRUCTIONS_FILE), "{\"version\":2}\n{\"ver").expect("written");
    restored_into(&machine.path("backup"), &data).expect("restored");
    let text = fs::read_to_string(data.path().join(DESTRUCTIONS_FILE)).expect("there");
    assert_eq!(text, "{\"version\":2}\n{\"ver\n{\"version\":1}\n");
}
