//! `cryptoserve keygen`: fresh secrets.

use std::io::{self, Write};

use cryptoserve_core::config::{SecretName, generate_env_lines};

const WARNING: &str = "\
Keep these three secrets, and a copy of them elsewhere: without the master key or the salt, nothing
that was encrypted can ever be decrypted. Every replica needs the same ones.
";

/// Prints the secrets as lines for the environment on standard output, and on standard error what they are worth.
pub(crate) fn run() -> io::Result<()> {
    let lines = generate_env_lines(&SecretName::ALL);
    let mut stdout = io::stdout().lock();
    stdout.write_all(lines.expose().as_bytes())?;
    stdout.flush()?;
    io::stderr().write_all(WARNING.as_bytes())
}
