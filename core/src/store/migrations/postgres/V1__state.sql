-- The state that all replicas share. Kept in step with the SQLite migration of the same name: same tables, same columns.
-- Every unique index of a tenant's rows starts with the tenant.

-- How often anything changed. Its row is locked by every change first, so commits come in the order of revisions.
CREATE TABLE revision (
    only_row smallint PRIMARY KEY DEFAULT 1 CHECK (only_row = 1),
    value    bigint NOT NULL CHECK (value >= 0)
);
INSERT INTO revision (value) VALUES (0);

-- What each of the last revisions changed; older rows are pruned.
CREATE TABLE changes (
    revision  bigint PRIMARY KEY,
    kind      smallint NOT NULL, -- 1 context, 2 identity
    tenant_id uuid NOT NULL,
    subject   uuid NOT NULL,     -- id of the context or identity
    at        timestamptz NOT NULL
);

-- The oldest release that may run on this schema, such as '0.1.0'. Raised by the migration that ends compatibility.
CREATE TABLE schema_compat (
    only_row       smallint PRIMARY KEY DEFAULT 1 CHECK (only_row = 1),
    oldest_release text NOT NULL
);
INSERT INTO schema_compat (oldest_release) VALUES ('0.1.0');

-- Key-encryption keys that were ever used here, by fingerprint. The keys themselves are never stored.
CREATE TABLE keks (
    kek_id      bytea PRIMARY KEY CHECK (octet_length(kek_id) = 8),
    check_value bytea NOT NULL CHECK (octet_length(check_value) = 32),
    created_at  timestamptz NOT NULL
);

CREATE TABLE tenants (
    id         uuid PRIMARY KEY,
    name       text COLLATE "C" NOT NULL CONSTRAINT tenants_name UNIQUE CHECK (length(name) BETWEEN 1 AND 64),
    created_at timestamptz NOT NULL
);

-- Set up once, by whichever process comes first.
CREATE TABLE deployment (
    only_row   smallint PRIMARY KEY DEFAULT 1 CHECK (only_row = 1),
    tenant_id  uuid NOT NULL REFERENCES tenants, -- the tenant `default`
    active_kek bytea NOT NULL REFERENCES keks,   -- wraps new keys
    created_at timestamptz NOT NULL
);

CREATE TABLE contexts (
    tenant_id          uuid NOT NULL REFERENCES tenants,
    id                 uuid NOT NULL,
    name               text COLLATE "C" NOT NULL CHECK (length(name) BETWEEN 1 AND 64),
    description        text NOT NULL CHECK (octet_length(description) <= 1024),
    algorithm          smallint NOT NULL CHECK (algorithm BETWEEN 1 AND 255),
    allowed_algorithms smallint NOT NULL CHECK (allowed_algorithms BETWEEN 1 AND 255), -- bit n: algorithm n + 1
    key_id             bytea NOT NULL CHECK (octet_length(key_id) = 16),
    created_at         timestamptz NOT NULL,
    updated_at         timestamptz NOT NULL,
    deleted_at         timestamptz,                                                    -- set while deleted
    PRIMARY KEY (tenant_id, id),
    CONSTRAINT contexts_name UNIQUE (tenant_id, name)
);

-- What all versions of a key have in common; every column is bound into each wrap.
CREATE TABLE keys (
    tenant_id  uuid NOT NULL,
    id         bytea NOT NULL CHECK (octet_length(id) = 16),
    context_id uuid NOT NULL,
    purpose    smallint NOT NULL CHECK (purpose BETWEEN 1 AND 255),
    key_type   smallint NOT NULL CHECK (key_type BETWEEN 1 AND 255),
    origin     smallint NOT NULL CHECK (origin BETWEEN 1 AND 255),
    exportable boolean NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, context_id) REFERENCES contexts
);
CREATE INDEX keys_context ON keys (tenant_id, context_id);

CREATE TABLE key_versions (
    tenant_id         uuid NOT NULL,
    key_id            bytea NOT NULL,
    version           bigint NOT NULL CHECK (version BETWEEN 1 AND 4294967295),
    state             smallint NOT NULL CHECK (state BETWEEN 1 AND 5),          -- as KeyState::id
    messages_reserved bigint NOT NULL DEFAULT 0 CHECK (messages_reserved >= 0), -- counted before they are encrypted
    created_at        timestamptz NOT NULL,
    state_changed_at  timestamptz NOT NULL,
    destroy_at        timestamptz,                                              -- end of the waiting period, while scheduled
    PRIMARY KEY (tenant_id, key_id, version),
    FOREIGN KEY (tenant_id, key_id) REFERENCES keys
);
CREATE UNIQUE INDEX key_versions_one_enabled ON key_versions (tenant_id, key_id) WHERE state = 1;

-- The bytes of a key version, encrypted. A row of its own, so that rewrapping and destroying touch nothing else.
CREATE TABLE wrapped_keys (
    tenant_id   uuid NOT NULL,
    key_id      bytea NOT NULL,
    version     bigint NOT NULL,
    kek_id      bytea NOT NULL REFERENCES keks,                                 -- opens it
    bytes       bytea NOT NULL CHECK (octet_length(bytes) BETWEEN 1 AND 65536), -- nonce, ciphertext, tag
    check_value bytea NOT NULL CHECK (octet_length(check_value) = 16),
    PRIMARY KEY (tenant_id, key_id, version),
    FOREIGN KEY (tenant_id, key_id, version) REFERENCES key_versions
);
CREATE INDEX wrapped_keys_kek ON wrapped_keys (kek_id);

CREATE TABLE identities (
    tenant_id  uuid NOT NULL REFERENCES tenants,
    id         uuid NOT NULL,
    name       text COLLATE "C" NOT NULL CHECK (length(name) BETWEEN 1 AND 64),
    role       text NOT NULL,
    scopes     text NOT NULL,                                          -- names separated by spaces
    contexts   text NOT NULL,                                          -- `*`, or names separated by spaces
    epoch      bigint NOT NULL CHECK (epoch BETWEEN 0 AND 4294967295), -- tokens of another epoch are refused
    enabled    boolean NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, id),
    CONSTRAINT identities_name UNIQUE (tenant_id, name)
);

-- Append only. References nothing, as it outlives what it speaks of.
CREATE TABLE audit (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at          timestamptz NOT NULL,
    instance    text NOT NULL,
    request_id  text NOT NULL,
    tenant_id   uuid,          -- null before the caller was known
    identity_id uuid,
    operation   text NOT NULL,
    context     text,
    key_version bigint,
    outcome     text NOT NULL, -- `success`, or the stable error code
    items       bigint NOT NULL,
    failed      bigint NOT NULL,
    bytes       bigint NOT NULL,
    address     text,
    detail      text
);
CREATE INDEX audit_tenant_at ON audit (tenant_id, at);
