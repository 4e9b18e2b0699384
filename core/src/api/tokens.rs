use serde::{Deserialize, Serialize};

use super::body::Text;
use super::{Call, Error, Reply, extract, reply};
use crate::auth::{
    DEFAULT_TTL, FAMILY_REVOKED_FOR, REPEAT_WINDOW, RefreshToken, Role, USED_AT_PRECISION, Verified,
};
use crate::clock::Timestamp;
use crate::crypto::random;
use crate::id::{FamilyId, IdentityId, TenantId};
use crate::limits::Cost;
use crate::store::{Revocation, Store, StoredRefreshToken};

/// A refresh token to use.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RefreshRequest<'a> {
    #[serde(borrow)]
    #[schema(value_type = String)]
    refresh_token: Text<'a>,
    /// Whether to replace it. Its successor is in the reply; for 60 seconds a repeat gives the same one, and after them
    /// the use of a replaced token revokes all that came from it.
    rotate: Option<bool>,
}

/// What a refresh token gives. The tokens are shown once and stored nowhere.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct RefreshReply<'a> {
    access_token: &'a str,
    #[schema(value_type = String)]
    token_type: &'static str,
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
    /// Seconds until then.
    expires_in: u64,
    /// The one to use from now on, if the one that was sent was replaced.
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<&'a str>,
}

/// A token to revoke.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RevokeRequest<'a> {
    /// An access token, or a refresh token: then all that came from it stop working too.
    #[serde(borrow)]
    #[schema(value_type = String)]
    token: Text<'a>,
    /// Accepted, and not needed.
    #[serde(rename = "token_type_hint")]
    _token_type_hint: Option<String>,
}

/// That a token no longer works, whether it ever did or not.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct RevokeReply {
    revoked: bool,
}

/// Makes an access token with a refresh token.
///
/// It is worth what the refresh token is worth and lives for an hour. The refresh token stays as it is unless `rotate`
/// says otherwise, or its identity has `rotate_refresh_tokens`.
#[utoipa::path(
    post,
    path = "/api/v1/auth/refresh",
    tag = "Tokens",
    request_body = RefreshRequest<'_>,
    responses((status = 200, body = RefreshReply<'_>), (status = "default", response = super::openapi::AnyProblem)),
)]
pub(super) async fn refresh<S: Store>(call: &mut Call<'_, S>, body: &[u8]) -> Result<Reply, Error> {
    call.charge(None, Cost::ONE).await?;
    let request: RefreshRequest<'_> = extract::json(body)?;
    let Ok(sent) = RefreshToken::parse(request.refresh_token.as_str()) else {
        return Err(refuse(call).await);
    };
    let found = find(call, &sent).await?;
    call.charge_identity(found.identity.tenant, found.identity.id).await?;
    let rotate = request.rotate == Some(true) || found.family.rotates || found.identity.rotate_refresh_tokens;
    let successor = match found.replaced {
        Some(_) => Some(repeat(call, &sent, &found).await?),
        None if rotate => replace(call, &sent, &found).await?,
        None => {
            if found.now.since(found.family.used_at) >= USED_AT_PRECISION {
                call.app.store.touch_family(found.family.tenant, found.family.id, found.now).await?;
            }
            None
        }
    };
    let family = Some(found.family.id);
    let issued = call.app.tokens.issue(&found.identity, DEFAULT_TTL, &found.family.narrowing, family)?;
    call.facts.detail = Some(format!("refresh token {}, token {}", found.family.id, issued.id));
    let successor = successor.map(|token| token.text());
    Ok(reply(&RefreshReply {
        access_token: issued.token.expose(),
        token_type: "Bearer",
        expires_at: issued.expires_at,
        expires_in: DEFAULT_TTL.as_secs(),
        refresh_token: successor.as_ref().map(|text| text.expose().as_str()),
    }))
}

/// What the store has of a token, if it counts; the caller is known from here on.
async fn find<S: Store>(call: &mut Call<'_, S>, sent: &RefreshToken) -> Result<StoredRefreshToken, Error> {
    let Some(found) = call.app.store.refresh_token(sent.tenant(), sent.hash()).await? else {
        return Err(refuse(call).await);
    };
    let StoredRefreshToken { family, identity, .. } = &found;
    call.facts.subject = Some((identity.tenant, identity.id));
    call.facts.detail = Some(format!("refresh token {}", family.id));
    let counts = family.epoch == identity.epoch
        && identity.enabled
        && found.tenant_enabled
        && identity.role == Role::Service
        && found.now < family.expires_at();
    if counts { Ok(found) } else { Err(refuse(call).await) }
}

/// Replaces a token; `None` if it stays, because too many of its family were replaced lately.
async fn replace<S: Store>(
    call: &mut Call<'_, S>,
    sent: &RefreshToken,
    found: &StoredRefreshToken,
) -> Result<Option<RefreshToken>, Error> {
    let salt = random::array()?;
    let successor = sent.successor(&salt)?;
    if call.app.store.rotate_refresh_token(found, successor.hash(), salt).await? {
        return Ok(Some(successor));
    }
    // Another request of the same client was faster, or the family was revoked meanwhile.
    let found = find(call, sent).await?;
    if found.replaced.is_some() {
        return repeat(call, sent, &found).await.map(Some);
    }
    tracing::warn!(
        identity_id = %found.identity.id,
        refresh_token_id = %found.family.id,
        "a refresh token was not replaced, as too many of its family were lately"
    );
    Ok(None)
}

