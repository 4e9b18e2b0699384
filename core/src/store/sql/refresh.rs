use super::identities;
use super::row::Columns;
use super::store::{first, ignore, only};
use super::{Database, Mutation, Statement};
use crate::auth::{
    CLOCK_MARGIN, FAMILY_TTL, Identity, MAX_FAMILIES, MAX_REVOKED, Narrowing, RefreshFamily, Role,
};
use crate::clock::Timestamp;
use crate::id::{FamilyId, IdentityId, TenantId};
use crate::store::{Error, Opening, RefreshTokens, Store, StoredRefreshToken};

/// How many replaced tokens of a family are remembered, each as long as a token may lie unused. A family that has as many
/// keeps its token: whoever stole one must not be able to bury the owner's under ever more successors.
const REPLACED_KEPT: u32 = 5000;

impl<D: Database> RefreshTokens for D {
    async fn open_family(&self, family: &RefreshFamily, hash: [u8; 32]) -> Result<Opening, Error> {
        if self.mutate(open(family, hash), ignore).await?.is_some() {
            return Ok(Opening::Done);
        }
        let (tenant, id) = (family.tenant, family.identity);
        let is_as_read = |now: Identity| {
            (now.epoch, now.enabled, now.role, now.subject) == (family.epoch, true, Role::Service, None)
        };
        if !self.identity(tenant, id).await?.value.is_some_and(is_as_read) {
            return Ok(Opening::IdentityChanged);
        }
        let families = self.families(tenant, id, family.created_at).await?;
        let full = u32::try_from(families.len()).is_ok_and(|live| live >= MAX_FAMILIES);
        Ok(if full { Opening::TooManyFamilies } else { Opening::TooManyRevoked })
    }

    async fn refresh_token(
        &self,
        tenant: TenantId,
        hash: [u8; 32],
    ) -> Result<Option<StoredRefreshToken>, Error> {
        first(self.read(find(tenant, hash), parse_token).await)
    }

    async fn rotate_refresh_token(
        &self,
        token: &StoredRefreshToken,
        successor: [u8; 32],
        salt: [u8; 32],
    ) -> Result<bool, Error> {
        // Mutations wait for each other: one that would change nothing need not.
        let full = only(self.read(is_full(token), |row| row.boolean("is_full")).await)?;
        Ok(!full && self.mutate(rotate(token, successor, salt), ignore).await?.is_some())
    }

    async fn touch_family(&self, tenant: TenantId, family: FamilyId, now: Timestamp) -> Result<(), Error> {
        self.write(touch(tenant, family, now), ignore).await.map(drop)
    }

    async fn revoke_family(
        &self,
        tenant: TenantId,
        identity: IdentityId,
        family: FamilyId,
        expires_at: Timestamp,
        now: Timestamp,
    ) -> Result<bool, Error> {
        let revoked = self.mutate(revoke(tenant, identity, family, expires_at, now), ignore).await?;
        Ok(revoked.is_some())
    }

    async fn families(
        &self,
        tenant: TenantId,
        identity: IdentityId,
        now: Timestamp,
    ) -> Result<Vec<RefreshFamily>, Error> {
        self.read(list(tenant, identity, now), parse_family).await
    }

    async fn prune_families(&self, now: Timestamp) -> Result<(), Error> {
        let prune =
            Statement::new("DELETE FROM refresh_families WHERE used_at <= $1", [(now - FAMILY_TTL).into()]);
        self.upkeep(vec![prune], ignore).await.map(drop)
    }
}

