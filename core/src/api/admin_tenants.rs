use serde::{Deserialize, Serialize};

use super::admin_contexts::UPDATE_ATTEMPTS;
use super::extract::{check_description, invalid, next_page, page_size};
use super::respond::created;
use super::{Call, Error, Reply, extract, reply};
use crate::auth::{ContextGrant, DEFAULT_TTL, Identity, Narrowing, Role};
use crate::clock::Timestamp;
use crate::contexts::default_contexts;
use crate::id::{IdentityId, TenantId};
use crate::limits::Cost;
use crate::name::Name;
use crate::store::{self, NewTenant, Store, Tenant, TenantRecord, TenantUpdate};

/// The name of a tenant's first administrator unless another is given.
const ADMIN: &str = "admin";

/// A tenant to make.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateTenant {
    /// 1 to 64 characters of a-z, 0-9, '.', '_' and '-'; never changes.
    name: String,
    #[serde(default)]
    description: String,
    /// The name of its first administrator; `admin` unless given.
    admin: Option<String>,
}

/// Changes of a tenant; what is absent stays.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct UpdateTenant {
    description: Option<String>,
    /// The tokens of a disabled tenant are refused until it is enabled again.
    enabled: Option<bool>,
}

/// A tenant.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct TenantView {
    #[schema(value_type = String)]
    id: TenantId,
    #[schema(value_type = String)]
    name: Name,
    description: String,
    enabled: bool,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
}

/// A tenant that was made, with what its first administrator needs. The token is shown once and stored nowhere.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct CreatedTenant<'a> {
    #[serde(flatten)]
    tenant: TenantView,
    admin: TenantAdmin<'a>,
    access_token: &'a str,
    #[schema(value_type = String)]
    token_type: &'static str,
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
}

/// The first administrator of a tenant.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct TenantAdmin<'a> {
    #[schema(value_type = String)]
    id: IdentityId,
    #[schema(value_type = String)]
    name: &'a Name,
}

/// A page of tenants, by name.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct TenantPage {
    tenants: Vec<TenantView>,
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

impl From<TenantRecord> for TenantView {
    fn from(record: TenantRecord) -> Self {
        let TenantRecord {
            tenant: Tenant { id, name }, description, enabled, created_at, updated_at, ..
        } = record;
        Self { id, name, description, enabled, created_at, updated_at }
    }
}

/// Lists the tenants.
#[utoipa::path(
    get,
    path = "/api/admin/tenants",
    tag = "Administration",
    params(
        ("after" = Option<String>, Query, description = "Start behind this name"),
        ("limit" = Option<u32>, Query, description = "1 to 1000, default 100"),
    ),
    responses((status = 200, body = TenantPage), (status = "default", response = super::openapi::AnyProblem)),
)]
pub(super) async fn list<S: Store>(call: &mut Call<'_, S>) -> Result<Reply, Error> {
    call.charge(None, Cost::ONE).await?;
    let query: ListQuery = extract::query(call.query)?;
    let limit = page_size(query.limit)?;
    let found = call.app.store.tenants(query.after.as_ref(), limit).await?;
    let next = next_page(&found, limit, |record| &record.tenant.name);
    Ok(reply(&TenantPage { tenants: found.into_iter().map(TenantView::from).collect(), next }))
}

/// Makes a tenant with the default contexts and its first administrator, whose token is valid for an hour.
///
/// From then on its administrators run it; an operator cannot make itself one of them.
#[utoipa::path(
    post,
    path = "/api/admin/tenants",
    tag = "Administration",
    request_body = CreateTenant,
    responses((status = 201, body = CreatedTenant<'_>), (status = "default", response = super::openapi::AnyProblem)),
)]
pub(super) async fn create<S: Store>(call: &mut Call<'_, S>, body: &[u8]) -> Result<Reply, Error> {
    call.charge(None, Cost::ONE).await?;
    let request: CreateTenant = extract::json(body)?;
    let name = request.name.parse().map_err(|error| invalid("name", error))?;
    let admin = request.admin.as_deref().unwrap_or(ADMIN).parse().map_err(|error| invalid("admin", error))?;
    check_description(&request.description)?;
    let now = call.app.clock.now();
    let tenant = Tenant { id: TenantId::random(), name };
    let admin = Identity { contexts: ContextGrant::All, ..Identity::new(tenant.id, admin, Role::Admin, now) };
    let mut new =
        NewTenant { tenant, description: request.description, contexts: Vec::new(), admin, at: now };
    store_new(call, &mut new).await?;
    let NewTenant { tenant, description, admin, .. } = new;
    let issued = call.app.tokens.issue(&admin, DEFAULT_TTL, &Narrowing::default(), None)?;
    let Tenant { id, name } = &tenant;
    call.facts.detail = Some(format!(
        "tenant {name} ({id}) with identity {} ({}), token {}",
        admin.name, admin.id, issued.id
    ));
    let record =
        TenantRecord { tenant, description, enabled: true, limits: None, created_at: now, updated_at: now };
    Ok(created(&CreatedTenant {
        tenant: record.into(),
        admin: TenantAdmin { id: admin.id, name: &admin.name },
        access_token: issued.token.expose(),
        token_type: "Bearer",
        expires_at: issued.expires_at,
    }))
}

