-- Tenants that are made and disabled, tokens that are revoked one by one, and refresh tokens. Kept in step with the SQLite
-- migration of the same name. A build that lacks it would run on this schema, as what it does not know has a default, and would
-- accept tokens that were revoked one by one and those of disabled tenants: end it before anybody disables or revokes.

ALTER TABLE tenants
    ADD COLUMN description text NOT NULL DEFAULT '' CHECK (octet_length(description) <= 1024),
    ADD COLUMN enabled     boolean NOT NULL DEFAULT true, -- no token of a disabled tenant counts
    ADD COLUMN updated_at  timestamptz;                   -- null: never changed

ALTER TABLE identities
    ADD COLUMN rotate_refresh_tokens boolean NOT NULL DEFAULT false,           -- each refresh token is good for one use
    ADD COLUMN subject               text CHECK (octet_length(subject) <= 255), -- `sub` at an outside identity provider
    ADD COLUMN tokens_not_before     timestamptz;                              -- older ones of such a provider are refused

-- Access tokens and families of refresh tokens that were revoked by their id, until they would have expired anyway.
CREATE TABLE revoked_tokens (
    tenant_id   uuid NOT NULL,
    identity_id uuid NOT NULL,
    token_id    text COLLATE "C" NOT NULL CHECK (octet_length(token_id) BETWEEN 1 AND 128), -- `jti` or `sid`
    expires_at  timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, identity_id, token_id),
    FOREIGN KEY (tenant_id, identity_id) REFERENCES identities ON DELETE CASCADE
);
CREATE INDEX revoked_tokens_expires_at ON revoked_tokens (expires_at);

-- A family is what one registration or one request for a refresh token began.
CREATE TABLE refresh_families (
    tenant_id   uuid NOT NULL,
    id          uuid NOT NULL,    -- the `sid` of access tokens that it made
    identity_id uuid NOT NULL,
    epoch       bigint NOT NULL,  -- of the identity; another one ends the family
    scopes      text,             -- as in identities; null: not narrowed
    contexts    text,
    rotates     boolean NOT NULL, -- each of its tokens is good for one use
    detail      text NOT NULL,    -- what it is for, in words
    created_at  timestamptz NOT NULL,
    used_at     timestamptz NOT NULL, -- to the day
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, identity_id) REFERENCES identities ON DELETE CASCADE
);
CREATE INDEX refresh_families_identity ON refresh_families (tenant_id, identity_id);
CREATE INDEX refresh_families_used_at ON refresh_families (used_at);

CREATE TABLE refresh_tokens (
    tenant_id      uuid NOT NULL,
    hash           bytea NOT NULL CHECK (octet_length(hash) = 32),           -- SHA-256 of the token
    family_id      uuid NOT NULL,
    replaced_at    timestamptz,                                              -- set once it has a successor
    successor_salt bytea CHECK (octet_length(successor_salt) = 32),
    created_at     timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, hash),
    FOREIGN KEY (tenant_id, family_id) REFERENCES refresh_families ON DELETE CASCADE
);
CREATE INDEX refresh_tokens_family ON refresh_tokens (tenant_id, family_id);
