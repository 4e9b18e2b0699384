//! Secrets: which are needed, and what stands in files.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use super::*;

#[test]
fn postgres_needs_all_three_secrets() {
    let url = ("DATABASE_URL", "postgres://u@db/app");
    let names = ["CRYPTOSERVE_MASTER_KEY", "JWT_SECRET_KEY", "HKDF_SALT"];
    assert_eq!(bad(&[url]), names);
    assert_eq!(bad(&[url, ("JWT_SECRET_KEY", JWT), ("CRYPTOSERVE_MASTER_KEY", "")]), [names[0], names[2]]);
    assert_eq!(bad(&[url, ("JWT_SECRET_KEY", "short"), ("HKDF_SALT_FILE", "/no/such/file")]).len(), 3);
    // A bad URL that is meant for PostgreSQL does not hide them.
    assert_eq!(bad(&[("DATABASE_URL", "postgres://u@db:port/app")]).len(), 4);
    assert_eq!(bad(&[("DATABASE_URL", "mysql://u@db/app")]), ["DATABASE_URL"]);
}

#[test]
fn secrets_differ_from_each_other() {
    assert_eq!(bad(&[("JWT_SECRET_KEY", JWT_2), ("HKDF_SALT", JWT_2)]), ["JWT_SECRET_KEY", "HKDF_SALT"]);
    assert_eq!(
        bad(&[("CRYPTOSERVE_MASTER_KEY", MASTER), ("HKDF_SALT", MASTER)]),
        ["CRYPTOSERVE_MASTER_KEY", "HKDF_SALT"]
    );
}

/// A file with `content` and `mode`.
fn file(content: impl AsRef<[u8]>, mode: u32) -> tempfile::TempPath {
    let file = tempfile::NamedTempFile::new().expect("a file");
    fs::write(file.path(), content).expect("a writable file");
    fs::set_permissions(file.path(), Permissions::from_mode(mode)).expect("our file");
    file.into_temp_path()
}

#[test]
fn secrets_may_stand_in_files() {
    let key = file(format!("{MASTER}\n"), 0o600);
    let salt = file(format!("{SALT}\r\n"), 0o400);
    let url = file("postgres://u:p@db/app\n", 0o400);
    let config = Config::from_vars([
        ("CRYPTOSERVE_MASTER_KEY_FILE", key.as_os_str()),
        ("HKDF_SALT_FILE", salt.as_os_str()),
        ("DATABASE_URL_FILE", url.as_os_str()),
        ("JWT_SECRET_KEY", JWT.as_ref()),
    ]);
    let config = config.expect("a good environment");
    assert_eq!(config.crypto.master_key.map(|key| hex::encode(key.expose())).as_deref(), Some(MASTER));
    assert_eq!(config.crypto.hkdf_salt.map(|salt| salt.expose().clone()).as_deref(), Some(SALT.as_bytes()));
    assert!(matches!(config.database.url, DatabaseUrl::Postgres(_)));
    assert!(config.warnings.is_empty());
}

#[test]
fn bad_secret_files_are_reported_under_the_variable_that_names_them() {
    let is_bad = |content: &[u8], mode| {
        let path = file(content, mode);
        let error = Config::from_vars([("HKDF_SALT_FILE", path.as_os_str())]).expect_err("a bad file");
        assert_eq!(error.problems().len(), 1, "{error}");
        assert_eq!(error.problems()[0].variable, "HKDF_SALT_FILE");
        assert!(!error.to_string().contains("canary"), "{error}");
        error.problems()[0].message.clone()
    };
    assert!(is_bad(SALT.as_bytes(), 0o660).contains("only its owner can write"));
    assert!(is_bad(SALT.as_bytes(), 0o602).contains("only its owner can write"));
    assert!(is_bad(b"", 0o600).contains("empty"));
    assert!(is_bad(b"\n", 0o600).contains("empty"));
    assert!(is_bad(b"canary\n", 0o600).contains("at least 16 bytes"));
    assert!(is_bad(b"\xffcanary-canary-canary", 0o600).contains("UTF-8"));
    assert!(is_bad(&vec![b'x'; 65 * 1024], 0o600).contains("64 KiB"));
}

#[test]
fn a_secret_and_its_file_exclude_each_other() {
    let path = file(SALT, 0o600);
    let error = Config::from_vars([("HKDF_SALT_FILE", path.as_os_str()), ("HKDF_SALT", SALT.as_ref())]);
    let error = error.expect_err("both are set");
    assert_eq!(error.problems().len(), 1);
    assert_eq!(error.problems()[0].to_string(), "HKDF_SALT_FILE must not be set together with HKDF_SALT");
}

#[test]
fn a_secret_file_that_others_can_read_is_warned_of() {
    let path = file(SALT, 0o644);
    let config = Config::from_vars([("HKDF_SALT_FILE", path.as_os_str())]).expect("a good environment");
    assert_eq!(config.warnings.len(), 1);
    assert!(config.warnings[0].starts_with("HKDF_SALT_FILE"));
    assert!(config.crypto.hkdf_salt.is_some());
}
