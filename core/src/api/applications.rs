use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::admin_tokens::open_family;
use super::signatures::keys::NO_CONTEXT;
use super::{Call, Error, Reply, extract, reply};
use crate::auth::{
    Application, ContextGrant, DEFAULT_TTL, Identity, Narrowing, RefreshFamily, Role, ScopeSet,
};
use crate::clock::Timestamp;
use crate::crypto::random;
use crate::id::IdentityId;
use crate::limits::Cost;
use crate::name::Name;
use crate::store::{self, Store};

const DEVELOPMENT: &str = "development";
/// How much of what a client calls its team is kept, in characters.
const TEAM_KEPT: usize = 64;
/// Most contexts that an application can ask for.
const MAX_CONTEXTS: usize = 100;

/// An application to register.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RegisterRequest {
    /// Any text; with `environment` it says which application this is.
    app_name: String,
    /// `development` unless given.
    environment: Option<String>,
    /// For people: it decides nothing.
    team: Option<String>,
    /// The contexts that it wants to use; `default` is `general` where there is none of that name. Those that the caller
    /// may use itself are granted. `["default"]` unless given.
    contexts: Option<Vec<String>>,
    #[serde(rename = "description")]
    _description: Option<String>,
}

/// A registered application. The tokens are shown once and stored nowhere.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct RegisterReply<'a> {
    /// The id of its identity.
    #[schema(value_type = String)]
    app_id: IdentityId,
    app_name: &'a str,
    environment: &'a str,
    access_token: &'a str,
    #[schema(value_type = String)]
    token_type: &'static str,
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
    refresh_token: &'a str,
    /// What both tokens may use.
    contexts: Vec<String>,
    /// Whether this made the identity.
    is_new: bool,
    message: String,
}

/// Registers an application: gives it an identity of its own and a refresh token.
///
/// The caller passes on what it has and no more: contexts that were asked for and that it may use itself, and of the
/// scopes that services usually have, its own. To register again is to get another refresh token, for another machine;
/// what the identity may do, and the tokens that others have of it, stay as they are. In place of a bearer token, the
/// cookie `access_token` is taken from a request in JSON without `Origin`.
#[utoipa::path(
    post,
    path = "/api/v1/applications/sdk/register",
    tag = "Tokens",
    request_body = RegisterRequest,
    responses((status = 200, body = RegisterReply<'_>), (status = "default", response = super::openapi::AnyProblem)),
)]
pub(super) async fn register<S: Store>(call: &mut Call<'_, S>, body: &[u8]) -> Result<Reply, Error> {
    call.charge(None, Cost::ONE).await?;
    let request: RegisterRequest = extract::json(body)?;
    let environment = request.environment.as_deref().unwrap_or(DEVELOPMENT);
    let application = Application::new(&request.app_name, environment)
        .map_err(|error| Error::InvalidRequest(format!("`app_name` and `environment` have {error}")))?;
    let asked = asked(call, request.contexts.as_deref()).await?;
    let scopes = Role::Service.default_scopes().intersection(call.principal().scopes());
    if scopes == ScopeSet::NONE {
        return Err(Error::InvalidRequest(
            "the token that registers has no scope that an application could use, and nobody passes on what he has \
             not; an administrator gives it such scopes with PUT /api/admin/identities/{id}"
                .to_owned(),
        ));
    }
    let granted = call.principal().contexts().intersection(&asked);
    check_granted(&asked, &granted, "the caller")?;
    let mut known = registered(call, &application).await?;
    let (identity, is_new, contexts, family, issued) = loop {
        let is_new = known.is_none();
        let identity = match known {
            Some(identity) => identity,
            None => new_identity(call, &application, scopes, granted.clone())?,
        };
        call.facts.detail = Some(format!("identity {} ({})", identity.name, identity.id));
        // What the identity has beyond what the caller has is not this caller's to get.
        let contexts = granted.intersection(&identity.contexts);
        check_granted(&asked, &contexts, "this application, which is registered already,")?;
        let narrowing = Narrowing { scopes: Some(scopes), contexts: Some(contexts.clone()) };
        let detail = detail(call, request.team.as_deref());
        let family = RefreshFamily::new(&identity, narrowing, detail, call.app.clock.now());
        let sid = Some(family.id);
        // What fails comes first: nothing is stored of a token that would be too long.
        let issued = call.app.tokens.issue(&identity, DEFAULT_TTL, &family.narrowing, sid)?;
        if !is_new || make(call, &identity).await? {
            break (identity, is_new, contexts, family, issued);
        }
        // Another machine was faster, or the name is somebody else's.
        known = registered(call, &application).await?;
        if known.is_none() {
            return Err(Error::NotAnApplication(format!(
                "the identity `{}` was not made by a registration, so it is not given out; choose another `app_name`",
                identity.name
            )));
        }
    };
    let refresh_token = open_family(call, &identity, &family).await?;
    tracing::info!(
        identity_id = %identity.id,
        registered_by = %call.principal().identity().id,
        refresh_token_id = %family.id,
        is_new,
        "an application was registered"
    );
    Ok(reply(&RegisterReply {
        app_id: identity.id,
        app_name: &request.app_name,
        environment,
        access_token: issued.token.expose(),
        token_type: "Bearer",
        expires_at: issued.expires_at,
        refresh_token: refresh_token.expose(),
        message: message(&identity, is_new, &asked, &contexts),
        contexts: contexts.names(),
        is_new,
    }))
}

