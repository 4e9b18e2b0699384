use serde::{Deserialize, Serialize};

use super::extract::{invalid, next_page, page_size};
use super::respond::created;
use super::{Call, Error, Reply, extract, reply};
use crate::auth::{CertificateName, ContextGrant, Identity, Role, ScopeSet};
use crate::clock::Timestamp;
use crate::id::IdentityId;
use crate::limits::Cost;
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
    /// What it may do; what its role usually does unless given. `register` must be given.
    scopes: Option<Vec<String>>,
    /// The names of the contexts that it may use, or `["*"]` for all; none unless given.
    contexts: Option<Vec<String>>,
    /// The client certificate that stands for a token of it: its subject (RFC 4514), or a URI of it. For services alone.
    certificate: Option<String>,
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
    /// Whether each of its refresh tokens is good for one use.
    rotate_refresh_tokens: Option<bool>,
    /// The client certificate that stands for a token of it: its subject (RFC 4514), or a URI of it; empty for none.
    certificate: Option<String>,
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
    rotate_refresh_tokens: bool,
    /// Its `sub` at the outside identity provider, if its tokens come from there.
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    /// The client certificate that stands for a token of it, if one does.
    #[serde(skip_serializing_if = "Option::is_none")]
    certificate: Option<String>,
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
            contexts: identity.contexts.names(),
            enabled: identity.enabled,
            rotate_refresh_tokens: identity.rotate_refresh_tokens,
            subject: identity.subject.clone(),
            certificate: identity.certificate.as_ref().map(ToString::to_string),
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
    call.charge(None, Cost::ONE).await?;
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
    call.charge(None, Cost::ONE).await?;
    let request: CreateIdentity = extract::json(body)?;
    let role = request.role.as_deref().map_or(Ok(Role::Service), parse_role)?;
    let scopes = request.scopes.as_deref().map(parse_scopes).transpose()?;
    let name = request.name.parse().map_err(|error| invalid("name", error))?;
    let mut identity = Identity::new(call.tenant(), name, role, call.app.clock.now());
    identity.scopes = scopes.unwrap_or(identity.scopes);
    identity.contexts = parse_contexts(request.contexts.as_deref().unwrap_or_default())?;
    identity.certificate = request.certificate.as_deref().map_or(Ok(None), parse_certificate)?;
    check(call, &identity)?;
    check_grant(call, identity.scopes, &identity.contexts)?;
    match call.app.store.create_identity(&identity).await {
        Ok(()) => {}
        Err(store::Error::Exists) => return Err(taken(call, &identity).await?),
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
    call.charge(None, Cost::ONE).await?;
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
    call.charge(None, Cost::ONE).await?;
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
        identity.scopes = role.default_scopes();
    }
    if let Some(scopes) = &request.scopes {
        identity.scopes = parse_scopes(scopes)?;
    }
    if let Some(contexts) = &request.contexts {
        identity.contexts = parse_contexts(contexts)?;
    }
    if let Some(certificate) = &request.certificate {
        identity.certificate = parse_certificate(certificate)?;
    }
    identity.enabled = request.enabled.unwrap_or(identity.enabled);
    identity.rotate_refresh_tokens = request.rotate_refresh_tokens.unwrap_or(identity.rotate_refresh_tokens);
    check(call, &identity)?;
    if new_role || request.scopes.is_some() || request.contexts.is_some() {
        check_grant(call, identity.scopes, &identity.contexts)?;
    }
    let updated = store(call, &identity, new_role).await?;
    Ok(reply(&IdentityView::from(&updated)))
}

