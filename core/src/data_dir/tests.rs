use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::Barrier;
use std::thread;

use super::*;
use crate::config::{Config, Secrets};

struct Directory {
    root: tempfile::TempDir,
}

impl Directory {
    fn new() -> Self {
        Self { root: tempfile::tempdir().expect("a directory") }
    }

    fn path(&self) -> PathBuf {
        self.root.path().join("deep/data")
    }

    fn open(&self) -> Result<DataDir, DataDirError> {
        DataDir::open(&self.path(), &self.path().join("cryptoserve.db"))
    }

    fn resolve(&self) -> Result<ResolvedSecrets, DataDirError> {
        Secrets::resolve(&config(&[]), Some(&self.open().expect("a good directory")))
    }

    fn secrets_file(&self) -> PathBuf {
        self.path().join("secrets.env")
    }
}

fn config(vars: &[(&str, &str)]) -> Config {
    Config::from_vars(vars.iter().copied()).expect("a good environment")
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("a file").mode() & 0o7777
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("our file");
}

/// Everything of the secrets, for comparison.
fn bytes(secrets: &Secrets) -> Vec<u8> {
    [&secrets.master_key.expose()[..], secrets.jwt_key.expose(), secrets.hkdf_salt.expose()].concat()
}

#[test]
fn the_directory_and_its_files_are_private() {
    let directory = Directory::new();
    let resolved = directory.resolve().expect("a first start");
    let _lock = directory.open().expect("a good directory").lock_server().expect("no other server");
    assert_eq!(mode(&directory.path()), 0o700);
    assert_eq!(resolved.generated, Some(directory.secrets_file()));
    let files: Vec<_> = fs::read_dir(directory.path()).expect("our directory").flatten().collect();
    let mut names: Vec<_> = files.iter().map(|file| file.file_name()).collect();
    names.sort();
    assert_eq!(names, ["secrets.env", "server.lock"]);
    assert!(files.iter().all(|file| mode(&file.path()) == 0o600));
}

#[test]
fn generated_secrets_stay_and_differ() {
    let directory = Directory::new();
    let first = directory.resolve().expect("a first start");
    let second = directory.resolve().expect("a second start");
    assert_eq!(bytes(&first.secrets), bytes(&second.secrets));
    assert_eq!(second.generated, None);
    assert_eq!(bytes(&first.secrets).len(), 32 + 64 + 64);
    assert_ne!(bytes(&first.secrets), bytes(&Directory::new().resolve().expect("a first start").secrets));
}

#[test]
fn processes_that_start_together_agree() {
    for _ in 0..20 {
        let directory = Directory::new();
        let barrier = Barrier::new(12);
        let start = || {
            barrier.wait();
            directory.resolve().expect("a first start")
        };
        let all: Vec<_> = thread::scope(|scope| {
            let threads: Vec<_> = (0..12).map(|_| scope.spawn(start)).collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
        });
        assert_eq!(all.iter().filter(|resolved| resolved.generated.is_some()).count(), 1);
        assert!(all.iter().all(|resolved| bytes(&resolved.secrets) == bytes(&all[0].secrets)));
        assert_eq!(fs::read_dir(directory.path()).expect("our directory").count(), 1, "a draft was left");
    }
}

#[test]
fn only_what_the_environment_lacks_is_generated() {
    let directory = Directory::new();
    let salt = "q7Wd0xVn3RtYk9Lp";
    let with_salt = config(&[("HKDF_SALT", salt)]);
    let data_dir = directory.open().expect("a good directory");
    let first = Secrets::resolve(&with_salt, Some(&data_dir)).expect("a first start").secrets;
    assert_eq!(first.hkdf_salt.expose(), salt.as_bytes());
    let file = fs::read_to_string(directory.secrets_file()).expect("the secrets");
    assert_eq!(file.lines().count(), 2);
    // Without the salt again: another one would lose the data.
    let error = Secrets::resolve(&config(&[]), Some(&data_dir)).expect_err("the salt is gone").to_string();
    assert!(error.contains("lacks HKDF_SALT"), "{error}");
    // A salt in the file does not replace the environment's.
    fs::write(directory.secrets_file(), format!("{file}HKDF_SALT=Lp3RtYk9q7Wd0xVn\n")).expect("our file");
    let second = Secrets::resolve(&with_salt, Some(&data_dir)).expect("complete").secrets;
    assert_eq!(bytes(&first), bytes(&second));
}

