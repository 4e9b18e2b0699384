-- The certificate that stands for a token of an identity: its subject (RFC 4514) or a URI of it. Unique in the deployment, since the
-- authorities that sign certificates are the deployment's and not a tenant's. Kept in step with the PostgreSQL migration of the same name.
-- A build that lacks it runs on this schema and knows identities by tokens alone.

ALTER TABLE identities ADD COLUMN certificate TEXT CHECK (length(CAST(certificate AS BLOB)) BETWEEN 1 AND 1024);

CREATE UNIQUE INDEX identities_certificate ON identities (certificate) WHERE certificate IS NOT NULL;
