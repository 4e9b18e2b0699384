use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::extract::{invalid, next_page, page_size};
use super::respond::created;
use super::{Call, Error, Reply, extract, reply};
use crate::auth::{ContextGrant, DEFAULT_TTL, Identity, IssueError, Narrowing, Role, ScopeSet, Tokens};
use crate::clock::Timestamp;
use crate::id::IdentityId;
use crate::name::Name;
use crate::store::{self, Store};

/// An identity to make.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateIdentity {
    /// 1 to 64 characters of a-z, 0-9, '.', '_' and '-'.
    name: String,
    /// `service` unless given; `admin`; `operator`.
    role: Option<String>,
    /// What it may do; all that its role allows unless given.
    scopes: Option<Vec<String>>,
    /// The names of the contexts that it may use, or `["*"]` for all; none unless given.
    contexts: Option<Vec<String>>,
}

/// Changes of an identity; what is absent stays.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct UpdateIdentity {
    name: Option<String>,
    role: Option<String>,
    scopes: Option<Vec<String>>,
    contexts: Option<Vec<String>>,
    /// A disabled identity's tokens are refused until it is enabled again.
    enabled: Option<bool>,
}

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
}

/// A token. It is shown once and stored nowhere.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct TokenReply<'a> {
    access_token: &'a str,
    #[schema(value_type = String)]
    token_type: &'static str,
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
}

/// An identity.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct IdentityView {
    #[schema(value_type = String)]
    id: IdentityId,
    #[schema(value_type = String)]
    name: Name,
    #[schema(value_type = String)]
    role: &'static str,
    #[schema(value_type = Vec<String>)]
    scopes: Vec<&'static str>,
    contexts: Vec<String>,
    enabled: bool,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
}

/// A page of identities, by name.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct IdentityPage {
    identities: Vec<IdentityView>,
    /// The value of `after` for the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    next: Option<Name>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    after: Option<Name>,
    limit: Option<u32>,
}

impl From<&Identity> for IdentityView {
    fn from(identity: &Identity) -> Self {
        Self {
            id: identity.id,
            name: identity.name.clone(),
            role: identity.role.name(),
            scopes: identity.scopes.iter().map(|scope| scope.name()).collect(),
            contexts: identity.contexts.to_string().split_ascii_whitespace().map(str::to_owned).collect(),
            enabled: identity.enabled,
            created_at: identity.created_at,
            updated_at: identity.updated_at,
        }
    }
}

/// Lists the tenant's identities.
#[utoipa::path(
    get,
    path = "/api/admin/identities",
    tag = "Administration",
    params(
        ("after" = Option<String>, Query, description = "Start behind this name"),
        ("limit" = Option<u32>, Query, description = "1 to 1000, default 100"),
    ),
    responses((status = 200, body = IdentityPage), (status = "default", response = super::openapi::AnyProblem)),
)]
pub(super) async fn list<S: Store>(call: &mut Call<'_, S>) -> Result<Reply, Error> {
    call.charge(None, 1)?;
    let query: ListQuery = extract::query(call.query)?;
    let limit = page_size(query.limit)?;
    let found = call.app.store.identities(call.tenant(), query.after.as_ref(), limit).await?;
    let next = next_page(&found, limit, |identity| &identity.name);
    let identities = found.iter().map(IdentityView::from).collect();
    Ok(reply(&IdentityPage { identities, next }))
}

/// Makes an identity.
#[utoipa::path(
    post,
    path = "/api/admin/identities",
    tag = "Administration",
    request_body = CreateIdentity,
    responses((status = 201, body = IdentityView), (status = "default", response = super::openapi::AnyProblem)),
)]
pub(super) async fn create<S: Store>(call: &mut Call<'_, S>, body: &[u8]) -> Result<Reply, Error> {
    call.charge(None, 1)?;
    let request: CreateIdentity = extract::json(body)?;
    let role = request.role.as_deref().map_or(Ok(Role::Service), parse_role)?;
    let scopes = request.scopes.as_deref().map(parse_scopes).transpose()?;
    let now = call.app.clock.now();
    let identity = Identity {
        id: IdentityId::random(),
        tenant: call.tenant(),
        name: request.name.parse().map_err(|error| invalid("name", error))?,
        role,
        scopes: scopes.unwrap_or_else(|| role.scopes()),
        contexts: parse_contexts(request.contexts.as_deref().unwrap_or_default())?,
        epoch: 0,
        enabled: true,
        created_at: now,
        updated_at: now,
    };
    check(call, &identity)?;
    check_grant(call, identity.scopes, &identity.contexts)?;
    match call.app.store.create_identity(&identity).await {
        Ok(()) => {}
        Err(store::Error::Exists) => return Err(Error::NameTaken(" by another identity")),
        Err(error) => return Err(error.into()),
    }
    call.app.changed().await;
    describe(call, &identity);
    Ok(created(&IdentityView::from(&identity)))
}