#[test]
fn further_master_keys_may_stand_in_the_file_and_the_environment() {
    let [one, other] = [1, 2].map(|seed| -> String {
        (0..32_u32).map(|i| format!("{:02x}", (i * 37 + seed * 101) % 251)).collect()
    });
    let directory = Directory::new();
    directory.resolve().expect("a first start");
    let file = fs::read_to_string(directory.secrets_file()).expect("the secrets");
    let previous = format!("{file}CRYPTOSERVE_MASTER_KEY_PREVIOUS={one}\n");
    fs::write(directory.secrets_file(), &previous).expect("our file");
    let known = |vars: &[(&str, &str)]| -> Vec<String> {
        let data_dir = directory.open().expect("a good directory");
        let secrets = Secrets::resolve(&config(vars), Some(&data_dir)).expect("complete").secrets;
        secrets.master_key_previous.iter().map(|key| hex::encode(key.expose())).collect()
    };
    assert_eq!(known(&[]), [one.as_str()]);
    assert_eq!(known(&[("CRYPTOSERVE_MASTER_KEY_PREVIOUS", &other)]), [other.as_str(), &one]);
    for (line, reason) in [
        (format!("CRYPTOSERVE_MASTER_KEY_PREVIOUS={one},canary"), "bad value in line 4"),
        (
            format!("CRYPTOSERVE_MASTER_KEY_PREVIOUS={one}\nCRYPTOSERVE_MASTER_KEY_PREVIOUS={other}"),
            "a second",
        ),
    ] {
        fs::write(directory.secrets_file(), format!("{file}{line}\n")).expect("our file");
        let error = directory.resolve().expect_err(reason).to_string();
        assert!(error.contains(reason) && !error.contains("canary") && !error.contains(&one), "{error}");
    }
}

#[test]
fn nothing_is_generated_if_the_environment_gives_all() {
    let directory = Directory::new();
    let lines = crate::config::generate_env_lines(&SecretName::ALL);
    let vars: Vec<_> = lines.expose().lines().filter_map(|line| line.split_once('=')).collect();
    let data_dir = directory.open().expect("a good directory");
    assert!(Secrets::resolve(&config(&vars), Some(&data_dir)).expect("complete").generated.is_none());
    assert!(!directory.secrets_file().exists());
    assert!(Secrets::resolve(&config(&vars), None).is_ok());
    let missing = Secrets::resolve(&config(&vars[1..]), None);
    assert!(
        matches!(missing, Err(DataDirError::SecretsMissing { missing }) if missing == [SecretName::MasterKey])
    );
}

#[test]
fn a_cut_secrets_file_is_refused_wherever_it_is_cut() {
    let directory = Directory::new();
    directory.resolve().expect("a first start");
    let whole = fs::read(directory.secrets_file()).expect("the secrets");
    for length in 0..whole.len() {
        fs::write(directory.secrets_file(), &whole[..length]).expect("our file");
        let error = directory.resolve().expect_err("a cut file");
        assert!(matches!(error, DataDirError::SecretsDamaged { .. }), "{length}: {error}");
        assert_eq!(fs::read(directory.secrets_file()).expect("the secrets").len(), length, "it was changed");
    }
    fs::write(directory.secrets_file(), &whole).expect("our file");
    directory.resolve().expect("the whole file again");
}