/// Deletes an identity and with it all its tokens. One whose tokens come from a provider can only be disabled.
#[utoipa::path(
    delete,
    path = "/api/admin/identities/{id}",
    tag = "Administration",
    params(("id" = String, Path)),
    responses((status = 200, body = IdentityView), (status = "default", response = super::openapi::AnyProblem)),
)]
pub(super) async fn delete<S: Store>(call: &mut Call<'_, S>) -> Result<Reply, Error> {
    call.charge(None, Cost::ONE).await?;
    let identity = identity(call).await?;
    check(call, &identity)?;
    if identity.subject.is_some() {
        return Err(Error::IdentityOfProvider);
    }
    if !call.app.store.delete_identity(identity.tenant, identity.id, call.app.clock.now()).await? {
        return Err(Error::IdentityNotFound);
    }
    call.app.changed().await;
    Ok(reply(&IdentityView::from(&identity)))
}

/// The identity that the path names, if it is of the caller's tenant.
pub(super) async fn identity<S: Store>(call: &mut Call<'_, S>) -> Result<Identity, Error> {
    let id: IdentityId = call.parameter(0).parse().map_err(|_| Error::IdentityNotFound)?;
    let identity = call.app.store.identity(call.tenant(), id).await?.value.ok_or(Error::IdentityNotFound)?;
    describe(call, &identity);
    Ok(identity)
}

pub(super) async fn store<S: Store>(
    call: &Call<'_, S>,
    identity: &Identity,
    raise_epoch: bool,
) -> Result<Identity, Error> {
    let updated = match call.app.store.update_identity(identity, raise_epoch, call.app.clock.now()).await {
        Err(store::Error::Exists) => return Err(taken(call, identity).await?),
        updated => updated?,
    };
    call.app.changed().await;
    updated.ok_or(Error::Conflict)
}

/// What `identity` has that another one has.
async fn taken<S: Store>(call: &Call<'_, S>, identity: &Identity) -> Result<Error, Error> {
    let namesake = call.app.store.identity_by_name(identity.tenant, &identity.name).await?;
    let is_name = identity.certificate.is_none() || namesake.is_some_and(|other| other.id != identity.id);
    Ok(if is_name { Error::NameTaken(" by another identity") } else { Error::CertificateTaken })
}

/// Whether the caller may make or change such an identity: of a role that it manages, and with scopes of that role.
pub(super) fn check<S: Store>(call: &Call<'_, S>, identity: &Identity) -> Result<(), Error> {
    if !call.principal().role().manages(identity.role) {
        return Err(Error::RoleForbidden(
            "operators manage operators, and administrators manage administrators and services",
        ));
    }
    if identity.scopes.intersection(identity.role.scopes()) != identity.scopes {
        return Err(Error::InvalidRequest(format!(
            "`scopes`: the role {} allows at most: {}",
            identity.role.name(),
            identity.role.scopes(),
        )));
    }
    if identity.certificate.is_some() && identity.role != Role::Service {
        let only = "`certificate`: of a service alone; administrators and operators use tokens";
        return Err(Error::InvalidRequest(only.to_owned()));
    }
    Ok(())
}

pub(super) fn check_grant<S: Store>(
    call: &Call<'_, S>,
    scopes: ScopeSet,
    contexts: &ContextGrant,
) -> Result<(), Error> {
    if call.principal().may_grant(scopes, contexts) {
        Ok(())
    } else {
        Err(Error::RoleForbidden(
            "nobody gives scopes or contexts that the own identity or token does not have",
        ))
    }
}

pub(super) fn describe<S: Store>(call: &mut Call<'_, S>, identity: &Identity) {
    call.facts.detail = Some(format!("identity {} ({})", identity.name, identity.id));
}

fn parse_role(role: &str) -> Result<Role, Error> {
    role.parse().map_err(|error| invalid("role", error))
}

/// An empty text is none.
fn parse_certificate(text: &str) -> Result<Option<CertificateName>, Error> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|error| invalid("certificate", error))
}

pub(super) fn parse_scopes(scopes: &[String]) -> Result<ScopeSet, Error> {
    scopes
        .iter()
        .map(|scope| scope.parse())
        .collect::<Result<_, _>>()
        .map_err(|_| Error::InvalidRequest(format!("`scopes`: the scopes are {}", Role::Admin.scopes())))
}

pub(super) fn parse_contexts(names: &[String]) -> Result<ContextGrant, Error> {
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
