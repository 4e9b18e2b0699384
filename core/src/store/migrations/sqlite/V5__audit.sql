-- The audit trail as chains. Kept in step with the PostgreSQL migration of the same name. The table `audit` of the first
-- migration is left as it is: nothing reads or writes it from here on, and a later migration drops it. A build that lacks
-- this one goes on writing there.

-- One row for each operation, chained to the one before it by `mac`. Append only: retention alone removes, whole days.
CREATE TABLE audit_records (
    chain_id    BLOB NOT NULL,
    seq         INTEGER NOT NULL CHECK (seq >= 0), -- without gaps; 0 begins the chain
    recorded_at INTEGER NOT NULL,                  -- never falls within a chain
    at          INTEGER NOT NULL,                  -- when the operation ended
    instance    TEXT NOT NULL,
    request_id  TEXT NOT NULL,
    tenant_id   BLOB,                              -- null before the caller was known
    identity_id BLOB,
    operation   TEXT NOT NULL,
    context     TEXT,
    key_version INTEGER CHECK (key_version >= 0),
    outcome     TEXT NOT NULL,                     -- `success`, or the stable error code
    items       INTEGER NOT NULL CHECK (items >= 0),
    failed      INTEGER NOT NULL CHECK (failed >= 0),
    bytes       INTEGER NOT NULL CHECK (bytes >= 0),
    address     TEXT,
    detail      TEXT,
    mac         BLOB NOT NULL CHECK (length(mac) = 32),
    PRIMARY KEY (chain_id, seq, recorded_at)
) STRICT, WITHOUT ROWID;
CREATE INDEX audit_records_recorded_at ON audit_records (recorded_at);
CREATE INDEX audit_records_tenant ON audit_records (tenant_id, recorded_at);

-- One run of a process each.
CREATE TABLE audit_chains (
    id               BLOB PRIMARY KEY,
    instance         TEXT NOT NULL,
    replica_id       BLOB NOT NULL,
    started_at       INTEGER NOT NULL,                                  -- these three by the database's clock
    appended_at      INTEGER NOT NULL,
    first_seq        INTEGER NOT NULL DEFAULT 0 CHECK (first_seq >= 0), -- what lies before was removed by retention
    last_seq         INTEGER NOT NULL CHECK (last_seq >= 0),
    last_mac         BLOB NOT NULL CHECK (length(last_mac) = 32),
    ended            TEXT CHECK (ended IN ('clean', 'crashed')),        -- null while open
    ended_at         INTEGER,
    crash_recorded   INTEGER NOT NULL DEFAULT 0,                        -- another chain says that this one crashed
    final_checkpoint INTEGER                                            -- the first one that holds its end
) STRICT;
CREATE INDEX audit_chains_started_at ON audit_chains (started_at, id);
CREATE INDEX audit_chains_unfinished ON audit_chains (id) WHERE final_checkpoint IS NULL;

-- Signed statements of how far the chains were.
CREATE TABLE audit_checkpoints (
    number    INTEGER PRIMARY KEY CHECK (number >= 1),
    at        INTEGER NOT NULL,
    previous  BLOB NOT NULL CHECK (length(previous) = 32), -- SHA-256 of what the one before it signs
    entries   BLOB NOT NULL,                               -- chain, seq, mac, state
    key_id    BLOB NOT NULL CHECK (length(key_id) = 16),
    signature BLOB NOT NULL CHECK (length(signature) = 64)
) STRICT;

-- Signed statements of what retention removed.
CREATE TABLE audit_cuts (
    number     INTEGER PRIMARY KEY CHECK (number >= 1),
    at         INTEGER NOT NULL,
    cut_before INTEGER NOT NULL,
    entries    BLOB NOT NULL, -- chain, last seq removed, its mac
    key_id     BLOB NOT NULL CHECK (length(key_id) = 16),
    signature  BLOB NOT NULL CHECK (length(signature) = 64)
) STRICT;
