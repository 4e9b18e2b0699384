-- The audit trail as chains. Kept in step with the SQLite migration of the same name. The table `audit` of the first
-- migration is left as it is: nothing reads or writes it from here on, and a later migration drops it. A build that lacks
-- this one goes on writing there.

-- One row for each operation, chained to the one before it by `mac`. Append only: retention alone removes, whole days.
CREATE TABLE audit_records (
    chain_id    uuid NOT NULL,
    seq         bigint NOT NULL CHECK (seq >= 0), -- without gaps; 0 begins the chain
    recorded_at timestamptz NOT NULL,             -- never falls within a chain
    at          timestamptz NOT NULL,             -- when the operation ended
    instance    text NOT NULL,
    request_id  text NOT NULL,
    tenant_id   uuid,                             -- null before the caller was known
    identity_id uuid,
    operation   text NOT NULL,
    context     text,
    key_version bigint CHECK (key_version >= 0),
    outcome     text NOT NULL,                    -- `success`, or the stable error code
    items       bigint NOT NULL CHECK (items >= 0),
    failed      bigint NOT NULL CHECK (failed >= 0),
    bytes       bigint NOT NULL CHECK (bytes >= 0),
    address     text,
    detail      text,
    mac         bytea NOT NULL CHECK (octet_length(mac) = 32),
    PRIMARY KEY (chain_id, seq, recorded_at)
) PARTITION BY RANGE (recorded_at);
CREATE INDEX audit_records_recorded_at ON audit_records (recorded_at);
CREATE INDEX audit_records_tenant ON audit_records (tenant_id, recorded_at);
-- One partition for each UTC day is made ahead, audit_records_YYYYMMDD. What has none yet is kept here.
CREATE TABLE audit_records_default PARTITION OF audit_records DEFAULT;

-- One run of a process each.
CREATE TABLE audit_chains (
    id               uuid PRIMARY KEY,
    instance         text NOT NULL,
    replica_id       uuid NOT NULL,
    started_at       timestamptz NOT NULL,           -- these three by the database's clock
    appended_at      timestamptz NOT NULL,
    first_seq        bigint NOT NULL DEFAULT 0 CHECK (first_seq >= 0), -- what lies before was removed by retention
    last_seq         bigint NOT NULL CHECK (last_seq >= 0),
    last_mac         bytea NOT NULL CHECK (octet_length(last_mac) = 32),
    ended            text CHECK (ended IN ('clean', 'crashed')),       -- null while open
    ended_at         timestamptz,
    crash_recorded   boolean NOT NULL DEFAULT false, -- another chain says that this one crashed
    final_checkpoint bigint                          -- the first one that holds its end
);
CREATE INDEX audit_chains_started_at ON audit_chains (started_at, id);
CREATE INDEX audit_chains_unfinished ON audit_chains (id) WHERE final_checkpoint IS NULL;

-- Signed statements of how far the chains were.
CREATE TABLE audit_checkpoints (
    number    bigint PRIMARY KEY CHECK (number >= 1),
    at        timestamptz NOT NULL,
    previous  bytea NOT NULL CHECK (octet_length(previous) = 32), -- SHA-256 of what the one before it signs
    entries   bytea NOT NULL,                                     -- chain, seq, mac, state
    key_id    bytea NOT NULL CHECK (octet_length(key_id) = 16),
    signature bytea NOT NULL CHECK (octet_length(signature) = 64)
);

-- Signed statements of what retention removed.
CREATE TABLE audit_cuts (
    number     bigint PRIMARY KEY CHECK (number >= 1),
    at         timestamptz NOT NULL,
    cut_before timestamptz NOT NULL,
    entries    bytea NOT NULL, -- chain, last seq removed, its mac
    key_id     bytea NOT NULL CHECK (octet_length(key_id) = 16),
    signature  bytea NOT NULL CHECK (octet_length(signature) = 64)
);
