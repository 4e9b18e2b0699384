-- Limits of contexts, identities, tenants and of all who have none of their own, each the text of a policy, and null where
-- there is none. Kept in step with the SQLite migration of the same name. A build that lacks it runs on this schema and limits by the
-- environment alone.

ALTER TABLE contexts ADD COLUMN limits text CHECK (octet_length(limits) <= 4096);
ALTER TABLE tenants  ADD COLUMN limits text CHECK (octet_length(limits) <= 4096);

ALTER TABLE identities
    ADD COLUMN limits            text CHECK (octet_length(limits) <= 4096),
    ADD COLUMN limits_generation bigint NOT NULL DEFAULT 0 CHECK (limits_generation >= 0); -- raised to begin with full buckets

-- An identity in one context.
CREATE TABLE identity_context_limits (
    tenant_id   uuid NOT NULL,
    identity_id uuid NOT NULL,
    context_id  uuid NOT NULL,
    limits      text NOT NULL CHECK (octet_length(limits) <= 4096),
    PRIMARY KEY (tenant_id, identity_id, context_id),
    FOREIGN KEY (tenant_id, identity_id) REFERENCES identities ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, context_id) REFERENCES contexts
);

-- Instead of what the environment says.
CREATE TABLE default_limits (
    dimension text PRIMARY KEY, -- as in paths and headers: ip, identity, context, ...
    limits    text NOT NULL CHECK (octet_length(limits) <= 4096)
);