#[test]
fn a_damaged_secrets_file_is_refused_without_showing_it() {
    let directory = Directory::new();
    directory.resolve().expect("a first start");
    let whole = fs::read_to_string(directory.secrets_file()).expect("the secrets");
    for (damaged, reason) in [
        (whole.replacen('=', "=canary", 1), "bad value in line 1: CRYPTOSERVE_MASTER_KEY must be 64"),
        (whole.replacen('=', ":", 1), "no NAME=value in line 1"),
        (whole.replacen("JWT", "canary", 1), "unknown name in line 2"),
        (format!("{whole}{whole}"), "second CRYPTOSERVE_MASTER_KEY in line 4"),
        (format!("# kept\n\n{}", whole.replacen("HKDF_SALT=", "HKDF_SALT=dev-", 1)), "bad value in line 5"),
    ] {
        fs::write(directory.secrets_file(), damaged).expect("our file");
        let error = directory.resolve().expect_err(reason).to_string();
        assert!(error.contains(reason), "{error}");
        let values: Vec<_> =
            whole.lines().filter_map(|line| line.split_once('=')).map(|(_, value)| value).collect();
        assert!(!error.contains("canary") && values.iter().all(|value| !error.contains(value)), "{error}");
    }
    fs::write(directory.secrets_file(), b"\xff\n").expect("our file");
    assert!(matches!(directory.resolve(), Err(DataDirError::SecretsDamaged { .. })));
}

#[test]
fn a_secrets_file_that_others_can_read_is_refused() {
    let directory = Directory::new();
    directory.resolve().expect("a first start");
    for wide in [0o604, 0o640, 0o620] {
        chmod(&directory.secrets_file(), wide);
        let error = directory.resolve().expect_err("an open file");
        assert!(matches!(error, DataDirError::NotPrivate { mode, .. } if mode == wide), "{error}");
    }
}

#[test]
fn a_database_without_its_secrets_never_gets_new_ones() {
    let directory = Directory::new();
    let data_dir = directory.open().expect("a good directory");
    fs::write(data_dir.database_file(), "").expect("our file");
    let error = directory.resolve().expect_err("the secrets are gone");
    assert!(matches!(error, DataDirError::SecretsLost { .. }));
    for text in ["cryptoserve.db", "secrets.env", "CRYPTOSERVE_MASTER_KEY, JWT_SECRET_KEY, HKDF_SALT"] {
        assert!(error.to_string().contains(text), "{error}");
    }
    assert!(!directory.secrets_file().exists());
}

#[test]
fn an_open_directory_is_closed_only_while_it_is_empty() {
    let directory = Directory::new();
    fs::create_dir_all(directory.path()).expect("our directory");
    for wide in [0o755, 0o777, 0o1777, 0o710] {
        chmod(&directory.path(), wide);
        directory.open().expect("an empty directory");
        assert_eq!(mode(&directory.path()), 0o700);
    }
    fs::write(directory.path().join("x"), "").expect("our file");
    chmod(&directory.path(), 0o750);
    let error = directory.open().expect_err("others may have read it");
    assert!(matches!(error, DataDirError::NotPrivate { mode: 0o750, .. }), "{error}");
    assert_eq!(mode(&directory.path()), 0o750);
}

#[test]
fn a_file_is_no_directory() {
    let directory = Directory::new();
    fs::create_dir_all(directory.root.path().join("deep")).expect("our directory");
    fs::write(directory.path(), "").expect("our file");
    chmod(&directory.path(), 0o600);
    assert!(matches!(directory.open(), Err(DataDirError::Io { .. })));
}

#[test]
fn one_server_at_a_time() {
    let directory = Directory::new();
    let data_dir = directory.open().expect("a good directory");
    let lock = data_dir.lock_server().expect("no other server");
    let error = directory.open().expect("commands may open it").lock_server().expect_err("a server runs");
    assert!(error.to_string().contains("another server process is running"), "{error}");
    drop(lock);
    data_dir.lock_server().expect("the other server is gone");
}

#[test]
fn postgres_needs_no_directory() {
    let lines = crate::config::generate_env_lines(&SecretName::ALL);
    let mut vars: Vec<_> = lines.expose().lines().filter_map(|line| line.split_once('=')).collect();
    vars.push(("DATABASE_URL", "postgres://u@db/app"));
    assert!(DataDir::of_store(&config(&vars).database).expect("nothing to do").is_none());
}