/// Shows an identity.
#[utoipa::path(
    get,
    path = "/api/admin/identities/{id}",
    tag = "Administration",
    params(("id" = String, Path)),
    responses((status = 200, body = IdentityView), (status = "default", response = super::openapi::AnyProblem)),
)]
pub(super) async fn get<S: Store>(call: &mut Call<'_, S>) -> Result<Reply, Error> {
    call.charge(None, 1)?;
    Ok(reply(&IdentityView::from(&identity(call).await?)))
}

/// Changes an identity. What it may do changes for the tokens that it has too.
#[utoipa::path(
    put,
    path = "/api/admin/identities/{id}",
    tag = "Administration",
    params(("id" = String, Path)),
    request_body = UpdateIdentity,
    responses((status = 200, body = IdentityView), (status = "default", response = super::openapi::AnyProblem)),
)]
pub(super) async fn update<S: Store>(call: &mut Call<'_, S>, body: &[u8]) -> Result<Reply, Error> {
    call.charge(None, 1)?;
    let request: UpdateIdentity = extract::json(body)?;
    let mut identity = identity(call).await?;
    // As it is, and below as it would be: neither may be out of the caller's reach.
    check(call, &identity)?;
    if let Some(name) = &request.name {
        identity.name = name.parse().map_err(|error| invalid("name", error))?;
    }
    let role = request.role.as_deref().map_or(Ok(identity.role), parse_role)?;
    // Tokens of one role may live longer than those of another.
    let new_role = role != identity.role;
    if new_role {
        identity.role = role;
        identity.scopes = role.scopes();
    }
    if let Some(scopes) = &request.scopes {
        identity.scopes = parse_scopes(scopes)?;
    }
    if let Some(contexts) = &request.contexts {
        identity.contexts = parse_contexts(contexts)?;
    }
    identity.enabled = request.enabled.unwrap_or(identity.enabled);
    check(call, &identity)?;
    check_grant(call, identity.scopes, &identity.contexts)?;
    let updated = store(call, &identity, new_role).await?;
    Ok(reply(&IdentityView::from(&updated)))
}

/// Deletes an identity and with it all its tokens.
#[utoipa::path(
    delete,
    path = "/api/admin/identities/{id}",
    tag = "Administration",
    params(("id" = String, Path)),
    responses((status = 200, body = IdentityView), (status = "default", response = super::openapi::AnyProblem)),
)]
pub(super) async fn delete<S: Store>(call: &mut Call<'_, S>) -> Result<Reply, Error> {
    call.charge(None, 1)?;
    let identity = identity(call).await?;
    check(call, &identity)?;
    if !call.app.store.delete_identity(identity.tenant, identity.id, call.app.clock.now()).await? {
        return Err(Error::IdentityNotFound);
    }
    call.app.changed().await;
    Ok(reply(&IdentityView::from(&identity)))
}

/// Issues an access token for an identity.
#[utoipa::path(
    post,
    path = "/api/admin/identities/{id}/tokens",
    tag = "Administration",
    params(("id" = String, Path)),
    request_body = IssueToken,
    responses((status = 200, body = TokenReply<'_>), (status = "default", response = super::openapi::AnyProblem)),
)]
pub(super) async fn issue_token<S: Store>(call: &mut Call<'_, S>, body: &[u8]) -> Result<Reply, Error> {
    call.charge(None, 1)?;
    let request: IssueToken = if body.is_empty() { IssueToken::default() } else { extract::json(body)? };
    let identity = identity(call).await?;
    check(call, &identity)?;
    let narrowing = Narrowing {
        scopes: request.scopes.as_deref().map(parse_scopes).transpose()?,
        contexts: request.contexts.as_deref().map(parse_contexts).transpose()?,
    };
    let scopes = narrowing.scopes.map_or(identity.scopes, |scopes| scopes.intersection(identity.scopes));
    check_grant(call, scopes, narrowing.contexts.as_ref().unwrap_or(&identity.contexts))?;
    let mut ttl = request.ttl_seconds.map_or(DEFAULT_TTL, Duration::from_secs);
    if identity.id == call.principal().identity().id {
        // A token does not prolong its own life.
        Tokens::check_ttl(identity.role, ttl).map_err(IssueError::from)?;
        ttl = ttl.min(call.principal().expires_at().since(call.app.clock.now()));
    }
    let issued = call.app.tokens.issue(&identity, ttl, &narrowing)?;
    Ok(reply(&TokenReply {
        access_token: issued.token.expose(),
        token_type: "Bearer",
        expires_at: issued.expires_at,
    }))
}

