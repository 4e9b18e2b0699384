-- Tenants that are made and disabled, tokens that are revoked one by one, and refresh tokens. Kept in step with the
-- PostgreSQL migration of the same name. A build that lacks it would run on this schema, as what it does not know has a
-- default, and would accept tokens that were revoked one by one and those of disabled tenants: end it before anybody
-- disables or revokes.

ALTER TABLE tenants ADD COLUMN description TEXT NOT NULL DEFAULT '' CHECK (length(CAST(description AS BLOB)) <= 1024);
ALTER TABLE tenants ADD COLUMN enabled     INTEGER NOT NULL DEFAULT 1 CHECK (enabled IN (0, 1)); -- no token of a disabled tenant counts
ALTER TABLE tenants ADD COLUMN updated_at  INTEGER;                                              -- null: never changed

ALTER TABLE identities ADD COLUMN rotate_refresh_tokens INTEGER NOT NULL DEFAULT 0 CHECK (rotate_refresh_tokens IN (0, 1)); -- each refresh token is good for one use
ALTER TABLE identities ADD COLUMN subject               TEXT CHECK (length(CAST(subject AS BLOB)) <= 255);                  -- `sub` at an outside identity provider
ALTER TABLE identities ADD COLUMN tokens_not_before     INTEGER;                                                            -- older ones of such a provider are refused

-- Access tokens and families of refresh tokens that were revoked by their id, until they would have expired anyway.
CREATE TABLE revoked_tokens (
    tenant_id   BLOB NOT NULL,
    identity_id BLOB NOT NULL,
    token_id    TEXT NOT NULL CHECK (length(CAST(token_id AS BLOB)) BETWEEN 1 AND 128), -- `jti` or `sid`
    expires_at  INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, identity_id, token_id),
    FOREIGN KEY (tenant_id, identity_id) REFERENCES identities ON DELETE CASCADE
) STRICT;
CREATE INDEX revoked_tokens_expires_at ON revoked_tokens (expires_at);

-- A family is what one registration or one request for a refresh token began.
CREATE TABLE refresh_families (
    tenant_id   BLOB NOT NULL,
    id          BLOB NOT NULL CHECK (length(id) = 16),              -- the `sid` of access tokens that it made
    identity_id BLOB NOT NULL,
    epoch       INTEGER NOT NULL,                                   -- of the identity; another one ends the family
    scopes      TEXT,                                               -- as in identities; null: not narrowed
    contexts    TEXT,
    rotates     INTEGER NOT NULL CHECK (rotates IN (0, 1)),         -- each of its tokens is good for one use
    detail      TEXT NOT NULL,                                      -- what it is for, in words
    created_at  INTEGER NOT NULL,
    used_at     INTEGER NOT NULL,                                   -- to the day
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, identity_id) REFERENCES identities ON DELETE CASCADE
) STRICT;
CREATE INDEX refresh_families_identity ON refresh_families (tenant_id, identity_id);
CREATE INDEX refresh_families_used_at ON refresh_families (used_at);

CREATE TABLE refresh_tokens (
    tenant_id      BLOB NOT NULL,
    hash           BLOB NOT NULL CHECK (length(hash) = 32), -- SHA-256 of the token
    family_id      BLOB NOT NULL,
    replaced_at    INTEGER,                                 -- set once it has a successor
    successor_salt BLOB CHECK (length(successor_salt) = 32),
    created_at     INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, hash),
    FOREIGN KEY (tenant_id, family_id) REFERENCES refresh_families ON DELETE CASCADE
) STRICT;
CREATE INDEX refresh_tokens_family ON refresh_tokens (tenant_id, family_id);
