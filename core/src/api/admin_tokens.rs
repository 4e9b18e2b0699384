use std::fmt::Write;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::admin_identities::{
    IdentityView, check, check_grant, identity, parse_contexts, parse_scopes, store,
};
use super::{Call, Error, Reply, extract, reply};
use crate::auth::{
    DEFAULT_TTL, FAMILY_REVOKED_FOR, Identity, IssueError, MAX_SERVICE_TTL, Narrowing, RefreshFamily,
    RefreshToken, Role, Tokens, is_token_id,
};
use crate::clock::Timestamp;
use crate::id::FamilyId;
use crate::limits::Cost;
use crate::secret::Secret;
use crate::store::{Opening, Revocation, Store};

/// A token to issue.
#[derive(Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct IssueToken {
    /// 3600 unless given; at most 90 days, for `admin` and `operator` 12 hours.
    ttl_seconds: Option<u64>,
    /// Narrows what the identity may do.
    scopes: Option<Vec<String>>,
    /// Narrows the contexts that the identity may use.
    contexts: Option<Vec<String>>,
    /// Whether to give a refresh token too, narrowed alike; for services alone.
    refresh: Option<bool>,
}

/// A token. It is shown once and stored nowhere.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct TokenReply<'a> {
    /// By which it can be revoked.
    token_id: &'a str,
    access_token: &'a str,
    #[schema(value_type = String)]
    token_type: &'static str,
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
    /// By which the refresh token can be revoked, and with it all tokens that it made.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    refresh_token_id: Option<FamilyId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<&'a str>,
}

/// A refresh token that counts.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct RefreshTokenView {
    /// By which it can be revoked.
    #[schema(value_type = String)]
    id: FamilyId,
    /// What it narrows the identity to, if it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<String>>)]
    scopes: Option<Vec<&'static str>>,
    /// Where it narrows it to, if it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    contexts: Option<Vec<String>>,
    /// Whether it is replaced at each use.
    rotates: bool,
    /// Who got it and what for.
    detail: String,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// When it was last used, to the day.
    #[schema(value_type = String, format = DateTime)]
    used_at: Timestamp,
    /// When it stops working unless it is used before.
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
}

/// The refresh tokens of an identity, oldest first; at most 20.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct RefreshTokenList {
    refresh_tokens: Vec<RefreshTokenView>,
}

/// A token that counts no more.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct RevokedToken<'a> {
    token_id: &'a str,
}

/// Issues an access token for an identity, and a refresh token if asked for.
#[utoipa::path(
    post,
    path = "/api/admin/identities/{id}/tokens",
    tag = "Administration",
    params(("id" = String, Path)),
    request_body = IssueToken,
    responses((status = 200, body = TokenReply<'_>), (status = "default", response = super::openapi::AnyProblem)),
)]
pub(super) async fn issue<S: Store>(call: &mut Call<'_, S>, body: &[u8]) -> Result<Reply, Error> {
    call.charge(None, Cost::ONE).await?;
    let request: IssueToken = if body.is_empty() { IssueToken::default() } else { extract::json(body)? };
    let identity = identity(call).await?;
    check(call, &identity)?;
    if identity.subject.is_some() {
        return Err(Error::RoleForbidden("tokens of this identity come from the outside identity provider"));
    }
    let narrowing = Narrowing {
        scopes: request.scopes.as_deref().map(parse_scopes).transpose()?,
        contexts: request.contexts.as_deref().map(parse_contexts).transpose()?,
    };
    let scopes = narrowing.scopes.map_or(identity.scopes, |scopes| scopes.intersection(identity.scopes));
    check_grant(call, scopes, narrowing.contexts.as_ref().unwrap_or(&identity.contexts))?;
    let mut ttl = request.ttl_seconds.map_or(DEFAULT_TTL, Duration::from_secs);
    let caller = call.principal().identity();
    if identity.id == caller.id {
        // A token does not prolong its own life.
        Tokens::check_ttl(identity.role, ttl).map_err(IssueError::from)?;
        ttl = ttl.min(call.principal().expires_at().since(call.app.clock.now()));
    }
    let family = match request.refresh {
        Some(true) if identity.role != Role::Service => {
            return Err(Error::InvalidRequest("`refresh`: only services have refresh tokens".to_owned()));
        }
        Some(true) => {
            let detail = format!("issued by {} ({})", caller.name, caller.id);
            Some(RefreshFamily::new(&identity, narrowing.clone(), detail, call.app.clock.now()))
        }
        _ => None,
    };
    // What makes it fails first: nothing is stored of a token that would be too long.
    let sid = family.as_ref().map(|family| family.id);
    let issued = call.app.tokens.issue(&identity, ttl, &narrowing, sid)?;
    if let Some(detail) = &mut call.facts.detail {
        let _ = write!(detail, ", token {}", issued.id);
    }
    let refresh_token = match &family {
        Some(family) => Some(open_family(call, &identity, family).await?),
        None => None,
    };
    Ok(reply(&TokenReply {
        token_id: &issued.id,
        access_token: issued.token.expose(),
        token_type: "Bearer",
        expires_at: issued.expires_at,
        refresh_token_id: family.map(|family| family.id),
        refresh_token: refresh_token.as_ref().map(|text| text.expose().as_str()),
    }))
}

