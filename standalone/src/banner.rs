//! What a person sees who starts the server in a terminal.

use std::io::{IsTerminal, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use cryptoserve_core::config::{Config, DatabaseUrl, LogFormat};

/// Prints where data is, how to get a token, and a first request to paste. Log collectors get no banner.
pub(crate) fn print(config: &Config, address: SocketAddr) {
    let pretty = match config.logging.format {
        Some(format) => format == LogFormat::Pretty,
        None => std::io::stderr().is_terminal(),
    };
    let DatabaseUrl::Sqlite(file) = &config.database.url else { return };
    if pretty {
        let scheme = if config.tls.is_some() { "https" } else { "http" };
        let text = text(&file.display().to_string(), &command(), scheme, local(address));
        // A closed terminal is no reason to stop.
        let _ = std::io::stderr().lock().write_all(text.as_bytes());
    }
}

/// How to call this command from another terminal, which has neither this one's variables nor perhaps its directory.
fn command() -> String {
    let program =
        std::env::current_exe().map_or_else(|_| "cryptoserve".into(), |path| path.display().to_string());
    let variables = ["DATA_DIR", "DATABASE_URL"].into_iter().filter_map(|name| {
        let value = std::env::var(name).ok().filter(|value| !value.is_empty())?;
        Some(format!("{name}='{value}' "))
    });
    let directory =
        std::env::current_dir().map(|path| format!("cd '{}' && ", path.display())).unwrap_or_default();
    format!("{directory}{}'{program}' token", variables.collect::<String>())
}

/// Where this machine reaches a server that listens on `address`.
fn local(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => (Ipv4Addr::LOCALHOST, address.port()).into(),
        IpAddr::V6(ip) if ip.is_unspecified() => (Ipv6Addr::LOCALHOST, address.port()).into(),
        _ => address,
    }
}

fn text(file: &str, token: &str, scheme: &str, address: SocketAddr) -> String {
    format!(
        r#"
  CryptoServe {version} on {scheme}://{address}

  Data and secrets   beside {file}: `cryptoserve backup` copies the data; keep the secrets elsewhere
  Documentation      {scheme}://{address}/docs

  Get a token, in another terminal:

    TOKEN=$({token})

  Encrypt:

    curl -s {scheme}://{address}/api/v1/crypto/encrypt -H "Authorization: Bearer $TOKEN" \
      -d '{{"context": "user-pii", "plaintext": "'$(printf hello | base64)'"}}'

"#,
        version = env!("CARGO_PKG_VERSION"),
    )
}
