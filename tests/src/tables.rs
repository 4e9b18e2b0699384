//! The tables behind a service, for tests that turn time back or look at what is really stored.

use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;
use rusqlite::types::ValueRef;
use tokio_postgres::{Client, SimpleQueryMessage};

/// A connection of the test's own. Statements must be such that both databases take them.
#[derive(Debug)]
pub enum Tables {
    /// The embedded store's file, which the server may have open.
    Sqlite(Connection),
    /// The PostgreSQL database.
    Postgres(Client),
}

impl Tables {
    /// The embedded store in the directory `data_dir`.
    ///
    /// # Panics
    ///
    /// If there is none.
    pub fn sqlite(data_dir: &Path) -> Self {
        let connection = Connection::open(data_dir.join("cryptoserve.db")).expect("the embedded store");
        connection.busy_timeout(crate::LIMIT).expect("a time-out");
        Self::Sqlite(connection)
    }

    /// Runs a statement that writes; how many rows it changed.
    ///
    /// # Panics
    ///
    /// If the database refuses.
    pub async fn change(&self, sql: &str) -> u64 {
        match self {
            Self::Sqlite(connection) => connection.execute(sql, []).map(|rows| rows as u64).expect(sql),
            Self::Postgres(client) => client.execute(sql, &[]).await.expect(sql),
        }
    }

    /// Runs a query; each row as text, its columns separated by a space.
    ///
    /// # Panics
    ///
    /// If the database refuses.
    pub async fn rows(&self, sql: &str) -> Vec<String> {
        match self {
            Self::Sqlite(connection) => {
                let mut statement = connection.prepare(sql).expect(sql);
                let columns = statement.column_count();
                let row = |row: &rusqlite::Row<'_>| {
                    let column = |n| row.get_ref(n).map(text);
                    Ok((0..columns).map(column).collect::<Result<Vec<_>, _>>()?.join(" "))
                };
                statement.query_map([], row).expect(sql).collect::<Result<_, _>>().expect(sql)
            }
            Self::Postgres(client) => {
                let found = client.simple_query(sql).await.expect(sql).into_iter();
                let row = |message| match message {
                    SimpleQueryMessage::Row(row) => {
                        let columns = (0..row.len()).map(|n| row.get(n).unwrap_or_default().to_owned());
                        Some(columns.collect::<Vec<_>>().join(" "))
                    }
                    _ => None,
                };
                found.filter_map(row).collect()
            }
        }
    }

    /// A number: the only row of a query.
    ///
    /// # Panics
    ///
    /// If it is anything else.
    pub async fn number(&self, sql: &str) -> i64 {
        let rows = self.rows(sql).await;
        let [number] = &rows[..] else { panic!("{sql}: {rows:?}") };
        number.parse().unwrap_or_else(|error| panic!("{sql}: {number}: {error}"))
    }

    /// The time an hour ago, for use in a statement.
    pub fn an_hour_ago(&self) -> String {
        self.ago(Duration::from_secs(3600))
    }

    /// The time so long ago, in whole seconds, for use in a statement.
    pub fn ago(&self, time: Duration) -> String {
        let seconds = time.as_secs();
        match self {
            Self::Sqlite(_) => format!("((unixepoch() - {seconds}) * 1000000)"),
            Self::Postgres(_) => format!("(now() - interval '{seconds} s')"),
        }
    }
}

fn text(value: ValueRef<'_>) -> String {
    match value {
        ValueRef::Null => String::new(),
        ValueRef::Integer(number) => number.to_string(),
        ValueRef::Real(number) => number.to_string(),
        ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned(),
        ValueRef::Blob(bytes) => hex::encode(bytes),
    }
}