/// The successor of a token that was replaced just now; later, one of two who have it stole it.
async fn repeat<S: Store>(
    call: &mut Call<'_, S>,
    sent: &RefreshToken,
    found: &StoredRefreshToken,
) -> Result<RefreshToken, Error> {
    let Some((replaced_at, salt)) = &found.replaced else { return Err(refuse(call).await) };
    if found.now.since(*replaced_at) <= REPEAT_WINDOW {
        return Ok(sent.successor(salt)?);
    }
    let family = &found.family;
    end_family(call, family.tenant, family.identity, family.id).await?;
    call.facts.detail =
        Some(format!("refresh token {}: used after it was replaced, and so revoked", found.family.id));
    tracing::warn!(
        identity_id = %found.identity.id,
        refresh_token_id = %found.family.id,
        "a refresh token was used after it was replaced: it, or its successor, was stolen; all of its family are revoked"
    );
    // Not refused by a limit, as requests that are leave no record, and this one made a change.
    Err(Error::InvalidRefreshToken)
}

async fn end_family<S: Store>(
    call: &Call<'_, S>,
    tenant: TenantId,
    identity: IdentityId,
    family: FamilyId,
) -> Result<bool, Error> {
    let now = call.app.clock.now();
    let ended = call.app.store.revoke_family(tenant, identity, family, now + FAMILY_REVOKED_FOR, now).await?;
    call.app.changed().await;
    Ok(ended)
}

/// One who brings what does not count pays as for a bad bearer token.
async fn refuse<S: Store>(call: &mut Call<'_, S>) -> Error {
    call.charge_failed_authentication().await.err().unwrap_or(Error::InvalidRefreshToken)
}

/// Revokes the token that is sent (RFC 7009, with JSON).
///
/// Whoever has a token may revoke it. A token that never was one, or no longer is, is answered alike.
#[utoipa::path(
    post,
    path = "/api/v1/auth/revoke",
    tag = "Tokens",
    request_body = RevokeRequest<'_>,
    responses((status = 200, body = RevokeReply), (status = "default", response = super::openapi::AnyProblem)),
)]
pub(super) async fn revoke<S: Store>(call: &mut Call<'_, S>, body: &[u8]) -> Result<Reply, Error> {
    call.charge(None, Cost::ONE).await?;
    let request: RevokeRequest<'_> = extract::json(body)?;
    let known = match RefreshToken::parse(request.token.as_str()) {
        Ok(sent) => revoke_refresh_token(call, &sent).await?,
        Err(_) => revoke_access_token(call, request.token.as_str()).await?,
    };
    if !known {
        call.facts.detail = Some("no token that counts".to_owned());
        call.charge_failed_authentication().await?;
    }
    Ok(reply(&RevokeReply { revoked: true }))
}

async fn revoke_refresh_token<S: Store>(call: &mut Call<'_, S>, sent: &RefreshToken) -> Result<bool, Error> {
    let Some(found) = call.app.store.refresh_token(sent.tenant(), sent.hash()).await? else {
        return Ok(false);
    };
    let (tenant, identity, family) = (found.identity.tenant, found.identity.id, found.family.id);
    call.facts.subject = Some((tenant, identity));
    call.facts.detail = Some(format!("refresh token {family}"));
    end_family(call, tenant, identity, family).await?;
    Ok(true)
}

/// Also one that does not count at the moment: its identity or tenant may be enabled again.
async fn revoke_access_token<S: Store>(call: &mut Call<'_, S>, token: &str) -> Result<bool, Error> {
    let (verified, status) = match call.app.look_up(token, call.sender()).await {
        Ok(found) => found,
        Err(Error::Unauthenticated(_)) => return Ok(false),
        Err(error) => return Err(error),
    };
    let Verified { tenant, identity, id, family, expires_at, .. } = &*verified;
    if !status.is_some_and(|status| status.leaves_valid(&verified)) {
        return Ok(false);
    }
    call.facts.subject = Some((*tenant, *identity));
    call.facts.detail = Some(format!("token {id}"));
    let now = call.app.clock.now();
    match call.app.store.revoke_token(*tenant, *identity, id, *expires_at, now).await? {
        Revocation::Done => call.app.changed().await,
        Revocation::NoIdentity => return Ok(false),
        Revocation::TooMany => {
            let family = family.as_ref().and_then(|family| family.parse().ok());
            let family = family.ok_or(Error::TooManyRevokedTokens)?;
            call.facts.detail = Some(format!("token {id}, with its refresh token {family}"));
            if !end_family(call, *tenant, *identity, family).await? {
                return Err(Error::TooManyRevokedTokens);
            }
        }
    }
    Ok(true)
}
