-- The life of keys after their first version. Kept in step with the PostgreSQL migration of the same name. Release 0.1.0 may
-- run on it: what it does not know has a default.

-- When a context's key is rotated by itself, and what becomes of its older versions.
ALTER TABLE contexts ADD COLUMN rotation_days INTEGER NOT NULL DEFAULT 0 CHECK (rotation_days BETWEEN 0 AND 3650); -- 0: never
ALTER TABLE contexts ADD COLUMN rotate_at     INTEGER;                                                             -- set unless 0
ALTER TABLE contexts ADD COLUMN keep_last     INTEGER NOT NULL DEFAULT 0 CHECK (keep_last >= 0);                   -- 0: all
CREATE INDEX contexts_rotate_at ON contexts (rotate_at) WHERE rotate_at IS NOT NULL;

-- Each version has its own origin, which is bound into its wrap; the column in `keys` is no longer read.
ALTER TABLE key_versions ADD COLUMN origin          INTEGER NOT NULL DEFAULT 1 CHECK (origin BETWEEN 1 AND 255);
ALTER TABLE key_versions ADD COLUMN encrypts        INTEGER NOT NULL DEFAULT 0 CHECK (encrypts >= 0); -- counted after the fact, about every 10 s
ALTER TABLE key_versions ADD COLUMN decrypts        INTEGER NOT NULL DEFAULT 0 CHECK (decrypts >= 0);
ALTER TABLE key_versions ADD COLUMN last_decrypt_at INTEGER;
CREATE INDEX key_versions_destroy_at ON key_versions (destroy_at) WHERE destroy_at IS NOT NULL;
CREATE INDEX key_versions_worn ON key_versions (messages_reserved) WHERE state = 1 AND messages_reserved >= 2147483648;

-- The processes that serve, as each says of itself every few seconds.
CREATE TABLE replicas (
    id         BLOB PRIMARY KEY CHECK (length(id) = 16), -- of one run of a process
    instance   TEXT NOT NULL,                            -- its INSTANCE_ID
    release    TEXT NOT NULL,
    kek_ids    TEXT NOT NULL,                            -- fingerprints of the master keys that it has, separated by spaces
    started_at INTEGER NOT NULL,                         -- both by the database's clock
    seen_at    INTEGER NOT NULL
) STRICT;
