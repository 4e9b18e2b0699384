//! Who serves: the processes' own word, and the database's clock.

use super::row::Columns;
use super::{Mutation, Statement};
use crate::clock::Timestamp;
use crate::crypto::KekId;
use crate::id::ReplicaId;
use crate::store::{Error, Replica, ReplicaRecord};

macro_rules! register {
    () => {
        "INSERT INTO replicas (id, instance, release, kek_ids, started_at, seen_at) \
         VALUES ($1, $2, $3, $4, now(), now()) \
         ON CONFLICT (id) DO UPDATE SET kek_ids = excluded.kek_ids, seen_at = excluded.seen_at RETURNING seen_at"
    };
}

/// Registers a replica. As a mutation, which no other change can overlap: whoever makes another key-encryption key
/// the active one either sees this replica, or has done so before this replica looks.
pub(super) fn register(replica: &Replica, at: Timestamp) -> Mutation {
    Mutation { name: "register", statements: vec![heartbeat(replica)], changes: Vec::new(), at }
}

/// Says that a replica is still there; returns `seen_at`, the database's time.
pub(super) fn heartbeat(replica: &Replica) -> Statement {
    let kek_ids: Vec<_> = replica.kek_ids.iter().map(KekId::to_string).collect();
    Statement::new(
        register!(),
        [
            replica.id.into(),
            replica.instance.as_str().into(),
            replica.release.as_str().into(),
            kek_ids.join(" ").into(),
        ],
    )
}

pub(super) fn remove(id: ReplicaId) -> Statement {
    Statement::new("DELETE FROM replicas WHERE id = $1", [id.into()])
}

/// Forgets replicas that ended long ago without saying so.
pub(super) fn prune(before: Timestamp) -> Statement {
    Statement::new("DELETE FROM replicas WHERE seen_at < $1", [before.into()])
}

pub(super) fn list() -> Statement {
    const SQL: &str = "SELECT id, instance, release, kek_ids, started_at, seen_at, now() AS now \
         FROM replicas ORDER BY instance, started_at, id";
    Statement::new(SQL, [])
}

pub(super) fn parse_now(row: &dyn Columns) -> Result<Timestamp, Error> {
    row.time("seen_at")
}

pub(super) fn parse(row: &dyn Columns) -> Result<ReplicaRecord, Error> {
    let kek_ids = row.text("kek_ids")?;
    let now = row.time("now")?;
    let seen_at = row.time("seen_at")?;
    Ok(ReplicaRecord {
        replica: Replica {
            id: ReplicaId(row.uuid("id")?),
            instance: row.text("instance")?,
            release: row.text("release")?,
            kek_ids: kek_ids
                .split_ascii_whitespace()
                .map(str::parse)
                .collect::<Result<_, _>>()
                .map_err(|_| super::damaged("kek_ids"))?,
        },
        started_at: row.time("started_at")?,
        seen_at,
        silent_for: now.since(seen_at),
    })
}