/// The contexts that a client asks for, as it means them.
async fn asked<S: Store>(call: &Call<'_, S>, names: Option<&[String]>) -> Result<ContextGrant, Error> {
    let (alias, meant) = NO_CONTEXT;
    let unnamed = [alias.to_owned()];
    let names = names.unwrap_or(&unnamed);
    if names.len() > MAX_CONTEXTS {
        return Err(Error::InvalidRequest(format!("`contexts`: at most {MAX_CONTEXTS}; `*` is all")));
    }
    if names.iter().any(|name| name == "*") {
        return Ok(ContextGrant::All);
    }
    let names = names.iter().map(|name| name.parse());
    let mut names: BTreeSet<Name> =
        names.collect::<Result<_, _>>().map_err(|error| extract::invalid("contexts", error))?;
    if let Some(alias) = names.take(alias) {
        let exists = call.app.keyring.encryption_key(call.tenant(), &alias).await?.is_some();
        names.insert(if exists { alias } else { meant.parse().expect("a name") });
    }
    Ok(ContextGrant::Named(names))
}

/// Whether something is left of what was asked for, if anything was.
fn check_granted(asked: &ContextGrant, granted: &ContextGrant, whose: &str) -> Result<(), Error> {
    let nothing = ContextGrant::Named(BTreeSet::new());
    if *granted != nothing || *asked == nothing {
        return Ok(());
    }
    Err(Error::InvalidRequest(format!(
        "`contexts`: {whose} may use none of those that were asked for; GET /api/v1/contexts lists what a token may use, \
         and an administrator changes that with PUT /api/admin/identities/{{id}}"
    )))
}

/// The identity of an application that is registered already.
async fn registered<S: Store>(
    call: &Call<'_, S>,
    application: &Application,
) -> Result<Option<Identity>, Error> {
    let id = application.identity(call.tenant());
    let known = call.app.store.identity(call.tenant(), id).await?.value;
    known.map(usable).transpose()
}

/// The identity that an application gets when it is registered first.
fn new_identity<S: Store>(
    call: &Call<'_, S>,
    application: &Application,
    scopes: ScopeSet,
    contexts: ContextGrant,
) -> Result<Identity, Error> {
    let (tenant, now) = (call.tenant(), call.app.clock.now());
    Ok(Identity {
        id: application.identity(tenant),
        scopes,
        contexts,
        // An application that was deleted and is registered again has the same id, and must not revive its old tokens.
        epoch: u32::from_be_bytes(random::array()?) >> 1,
        ..Identity::new(tenant, application.identity_name(), Role::Service, now)
    })
}

/// Stores an identity; `false` when its id or its name is taken.
async fn make<S: Store>(call: &Call<'_, S>, identity: &Identity) -> Result<bool, Error> {
    match call.app.store.create_identity(identity).await {
        Ok(()) => {
            call.app.changed().await;
            Ok(true)
        }
        Err(store::Error::Exists) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Whether a registration may give out tokens of an identity that one made.
fn usable(identity: Identity) -> Result<Identity, Error> {
    if identity.enabled && identity.role == Role::Service {
        return Ok(identity);
    }
    Err(Error::NotAnApplication(format!(
        "this application is registered as `{}`, which an administrator has disabled or given another role",
        identity.name
    )))
}

/// Who registers, and for whom.
fn detail<S: Store>(call: &Call<'_, S>, team: Option<&str>) -> String {
    let caller = call.principal().identity();
    let registered = format!("registered by {} ({})", caller.name, caller.id);
    let team: String = team.unwrap_or_default().chars().filter(|c| !c.is_control()).take(TEAM_KEPT).collect();
    if team.is_empty() { registered } else { format!("{registered}, team {team}") }
}

fn message(identity: &Identity, is_new: bool, asked: &ContextGrant, granted: &ContextGrant) -> String {
    let done = if is_new { "registered" } else { "registered already; this is another refresh token" };
    let mut message = format!("{}: {done}", identity.name);
    if let (ContextGrant::Named(asked), ContextGrant::Named(granted)) = (asked, granted) {
        let refused: Vec<_> = asked.difference(granted).map(Name::as_str).collect();
        if !refused.is_empty() {
            message = format!("{message}; not granted: {}", refused.join(", "));
        }
    }
    message
}