/// Mutations wait for each other, so that none counts while another adds. A family that lives can always be revoked, so
/// none begins while as many tokens are as may be.
fn open(family: &RefreshFamily, hash: [u8; 32]) -> Mutation {
    let (tenant, identity) = (family.tenant, family.identity);
    let bury = Statement::new(
        "DELETE FROM refresh_families WHERE tenant_id = $1 AND identity_id = $2 AND (epoch <> $3 OR used_at <= $4) \
         RETURNING id",
        [tenant.into(), identity.into(), family.epoch.into(), (family.created_at - FAMILY_TTL).into()],
    );
    let insert = Statement::new(
        "INSERT INTO refresh_families (tenant_id, id, identity_id, epoch, scopes, contexts, rotates, detail, created_at, \
         used_at) SELECT tenant_id, $3, id, epoch, $5, $6, $7, $8, $9, $10 FROM identities \
         WHERE tenant_id = $1 AND id = $2 AND epoch = $4 AND role = $11 AND enabled AND subject IS NULL \
         AND (SELECT count(*) FROM refresh_families WHERE tenant_id = $1 AND identity_id = $2) < $12 \
         AND (SELECT count(*) FROM revoked_tokens WHERE tenant_id = $1 AND identity_id = $2 AND expires_at > $13) < $14 \
         RETURNING id",
        [
            tenant.into(),
            identity.into(),
            family.id.into(),
            family.epoch.into(),
            family.narrowing.scopes.map(|scopes| scopes.to_string()).into(),
            family.narrowing.contexts.as_ref().map(ToString::to_string).into(),
            family.rotates.into(),
            family.detail.as_str().into(),
            family.created_at.into(),
            family.used_at.into(),
            Role::Service.name().into(),
            MAX_FAMILIES.into(),
            (family.created_at - CLOCK_MARGIN).into(),
            MAX_REVOKED.into(),
        ],
    );
    let token = add(tenant, family.id, hash, family.created_at);
    let statements = vec![bury.optional(), insert, token];
    // No replica holds anything of refresh tokens.
    Mutation { name: "open_refresh_family", statements, changes: Vec::new(), at: family.created_at }
}

fn add(tenant: TenantId, family: FamilyId, hash: [u8; 32], at: Timestamp) -> Statement {
    Statement::new(
        "INSERT INTO refresh_tokens (tenant_id, hash, family_id, created_at) VALUES ($1, $2, $3, $4) \
         RETURNING family_id",
        [tenant.into(), hash.as_slice().into(), family.into(), at.into()],
    )
}

fn find(tenant: TenantId, hash: [u8; 32]) -> Statement {
    const SQL: &str = "SELECT i.*, n.enabled AS tenant_enabled, now() AS found_at, t.hash, t.replaced_at, \
         t.successor_salt, f.id AS family_id, f.identity_id AS family_identity, f.epoch AS family_epoch, \
         f.scopes AS family_scopes, f.contexts AS family_contexts, f.rotates, f.detail, f.created_at AS opened_at, \
         f.used_at \
         FROM refresh_tokens t JOIN refresh_families f ON f.tenant_id = t.tenant_id AND f.id = t.family_id \
         JOIN identities i ON i.tenant_id = f.tenant_id AND i.id = f.identity_id JOIN tenants n ON n.id = t.tenant_id \
         WHERE t.tenant_id = $1 AND t.hash = $2";
    Statement::new(SQL, [tenant.into(), hash.as_slice().into()])
}

/// Whether as many of a token's family were replaced as are remembered.
fn is_full(token: &StoredRefreshToken) -> Statement {
    Statement::new(
        "SELECT count(*) > $4 AS is_full FROM refresh_tokens WHERE tenant_id = $1 AND family_id = $2 \
         AND (replaced_at IS NULL OR replaced_at > $3)",
        [
            token.family.tenant.into(),
            token.family.id.into(),
            (token.now - FAMILY_TTL).into(),
            REPLACED_KEPT.into(),
        ],
    )
}

