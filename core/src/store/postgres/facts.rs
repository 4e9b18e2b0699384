use super::PostgresStore;
use crate::store::sql::{Columns, Database, Statement, damaged};
use crate::store::{Error, Facts, ServerFacts};

/// Of settings that a role may read without any right.
const SQL: &str = "SELECT clock_timestamp() AS now, current_setting('server_version') AS release, \
     current_setting('server_version_num')::bigint AS version, \
     current_setting('max_connections')::bigint - current_setting('superuser_reserved_connections')::bigint \
     - coalesce(current_setting('reserved_connections', true), '0')::bigint AS connections, \
     current_setting('fsync') = 'on' AND current_setting('full_page_writes') = 'on' AS durable, \
     current_setting('synchronous_commit') <> 'off' AS waits, \
     (SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()) AS encrypted";

pub(super) async fn ask(store: &PostgresStore) -> Result<Facts, Error> {
    let rows = Database::read(store, Statement::new(SQL, []), parse).await?;
    rows.into_iter().next().ok_or_else(|| damaged("now"))
}

fn parse(row: &dyn Columns) -> Result<Facts, Error> {
    let server = ServerFacts {
        version: row.integer("version")?,
        connections: row.integer("connections")?,
        durable: row.boolean("durable")?,
        waits: row.boolean("waits")?,
        encrypted: row.optional_boolean("encrypted")?,
    };
    Ok(Facts { now: row.time("now")?, release: row.text("release")?, server: Some(server) })
}
