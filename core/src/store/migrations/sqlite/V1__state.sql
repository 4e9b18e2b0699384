-- The state that outlives the process. Kept in step with the PostgreSQL migration of the same name: same tables, same
-- columns. Times are microseconds since 1970-01-01T00:00:00Z; booleans are 0 and 1; UUIDs are 16 bytes.
-- Every unique index of a tenant's rows starts with the tenant.

-- How often anything changed. Its row is locked by every change first, so commits come in the order of revisions.
CREATE TABLE revision (
    only_row INTEGER PRIMARY KEY DEFAULT 1 CHECK (only_row = 1),
    value    INTEGER NOT NULL CHECK (value >= 0)
) STRICT;
INSERT INTO revision (value) VALUES (0);

-- What each of the last revisions changed; older rows are pruned.
CREATE TABLE changes (
    revision  INTEGER PRIMARY KEY,
    kind      INTEGER NOT NULL, -- 1 context, 2 identity
    tenant_id BLOB NOT NULL,
    subject   BLOB NOT NULL,    -- id of the context or identity
    at        INTEGER NOT NULL
) STRICT;

-- The oldest release that may run on this schema, such as '0.1.0'. Raised by the migration that ends compatibility.
CREATE TABLE schema_compat (
    only_row       INTEGER PRIMARY KEY DEFAULT 1 CHECK (only_row = 1),
    oldest_release TEXT NOT NULL
) STRICT;
INSERT INTO schema_compat (oldest_release) VALUES ('0.1.0');

-- Key-encryption keys that were ever used here, by fingerprint. The keys themselves are never stored.
CREATE TABLE keks (
    kek_id      BLOB PRIMARY KEY CHECK (length(kek_id) = 8),
    check_value BLOB NOT NULL CHECK (length(check_value) = 32),
    created_at  INTEGER NOT NULL
) STRICT;

CREATE TABLE tenants (
    id         BLOB PRIMARY KEY CHECK (length(id) = 16),
    name       TEXT NOT NULL CONSTRAINT tenants_name UNIQUE CHECK (length(name) BETWEEN 1 AND 64),
    created_at INTEGER NOT NULL
) STRICT;

-- Set up once, by whichever process comes first.
CREATE TABLE deployment (
    only_row   INTEGER PRIMARY KEY DEFAULT 1 CHECK (only_row = 1),
    tenant_id  BLOB NOT NULL REFERENCES tenants, -- the tenant `default`
    active_kek BLOB NOT NULL REFERENCES keks,    -- wraps new keys
    created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE contexts (
    tenant_id          BLOB NOT NULL REFERENCES tenants,
    id                 BLOB NOT NULL CHECK (length(id) = 16),
    name               TEXT NOT NULL CHECK (length(name) BETWEEN 1 AND 64),
    description        TEXT NOT NULL CHECK (length(CAST(description AS BLOB)) <= 1024),
    algorithm          INTEGER NOT NULL CHECK (algorithm BETWEEN 1 AND 255),
    allowed_algorithms INTEGER NOT NULL CHECK (allowed_algorithms BETWEEN 1 AND 255), -- bit n: algorithm n + 1
    key_id             BLOB NOT NULL CHECK (length(key_id) = 16),
    created_at         INTEGER NOT NULL,
    updated_at         INTEGER NOT NULL,
    deleted_at         INTEGER,                                                       -- set while deleted
    PRIMARY KEY (tenant_id, id),
    CONSTRAINT contexts_name UNIQUE (tenant_id, name)
) STRICT;

-- What all versions of a key have in common; every column is bound into each wrap.
CREATE TABLE keys (
    tenant_id  BLOB NOT NULL,
    id         BLOB NOT NULL CHECK (length(id) = 16),
    context_id BLOB NOT NULL,
    purpose    INTEGER NOT NULL CHECK (purpose BETWEEN 1 AND 255),
    key_type   INTEGER NOT NULL CHECK (key_type BETWEEN 1 AND 255),
    origin     INTEGER NOT NULL CHECK (origin BETWEEN 1 AND 255),
    exportable INTEGER NOT NULL CHECK (exportable IN (0, 1)),
    created_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, context_id) REFERENCES contexts (tenant_id, id)
) STRICT;
CREATE INDEX keys_context ON keys (tenant_id, context_id);

CREATE TABLE key_versions (
    tenant_id         BLOB NOT NULL,
    key_id            BLOB NOT NULL,
    version           INTEGER NOT NULL CHECK (version BETWEEN 1 AND 4294967295),
    state             INTEGER NOT NULL CHECK (state BETWEEN 1 AND 5),            -- as KeyState::id
    messages_reserved INTEGER NOT NULL DEFAULT 0 CHECK (messages_reserved >= 0), -- counted before they are encrypted
    created_at        INTEGER NOT NULL,
    state_changed_at  INTEGER NOT NULL,
    destroy_at        INTEGER,                                                   -- end of the waiting period, while scheduled
    PRIMARY KEY (tenant_id, key_id, version),
    FOREIGN KEY (tenant_id, key_id) REFERENCES keys (tenant_id, id)
) STRICT;
CREATE UNIQUE INDEX key_versions_one_enabled ON key_versions (tenant_id, key_id) WHERE state = 1;

-- The bytes of a key version, encrypted. A row of its own, so that rewrapping and destroying touch nothing else.
CREATE TABLE wrapped_keys (
    tenant_id   BLOB NOT NULL,
    key_id      BLOB NOT NULL,
    version     INTEGER NOT NULL,
    kek_id      BLOB NOT NULL REFERENCES keks,                           -- opens it
    bytes       BLOB NOT NULL CHECK (length(bytes) BETWEEN 1 AND 65536), -- nonce, ciphertext, tag
    check_value BLOB NOT NULL CHECK (length(check_value) = 16),
    PRIMARY KEY (tenant_id, key_id, version),
    FOREIGN KEY (tenant_id, key_id, version) REFERENCES key_versions (tenant_id, key_id, version)
) STRICT;
CREATE INDEX wrapped_keys_kek ON wrapped_keys (kek_id);

CREATE TABLE identities (
    tenant_id  BLOB NOT NULL REFERENCES tenants,
    id         BLOB NOT NULL CHECK (length(id) = 16),
    name       TEXT NOT NULL CHECK (length(name) BETWEEN 1 AND 64),
    role       TEXT NOT NULL,
    scopes     TEXT NOT NULL,                                           -- names separated by spaces
    contexts   TEXT NOT NULL,                                           -- `*`, or names separated by spaces
    epoch      INTEGER NOT NULL CHECK (epoch BETWEEN 0 AND 4294967295), -- tokens of another epoch are refused
    enabled    INTEGER NOT NULL CHECK (enabled IN (0, 1)),
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, id),
    CONSTRAINT identities_name UNIQUE (tenant_id, name)
) STRICT;

-- Append only. References nothing, as it outlives what it speaks of.
CREATE TABLE audit (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    at          INTEGER NOT NULL,
    instance    TEXT NOT NULL,
    request_id  TEXT NOT NULL,
    tenant_id   BLOB,          -- null before the caller was known
    identity_id BLOB,
    operation   TEXT NOT NULL,
    context     TEXT,
    key_version INTEGER,
    outcome     TEXT NOT NULL, -- `success`, or the stable error code
    items       INTEGER NOT NULL,
    failed      INTEGER NOT NULL,
    bytes       INTEGER NOT NULL,
    address     TEXT,
    detail      TEXT
) STRICT;
CREATE INDEX audit_tenant_at ON audit (tenant_id, at);