/// Revokes all tokens of an identity that were issued so far.
#[utoipa::path(
    delete,
    path = "/api/admin/identities/{id}/tokens",
    tag = "Administration",
    params(("id" = String, Path)),
    responses((status = 200, body = IdentityView), (status = "default", response = super::openapi::AnyProblem)),
)]
pub(super) async fn revoke_tokens<S: Store>(call: &mut Call<'_, S>) -> Result<Reply, Error> {
    call.charge(None, 1)?;
    let identity = identity(call).await?;
    check(call, &identity)?;
    let updated = store(call, &identity, true).await?;
    Ok(reply(&IdentityView::from(&updated)))
}

/// The identity that the path names, if it is of the caller's tenant.
async fn identity<S: Store>(call: &mut Call<'_, S>) -> Result<Identity, Error> {
    let id: IdentityId = call.parameter(0).parse().map_err(|_| Error::IdentityNotFound)?;
    let identity = call.app.store.identity(call.tenant(), id).await?.value.ok_or(Error::IdentityNotFound)?;
    describe(call, &identity);
    Ok(identity)
}

async fn store<S: Store>(
    call: &Call<'_, S>,
    identity: &Identity,
    raise_epoch: bool,
) -> Result<Identity, Error> {
    let updated = match call.app.store.update_identity(identity, raise_epoch, call.app.clock.now()).await {
        Err(store::Error::Exists) => return Err(Error::NameTaken(" by another identity")),
        updated => updated?,
    };
    call.app.changed().await;
    updated.ok_or(Error::Conflict)
}

/// Whether the caller may make or change such an identity: scopes within its role, and operators only by operators.
fn check<S: Store>(call: &Call<'_, S>, identity: &Identity) -> Result<(), Error> {
    if identity.role == Role::Operator && call.principal().identity().role != Role::Operator {
        return Err(Error::RoleForbidden("only an operator manages operators"));
    }
    if identity.scopes.intersection(identity.role.scopes()) != identity.scopes {
        return Err(Error::InvalidRequest(format!(
            "`scopes`: the role {} allows at most: {}",
            identity.role.name(),
            identity.role.scopes(),
        )));
    }
    Ok(())
}

fn check_grant<S: Store>(call: &Call<'_, S>, scopes: ScopeSet, contexts: &ContextGrant) -> Result<(), Error> {
    if call.principal().may_grant(scopes, contexts) {
        Ok(())
    } else {
        Err(Error::RoleForbidden("a narrowed token gives no more than it has itself"))
    }
}

fn describe<S: Store>(call: &mut Call<'_, S>, identity: &Identity) {
    call.facts.detail = Some(format!("identity {} ({})", identity.name, identity.id));
}

fn parse_role(role: &str) -> Result<Role, Error> {
    role.parse().map_err(|error| invalid("role", error))
}

fn parse_scopes(scopes: &[String]) -> Result<ScopeSet, Error> {
    scopes
        .iter()
        .map(|scope| scope.parse())
        .collect::<Result<_, _>>()
        .map_err(|_| Error::InvalidRequest(format!("`scopes`: the scopes are {}", Role::Admin.scopes())))
}

fn parse_contexts(names: &[String]) -> Result<ContextGrant, Error> {
    match names {
        [all] if all == "*" => Ok(ContextGrant::All),
        names => names
            .iter()
            .map(|name| name.parse())
            .collect::<Result<_, _>>()
            .map(ContextGrant::Named)
            .map_err(|error| invalid("contexts", error)),
    }
}
