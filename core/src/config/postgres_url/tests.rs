use tokio_postgres::config::TargetSessionAttrs;

use super::*;

fn parse(rest: &str) -> PostgresUrl {
    PostgresUrl::parse(rest).expect("a good URL")
}

#[test]
fn several_hosts_keep_every_parameter() {
    let cert = tempfile::NamedTempFile::new().expect("a file");
    let path = cert.path().display();
    let url = parse(&format!(
        "us%40er:p%2Fa%3Fss@db1:5432,db2:6432,[::1]/app?sslmode=verify-full&target_session_attrs=read-write\
         &sslrootcert={path}&application_name=a%20b&connect_timeout=3&options=-c%20search_path%3Dx"
    ));
    assert_eq!(url.hosts(), ["db1:5432", "db2:6432", "[::1]:5432"]);
    assert_eq!(url.ssl_mode(), SslMode::VerifyFull);
    assert_eq!(url.ssl_root_cert(), Some(cert.path()));
    let driver = url.driver();
    assert_eq!(driver.get_user(), Some("us@er"));
    assert_eq!(driver.get_password(), Some(&b"p/a?ss"[..]));
    assert_eq!(driver.get_dbname(), Some("app"));
    assert_eq!(driver.get_target_session_attrs(), TargetSessionAttrs::ReadWrite);
    assert_eq!(driver.get_application_name(), Some("a b"));
    assert_eq!(driver.get_options(), Some("-c search_path=x"));
    assert_eq!(driver.get_ssl_mode(), DriverSslMode::Require);
}

#[test]
fn raw_marks_in_the_password_are_part_of_it() {
    let url = parse("user:p/a?sslmode=x&b@db/app?sslmode=disable");
    assert_eq!(url.driver().get_password(), Some(&b"p/a?sslmode=x&b"[..]));
    assert_eq!(url.ssl_mode(), SslMode::Disable);
}

#[test]
fn sockets_are_hosts_too() {
    assert_eq!(parse("user@/app?host=%2Frun%2Fpostgresql").hosts(), ["/run/postgresql"]);
    assert_eq!(parse("user@%2Frun%2Fpostgresql/app").hosts(), ["/run/postgresql"]);
    assert_eq!(parse("/app?host=/run/s&user=u&password=p").driver().get_password(), Some(&b"p"[..]));
    assert_eq!(parse("/app?hostaddr=127.0.0.1&port=15432").hosts(), ["127.0.0.1:15432"]);
}

#[test]
fn tls_follows_libpq() {
    let cert = tempfile::NamedTempFile::new().expect("a file");
    let path = cert.path().display();
    let mode = |query: &str| PostgresUrl::parse(&format!("u@h/d?{query}")).map(|url| url.ssl_mode());
    for (word, expected) in [
        ("disable", SslMode::Disable),
        ("prefer", SslMode::Prefer),
        ("require", SslMode::Require),
        ("verify-ca", SslMode::VerifyCa),
        ("verify-full", SslMode::VerifyFull),
    ] {
        assert_eq!(mode(&format!("sslmode={word}")), Ok(expected));
        assert_eq!(mode(&format!("ssl={word}")), Ok(expected));
    }
    assert_eq!(mode(""), Ok(SslMode::Prefer));
    assert_eq!(mode(&format!("sslmode=require&sslrootcert={path}")), Ok(SslMode::VerifyCa));
    assert_eq!(mode("sslrootcert=system"), Ok(SslMode::VerifyFull));
    assert_eq!(parse("u@h/d?sslrootcert=system").ssl_root_cert(), None);
    assert!(mode("sslrootcert=system&sslmode=require").is_err());
    assert!(mode("sslmode=yes").is_err());
    assert!(mode("sslrootcert=/nonexistent/ca.pem").is_err());
}

#[test]
fn what_the_driver_cannot_use_is_refused() {
    for rest in [
        "",
        "/app",
        "u@/app",
        "u@db1,,db2/app",
        "u:p@ss@db/app",
        "u@db:port/app",
        "u@db:99999/app",
        "u@db/app?sslmode",
        "u@db/app?sslcert=/x",
        "u@db/app?target_session_attrs=maybe",
        "u@[::1/app",
        "u@db/app?application_name=%FF",
    ] {
        assert_eq!(PostgresUrl::parse(rest).err(), Some(EXPECTED), "{rest}");
    }
}

#[test]
fn debug_and_hosts_hold_no_credentials() {
    let url = parse("canary1:canary2@db/app?password=canary3&options=canary4");
    assert_eq!(format!("{url:?}"), r#"PostgresUrl { hosts: ["db:5432"], ssl_mode: Prefer, .. }"#);
}