fn rotate(token: &StoredRefreshToken, successor: [u8; 32], salt: [u8; 32]) -> Mutation {
    let (tenant, family, now) = (token.family.tenant, token.family.id, token.now);
    let forget = Statement::new(
        "DELETE FROM refresh_tokens WHERE tenant_id = $1 AND family_id = $2 AND replaced_at <= $3 RETURNING family_id",
        [tenant.into(), family.into(), (now - FAMILY_TTL).into()],
    );
    let replace = Statement::new(
        "UPDATE refresh_tokens SET replaced_at = $3, successor_salt = $4 \
         WHERE tenant_id = $1 AND hash = $2 AND replaced_at IS NULL \
         AND (SELECT count(*) FROM refresh_tokens t WHERE t.tenant_id = $1 AND t.family_id = $5) <= $6 \
         RETURNING family_id",
        [
            tenant.into(),
            token.hash.as_slice().into(),
            now.into(),
            salt.as_slice().into(),
            family.into(),
            REPLACED_KEPT.into(),
        ],
    );
    let statements = vec![
        forget.optional(),
        replace,
        touch(tenant, family, now).optional(),
        add(tenant, family, successor, now),
    ];
    Mutation { name: "rotate_refresh_token", statements, changes: Vec::new(), at: now }
}

fn touch(tenant: TenantId, family: FamilyId, now: Timestamp) -> Statement {
    Statement::new(
        "UPDATE refresh_families SET used_at = $3 WHERE tenant_id = $1 AND id = $2 AND used_at < $3 RETURNING id",
        [tenant.into(), family.into(), now.into()],
    )
}

fn revoke(
    tenant: TenantId,
    identity: IdentityId,
    family: FamilyId,
    expires_at: Timestamp,
    now: Timestamp,
) -> Mutation {
    let end = Statement::new(
        "DELETE FROM refresh_families WHERE tenant_id = $1 AND identity_id = $2 AND id = $3 RETURNING id",
        [tenant.into(), identity.into(), family.into()],
    );
    let mut mutation =
        identities::revoke_token(tenant, identity, &family.to_string(), expires_at, now, u32::MAX);
    mutation.name = "revoke_refresh_family";
    mutation.statements.insert(0, end);
    mutation
}

fn list(tenant: TenantId, identity: IdentityId, now: Timestamp) -> Statement {
    Statement::new(
        "SELECT f.tenant_id, f.id AS family_id, f.identity_id AS family_identity, f.epoch AS family_epoch, \
         f.scopes AS family_scopes, f.contexts AS family_contexts, f.rotates, f.detail, f.created_at AS opened_at, \
         f.used_at FROM refresh_families f JOIN identities i ON i.tenant_id = f.tenant_id AND i.id = f.identity_id \
         WHERE f.tenant_id = $1 AND f.identity_id = $2 AND f.epoch = i.epoch AND f.used_at > $3 \
         ORDER BY f.created_at, f.id",
        [tenant.into(), identity.into(), (now - FAMILY_TTL).into()],
    )
}

fn parse_token(row: &dyn Columns) -> Result<StoredRefreshToken, Error> {
    let replaced = match row.optional_time("replaced_at")? {
        Some(at) => Some((at, row.array("successor_salt")?)),
        None => None,
    };
    Ok(StoredRefreshToken {
        hash: row.array("hash")?,
        replaced,
        family: parse_family(row)?,
        identity: identities::parse(row)?,
        tenant_enabled: row.boolean("tenant_enabled")?,
        now: row.time("found_at")?,
    })
}

fn parse_family(row: &dyn Columns) -> Result<RefreshFamily, Error> {
    Ok(RefreshFamily {
        id: FamilyId(row.uuid("family_id")?),
        tenant: TenantId(row.uuid("tenant_id")?),
        identity: IdentityId(row.uuid("family_identity")?),
        epoch: row.integer("family_epoch")?,
        narrowing: Narrowing {
            scopes: row.optional_parsed("family_scopes")?,
            contexts: row.optional_parsed("family_contexts")?,
        },
        rotates: row.boolean("rotates")?,
        detail: row.text("detail")?,
        created_at: row.time("opened_at")?,
        used_at: row.time("used_at")?,
    })
}