/// Stores a family; the text of its first token.
pub(super) async fn open_family<S: Store>(
    call: &mut Call<'_, S>,
    identity: &Identity,
    family: &RefreshFamily,
) -> Result<Secret<String>, Error> {
    let token = RefreshToken::generate(identity.tenant)?;
    match call.app.store.open_family(family, token.hash()).await? {
        Opening::Done => {}
        Opening::TooManyFamilies => return Err(Error::TooManyRefreshTokens),
        Opening::TooManyRevoked => return Err(Error::TooManyRevokedTokens),
        Opening::IdentityChanged => return Err(Error::Conflict),
    }
    if let Some(detail) = &mut call.facts.detail {
        let _ = write!(detail, ", refresh token {}", family.id);
    }
    Ok(token.text())
}

/// Lists the refresh tokens of an identity that count.
#[utoipa::path(
    get,
    path = "/api/admin/identities/{id}/tokens",
    tag = "Administration",
    params(("id" = String, Path)),
    responses((status = 200, body = RefreshTokenList), (status = "default", response = super::openapi::AnyProblem)),
)]
pub(super) async fn list<S: Store>(call: &mut Call<'_, S>) -> Result<Reply, Error> {
    call.charge(None, Cost::ONE).await?;
    let identity = identity(call).await?;
    let families = call.app.store.families(identity.tenant, identity.id, call.app.clock.now()).await?;
    let view = |family: RefreshFamily| RefreshTokenView {
        id: family.id,
        scopes: family.narrowing.scopes.map(|scopes| scopes.iter().map(|scope| scope.name()).collect()),
        contexts: family.narrowing.contexts.as_ref().map(|contexts| contexts.names()),
        rotates: family.rotates || identity.rotate_refresh_tokens,
        created_at: family.created_at,
        used_at: family.used_at,
        expires_at: family.expires_at(),
        detail: family.detail,
    };
    Ok(reply(&RefreshTokenList { refresh_tokens: families.into_iter().map(view).collect() }))
}

/// Revokes one token of an identity, by its id: an access token, or a refresh token with all that it made.
///
/// Ids of access tokens are not kept, so one that never was a token's is answered alike. At most 1,000 are remembered as
/// revoked.
#[utoipa::path(
    delete,
    path = "/api/admin/identities/{id}/tokens/{token_id}",
    tag = "Administration",
    params(("id" = String, Path), ("token_id" = String, Path)),
    responses((status = 200, body = RevokedToken<'_>), (status = "default", response = super::openapi::AnyProblem)),
)]
pub(super) async fn revoke<S: Store>(call: &mut Call<'_, S>) -> Result<Reply, Error> {
    call.charge(None, Cost::ONE).await?;
    let identity = identity(call).await?;
    check(call, &identity)?;
    let sent = call.parameter(1);
    let family = sent.parse::<FamilyId>();
    // Ours are UUIDs, however they are written; what a provider calls its tokens is its own affair.
    let id = match (&family, &identity.subject) {
        (Ok(family), None) => family.to_string(),
        (_, Some(_)) if is_token_id(sent) => sent.to_owned(),
        _ => return Err(Error::TokenNotFound),
    };
    if let Some(detail) = &mut call.facts.detail {
        let _ = write!(detail, ", token {id}");
    }
    let (store, now) = (&call.app.store, call.app.clock.now());
    let was_family = match family {
        Ok(family) => {
            store.revoke_family(identity.tenant, identity.id, family, now + FAMILY_REVOKED_FOR, now).await?
        }
        Err(_) => false,
    };
    // When an access token expires stands in the token alone: then none that is valid now is valid any more.
    if !was_family {
        match store.revoke_token(identity.tenant, identity.id, &id, now + MAX_SERVICE_TTL, now).await? {
            Revocation::Done => {}
            Revocation::TooMany => return Err(Error::TooManyRevokedTokens),
            Revocation::NoIdentity => return Err(Error::IdentityNotFound),
        }
    }
    call.app.changed().await;
    Ok(reply(&RevokedToken { token_id: &id }))
}

/// Revokes all tokens of an identity that were issued so far.
#[utoipa::path(
    delete,
    path = "/api/admin/identities/{id}/tokens",
    tag = "Administration",
    params(("id" = String, Path)),
    responses((status = 200, body = IdentityView), (status = "default", response = super::openapi::AnyProblem)),
)]
pub(super) async fn revoke_all<S: Store>(call: &mut Call<'_, S>) -> Result<Reply, Error> {
    call.charge(None, Cost::ONE).await?;
    let identity = identity(call).await?;
    check(call, &identity)?;
    let updated = store(call, &identity, true).await?;
    Ok(reply(&IdentityView::from(&updated)))
}