/// Stores a tenant with the default contexts, under the master key that is the active one by then.
async fn store_new<S: Store>(call: &Call<'_, S>, new: &mut NewTenant) -> Result<(), Error> {
    for _ in 0..UPDATE_ATTEMPTS {
        new.contexts = default_contexts(new.tenant.id, call.active_kek()?, new.at)?;
        let stored = call.app.store.create_tenant(new).await;
        call.app.changed().await;
        match stored {
            Ok(()) => return Ok(()),
            Err(store::Error::KekNotActive) => {}
            Err(store::Error::Exists) => return Err(Error::NameTaken(" by another tenant")),
            Err(error) => return Err(error.into()),
        }
    }
    Err(Error::Conflict)
}

/// Shows a tenant.
#[utoipa::path(
    get,
    path = "/api/admin/tenants/{name}",
    tag = "Administration",
    params(("name" = String, Path)),
    responses((status = 200, body = TenantView), (status = "default", response = super::openapi::AnyProblem)),
)]
pub(super) async fn get<S: Store>(call: &mut Call<'_, S>) -> Result<Reply, Error> {
    call.charge(None, Cost::ONE).await?;
    Ok(reply(&TenantView::from(tenant(call).await?)))
}

/// Changes a tenant. While it is disabled, all of its tokens are refused.
#[utoipa::path(
    put,
    path = "/api/admin/tenants/{name}",
    tag = "Administration",
    params(("name" = String, Path)),
    request_body = UpdateTenant,
    responses((status = 200, body = TenantView), (status = "default", response = super::openapi::AnyProblem)),
)]
pub(super) async fn update<S: Store>(call: &mut Call<'_, S>, body: &[u8]) -> Result<Reply, Error> {
    call.charge(None, Cost::ONE).await?;
    let request: UpdateTenant = extract::json(body)?;
    request.description.as_deref().map(check_description).transpose()?;
    let id = tenant(call).await?.tenant.id;
    // Operators live there: nobody could enable it again.
    if request.enabled == Some(false) && id == call.tenant() {
        return Err(Error::InvalidRequest(
            "`enabled`: the tenant of the operators cannot be disabled".to_owned(),
        ));
    }
    let update = TenantUpdate { description: request.description, enabled: request.enabled };
    let updated = call.app.store.update_tenant(id, &update, call.app.clock.now()).await?;
    call.app.changed().await;
    Ok(reply(&TenantView::from(updated.ok_or(Error::TenantNotFound)?)))
}

/// Revokes all tokens of all identities of a tenant that were issued so far, refresh tokens among them.
#[utoipa::path(
    delete,
    path = "/api/admin/tenants/{name}/tokens",
    tag = "Administration",
    params(("name" = String, Path)),
    responses((status = 200, body = TenantView), (status = "default", response = super::openapi::AnyProblem)),
)]
pub(super) async fn revoke_tokens<S: Store>(call: &mut Call<'_, S>) -> Result<Reply, Error> {
    call.charge(None, Cost::ONE).await?;
    let record = tenant(call).await?;
    call.app.store.revoke_tokens_of_tenant(record.tenant.id, call.app.clock.now()).await?;
    call.app.changed().await;
    Ok(reply(&TenantView::from(record)))
}

/// The tenant that the path names.
pub(super) async fn tenant<S: Store>(call: &mut Call<'_, S>) -> Result<TenantRecord, Error> {
    let name: Name = call.parameter(0).parse().map_err(|_| Error::TenantNotFound)?;
    let record = call.app.store.tenant(&name).await?.ok_or(Error::TenantNotFound)?;
    call.facts.detail = Some(format!("tenant {name} ({})", record.tenant.id));
    Ok(record)
}
