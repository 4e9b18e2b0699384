-- Limits of contexts, identities, tenants and of all who have none of their own, each the text of a policy, and null where
-- there is none. Kept in step with the PostgreSQL migration of the same name. A build that lacks it runs on this schema and limits by
-- the environment alone.

ALTER TABLE contexts ADD COLUMN limits TEXT CHECK (length(CAST(limits AS BLOB)) <= 4096);
ALTER TABLE tenants  ADD COLUMN limits TEXT CHECK (length(CAST(limits AS BLOB)) <= 4096);

ALTER TABLE identities ADD COLUMN limits            TEXT CHECK (length(CAST(limits AS BLOB)) <= 4096);
ALTER TABLE identities ADD COLUMN limits_generation INTEGER NOT NULL DEFAULT 0 CHECK (limits_generation >= 0); -- raised to begin with full buckets

-- An identity in one context.
CREATE TABLE identity_context_limits (
    tenant_id   BLOB NOT NULL,
    identity_id BLOB NOT NULL,
    context_id  BLOB NOT NULL,
    limits      TEXT NOT NULL CHECK (length(CAST(limits AS BLOB)) <= 4096),
    PRIMARY KEY (tenant_id, identity_id, context_id),
    FOREIGN KEY (tenant_id, identity_id) REFERENCES identities ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, context_id) REFERENCES contexts (tenant_id, id)
) STRICT;

-- Instead of what the environment says.
CREATE TABLE default_limits (
    dimension TEXT PRIMARY KEY, -- as in paths and headers: ip, identity, context, ...
    limits    TEXT NOT NULL CHECK (length(CAST(limits AS BLOB)) <= 4096)
) STRICT;
