//! What remains when the service, or its machine, does not.

use std::path::Path;

use cryptoserve_tests::{Cluster, Finished, Program, StoreKind};

mod backup;
mod doctor;
mod second_implementation;
mod walk;

fn succeeded(done: Finished) -> Finished {
    assert_eq!(done.status.code(), Some(0), "{}\n{}", done.stdout, done.stderr);
    done
}

fn refused(done: &Finished, code: i32, says: &str) {
    assert_eq!(done.status.code(), Some(code), "{}", done.stderr);
    assert!(done.stderr.contains(says) && done.stdout.is_empty(), "{}", done.stderr);
}

/// Runs SQL behind the service's back and prints what it returns, in SQL that both databases know.
async fn sql(cluster: &Cluster, store: StoreKind, statement: &str) -> String {
    let shell = Program::at(Path::new("/bin/sh")).arg("-euc").env("SQL", statement);
    let shell = match store {
        StoreKind::Sqlite => shell
            .arg(
                "python3 -c 'import os, sqlite3
database = sqlite3.connect(os.environ[\"DATABASE\"], isolation_level=None)
for row in database.execute(os.environ[\"SQL\"]): print(*row)'",
            )
            .env("DATABASE", cluster.data_dir().join("cryptoserve.db").to_string_lossy()),
        StoreKind::Postgres => {
            shell.arg("psql \"$DATABASE\" -XAtqc \"$SQL\"").env("DATABASE", cluster.database().url().as_str())
        }
    };
    succeeded(shell.run().await).stdout
}
