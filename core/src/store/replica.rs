use std::time::Duration;

use crate::clock::Timestamp;
use crate::crypto::KekId;
use crate::id::ReplicaId;

/// A process that serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replica {
    /// Of this run of the process.
    pub id: ReplicaId,
    /// Its `INSTANCE_ID`.
    pub instance: String,
    /// Which release it runs.
    pub release: String,
    /// The key-encryption keys that it has.
    pub kek_ids: Vec<KekId>,
}

/// A process as others see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicaRecord {
    /// What it says of itself.
    pub replica: Replica,
    /// When it registered, by the database's clock.
    pub started_at: Timestamp,
    /// When it was last heard of, by the database's clock.
    pub seen_at: Timestamp,
    /// How long ago that is.
    pub silent_for: Duration,
}

impl ReplicaRecord {
    /// Whether it has to be reckoned with.
    pub fn is_alive(&self) -> bool {
        self.silent_for < REPLICA_TIMEOUT
    }
}

/// How often a replica says that it is there.
pub const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(5);
/// A replica that was not heard of for this long is taken for dead.
pub const REPLICA_TIMEOUT: Duration = Duration::from_secs(20);
